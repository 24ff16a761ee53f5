"""Layers of a prepared network: one per layer of the integer network, each computing the function of the current stage."""

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from firstspike.arith import Code, LogWeights, membrane_exponent, pixel_boundaries
from firstspike.cat.activation import kernel_levels, summed_clip, summed_ttfs
from firstspike.cat.convolution import convolve
from firstspike.cat.patches import run_weight_hooks
from firstspike.cat.quantiser import (
    best_scale,
    halvings,
    level_index,
    quantise,
    rising_levels,
    round_bias,
    scale_range,
    shared_scale,
    straight_through,
)

STAGES = ("relu", "clip", "input", "ttfs", "quantised")
"""Stages of conversion-aware training, each containing the ones before it: plain ReLU; clipping to [0, 1]; the input image
encoded as spikes; spikes in hidden layers; logarithmic weights and folded batch norm (the integer network itself)."""

WeightScale = Literal["layer", "channel"]
"""One weight scale for a layer, or, where a layer may have them, a shift for each output channel (numerics, section 8)."""

MARGIN = 1.5
"""Room left in a membrane when a layer's scale is chosen, as a factor on its largest value."""


def stage_rank(stage: str) -> int:
    """Position of a stage in `STAGES`.

    Raises:
        ValueError: there is no such stage.
    """
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, not {stage!r}")
    return STAGES.index(stage)


class Fire(nn.Module):
    """The activation of a stage: ReLU, clip or decode(encode(u)), and the spike statistics of training.

    It holds no stage: the network says in which one it runs.

    Attributes:
        from_stage: first stage in which values are spikes.
        clips: whether it ends at 1 in stage "relu" too, as the network it was made of does.
        activity: sum of the last output per image (with gradient), for the spike penalty; None before a run.
        spikes: spikes per image of the last run while ``count_spikes`` is set (a detached tensor).
    """

    def __init__(self, code: Code, from_stage: str, *, clips: bool = False) -> None:
        super().__init__()
        self.code = code
        self.from_stage = from_stage
        self.clips = clips
        self.observe = False
        self.count_spikes = False
        self.activity: Tensor | None = None
        self.spikes: Tensor | None = None
        self.neurons = 0
        self._levels: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: not what the last run left, which may hold its graph."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "activity": None, "spikes": None, "_levels": {}}

    def follow_code(self, code: Code) -> None:
        """Take another spike code."""
        self.code = code
        self._levels = {}

    def levels(self, like: Tensor) -> Tensor:
        """`kernel_levels` on the device and in the type of ``like``, kept from the first use on.

        Raises:
            ValueError: a level is not exact in that type, so that ties would not be either.
        """
        key = (like.device, like.dtype)
        if key not in self._levels:
            exact = kernel_levels(self.code)
            with torch.inference_mode(False):  # what is kept must serve gradients later
                levels = exact.to(device=like.device, dtype=like.dtype)
            if not torch.equal(levels.double().cpu(), exact):
                raise ValueError(f"{self.code} must have kernel values that are exact in {like.dtype}; use float32")
            self._levels[key] = levels
        return self._levels[key]

    def forward(self, u: Tensor, stage: str) -> Tensor:
        """The activation of membranes ``u`` of any shape in a stage; values in [0, 1] from "clip" on."""
        if stage_rank(stage) >= stage_rank(self.from_stage):
            x, total = summed_ttfs(u, self.levels(u), summed=self.observe)
        elif stage == "relu" and not self.clips:
            x = functional.relu(u)
            total = x.sum(dtype=torch.float32) if self.observe else None
        else:
            x, total = summed_clip(u, summed=self.observe)
        if total is not None:
            self.neurons = x[0].numel()
            self.activity = total / len(x)
            if self.count_spikes:
                self.spikes = (x.detach() >= self.levels(x)[1]).sum() / len(x)
        return x


class Planes(Fire):
    """The input as eight binary planes a pixel (numerics, section 6): from stage "input" on ``p / 256``, exactly.

    ``p = round_half_even(255 x)``; its ones are spikes.
    """

    def forward(self, u: Tensor, stage: str) -> Tensor:
        """The activation of membranes ``u`` of any shape in the stage at hand; in [0, 1] from "clip" on."""
        coded = stage_rank(stage) >= stage_rank(self.from_stage)
        if not coded and not (self.observe and self.count_spikes):
            return functional.relu(u)
        pixels = self._pixels(u.detach())
        if self.observe and self.count_spikes:
            bits = pixels.to(torch.uint8)
            self.neurons = 8 * bits[0].numel()
            self.spikes = sum((bits >> j & 1).sum() for j in range(8)) / len(bits)  # type: ignore[assignment]
        return (pixels / 256).to(u) if coded else functional.relu(u)

    @staticmethod
    def _pixels(u: Tensor) -> Tensor:
        """``round_half_even(255 u)``, float64: the product is exact in it for all shorter types."""
        if u.dtype == torch.float64:
            boundaries = torch.from_numpy(np.array(pixel_boundaries(np.float64))).to(u.device)
            return torch.bucketize(u.contiguous(), boundaries, right=True).double()
        return (u.double() * 255).round_()


def encoder(code: Code) -> Fire:
    """The module that encodes the input."""
    return Planes(code, "input") if code.planes else Fire(code, "input")


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal in type, device and every value."""
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


@dataclass(frozen=True, kw_only=True)
class _Room:
    """What a layer's membranes need room for besides its own products; see `Synapses.fitting_scale`."""

    residuals: int
    octaves: int
    beside: tuple[Tensor, Tensor] | None
    spare: bool = True


class Synapses(nn.Module):
    """A convolution or linear layer with its batch norm: membrane values, plus residual inputs of weight exactly 1.

    Up to stage ``ttfs`` it is the float layer. In stage ``quantised`` batch norm is folded (running statistics, which
    then stay), weights are the nearest logarithmic levels and the bias is rounded: exactly the integer layer's numbers.
    Evaluation mode folds in float64 whatever the parameters' type, so that codes never depend on it. Gradients pass
    straight through in both modes. It holds no stage: the network says in which one it runs.

    Pruning and parametrizations of ``linear`` and ``norm`` hold in every stage.

    Attributes:
        planes: whether it reads input planes, on a grid of their own (numerics, section 6); set by the network.
        scale, shifts: ``k``, and ``s_c`` of every output channel (section 8), int64; shifts are None in a layer of one scale.
        frame: zeros around what a convolution reads, besides its padding: columns left and right, rows above and below.
    """

    scale: Tensor
    shifts: Tensor | None

    def __init__(
        self,
        linear: nn.Conv2d | nn.Linear,
        norm: nn.BatchNorm2d | nn.BatchNorm1d | None,
        *,
        code: Code,
        weights: LogWeights,
        accumulator_bits: int,
        frame: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = norm
        self.frame = frame
        self.code, self.weights, self.accumulator_bits = code, weights, accumulator_bits
        self.planes = False
        self.register_buffer("scale", torch.tensor(0, dtype=torch.int64))
        self.register_buffer("shifts", None)
        self._evaluated: tuple[list[Tensor], Tensor, Tensor] | None = None

    def take_shifts(self) -> None:
        """Give every output channel a shift, 0 at first: it becomes part of the state."""
        self.register_buffer("shifts", torch.zeros(len(self.linear.weight), dtype=torch.int64))

    @property
    def exponent(self) -> int:
        """``G`` of the layer: the bias lies on the grid ``2^-G``, with shifts on ``2^-(G + s_c)``."""
        return self.exponent_at(int(self.scale))

    @property
    def bias_exponent(self) -> int | Tensor:
        """``G``, with shifts ``G + s_c`` of every output, int64 ``[outputs]``."""
        return self.exponent if self.shifts is None else self.exponent + self.shifts

    def exponent_at(self, scale: int) -> int:
        """``G`` of the layer at a scale."""
        return membrane_exponent(self.code, self.weights, scale, planes=self.planes)

    def folded(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Weight and bias with batch norm folded by its running statistics, in ``dtype`` (default: as they are)."""
        self._run_weight_hooks()
        weight, bias = self.linear.weight, self.linear.bias
        weight = weight.to(dtype or weight.dtype)
        bias = weight.new_zeros(len(weight)) if bias is None else bias.to(weight.dtype)
        norm = self.norm
        if norm is None:
            return weight, bias
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = (norm.running_var.to(weight.dtype) + norm.eps).rsqrt()
        if norm.affine:
            factor = factor * norm.weight.to(weight.dtype)
        bias = (bias - norm.running_mean.to(weight.dtype)) * factor
        if norm.affine:
            bias = bias + norm.bias.to(weight.dtype)
        return weight * factor.reshape(-1, *[1] * (weight.dim() - 1)), bias

    def reach(self) -> tuple[Tensor, Tensor]:
        """Greatest and least membrane of every output, float64, over inputs in [0, 1], by the folded weights."""
        weight, bias = self.folded(torch.float64)
        rows, bias = weight.detach().flatten(1), bias.detach()
        return rows.clamp(min=0).sum(dim=1) + bias, rows.clamp(max=0).sum(dim=1) + bias

    def fitting_scale(
        self, *, residuals: int = 0, octaves: int = 0, beside: tuple[Tensor, Tensor] | None = None
    ) -> int:
        """The scale that quantises the folded weights with the least squared error among those with `room`, without shifts.

        Args:
            residuals: residual inputs, each of which adds up to 1 to a membrane.
            octaves: of a layer that takes in an average of ``2^octaves`` inputs, whose membranes are so much finer.
            beside: greatest and least sums that other connections of the same layer add to each output.
        """
        weight, bias = (value.detach() for value in self.folded(torch.float64))
        room = _Room(residuals=residuals, octaves=octaves, beside=beside)
        return best_scale(
            weight,
            self.code,
            self.weights,
            accumulator_bits=self.accumulator_bits - octaves,
            planes=self.planes,
            fits=lambda scale: bool(self._room_at(scale, weight, bias, room).all()),
        )

    def fitting_shifts(self, *, octaves: int = 0) -> tuple[int, Tensor] | None:
        """The scale and the shift of every output with the least squared error among those with `room`.

        None where no thresholds would be exact, or every weight is zero: then one scale is as good. ``octaves`` as for
        `fitting_scale`.
        """
        weight, bias = (value.detach() for value in self.folded(torch.float64))
        bits, room = self.accumulator_bits - octaves, _Room(residuals=0, octaves=octaves, beside=None)
        scales = scale_range(weight.abs(), self.code, self.weights, accumulator_bits=bits, planes=self.planes)
        if not bool(weight.any()):
            return None
        scales = scales or range(scales.stop - 1, scales.stop)  # few bits: even the finest is coarse
        return self.shared_scale(self._errors(weight, bias, room), scales, octaves=octaves)

    def shared_scale(
        self, errors: Callable[[int], Tensor], scales: Iterable[int], *, octaves: int
    ) -> tuple[int, Tensor] | None:
        """The scale and shifts of least error (`firstspike.cat.quantiser.shared_scale`) at which thresholds are exact.

        A shift needs ``G >= M + (T-1) div tau`` (numerics, section 8); ``octaves`` as for `fitting_scale`.
        """
        exact = [scale for scale in scales if self.exponent_at(scale) + octaves >= self.code.exponent]
        return shared_scale(errors, exact, self.weights.levels_per_octave)

    def _errors(self, weight: Tensor, bias: Tensor, room: "_Room") -> Callable[[int], Tensor]:
        """Squared error of every output's weights at a scale; infinite without room."""

        @cache
        def errors(scale: int) -> Tensor:
            rounded = quantise(weight, self.weights, scale)
            error = (rounded - weight).square().flatten(1).sum(dim=1)
            return error.masked_fill(~self._room(rounded, bias, self.exponent_at(scale), room), math.inf)

        return errors

    def room(
        self, scale: int, *, residuals: int = 0, octaves: int = 0, beside: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Whether membranes have room at a scale, of every output: bool ``[outputs]``.

        They do if the largest that its codes allow, half as much again for what training still changes, stays within
        ``accumulator_bits`` (numerics, section 3). Arguments as for `fitting_scale`.
        """
        weight, bias = (value.detach() for value in self.folded(torch.float64))
        room = _Room(residuals=residuals, octaves=octaves, beside=beside)
        return self._room_at(scale, weight, bias, room)

    def fits(self, *, residuals: int = 0, octaves: int = 0, beside: tuple[Tensor, Tensor] | None = None) -> bool:
        """Whether membranes fit ``accumulator_bits`` with weights, bias, scale and shifts as they are, with nothing to spare.

        For a layer that nothing changes any more. Arguments as for `fitting_scale`.
        """
        rounded, bias = (value.detach().double() for value in self.quantised())
        room = _Room(residuals=residuals, octaves=octaves, beside=beside, spare=False)
        return bool(self._room(rounded, bias, self.bias_exponent, room).all())

    def _room_at(self, scale: int, weight: Tensor, bias: Tensor, room: "_Room") -> Tensor:
        return self._room(quantise(weight, self.weights, scale), bias, self.exponent_at(scale), room)

    def _room(self, rounded: Tensor, bias: Tensor, exponent: int | Tensor, room: "_Room") -> Tensor:
        above, below = room.beside or (torch.zeros(()), torch.zeros(()))
        rows = rounded.flatten(1)
        high = rows.clamp(min=0).sum(dim=1) + bias + above + room.residuals
        low = rows.clamp(max=0).sum(dim=1) + bias + below
        reach = (MARGIN if room.spare else 1.0) * torch.maximum(high, -low).clamp(min=1.0)
        return reach * 2.0 ** (exponent + room.octaves) < 2.0 ** (self.accumulator_bits - 1)

    def level_indices(self) -> tuple[Tensor, Tensor, Tensor]:
        """For conversion: rising level index, sign (True: negative) of every weight, and the rounded bias in float64."""
        weight, bias = self.folded(torch.float64)
        _, boundaries = rising_levels(self.weights, int(self.scale))
        scaled = weight if self.shifts is None else weight * halvings(self.shifts, weight)
        return level_index(scaled, boundaries.to(weight.device)), weight < 0, round_bias(bias, self.bias_exponent)

    def quantised(self) -> tuple[Tensor, Tensor]:
        """Quantised weight and rounded bias; straight-through gradients where they are wanted.

        In training mode they are made anew, in the parameters' type; in evaluation mode they are exact, and kept.
        """
        scale = int(self.scale)
        if self.training:
            self._evaluated = None
            weight, bias = self.folded()
            return quantise(weight, self.weights, scale, self.shifts), round_bias(bias, self.bias_exponent)
        now = [*self.parameters(), *self.buffers()]
        if self._evaluated is None or not all(map(_same, self._evaluated[0], now)):  # also after writes to .data
            with torch.inference_mode(False), torch.no_grad():  # what is kept must serve gradients later
                weight, bias = self.folded(torch.float64)
                weight = quantise(weight, self.weights, scale, self.shifts)
                bias = round_bias(bias, self.bias_exponent)
                kept = [tensor.detach().clone() for tensor in now]
                dtype = self.linear.weight.dtype
                self._evaluated = (kept, weight.to(dtype), bias.to(dtype))
        _, weight, bias = self._evaluated
        if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.parameters()):
            real_weight, real_bias = self.folded()
            return straight_through(real_weight, weight), straight_through(real_bias, bias)
        return weight, bias

    def _run_weight_hooks(self) -> None:
        for module in (self.linear, self.norm):
            if module is not None:
                run_weight_hooks(module)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Synapses":
        self._evaluated = None  # another type or device
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Synapses":
        with torch.no_grad():  # a pruned weight with a graph behind it could not be copied
            self._run_weight_hooks()
        copy = type(self).__new__(type(self))
        memo[id(self)] = copy
        copy.__dict__ = deepcopy(self.__dict__, memo)
        return copy

    def forward(self, x: Tensor, *residuals: Tensor, stage: str) -> Tensor:
        """Membranes of inputs ``[n, c_in, ...]``: ``[n, c_out, ...]``, each residual ``[n, c_out, ...]`` added."""
        if stage == "quantised":
            return self.membranes(x, *self.quantised(), *residuals)
        linear, x = self.linear, self.framed(x)
        hooks = linear._forward_pre_hooks or linear._forward_hooks
        if type(linear) is nn.Conv2d and linear.padding_mode == "zeros" and not hooks:
            u = convolve(linear, x, linear.weight, linear.bias)
        else:
            u = linear(x)
        if self.norm is not None:
            u = self.norm(u)
        return _sum(u, residuals)

    def framed(self, x: Tensor) -> Tensor:
        """What the layer reads, with its `frame`."""
        return functional.pad(x, self.frame) if any(self.frame) else x

    def membranes(self, x: Tensor, weight: Tensor, bias: Tensor | None, *residuals: Tensor) -> Tensor:
        """Membranes with a weight and bias in place of its own, batch norm folded into them."""
        if isinstance(self.linear, nn.Conv2d):
            return _sum(convolve(self.linear, self.framed(x), weight, bias), residuals)
        return _sum(functional.linear(x, weight, bias), residuals)


def _sum(u: Tensor, residuals: tuple[Tensor, ...]) -> Tensor:
    for residual in residuals:
        u = u + residual
    return u


class Rearrange(nn.Module):
    """Channels of one or more maps of one size, one behind the other, rearranged: it moves values (numerics, section 7).

    Args:
        channels: for every output channel its number among all, -1 for silence; None for all in order.
        part: which of these are taken.
        pad: silent channels before and behind.
    """

    def __init__(
        self, channels: tuple[int, ...] | None = None, *, part: slice | None = None, pad: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.channels, self.part, self.pad = channels, part or slice(None), pad

    def extra_repr(self) -> str:
        """What tells one from another."""
        return f"{self.channels}, {self.part}, {self.pad}"

    def indices(self, total: int) -> tuple[int, ...]:
        """For every output channel its number among ``total``, or -1.

        >>> Rearrange(part=slice(1, None, 2), pad=(2, 0)).indices(6)
        (-1, -1, 1, 3, 5)
        """
        chosen = tuple(range(total)) if self.channels is None else self.channels
        return (-1,) * self.pad[0] + chosen[self.part] + (-1,) * self.pad[1]

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """The rearranged map of maps ``[n, channels, ...]``."""
        joined = torch.cat((x, *others), dim=1) if others else x
        indices = self.indices(joined.shape[1])
        if indices == tuple(range(joined.shape[1])):
            return joined
        return torch.cat((joined, torch.zeros_like(x[:, :1])), dim=1)[:, list(indices)]  # -1 is the last


class Heads(nn.Module):
    """Membranes of several outputs, one behind the other (numerics, section 7)."""

    def forward(self, *heads: Tensor) -> Tensor:
        """All channels of all heads."""
        return torch.cat(heads, dim=1)


class AveragePool(nn.Module):
    """Average over windows with the weight level nearest to ``1/n`` (numerics, section 4), plus residual inputs.

    Args:
        kernel: window in pixels, or None for the whole image (global average).
    """

    def __init__(
        self,
        kernel: tuple[int, int] | None,
        stride: tuple[int, int] | None,
        padding: tuple[int, int],
        *,
        weights: LogWeights,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.weights = kernel, stride, padding, weights

    def window(self, size: tuple[int, int]) -> tuple[int, int]:
        """The window for an image of ``size`` pixels."""
        return self.kernel or size

    def forward(self, x: Tensor, *residuals: Tensor) -> Tensor:
        """Membranes of maps ``[n, c, height, width]``: each window's sum times the level nearest to ``1/n``, residuals added."""
        height, width = int(x.shape[-2]), int(x.shape[-1])
        window = self.window((height, width))
        count = window[0] * window[1]
        level = float(self.weights.level(nearest_level(count, self.weights)))
        if count == 1 and self.padding == (0, 0) and self.stride in (None, (1, 1)):
            u = x * level
        else:  # a sum, then one exact factor
            u = functional.avg_pool2d(x, window, self.stride or window, self.padding, divisor_override=1) * level
        for residual in residuals:
            u = u + residual
        return u


def nearest_level(count: int, weights: LogWeights) -> int:
    """The ``j`` whose level ``W(j)`` is nearest to ``1/count``; the smaller ``j`` on a tie.

    >>> [nearest_level(n, LogWeights()) for n in (1, 4, 9)]
    [0, 4, 6]
    """
    target = Fraction(1, count)
    j = 0
    while weights.level(j) > target:
        j += 1
    return min(range(max(0, j - weights.levels_per_octave), j + 1), key=lambda i: (abs(weights.level(i) - target), i))
