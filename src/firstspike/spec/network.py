"""The integer network: layers with codes, shape inference and the overflow bound. Data and checks, no inference."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar, overload

import numpy as np

from firstspike.arith import (
    PLANES,
    Code,
    LogWeights,
    checks,
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
from firstspike.messages import brief
from firstspike.spec import limits
from firstspike.spec.codes import PackedCodes, pack
from firstspike.spec.limits import Shape

INPUT = "input"
"""Name under which layers refer to the network's encoded input."""


class MembraneError(ValueError):
    """A layer's membrane can outgrow the network's ``accumulator_bits`` (numerics, section 3)."""


def _pair(subject: str, value: tuple[int, int], *, low: int) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{subject} must be a tuple of two ints, not {value!r}")
    for entry in value:
        checks.integer(subject, entry, low=low, high=1 << 16)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Layer:
    """What every layer has: a unique name and the name of the layer (or ``"input"``) whose spikes it reads."""

    kind: ClassVar[str]
    name: str
    source: str

    def __post_init__(self) -> None:
        for field, value in (("name", self.name), ("source", self.source)):
            if not isinstance(value, str):
                raise TypeError(f"layer {self.name!r}: {field} must be a str, not {value!r}")

    def __repr__(self) -> str:
        shown = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("name", "source", "codes", "bias", "channels")
        }
        kept = "".join(f", {name}={brief(value, 60)}" for name, value in shown.items() if value != ())
        return f"{type(self).__name__}({brief(self.name, 40)} of {brief(self.source, 40)}{self._size}{kept})"

    @property
    def _size(self) -> str:
        return ""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one image's output, given the source's shape (no batch axis)."""
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all layers this one reads."""
        return (self.source,)

    @property
    def operations(self) -> int:
        """Operations of one output: products, residual additions, comparisons, or the copy of a value."""
        return 1


class _Codes:
    """The field ``codes``: given as an array or packed, read as a read-only array."""

    @overload
    def __get__(self, layer: None, owner: type) -> "_Codes": ...

    @overload
    def __get__(self, layer: "Synaptic", owner: type) -> np.ndarray: ...

    def __get__(self, layer: "Synaptic | None", owner: type) -> "np.ndarray | _Codes":
        if layer is None:
            raise AttributeError("codes")  # so a dataclass learns that its field has no default
        codes = layer.__dict__["codes"]
        if isinstance(codes, PackedCodes):
            return codes.unpack()
        view: np.ndarray = codes.view()
        view.flags.writeable = False
        return view

    def __set__(self, layer: "Synaptic", codes: np.ndarray | PackedCodes) -> None:
        layer.__dict__["codes"] = codes


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Synaptic(Layer):
    """A layer with weights: ``u = bias + sum of products + residuals``; it fires, or its ``u`` are the logits.

    It has one connection of its own, from ``source``, and maybe parts: further connections whose products it adds
    (numerics, section 7).

    Attributes:
        codes: unpacked weight codes ``sign << (B_w-1) | q``, uint8, read-only; shape by kind. Given as an array, or as
            `firstspike.spec.codes.PackedCodes`, which every access unpacks anew.
        scale: ``k``, in levels: a code stands for ``W(q + k)``.
        bias: int64 ``[outputs]``, in units of ``2^-G``.
        fires: False for the read-out (the last layer).
        residuals: names of layers of this layer's output shape; each spike at ``t`` adds ``kappa(t) * 2^G``.
        parts: layers of the same output shape, of which the connection counts: zero bias, no residuals, no parts, and
            ``fires`` False. Their names are unique among all layers and parts.
    """

    codes: _Codes = _Codes()
    scale: int
    bias: np.ndarray
    fires: bool = True
    residuals: tuple[str, ...] = ()
    parts: tuple["Synaptic", ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.integer(f"layer {self.name!r}: scale", self.scale, low=-256, high=256)
        if not isinstance(self.fires, bool):
            raise TypeError(f"layer {self.name!r}: fires must be a bool, not {self.fires!r}")
        if not isinstance(self.residuals, tuple):
            raise TypeError(f"layer {self.name!r}: residuals must be a tuple of names, not {self.residuals!r}")
        dimensions = {"conv2d": 4, "linear": 2}[self.kind]
        held, shape = self._held, self.weight_shape
        dtype = np.dtype(np.uint8) if isinstance(held, PackedCodes) else held.dtype
        if dtype != np.uint8 or len(shape) != dimensions or 0 in shape:
            raise TypeError(
                f"layer {self.name!r}: codes must be a non-empty uint8 array with {dimensions} axes, "
                f"not {dtype} {shape!r}"
            )
        if self.bias.dtype != np.int64 or self.bias.shape != shape[:1]:
            raise TypeError(
                f"layer {self.name!r}: bias must be int64 with shape {shape[:1]!r}, "
                f"not {self.bias.dtype} {self.bias.shape!r}"
            )
        if not isinstance(self.parts, tuple):
            raise TypeError(f"layer {self.name!r}: parts must be a tuple of layers, not {self.parts!r}")
        for part in self.parts:
            if not isinstance(part, Synaptic):
                raise TypeError(f"layer {self.name!r}: parts must be layers with weights, not {part!r}")
            if part.fires or part.residuals or part.parts or part.bias.any():
                raise ValueError(
                    f"layer {self.name!r}: a part must be a connection alone (fires=False, no residuals, no parts, zero bias), "
                    f"not {part.name!r} with more"
                )

    @property
    def connections(self) -> tuple["Synaptic", ...]:
        """This layer's own connection and its parts."""
        return (self, *self.parts)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all layers whose spikes it reads: of its connections, then its residuals."""
        return (self.source, *(part.source for part in self.parts), *self.residuals)

    @property
    def operations(self) -> int:
        """Operations of one output: its weights and one for each residual."""
        return sum(math.prod(c.weight_shape[1:]) for c in self.connections) + len(self.residuals)

    @property
    def outputs(self) -> int:
        """Output channels (or features)."""
        return int(self.weight_shape[0])

    @property
    def weight_shape(self) -> Shape:
        """Shape of `codes`, without unpacking them."""
        return self._held.shape

    @property
    def weight_count(self) -> int:
        """Size of `codes`, without unpacking them."""
        return math.prod(self.weight_shape)

    def packed(self, bits: int) -> np.ndarray:
        """The codes as a stream of ``bits`` bits each (`firstspike.spec.codes.pack`), uint8; not to be written to."""
        held = self._held
        return held.stream() if isinstance(held, PackedCodes) and held.bits == bits else pack(self.codes, bits)

    def keep_codes_in(self, stream: Callable[[], np.ndarray], bits: int) -> None:
        """Let go of codes that were given packed in ``bits`` bits: ``stream`` gives the same bytes from now on.

        For the only owner of a network. An array stays: it is the giver's.
        """
        held = self._held
        if isinstance(held, PackedCodes) and held.bits == bits:
            held.keep_in(stream)

    @property
    def _size(self) -> str:
        return f", codes {'x'.join(map(str, self.weight_shape))}"

    @property
    def _held(self) -> np.ndarray | PackedCodes:
        held: np.ndarray | PackedCodes = self.__dict__["codes"]
        return held


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Conv2d(Synaptic):
    """Convolution, zero padding being silence. ``codes`` is ``[c_out, c_in / groups, k_h, k_w]``.

    Neighbouring rows and columns of the kernel read rows and columns that are ``dilation`` apart.

    Average pooling is stored as this layer too: ``groups = c_in`` and every code the level nearest to ``1/n``.
    """

    kind: ClassVar[str] = "conv2d"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        _pair(f"layer {self.name!r}: stride", self.stride, low=1)
        _pair(f"layer {self.name!r}: padding", self.padding, low=0)
        _pair(f"layer {self.name!r}: dilation", self.dilation, low=1)
        checks.integer(f"layer {self.name!r}: groups", self.groups, low=1, high=self.outputs)
        if self.outputs % self.groups:
            raise ValueError(f"layer {self.name!r}: groups must divide {self.outputs} outputs, not {self.groups!r}")

    def output_shape(self, shape: Shape) -> Shape:
        """``(c_out, height, width)`` of an input ``(c_in, height, width)``.

        Raises:
            ValueError: the input does not fit.
        """
        channels = self.weight_shape[1] * self.groups
        if len(shape) != 3 or shape[0] != channels:
            raise ValueError(f"layer {self.name!r}: input shape must be ({channels}, height, width), not {shape!r}")
        limits.check_field(self.name, channels * math.prod(self.weight_shape[2:]))
        return (self.outputs, *limits.window_shape(self.name, shape, self.reach, self.stride, self.padding))

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the first that the kernel reads to the last."""
        rows, columns = (
            (size - 1) * dilation + 1 for size, dilation in zip(self.weight_shape[2:], self.dilation, strict=True)
        )
        return rows, columns


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Linear(Synaptic):
    """Fully connected layer. ``codes`` is ``[outputs, inputs]``."""

    kind: ClassVar[str] = "linear"

    def output_shape(self, shape: Shape) -> Shape:
        """``(outputs,)`` of an input ``(inputs,)``.

        Raises:
            ValueError: the input does not fit.
        """
        if shape != (self.weight_shape[1],):
            raise ValueError(f"layer {self.name!r}: input shape must be ({self.weight_shape[1]},), not {shape!r}")
        limits.check_field(self.name, self.weight_shape[1])
        return (self.outputs,)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MaxPool2d(Layer):
    """Earliest spike of each window; padding is silent."""

    kind: ClassVar[str] = "maxpool2d"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _pair(f"layer {self.name!r}: kernel", self.kernel, low=1)
        _pair(f"layer {self.name!r}: stride", self.stride, low=1)
        _pair(f"layer {self.name!r}: padding", self.padding, low=0)

    def output_shape(self, shape: Shape) -> Shape:
        """``(channels, height, width)`` of an input of three axes.

        Raises:
            ValueError: the input does not fit.
        """
        if len(shape) != 3:
            raise ValueError(f"layer {self.name!r}: input shape must be (channels, height, width), not {shape!r}")
        return (shape[0], *limits.window_shape(self.name, shape, self.kernel, self.stride, self.padding))

    @property
    def operations(self) -> int:
        """Operations of one output: the positions of the window."""
        return math.prod(self.kernel)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Flatten(Layer):
    """All axes into one, in C order (channel, row, column)."""

    kind: ClassVar[str] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """``(features,)`` of an input of any shape."""
        return (math.prod(shape),)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PixelShuffle(Layer):
    """Channels become pixels: it moves spike times (numerics, section 7).

    Output ``(c, r y + i, s x + j)`` is input ``(c r s + i s + j, y, x)`` for ``factor = (r, s)``.
    """

    kind: ClassVar[str] = "pixelshuffle"
    factor: tuple[int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        _pair(f"layer {self.name!r}: factor", self.factor, low=1)

    def output_shape(self, shape: Shape) -> Shape:
        """``(channels / r / s, r * height, s * width)`` of an input of three axes.

        Raises:
            ValueError: the input does not fit.
        """
        down, across = self.factor
        if len(shape) != 3 or shape[0] % (down * across):
            raise ValueError(
                f"layer {self.name!r}: input must have {down * across} or a multiple of channels, rows and columns, "
                f"not shape {shape!r}"
            )
        return (shape[0] // (down * across), down * shape[1], across * shape[2])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Channels(Layer):
    """Channels of one or more maps of the same rows and columns, rearranged: it moves spike times (numerics, section 7).

    Attributes:
        others: names of the maps behind ``source``.
        channels: for every output channel, its number among all channels of ``source`` and ``others``, or -1 for silence.
    """

    kind: ClassVar[str] = "channels"
    others: tuple[str, ...] = ()
    channels: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, value in (("others", self.others), ("channels", self.channels)):
            if not isinstance(value, tuple):
                raise TypeError(f"layer {self.name!r}: {field} must be a tuple, not {value!r}")
        if not 1 <= len(self.channels) <= limits.MAX_EXTENT:
            raise ValueError(
                f"layer {self.name!r}: channels must hold 1..{limits.MAX_EXTENT} entries, not {len(self.channels)}"
            )
        for channel in self.channels:
            checks.integer(f"layer {self.name!r}: channels", channel, low=-1, high=1 << 24)

    @property
    def _size(self) -> str:
        return f", {len(self.channels)} channels"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the maps, in order."""
        return (self.source, *self.others)

    def joined_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """The shape of the output, given those of all maps.

        Raises:
            ValueError: rows or columns differ, or there is no such channel.
        """
        maps = [shapes[name] for name in self.inputs]
        if len({shape[1:] for shape in maps}) > 1:
            raise ValueError(f"layer {self.name!r}: its maps must have the same rows and columns, not {maps!r}")
        limits.check_maps(self.name, sum(math.prod(shape) for shape in maps))
        total = sum(shape[0] for shape in maps)
        if max(self.channels) >= total:
            raise ValueError(f"layer {self.name!r}: channels must be below {total}, not {max(self.channels)!r}")
        return (len(self.channels), *maps[0][1:])


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
