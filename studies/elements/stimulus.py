"""What the array sees while it runs a layer: spike times and weight codes, cycle by cycle, lane by lane."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, UInt8, UInt64

from firstspike.arith import NO_SPIKE, Code, LogWeights
from firstspike.gates.activity import STREAMS, pack
from firstspike.gates.netlist import Netlist
from firstspike.spec.network import Conv2d, Synaptic


@dataclass(frozen=True, kw_only=True, eq=False)
class Stimulus:
    """Cycles of the array's inputs; the first cycle is a reset.

    Attributes:
        reset, enable, load: 0 or 1 per cycle, for all lanes.
        times: spike time per cycle (held while nothing comes), for all lanes.
        codes: weight code per cycle and lane (held while nothing comes).
        initial: membrane's initial value per cycle and lane (held).
        windows: receptive fields in it.
    """

    reset: UInt8[np.ndarray, " cycles"]
    enable: UInt8[np.ndarray, " cycles"]
    load: UInt8[np.ndarray, " cycles"]
    times: UInt8[np.ndarray, " cycles"]
    codes: UInt8[np.ndarray, "cycles lanes"]
    initial: Integer[np.ndarray, "cycles lanes"]
    windows: int

    @property
    def lanes(self) -> int:
        """Lanes, one stream of the simulation each."""
        return int(self.codes.shape[1])

    @property
    def operations(self) -> int:
        """Products of all lanes (zero weights count): synaptic operations."""
        return int(self.enable.sum()) * self.lanes

    def planes(self, netlist: Netlist, ports: Mapping[str, np.ndarray]) -> dict[str, UInt64[np.ndarray, "cycles bits"]]:
        """Bit planes for `activity.simulate`: ``ports`` by name, ``[cycles]`` or ``[cycles, lanes]``."""
        planes = {}
        for name, values in ports.items():
            if name in netlist.inputs:
                lanes = values if values.ndim == 2 else np.repeat(values[:, None], self.lanes, axis=1)
                planes[name] = pack(lanes, len(netlist.inputs[name]))
        return planes


def layer_stimulus(
    layer: Synaptic, times: UInt8[np.ndarray, "..."], *, lanes: int = 32, cycles: int = 2000, idle: int = 0
) -> Stimulus:
    """A layer on one image: windows in the walker's order (row, column; inside, kernel row, column, channel).

    Every window loads its bias in one cycle and takes one spike a cycle; silence costs nothing. Lanes are the first
    output channels. Windows are added until ``cycles`` are reached.

    Args:
        layer: with codes; groups must be 1.
        times: spike times of its input, ``[channels, height, width]`` or ``[features]``.
        lanes: 1..64, at most the layer's outputs.
        cycles: about how many.
        idle: cycles without a spike after each window (thresholds, encoding).

    Raises:
        ValueError: there are too many lanes, the layer is grouped, or no spike comes.
    """
    if not 1 <= lanes <= min(STREAMS, layer.outputs):
        raise ValueError(f"lanes must be in 1..{min(STREAMS, layer.outputs)}, not {lanes!r}")
    codes = layer.codes[:lanes]
    if isinstance(layer, Conv2d):
        if layer.groups != 1:
            raise ValueError(f"layer {layer.name!r} must have groups = 1, not {layer.groups!r}")
        (stride_y, stride_x), (pad_y, pad_x) = layer.stride, layer.padding
        kernel_y, kernel_x = codes.shape[2:]
    else:
        codes, times = codes[:, :, None, None], times.reshape(-1, 1, 1)
        stride_y = stride_x = kernel_y = kernel_x = 1
        pad_y = pad_x = 0
    padded = np.pad(times, ((0, 0), (pad_y, pad_y), (pad_x, pad_x)), constant_values=NO_SPIKE)
    flat_codes = codes.transpose(2, 3, 1, 0).reshape(-1, lanes)  # kernel row, column, channel -> lane
    rows: list[np.ndarray] = []
    held = np.zeros((1, 4 + lanes), dtype=np.uint8)
    total, windows = 1, 0
    for y in range(0, padded.shape[1] - kernel_y + 1, stride_y):
        for x in range(0, padded.shape[2] - kernel_x + 1, stride_x):
            if total >= cycles:
                break
            window = padded[:, y : y + kernel_y, x : x + kernel_x].transpose(1, 2, 0).reshape(-1)
            cycle, held = _window(window, flat_codes, held)
            rows += [cycle, np.repeat(held, idle, axis=0)]
            total += len(cycle) + idle
            windows += 1
    drain = np.repeat(held, 3, axis=0)
    reset = np.zeros((1, 4 + lanes), dtype=np.uint8)
    reset[0, 0] = 1
    table = np.concatenate([reset, *rows, drain])
    if not table[:, 1].any():
        raise ValueError(f"layer {layer.name!r}: its input must hold a spike, not silence only")
    return Stimulus(
        reset=table[:, 0],
        enable=table[:, 1],
        load=table[:, 2],
        times=table[:, 3],
        codes=table[:, 4:],
        initial=np.repeat(layer.bias[None, :lanes], len(table), axis=0),
        windows=windows,
    )


def _window(window: np.ndarray, codes: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of a window, and what its ports hold after it; columns: reset, enable, load, time, codes.

    Args:
        window: spike times ``[synapses]``.
        codes: ``[synapses, lanes]``.
        held: what the ports hold before it, ``[1, 4 + lanes]``.
    """
    begin = held.copy()
    begin[0, :3] = 0, 0, 1
    fires = np.flatnonzero(window != NO_SPIKE)
    spikes = np.ones((len(fires), held.shape[1]), dtype=np.uint8)
    spikes[:, 0] = spikes[:, 2] = 0
    spikes[:, 3] = window[fires]
    spikes[:, 4:] = codes[fires]
    after = held.copy()
    if len(fires):
        after[0, 3:] = spikes[-1, 3:]
    return np.concatenate([begin, spikes]), after


def random_stimulus(
    code: Code, weights: LogWeights, *, lanes: int = 32, cycles: int = 2000, window: int = 144, seed: int = 0
) -> Stimulus:
    """Random spikes and codes where no trained network is at hand: late spikes and small weights are the common ones.

    Times follow an exponentially distributed activation with mean ``kappa = 1/4``, weights a normal distribution whose
    largest level is three deviations out.
    """
    rng = np.random.default_rng(seed)
    values = np.clip(rng.exponential(0.25, cycles), float(code.kappa(code.T - 1)), 1)
    times = np.minimum(np.ceil(-code.tau * np.log2(values)), code.T - 1).astype(np.uint8)
    normal = rng.normal(0, 1 / 3, (cycles, lanes))
    level = np.rint(-weights.levels_per_octave * np.log2(np.maximum(np.abs(normal), 1e-9)))
    level = np.clip(level, 0, weights.zero_level).astype(np.uint8)
    codes = level | np.where(normal < 0, 1 << (weights.bits - 1), 0).astype(np.uint8)
    position = np.arange(cycles) % (window + 1)
    load = (position == 0).astype(np.uint8)
    enable = 1 - load
    reset = np.zeros(cycles, dtype=np.uint8)
    reset[0], enable[0], load[0], enable[-3:] = 1, 0, 0, 0
    bias = np.repeat(rng.integers(-1000, 1000, (1, lanes)), cycles, axis=0)
    return Stimulus(
        reset=reset, enable=enable, load=load, times=times, codes=codes, initial=bias, windows=int(load.sum())
    )
