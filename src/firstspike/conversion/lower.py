"""Lower a prepared network in its last stage to integers: codes, scales, biases. Nothing is approximated here."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from firstspike import spec
from firstspike.arith import LogWeights, encode_weights, membrane_exponent
from firstspike.cat.layers import AveragePool, Heads, Rearrange, Synapses, nearest_level
from firstspike.cat.moves import PixelShuffle
from firstspike.cat.prepared import Prepared, Step, evaluating
from firstspike.spec.limits import Shape
from firstspike.spec.network import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, MembraneError, Network


class ConversionError(ValueError):
    """A network cannot be converted; the text names the layer, the rule and the value."""


@dataclass(frozen=True, kw_only=True)
class _Merged:
    """An average that the next linear layer takes in: what it reads, that value's shape, its window."""

    source: str
    shape: Shape
    window: tuple[int, int]


def lower(prepared: Prepared, shape: Shape, *, classes: tuple[str, ...] = ()) -> Network:
    """The integer network of a prepared network in stage ``"quantised"``.

    Args:
        prepared: the network; its weights are already on logarithmic levels in this stage.
        shape: of one input image, without the batch axis.
        classes: names of the logits, if known.

    Raises:
        TypeError: ``prepared`` was not made by `firstspike.prepare`.
        ConversionError: the stage is another one, or a layer does not fit (its membrane, its shapes).
        UnsupportedError: a layer has a hook or a replaced forward, which would be lost.
    """
    if not isinstance(prepared, Prepared):
        raise TypeError(f"convert needs a network made by firstspike.prepare, not {type(prepared).__name__}")
    prepared.check_layers()
    if prepared.stage != "quantised":
        raise ConversionError(f"convert needs stage 'quantised' (set network.stage), not {prepared.stage!r}")
    try:
        with torch.no_grad(), evaluating(prepared):
            return _Lowering(prepared, shape).network(classes)
    except ConversionError:
        raise
    except ValueError as error:
        remedy = ""
        if isinstance(error, MembraneError):
            remedy = "; set accumulator_bits of the prepared network, and of the Processor, to 40, or use fewer bits or octaves"
        raise ConversionError(f"convert: {error}{remedy}") from error


class _Lowering:
    """Walks the steps in order, with the shape of every value."""

    def __init__(self, prepared: Prepared, shape: Shape) -> None:
        self.prepared = prepared
        shape = tuple(int(extent) for extent in shape)
        self.input_shape = (shape[0], 1, shape[1]) if len(shape) == 2 else shape  # a sequence is one row
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {INPUT: self.input_shape}
        self.alias: dict[str, str] = {INPUT: INPUT}
        self.merged: dict[str, _Merged] = {}
        self.parts: dict[str, Conv2d | Linear] = {}
        self.part_bias: dict[str, tuple[np.ndarray, int]] = {}  # integers, and the exponent of their grid
        self.is_part = {name for step in prepared.steps for name in step.parts}
        self.is_part |= {name for step in prepared.steps if step.kind == "heads" for name in step.reads}

    def network(self, classes: tuple[str, ...]) -> Network:
        for step in self.prepared.steps:
            self._step(step, self.prepared.layers[step.name])
        return Network(
            code=self.prepared.code,
            weights=self.prepared.weights,
            input_shape=self.input_shape,
            layers=tuple(self.layers),
            accumulator_bits=self.prepared.accumulator_bits,
            classes=classes,
            heads=tuple(self.prepared.heads.items()),
        )

    def _step(self, step: Step, module: nn.Module) -> None:
        if step.source in self.merged and not isinstance(module, Synapses):  # flatten or dropout of a merged average
            self.merged[step.name] = self.merged[step.source]
            return
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            self.alias[step.name] = self.alias[step.source]
        elif isinstance(module, nn.Flatten):
            source = self.alias[step.source]
            if len(self.shapes[source]) == 1 or self._is_readout(source):
                self.alias[step.name] = source
            else:
                self._add(step, Flatten(name=step.name, source=source))
        elif isinstance(module, nn.MaxPool2d):
            kernel, stride, padding = (_pair(v) for v in (module.kernel_size, module.stride, module.padding))
            source = self.alias[step.source]
            self._add(step, MaxPool2d(name=step.name, source=source, kernel=kernel, stride=stride, padding=padding))
        elif isinstance(module, nn.AdaptiveMaxPool2d):
            source = self.alias[step.source]
            whole = (self.shapes[source][1], self.shapes[source][2])
            self._add(step, MaxPool2d(name=step.name, source=source, kernel=whole, stride=whole))
        elif isinstance(module, PixelShuffle):
            self._add(step, spec.PixelShuffle(name=step.name, source=self.alias[step.source], factor=module.factor))
        elif isinstance(module, Heads):
            self._heads(step)
        elif isinstance(module, AveragePool):
            self._average(step, module)
        elif isinstance(module, Rearrange):
            source, *others = (self.alias[name] for name in step.reads)
            channels = module.indices(sum(self.shapes[name][0] for name in (source, *others)))
            self._add(step, spec.Channels(name=step.name, source=source, others=tuple(others), channels=channels))
        else:
            assert isinstance(module, Synapses)
            self._synapses(step, module)

    def _unused(self, name: str) -> str:
        taken = {INPUT, *(step.name for step in self.prepared.steps)}
        while name in taken:
            name += "_"
        return name

    def _is_readout(self, name: str) -> bool:
        return any(
            layer.name == name and isinstance(layer, Conv2d | Linear) and not layer.fires for layer in self.layers
        )

    def _add(self, step: Step, layer: Layer) -> None:
        if isinstance(layer, spec.Channels):
            self.shapes[step.name] = layer.joined_shape(self.shapes)
        else:
            self.shapes[step.name] = layer.output_shape(self.shapes[layer.source])
        self.alias[step.name] = step.name
        self.layers.append(layer)

    def _average(self, step: Step, module: AveragePool) -> None:
        source = self.alias[step.source]
        shape = self.shapes[source]
        if len(shape) == 1 and step.residuals and module.kernel == (1, 1):
            self._flat_sum(step, source, shape[0])
            return
        if len(shape) != 3:
            raise ConversionError(f"layer {step.name!r}: an average needs (channels, height, width), not {shape!r}")
        window = module.window((shape[1], shape[2]))
        if self.prepared.merged(step, (shape[1], shape[2])):
            self.merged[step.name] = _Merged(source=source, shape=shape, window=window)
            return
        weights = self.prepared.weights
        level = nearest_level(window[0] * window[1], weights)
        q = min(level, weights.q_max)
        self._add(
            step,
            Conv2d(
                name=step.name,
                source=source,
                codes=np.full((shape[0], 1, *window), q, dtype=np.uint8),
                scale=level - q,
                bias=np.zeros(shape[0], dtype=np.int64),
                fires=step.fires or step.merges,
                residuals=tuple(self.alias[name] for name in step.residuals),
                stride=module.stride or window,
                padding=module.padding,
                groups=shape[0],
            ),
        )

    def _flat_sum(self, step: Step, source: str, features: int) -> None:
        """The sum of spiking vectors: a linear layer of weight 1 on the diagonal, zero elsewhere."""
        codes = np.full((features, features), self.prepared.weights.zero_level, dtype=np.uint8)
        np.fill_diagonal(codes, 0)
        self._add(
            step,
            Linear(
                name=step.name,
                source=source,
                codes=codes,
                scale=0,
                bias=np.zeros(features, dtype=np.int64),
                fires=step.fires or step.merges,
                residuals=tuple(self.alias[name] for name in step.residuals),
            ),
        )

    def _synapses(self, step: Step, module: Synapses) -> None:
        codes = _codes(module, self.prepared.weights, step.name)
        scale = int(module.scale)
        stride, padding, dilation, groups = (1, 1), (0, 0), (1, 1), 1
        if isinstance(module.linear, nn.Conv2d):
            stride, dilation = _pair(module.linear.stride), _pair(module.linear.dilation)
            groups = module.linear.groups
            codes, padding = self._framed(step.name, module, codes, dilation)
        merged = self.merged.get(step.source)
        if merged is None:
            source = self.alias[step.source]
        else:
            count = merged.window[0] * merged.window[1]
            scale += self.prepared.weights.levels_per_octave * (count.bit_length() - 1)
            source = merged.source
            if codes.ndim == 4:
                codes = np.kron(codes, np.ones((1, 1, *merged.window), dtype=np.uint8))
                stride = (stride[0] * merged.window[0], stride[1] * merged.window[1])
                padding = (padding[0] * merged.window[0], padding[1] * merged.window[1])
            else:
                channels, height, width = merged.shape
                grid = codes.reshape(len(codes), channels, height // merged.window[0], width // merged.window[1])
                codes = np.kron(grid, np.ones((1, 1, *merged.window), dtype=np.uint8)).reshape(len(codes), -1)
                flat = self._unused(f"{step.name}_flatten")
                self.layers.append(Flatten(name=flat, source=source))
                self.shapes[flat] = (channels * height * width,)
                source = flat
        residuals = tuple(self.alias[name] for name in step.residuals)
        exponent = membrane_exponent(self.prepared.code, self.prepared.weights, scale, planes=module.planes)
        _, _, rounded = module.level_indices()
        shifts = (0,) * len(codes) if module.shifts is None else tuple(module.shifts.tolist())
        bias = _exact_integers(rounded, exponent + np.array(shifts), step.name)
        fields: dict[str, Any] = {"name": step.name, "source": source, "codes": codes, "scale": scale}
        fields |= {"fires": step.fires, "residuals": residuals}
        if codes.ndim == 4:
            fields |= {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation}
        kind = Conv2d if codes.ndim == 4 else Linear
        if step.name in self.is_part:
            self.parts[step.name] = kind(**fields, bias=np.zeros_like(bias))
            self.part_bias[step.name] = (bias, exponent)
            return
        parts = tuple(self.parts[name] for name in step.parts)
        biases = [(bias, exponent), *(self.part_bias[name] for name in step.parts)]
        finest = max(grid for _, grid in biases)
        total = np.sum([integers << (finest - grid) for integers, grid in biases], axis=0)
        self._add(step, kind(**fields, bias=total, parts=parts, shifts=shifts if any(shifts) else ()))

    def _framed(
        self, name: str, module: Synapses, codes: np.ndarray, dilation: tuple[int, int]
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """Codes and padding of a convolution with zeros around: where the sides differ, the kernel gets rows of weight zero."""
        left, right, top, bottom = module.frame
        rows, columns = _pair(module.linear.padding)
        padding, widths = [], [(0, 0), (0, 0)]
        for before, behind, step in (
            (rows + top, rows + bottom, dilation[0]),
            (columns + left, columns + right, dilation[1]),
        ):
            most = max(before, behind)
            if (most - min(before, behind)) % step:
                raise ConversionError(
                    f"layer {name!r}: of a dilated convolution the zeros on both sides must differ by a multiple of its dilation "
                    f"{step}, not be {before} and {behind}"
                )
            widths.append(((most - before) // step, (most - behind) // step))
            padding.append(most)
        if any(map(any, widths)):
            codes = np.pad(codes, widths, constant_values=self.prepared.weights.zero_level)
        return codes, (padding[0], padding[1])

    def _heads(self, step: Step) -> None:
        """Several outputs as one read-out: each is a connection with weights of zero at the channels of the others."""
        connections, grids = [self.parts[name] for name in step.reads], [self.part_bias[name] for name in step.reads]
        total = sum(one.outputs for one in connections)
        finest = max(grid for _, grid in grids)
        made, first = [], 0
        for one in connections:
            codes = np.full((total, *one.weight_shape[1:]), self.prepared.weights.zero_level, dtype=np.uint8)
            codes[first : first + one.outputs] = np.asarray(one.codes)
            made.append(replace(one, codes=codes, bias=np.zeros(total, dtype=np.int64)))
            first += one.outputs
        bias = np.concatenate([integers << (finest - grid) for integers, grid in grids])
        self._add(step, replace(made[0], name=step.name, bias=bias, parts=tuple(made[1:])))


def _codes(module: Synapses, weights: LogWeights, name: str) -> np.ndarray:
    index, negative, _ = module.level_indices()
    if not bool(torch.isfinite(module.folded(torch.float64)[0]).all()):
        raise ConversionError(f"layer {name!r}: its weights must be finite, not NaN or infinite")
    levels = weights.zero_level - index.cpu().numpy().astype(np.int64)
    return encode_weights(levels, negative.cpu().numpy(), weights)


def _exact_integers(bias: Tensor, exponent: np.ndarray, name: str) -> np.ndarray:
    """A layer's biases in units of ``2^-exponent`` of each output."""
    scaled = np.ldexp(bias.double().cpu().numpy(), exponent)
    if not np.isfinite(scaled).all() or (np.abs(scaled) >= 2.0**62).any():
        raise ConversionError(
            f"layer {name!r}: its bias must be finite and below 2^62 steps, not {scaled.tolist()!r:.80}"
        )
    integers: np.ndarray = scaled.astype(np.int64)
    if not np.array_equal(integers.astype(np.float64), scaled):
        raise ConversionError(f"layer {name!r}: its bias must lie on the grid 2^-{exponent.max()}")
    return integers


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    assert isinstance(value, tuple)
    return (int(value[0]), int(value[1]))
