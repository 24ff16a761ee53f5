"""The integer network: layers with codes, shape inference and the overflow bound. Data and checks, no inference."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from firstspike.arith import (
    PLANES,
    Code,
    LogWeights,
    checks,
    decode_weights,
    integer_kernel,
    integer_weights,
    membrane_exponent,
    plane_times,
    planes_kernel,
    product_table,
    shift_base,
    thresholds,
)
from firstspike.figures import numbers
from firstspike.spec import limits
from firstspike.spec.layers import INPUT, Channels, Conv2d, Flatten, Layer, Linear, MaxPool2d, PixelShuffle, Synaptic
from firstspike.spec.limits import Shape

__all__ = [
    "INPUT",
    "Channels",
    "Conv2d",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "MembraneError",
    "Network",
    "PixelShuffle",
    "Synaptic",
]


class MembraneError(ValueError):
    """A layer's membrane can outgrow the network's ``accumulator_bits`` (numerics, section 3)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A whole integer network: a directed acyclic graph of layers in order of execution.

    Attributes:
        code: the spike code of every layer and of the input.
        weights: the weight format of every layer.
        input_shape: ``(channels, height, width)`` or ``(features,)`` of one image.
        layers: in order; the last one is the only read-out.
        accumulator_bits: ``A``, two's complement bits of a membrane, 8..48.
        classes: names of the logits, or empty.
        heads: if the network gives several results: the name of each and its channels of the read-out, in order.

    Raises:
        TypeError, ValueError: a field, a shape or a connection breaks its rule; the text names the layer, the rule and the
            value.
        MembraneError: a layer's membrane does not fit ``accumulator_bits`` (numerics, section 3).
    """

    code: Code
    weights: LogWeights
    input_shape: Shape
    layers: tuple[Layer, ...]
    accumulator_bits: int = 32
    classes: tuple[str, ...] = ()
    heads: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        checks.integer("Network.accumulator_bits", self.accumulator_bits, low=8, high=48)
        for field in ("input_shape", "layers", "classes", "heads"):
            if not isinstance(getattr(self, field), tuple):
                raise TypeError(f"Network.{field} must be a tuple, not {getattr(self, field)!r}")
        longest = self.code.mantissa_bits + self.weights.mantissa_bits + shift_base(self.code, self.weights)
        if self.code.planes:
            longest = max(longest, membrane_exponent(self.code, self.weights, 0, planes=True))
        if longest > 62:
            raise ValueError(
                f"Network.code and weights must have products of at most 62 bits (M + M_w + S), not {longest}"
            )
        if len(self.input_shape) not in (1, 3):
            raise ValueError(f"Network.input_shape must have 1 or 3 axes, not {self.input_shape!r}")
        for extent in self.input_shape:
            checks.integer("Network.input_shape", extent, low=1, high=1 << 16)
        if not 1 <= len(self.layers) <= limits.MAX_LAYERS:
            raise ValueError(f"Network.layers must hold 1..{limits.MAX_LAYERS} layers, not {len(self.layers)}")
        _ = self.shapes
        for layer in self.layers:
            if isinstance(layer, Synaptic):
                self._check_synaptic(layer)
        last = self.layers[-1]
        if not isinstance(last, Synaptic) or last.fires:
            raise ValueError(f"the last layer must be a read-out (linear or conv2d, fires=False), not {last.name!r}")
        if self.classes and len(self.classes) != math.prod(self.shapes[last.name]):
            raise ValueError(
                f"Network.classes must name all {math.prod(self.shapes[last.name])} logits, not {len(self.classes)}"
            )
        self._check_heads(last.outputs)

    def _check_heads(self, outputs: int) -> None:
        names = [name for name, _ in self.heads]
        for name, size in self.heads:
            if not isinstance(name, str) or names.count(name) > 1:
                raise ValueError(f"Network.heads must have names of their own, not {names!r}")
            checks.integer(f"Network.heads: {name!r}", size, low=1, high=outputs)
        if self.heads and sum(size for _, size in self.heads) != outputs:
            raise ValueError(f"Network.heads must share the read-out's {outputs} channels, not {self.heads!r}")

    def __repr__(self) -> str:
        weights = sum(connection.weight_count for connection in self.connections)
        shape = "x".join(map(str, self.input_shape))
        return (
            f"Network({len(self.layers)} layers, {numbers.count(weights)} weights of {self.weights.bits} bits, "
            f"input {shape}, T={self.code.T}, tau={self.code.tau}, {self.latency_steps} steps)"
        )

    def _repr_html_(self) -> str:
        from firstspike.spec.summary import sketch  # which knows networks

        return sketch(self)._repr_html_()

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Output shape of the input and of every layer, by name (no batch axis)."""
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        limits.check_shape(INPUT, self.input_shape)
        names, operations = {INPUT}, 0
        for layer in self.layers:
            named = [connection.name for connection in getattr(layer, "connections", (layer,))]
            for name in named:
                if not name or name in names:
                    raise ValueError(f"layer names must be unique and not empty or {INPUT!r}, not {name!r}")
                names.add(name)
            for name in layer.inputs:
                if name not in shapes:
                    raise ValueError(f"layer {layer.name!r}: it must read an earlier layer, not {name!r}")
            if isinstance(layer, Channels):
                shapes[layer.name] = layer.joined_shape(shapes)
            else:
                shapes[layer.name] = layer.output_shape(shapes[layer.source])
            limits.check_shape(layer.name, shapes[layer.name])
            operations += math.prod(shapes[layer.name]) * layer.operations
            moved = isinstance(layer, MaxPool2d | Channels | PixelShuffle)
            numbers = layer.inputs if moved else getattr(layer, "residuals", ())
            if any(self.planes(name) > 1 for name in numbers):
                raise ValueError(
                    f"layer {layer.name!r}: input planes must be read by a convolution or linear layer, not by max pooling, "
                    f"rearranged or as a residual; use Code(input='spike')"
                )
            if isinstance(layer, Synaptic):
                limits.check_parts(layer.name, shapes[layer.name], len(layer.parts))
                for part in layer.parts:
                    found = part.output_shape(shapes[part.source])
                    if found != shapes[layer.name]:
                        raise ValueError(
                            f"layer {layer.name!r}: part {part.name!r} must have shape {shapes[layer.name]!r}, not {found!r}"
                        )
                for name in layer.residuals:
                    if shapes[name] != shapes[layer.name]:
                        raise ValueError(
                            f"layer {layer.name!r}: residual {name!r} must have shape {shapes[layer.name]!r}, "
                            f"not {shapes[name]!r}"
                        )
        parts = len(names) - len(shapes)
        limits.check_total(sum(math.prod(shape) for shape in shapes.values()), operations, parts)
        return shapes

    @cached_property
    def input_maps(self) -> frozenset[str]:
        """Names of the input and its flattenings."""
        names = {INPUT}
        for layer in self.layers:
            if isinstance(layer, Flatten) and layer.source in names:
                names.add(layer.name)
        return frozenset(names)

    def planes(self, name: str) -> int:
        """Neurons behind each value of a map: the planes of the input, or 1."""
        return PLANES if self.code.planes and name in self.input_maps else 1

    def neuron_shape(self, name: str) -> Shape:
        """Shape of a map with every neuron of its own: channel ``8 c + j`` is plane ``j`` of channel ``c`` of the input."""
        shape = self.shapes[name]
        return (shape[0] * self.planes(name), *shape[1:])

    def neuron_times(self, times: np.ndarray) -> np.ndarray:
        """Spike times of every neuron of the stored input, uint8 ``[n, *neuron_shape]``."""
        return plane_times(times) if self.code.planes else times

    def spike_values(self, name: str) -> np.ndarray:
        """Integer value of every stored byte of a map, int64 ``[256]``: times an integer weight it is a layer's product."""
        return planes_kernel(self.code) if self.planes(name) > 1 else integer_kernel(self.code)

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            KeyError: there is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    @property
    def synaptic(self) -> tuple[Synaptic, ...]:
        """The layers with weights, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Synaptic))

    @property
    def connections(self) -> tuple[Synaptic, ...]:
        """The layers with weights and all their parts, in order."""
        return tuple(connection for layer in self.synaptic for connection in layer.connections)

    def connection(self, name: str) -> Synaptic:
        """The layer with weights, or the part, of that name.

        Raises:
            KeyError: there is none.
        """
        for connection in self.connections:
            if connection.name == name:
                return connection
        raise KeyError(name)

    @cached_property
    def nonzero_fan_out(self) -> dict[str, np.ndarray]:
        """Of every connection, by name: into how many outputs each input has a weight that is not zero.

        int64, ``[c_in, k_h, k_w]`` of a convolution (one count per position in the kernel), ``[inputs]`` of a linear layer.
        """
        counts = {}
        for layer in self.connections:
            nonzero = (layer.codes & self.weights.zero_level) != self.weights.zero_level
            groups = layer.groups if isinstance(layer, Conv2d) else 1
            grouped = nonzero.reshape(groups, layer.outputs // groups, *nonzero.shape[1:]).sum(axis=1, dtype=np.int64)
            counts[layer.name] = grouped.reshape(-1, *nonzero.shape[2:])
        return counts

    def exponent(self, layer: Synaptic) -> int:
        """``G`` of a layer: its membranes are in units of ``2^-G``, the finest grid of its connections."""
        found = self._exponents.get(id(layer))
        return max(map(self._own_exponent, layer.connections)) if found is None else found

    @cached_property
    def _exponents(self) -> dict[int, int]:
        """``G`` of the network's layers, by identity: each connection asks for its layer's."""
        return {id(layer): max(map(self._own_exponent, layer.connections)) for layer in self.synaptic}

    def _own_exponent(self, connection: Synaptic) -> int:
        return membrane_exponent(self.code, self.weights, connection.scale, planes=self.planes(connection.source) > 1)

    def _finer(self, layer: Synaptic, connection: Synaptic) -> int:
        """``G - G_s``: how much finer the layer's grid is than its connection's own."""
        return self.exponent(layer) - self._own_exponent(connection)

    def shift(self, layer: Synaptic, connection: Synaptic) -> int:
        """Left shift of a connection's product of level 0 with the earliest spike (of the first plane): ``S + G - G_s``."""
        planes = self.planes(connection.source) > 1
        return shift_base(self.code, self.weights, planes=planes) + self._finer(layer, connection)

    def integer_weights(self, layer: Synaptic, connection: Synaptic) -> np.ndarray:
        """Integer weight of every code of a layer's connection on the layer's grid, int64 ``[2^B_w]``."""
        return integer_weights(self.weights, connection.scale) << self._finer(layer, connection)

    def real_weights(self, layer: Synaptic, connection: Synaptic) -> np.ndarray:
        """The weights of a layer's connection as real numbers, float64 of the codes' shape: exact."""
        values = decode_weights(connection.codes, self.weights, connection.scale)
        if any(layer.shifts):
            values = np.ldexp(values, -layer.channel_shifts.reshape(-1, *[1] * (values.ndim - 1)))
        return values

    def real_bias(self, layer: Synaptic) -> np.ndarray:
        """The biases of a layer as real numbers, float64 ``[outputs]``: exact."""
        values: np.ndarray = np.ldexp(layer.bias.astype(np.float64), -(self.exponent(layer) + layer.channel_shifts))
        return values

    def thresholds(self, layer: Synaptic) -> np.ndarray:
        """``Theta[t]`` of a layer, int64 ``[T]``."""
        return thresholds(self.code, self.exponent(layer))

    def products(self, layer: Synaptic) -> np.ndarray:
        """Signed products of a layer that reads spikes of the code, int64 ``[T, 2^B_w]``, by spike time and weight code."""
        return product_table(self.code, self.weights, layer.scale)

    @property
    def latency_steps(self) -> int:
        """``(D+1) * T`` with ``D`` spiking layers on the longest path: the input fires in window 0 (section 1)."""
        return self.windows[self.layers[-1].name] * self.code.T

    @property
    def product_bits(self) -> int:
        """Bits of the largest product of a spike and a weight where no source is shifted further: ``M + M_w + S + 1``."""
        return self.code.mantissa_bits + self.weights.mantissa_bits + shift_base(self.code, self.weights) + 1

    @cached_property
    def windows(self) -> dict[str, int]:
        """Window in which every layer fires, by name: 0 for the input, one more per layer with weights on the longest path.

        The read-out's is the number of windows before its logits are there.
        """
        depth = {INPUT: 0}
        for layer in self.layers:
            depth[layer.name] = max(depth[name] for name in layer.inputs) + isinstance(layer, Synaptic)
        return depth

    def membrane_bounds(self, layer: Synaptic) -> tuple[int, int]:
        """Bounds of a layer's membranes: bias plus all negative, or all positive, products at ``t = 0`` (of all planes).

        How often a code occurs among an output's weights, times its product; a block of outputs at a time. Products may
        be longer than 64 bits before they are found not to fit: then the sums are of Python integers.
        """
        low = high = layer.bias.astype(object)
        for connection in layer.connections:
            below, above = self._sums(layer, connection, connection.codes)
            low, high = low + below, high + above
        return int(low.min()), int(high.max()) + (len(layer.residuals) << max(self.exponent(layer), 0))

    def _sums(self, layer: Synaptic, connection: Synaptic, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of every output, the sums of a connection's negative and of its positive products, as Python integers."""
        width, fan_in = 1 << self.weights.bits, codes.size // connection.outputs
        finer = self._finer(layer, connection)
        largest = int(self.spike_values(connection.source).max()) << finer
        products = [int(weight) * largest for weight in integer_weights(self.weights, connection.scale)]
        dtype = np.dtype(np.int64 if max(products) * fan_in < 1 << 62 else object)
        negative = np.array([min(product, 0) for product in products], dtype=dtype)
        positive = np.array([max(product, 0) for product in products], dtype=dtype)
        low, high = [], []
        rows = max(1, (1 << 16) // max(fan_in, width))
        for first in range(0, connection.outputs, rows):
            block = codes[first : first + rows].reshape(-1, fan_in)
            index = block + np.arange(len(block), dtype=np.int64)[:, None] * width
            counts = np.bincount(index.reshape(-1), minlength=len(block) * width).reshape(-1, width).astype(dtype)
            low.append(counts @ negative)
            high.append(counts @ positive)
        return np.concatenate(low).astype(object), np.concatenate(high).astype(object)

    def _check_synaptic(self, layer: Synaptic) -> None:
        if not layer.fires and layer is not self.layers[-1]:
            raise ValueError(f"layer {layer.name!r}: only the last layer may be a read-out")
        for connection in layer.connections:
            largest = int(connection.codes.max())
            if largest >> self.weights.bits:
                raise ValueError(
                    f"layer {connection.name!r}: codes must have {self.weights.bits} bits, not {largest!r}"
                )
            longest = self.code.mantissa_bits + self.weights.mantissa_bits + self.shift(layer, connection)
            if longest > 62:
                raise ValueError(
                    f"layer {layer.name!r}: its connections' scales must leave products of at most 62 bits, not {longest} of "
                    f"{connection.name!r}"
                )
        exponent = self.exponent(layer)
        if layer.residuals and exponent < self.code.exponent:
            raise ValueError(
                f"layer {layer.name!r}: a residual input needs G >= {self.code.exponent} to be exact, not {exponent!r}"
            )
        if any(layer.shifts) and exponent < self.code.exponent:
            raise ValueError(
                f"layer {layer.name!r}: shifts need G >= {self.code.exponent} for thresholds that are exact, not {exponent!r}; "
                f"give it one scale, or a larger one"
            )
        limit = 1 << (self.accumulator_bits - 1)
        if layer.fires and (exponent >= self.accumulator_bits - 1 or exponent < -64):
            raise ValueError(
                f"layer {layer.name!r}: the firing level 2^G must fit {self.accumulator_bits} bits, "
                f"not G = {exponent!r} (scale {layer.scale})"
            )
        low, high = self.membrane_bounds(layer)
        if low < -limit or high >= limit:
            raise MembraneError(
                f"layer {layer.name!r}: the membrane must fit {self.accumulator_bits} bits "
                f"({-limit}..{limit - 1}), not {low}..{high}"
            )
