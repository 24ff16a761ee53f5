"""The layers of an integer network: what each computes, the shape that it makes, and the checks of its fields."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, overload

import numpy as np

from firstspike.arith import checks
from firstspike.messages import brief
from firstspike.spec import limits
from firstspike.spec.codes import PackedCodes, pack
from firstspike.spec.limits import Shape

INPUT = "input"
"""Name under which layers refer to the network's encoded input."""

MAX_SHIFT = 7
"""Largest shift of an output channel (numerics, section 8)."""


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
            if field.name not in ("name", "source", "codes", "bias", "channels", "shifts")
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
        bias: int64 ``[outputs]``, in units of ``2^-G`` (with shifts, of each channel's own).
        fires: False for the read-out (the last layer).
        residuals: names of layers of this layer's output shape; each spike at ``t`` adds ``kappa(t) * 2^G``.
        parts: layers of the same output shape, of which the connection counts: zero bias, no residuals, parts or shifts,
            and ``fires`` False. Their names are unique among all layers and parts.
        shifts: ``s_c`` of every output channel, 0..7, or empty for none: the channel's weights are halved so often, in all
            connections, and its membrane and bias are in units of ``2^-(G + s_c)`` (numerics, section 8).
    """

    codes: _Codes = _Codes()
    scale: int
    bias: np.ndarray
    fires: bool = True
    residuals: tuple[str, ...] = ()
    parts: tuple["Synaptic", ...] = ()
    shifts: tuple[int, ...] = ()

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
            if part.fires or part.residuals or part.parts or part.shifts or part.bias.any():
                raise ValueError(
                    f"layer {self.name!r}: a part must be a connection alone (fires=False, no residuals, parts or shifts, "
                    f"zero bias), not {part.name!r} with more"
                )
        self._check_shifts()

    def _check_shifts(self) -> None:
        if not isinstance(self.shifts, tuple):
            raise TypeError(f"layer {self.name!r}: shifts must be a tuple of ints, not {self.shifts!r}")
        if self.shifts and len(self.shifts) != self.outputs:
            raise ValueError(
                f"layer {self.name!r}: shifts must hold one entry for each of {self.outputs} output channels, "
                f"not {len(self.shifts)}"
            )
        for shift in self.shifts:
            checks.integer(f"layer {self.name!r}: shifts", shift, low=0, high=MAX_SHIFT)
        if any(self.shifts) and (self.residuals or not self.fires):
            reason = f"residual {self.residuals[0]!r}" if self.residuals else "logits, which lie on one grid"
            raise ValueError(
                f"layer {self.name!r}: shifts must be 0 in a layer with residuals or logits, not {max(self.shifts)!r} "
                f"beside {reason}; give it one scale"
            )

    @property
    def channel_shifts(self) -> np.ndarray:
        """``s_c`` of every output channel, int64 ``[outputs]``: 0 where there are none."""
        return np.array(self.shifts or (0,) * self.outputs, dtype=np.int64)

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
