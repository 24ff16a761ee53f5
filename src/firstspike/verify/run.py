"""Run a network on images in RTL and compare everything: spike times, logits and cycles."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from firstspike import engine
from firstspike.processor import cycles, mapping
from firstspike.processor.plan import Plan
from firstspike.processor.storage import Map, allocate
from firstspike.rtl.compiler import assemble, store_map
from firstspike.rtl.parameters import Parameters
from firstspike.spec.network import INPUT, Network
from firstspike.spec.processor import Processor
from firstspike.spec.program import Program
from firstspike.verify.simulator import Result, Simulator, Stalls


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """The comparison of a run.

    Attributes:
        images: images run.
        bit_exact: every spike time of every layer and every logit equals the engine's.
        cycle_exact: the RTL took the model's cycles in every layer of every image.
        layers_compared: maps compared per image, the input's and the logits included.
        spikes_compared: spike times compared (silence included), over all images.
        rtl_cycles, model_cycles: clock cycles over all images (the model's expectation if the DRAM stalls at random).
        cycles_per_second: simulated cycles per second of wall time.
        model_speedup: seconds of the simulation over seconds of the model, the best of three counts (its plan, made once a
            network, not included).
        differences: what differs, as text, one line a layer; empty if nothing does.
        layer_cycles: by layer, the RTL's cycles and the model's, int64 ``[n]`` each.
    """

    images: int
    bit_exact: bool
    cycle_exact: bool
    layers_compared: int
    spikes_compared: int
    rtl_cycles: int
    model_cycles: int
    cycles_per_second: float
    model_speedup: float
    differences: tuple[str, ...] = ()
    layer_cycles: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def json(self) -> dict[str, bool | int | float | list[str]]:
        """The record's keys for ``--json``."""
        return {
            "images": self.images,
            "bit_exact": self.bit_exact,
            "cycle_exact": self.cycle_exact,
            "layers_compared": self.layers_compared,
            "spikes_compared": self.spikes_compared,
            "rtl_cycles": self.rtl_cycles,
            "model_cycles": self.model_cycles,
            "cycles_per_second": self.cycles_per_second,
            "model_speedup": self.model_speedup,
            "differences": list(self.differences),
        }


def run(
    network: Network,
    times: np.ndarray,
    processor: Processor,
    *,
    simulator: Simulator | None = None,
    stalls: Stalls | None = None,
    engine_name: str = "reference",
    limit: int = 1_000_000_000,
    waveform: tuple[Path, int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Record:
    """Run images through the RTL and hold it against the engine and the cycle model.

    Args:
        network: the integer network.
        times: encoded inputs, uint8 ``[n, *input_shape]``.
        processor: the processor that is built.
        simulator: its compiled model, if at hand (any network with the same code and weight format may share it).
        stalls: random stalls of the DRAM; with them cycles are compared but `cycle_exact` is False in general.
        engine_name: the engine to compare with.
        limit: cycles after which an image is given up.
        waveform: VCD file, first and last cycle (the simulator must have been built with ``trace``).
        progress: called with the images done and the cycles of the image that runs, or has just ended.

    Raises:
        ValueError: the network does not fit the processor.
        RuntimeError: a tool is missing (`ToolMissing`) or the simulation failed.
    """
    program = mapping.program(network, processor)
    image = assemble(network, program, processor)
    if simulator is None:
        simulator = Simulator(Parameters.of(network, processor), trace=waveform is not None)
    maps = allocate(network, processor).maps
    checkpoints = _checkpoints(network, program, maps)
    result = simulator.run(
        image,
        store_map(times, processor),
        checkpoints,
        stalls=stalls,
        limit=limit,
        waveform=waveform,
        progress=progress,
    )
    expected = {INPUT: times, **engine.create(network, engine_name).layers(times)}
    compared = _maps(result)
    differences = _compare(network, processor, result, expected)
    plan = Plan(network, processor, program)
    model_seconds = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        counts = cycles.count(network, expected, processor, plan=plan, stall=(stalls.per_mille if stalls else 0) / 1000)
        model_seconds = min(model_seconds, time.perf_counter() - begin)
    layer_cycles = _layer_cycles(program, result, counts)
    wrong = [
        f"layer {name!r}: {int(rtl.sum())} cycles, not the model's {int(model.sum())}"
        for name, (rtl, model) in layer_cycles.items()
        if not np.array_equal(rtl, model)
    ]
    total = int(result.taken[:, -1].sum())
    return Record(
        images=len(times),
        bit_exact=not differences,
        cycle_exact=not wrong,
        layers_compared=len(compared) + 1,
        spikes_compared=sum(int(expected[name].size) for name in compared),
        rtl_cycles=total,
        model_cycles=int(counts.cycles.sum()),
        cycles_per_second=total / result.seconds,
        model_speedup=result.seconds / model_seconds,
        differences=tuple(differences + wrong),
        layer_cycles=layer_cycles,
    )


def _checkpoints(network: Network, program: Program, maps: dict[str, Map]) -> list[tuple[int, str, Map]]:
    """Every map on chip but the logits is looked at when the first operation of the next layer is taken."""
    names = [operation.layer for operation in program.operations]
    last = network.layers[-1].name
    after = {name: index + 1 for index, name in enumerate(names)}
    return [(index, name, maps[name]) for name, index in after.items() if name != last and maps[name].region is None]


def _maps(result: Result) -> dict[str, np.ndarray]:
    """All maps by layer name, from the activation buffer and from DRAM."""
    spilled = {name[4:]: words for name, words in result.regions.items() if name.startswith("map ")}
    return result.maps | spilled


def _compare(network: Network, processor: Processor, result: Result, expected: dict[str, np.ndarray]) -> list[str]:
    differences = []
    for name, seen in _maps(result).items():
        wanted = store_map(expected[name], processor)
        if not np.array_equal(seen, wanted):
            differences.append(f"layer {name!r}: {int((seen != wanted).sum())} of {wanted.size} spike times differ")
    last = network.layers[-1].name
    images = len(result.taken)
    logits = np.ascontiguousarray(result.regions["logits"]).reshape(images, -1, processor.word_bits // 8)
    values = np.zeros(logits.shape[:2], dtype=np.int64)
    for byte in range(min(8, logits.shape[2])):
        values |= logits[:, :, byte].astype(np.int64) << (8 * byte)
    if logits.shape[2] < 8:
        values -= (values >> (8 * logits.shape[2] - 1)) << (8 * logits.shape[2])
    wanted = expected[last]
    wanted = wanted if wanted.ndim == 2 else wanted.transpose(0, 2, 3, 1).reshape(images, -1)
    if not np.array_equal(values, wanted):
        differences.append(f"layer {last!r}: {int((values != wanted).sum())} of {wanted.size} logits differ")
    return differences


def _layer_cycles(program: Program, result: Result, counts: cycles.Counts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cycles of every layer: until the next layer's first operation is taken; the input's begin with ``start``."""
    names = np.array([operation.layer for operation in program.operations])
    spans = np.diff(result.taken, axis=1)
    rtl = {}
    for index, layer in enumerate(counts.layers):
        rtl[layer.name] = spans[:, names == layer.name].sum(axis=1) + (result.taken[:, 0] if index == 0 else 0)
    return {layer.name: (rtl[layer.name], layer.cycles) for layer in counts.layers}
