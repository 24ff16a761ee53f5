"""GPU engine: Triton kernels on 8-bit integer tensor cores, bit-exact (docs/explanation/engines.md).

Runs in Triton's interpreter too.

Integer kernel values and integer weights are cut into limbs of seven bits. Products of limbs go through 8-bit matrix
multiplications into 32-bit sums that cannot overflow, and are shifted together modulo 2^32 (or 2^64 for accumulators
beyond 32 bits). Wrapping to the accumulator's bits then gives the sum of numerics section 3, in any order of addition.
"""

import math

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from firstspike.arith import NO_SPIKE, integer_kernel
from firstspike.spec.limits import Shape
from firstspike.spec.network import INPUT, Channels, Conv2d, Flatten, MaxPool2d, Network, PixelShuffle, Synaptic

LIMB_BITS = 7
IMAGES = 256
"""Most images on the device at once."""

VALUES = 1 << 32
"""Most outputs of all layers on the device at once, if they are not of one image."""


class CudaEngine:
    """Bit-exact inference on a GPU; see `Engine` for the interface.

    Attributes:
        network: the network it runs. The device holds its weights as codes, one byte each.
        device: where it runs; "cpu" for Triton's interpreter (environment variable ``TRITON_INTERPRET=1``).
    """

    name = "cuda"

    def __init__(self, network: Network) -> None:
        """Copy a network's weights to the device.

        Raises:
            RuntimeError: there is no GPU, and Triton does not interpret.
        """
        self.network = network
        interpreted = type(integrate).__name__ == "InterpretedFunction"
        device = "cpu" if interpreted else "cuda"
        if not interpreted and not torch.cuda.is_available():
            raise RuntimeError(
                "engine 'cuda' needs an NVIDIA GPU (or TRITON_INTERPRET=1, which is slow): none was found"
            )
        self.device = torch.device(device)
        self._layers = {
            connection.name: self._load(layer, connection)
            for layer in network.synaptic
            for connection in layer.connections
        }

    def logits(self, times: np.ndarray) -> np.ndarray:
        """Logits, int64 ``[n, *read-out shape]``; see `Engine`."""
        return self._run(times, trace=False)[self.network.layers[-1].name]

    def layers(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Output of every layer by name; see `Engine`."""
        return self._run(times, trace=True)

    def _run(self, times: np.ndarray, *, trace: bool) -> dict[str, np.ndarray]:
        network = self.network
        if times.dtype != np.uint8:
            raise TypeError(f"times must be uint8, not {times.dtype}")
        if times.shape[1:] != network.input_shape:
            raise ValueError(
                f"times must have shape (n, {', '.join(map(str, network.input_shape))}), not {times.shape!r}"
            )
        last = network.layers[-1].name
        kept = [layer.name for layer in network.layers] if trace else [last]
        shapes = {name: (len(times), *network.shapes[name]) for name in kept}
        found = {name: np.empty(shape, dtype=np.int64 if name == last else np.uint8) for name, shape in shapes.items()}
        each = sum(math.prod(shape) for shape in network.shapes.values())
        images = max(1, min(IMAGES, VALUES // each))
        for start in range(0, len(times), images):
            for name, values in self._batch(times[start : start + images]).items():
                if name in found:
                    found[name][start : start + images] = values.cpu().numpy()
        return found

    def _batch(self, times: np.ndarray) -> dict[str, Tensor]:
        values = {INPUT: torch.tensor(times, device=self.device)}
        for layer in self.network.layers:
            source = values[layer.source]
            if isinstance(layer, Channels):
                joined = [values[name] for name in layer.inputs]
                joined.append(torch.full_like(joined[0][:, :1], NO_SPIKE))  # -1 is the last
                values[layer.name] = torch.cat(joined, dim=1)[:, list(layer.channels)]
            elif isinstance(layer, Flatten):
                values[layer.name] = source.flatten(1)
            elif isinstance(layer, PixelShuffle):
                values[layer.name] = shuffled(layer, source)
            elif isinstance(layer, MaxPool2d):
                values[layer.name] = earliest(layer, source)
            else:
                assert isinstance(layer, Synaptic)
                values[layer.name] = self._synaptic(layer, values)
        del values[INPUT]
        return values

    def _synaptic(self, layer: Synaptic, values: dict[str, Tensor]) -> Tensor:
        shape = self.network.shapes[layer.name]
        identity = self._layers[layer.name]["identity"]
        added = [identity[_channels_last(values[name], _volume(shape)).long()] for name in layer.residuals]
        added += [self._integrate(part, values[part.source], shape, None) for part in layer.parts]
        out = self._integrate(layer, values[layer.source], shape, torch.stack(added).sum(0) if added else None)
        return out.permute(0, 3, 1, 2).reshape(len(out), *shape)

    def _integrate(self, layer: Synaptic, times: Tensor, shape: Shape, extra: Tensor | None) -> Tensor:
        """Spike times, or membranes, of a connection and what is added to it, ``[image, row, column, output]``."""
        network, tensors = self.network, self._layers[layer.name]
        conv = layer if isinstance(layer, Conv2d) else None
        before, after = _volume(network.shapes[layer.source]), _volume(shape)
        images, groups = len(times), conv.groups if conv else 1
        pixels = _channels_last(times, before)
        out = torch.empty(
            (images, *after[1:], after[0]), dtype=torch.uint8 if layer.fires else torch.int64, device=self.device
        )
        positions, group_outputs = images * after[1] * after[2], after[0] // groups
        block_n = 64 if group_outputs >= 64 else 32 if group_outputs >= 32 else 16
        block_m = 64 if positions >= 64 else 16
        (stride_h, stride_w), (pad_h, pad_w) = (conv.stride, conv.padding) if conv else ((1, 1), (0, 0))
        dilation_h, dilation_w = conv.dilation if conv else (1, 1)
        kernel_h, kernel_w = layer.weight_shape[2:] if conv else (1, 1)
        integrate[(triton.cdiv(positions, block_m), triton.cdiv(group_outputs, block_n), groups)](
            times=pixels,
            codes=tensors["codes"],
            spike_limbs=tensors["spikes"],
            weight_limbs=tensors["weights"],
            bias=tensors["bias"],
            extra=out if extra is None else extra.contiguous(),
            thresholds=tensors["thresholds"],
            shifts=tensors["shifts"],
            out=out,
            positions=positions,
            height=before[1],
            width=before[2],
            out_height=after[1],
            out_width=after[2],
            channels=before[0],
            group_inputs=before[0] // groups,
            group_outputs=group_outputs,
            outputs=after[0],
            stride_h=stride_h,
            stride_w=stride_w,
            pad_h=pad_h,
            pad_w=pad_w,
            dilation_h=dilation_h,
            dilation_w=dilation_w,
            T=network.code.T,
            KERNEL_H=kernel_h,
            KERNEL_W=kernel_w,
            SPIKE_LIMBS=len(tensors["spikes"]),
            WEIGHT_LIMBS=len(tensors["weights"]),
            CODES=1 << network.weights.bits,
            ACCUMULATOR_BITS=network.accumulator_bits,
            FIRES=layer.fires,
            SHIFTED=any(layer.shifts),
            EXTRA=extra is not None,
            SILENT=NO_SPIKE,
            BLOCK_M=block_m,
            BLOCK_N=block_n,
            BLOCK_K=32,
        )
        return out

    def _load(self, owner: Synaptic, layer: Synaptic) -> dict[str, Tensor]:
        """Device tensors of a connection: codes ``[group, tap, input, output]``, limbs, and what `integrate` reads besides."""
        network = self.network
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        inputs = layer.weight_shape[1]
        codes = layer.codes.reshape(groups, layer.outputs // groups, inputs, math.prod(layer.weight_shape[2:]))
        identity = np.zeros(256, dtype=np.int64)
        if layer.residuals:
            identity = integer_kernel(network.code) << (network.exponent(layer) - network.code.exponent)
        thresholds = network.thresholds(layer) if layer.fires else np.zeros(1, dtype=np.int64)
        arrays = {
            "codes": codes.transpose(0, 3, 2, 1),
            "bias": layer.bias,
            "thresholds": thresholds,
            "shifts": layer.channel_shifts,
            "identity": identity,
        }
        tensors = {name: torch.tensor(np.ascontiguousarray(a), device=self.device) for name, a in arrays.items()}
        spikes = self._limbs(network.spike_values(layer.source))
        return tensors | {"spikes": spikes, "weights": self._limbs(network.integer_weights(owner, layer))}

    def _limbs(self, values: np.ndarray) -> Tensor:
        """Limbs, int8 ``[limbs, len(values)]``: ``values = sum_i limb[i] * 2^(7 i)``, each in -64..63."""
        limbs: list[np.ndarray] = []
        rest = values.astype(np.int64)
        while not limbs or rest.any():
            low = ((rest + 64) & 127) - 64
            limbs.append(low.astype(np.int8))
            rest = (rest - low) >> LIMB_BITS
        return torch.tensor(np.stack(limbs), device=self.device)


def earliest(layer: MaxPool2d, times: Tensor) -> Tensor:
    """Max pooling: the earliest spike of each window; padding is silent."""
    (top, left), (down, across) = layer.padding, layer.stride
    padded = torch.nn.functional.pad(times, (left, left, top, top), value=NO_SPIKE)
    windows = padded.unfold(2, layer.kernel[0], down).unfold(3, layer.kernel[1], across)
    return windows.flatten(4).amin(4)


def shuffled(layer: PixelShuffle, times: Tensor) -> Tensor:
    """Channels become pixels."""
    (down, across), (images, channels, height, width) = layer.factor, times.shape
    split = times.reshape(images, channels // (down * across), down, across, height, width)
    return split.permute(0, 1, 4, 2, 5, 3).reshape(images, split.shape[1], down * height, across * width)


def _volume(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def _channels_last(times: Tensor, shape: Shape) -> Tensor:
    return times.reshape(len(times), *shape).permute(0, 2, 3, 1).contiguous()


@triton.jit  # type: ignore[untyped-decorator]
def integrate(  # type: ignore[no-untyped-def]
    times,
    codes,
    spike_limbs,
    weight_limbs,
    bias,
    extra,
    thresholds,
    shifts,
    out,
    positions,
    height,
    width,
    out_height,
    out_width,
    channels,
    group_inputs,
    group_outputs,
    outputs,
    stride_h,
    stride_w,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    T,
    KERNEL_H: tl.constexpr,
    KERNEL_W: tl.constexpr,
    SPIKE_LIMBS: tl.constexpr,
    WEIGHT_LIMBS: tl.constexpr,
    CODES: tl.constexpr,
    ACCUMULATOR_BITS: tl.constexpr,
    FIRES: tl.constexpr,
    SHIFTED: tl.constexpr,
    EXTRA: tl.constexpr,
    SILENT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:
    """Membranes of a tile of output positions by output channels of one group, then spike times or logits.

    Every argument is given by name. Those in capitals are compiled in.

    What is read and written:
        times: uint8 ``[image, row, column, channel]``.
        codes: uint8 ``[group, tap, input, output]``.
        spike_limbs, weight_limbs: tables from spike time and code to limbs of 7 bits, see `CudaEngine._limbs`.
        bias, extra: added to the membranes, int64; ``extra`` by position and output, with ``EXTRA``.
        thresholds: int64 ``[T]``, with ``FIRES``.
        shifts: of each output's membranes to the right before they fire, int64, with ``SHIFTED``.
        out: spike times, or logits without ``FIRES``, ``[image, row, column, output]``.
        positions: output pixels of all images.
    """
    BITS: tl.constexpr = 32 if ACCUMULATOR_BITS <= 32 else 64
    SUM: tl.constexpr = tl.int32 if ACCUMULATOR_BITS <= 32 else tl.int64
    group = tl.program_id(2)
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    image = m // (out_height * out_width)
    top = m // out_width % out_height * stride_h - pad_h
    left = m % out_width * stride_w - pad_w
    inside_m, inside_n = m < positions, n < group_outputs
    u = tl.zeros((BLOCK_M, BLOCK_N), dtype=SUM)
    for tap in range(KERNEL_H * KERNEL_W):
        y, x = top + tap // KERNEL_W * dilation_h, left + tap % KERNEL_W * dilation_w
        inside = inside_m & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        pixel = ((image.to(tl.int64) * height + y) * width + x) * channels + group * group_inputs
        rows = (group.to(tl.int64) * (KERNEL_H * KERNEL_W) + tap) * group_inputs
        for c0 in range(0, group_inputs, BLOCK_K):
            c = c0 + k
            inside_c = c < group_inputs
            spike = tl.load(times + pixel[:, None] + c[None, :], mask=inside[:, None] & inside_c[None, :], other=SILENT)
            inside_w = inside_c[:, None] & inside_n[None, :]
            code = tl.load(codes + (rows + c[:, None]) * group_outputs + n[None, :], mask=inside_w, other=0)
            for i in tl.static_range(SPIKE_LIMBS):
                a = tl.load(spike_limbs + i * 256 + spike.to(tl.int32))
                for j in tl.static_range(WEIGHT_LIMBS):
                    if 7 * (i + j) < BITS:
                        b = tl.load(weight_limbs + j * CODES + code.to(tl.int32))
                        u += tl.dot(a, b, out_dtype=tl.int32).to(SUM) << (7 * (i + j))
    channel = group * group_outputs + n
    at = m.to(tl.int64)[:, None] * outputs + channel[None, :]
    valid = inside_m[:, None] & inside_n[None, :]
    u += tl.load(bias + channel, mask=inside_n, other=0).to(SUM)[None, :]
    if EXTRA:
        u += tl.load(extra + at, mask=valid, other=0).to(SUM)
    u = (u << (BITS - ACCUMULATOR_BITS)) >> (BITS - ACCUMULATOR_BITS)
    if SHIFTED:
        u = u >> tl.load(shifts + channel, mask=inside_n, other=0).to(SUM)[None, :]
    if FIRES:  # the number of thresholds above u: the first that u reaches
        t = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32)
        for step in range(T):
            t += (tl.load(thresholds + step).to(SUM) > u).to(tl.int32)
        tl.store(out + at, tl.where(t == T, SILENT, t).to(tl.uint8), mask=valid)
    else:
        tl.store(out + at, u.to(tl.int64), mask=valid)
