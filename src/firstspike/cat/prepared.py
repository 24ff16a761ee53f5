"""The prepared network: a graph of spiking layers with a stage, made by `prepare`, trained as any module."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from firstspike.arith import PIXEL_TOLERANCE, Code, LogWeights, checks
from firstspike.cat.health import LayerHealth, health
from firstspike.cat.layers import STAGES, AveragePool, Fire, Synapses, WeightScale, encoder, stage_rank
from firstspike.cat.patches import check_global, check_module
from firstspike.figures import Table

INPUT = "input"

AXES = 3
"""Most axes of an image: channels, height, width."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One layer of a prepared network: which values it reads and whether it fires.

    Attributes:
        name: unique, the module path in the network it came from, dots replaced by underscores.
        kind: "synapses", "average", "maxpool", "flatten", "dropout", "channels", "pixelshuffle" or "heads".
        source: name of the step it reads.
        others: of rearranged channels and heads: names of the steps whose channels stand behind those of ``source``.
        residuals: names of steps added to the membrane with weight 1.
        parts: names of synapses that do not fire, whose membranes are added to this one's (numerics, section 7).
        fires: False for the read-out, and for an average that may merge.
        merges: for an average: it needs no firing of its own when its window is a power of two.
    """

    name: str
    kind: str
    source: str
    residuals: tuple[str, ...] = ()
    fires: bool = False
    merges: bool = False
    parts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all steps it reads, in the order in which its module takes them."""
        return (self.source, *self.others, *self.residuals, *self.parts)


class StateError(RuntimeError):
    """A prepared network's stage and scales are not those of any network: they were averaged or written one by one."""


class Prepared(nn.Module):
    """A network in which every activation and weight follows the current ``stage``; see `prepare`.

    Stage, layers' scales and the shape of an image lie in buffers, and nowhere else: whatever copies a network's state
    copies them, in place or not. What would average these integers (``AveragedModel(..., use_buffers=True)``) makes a
    network that refuses to run: a checksum beside them no longer fits.
    """

    _stage: Tensor
    _input_shape: Tensor
    _seal: Tensor

    def __init__(
        self,
        steps: Sequence[Step],
        modules: dict[str, nn.Module],
        *,
        code: Code,
        weights: LogWeights,
        accumulator_bits: int,
        heads: Mapping[str, int] | None = None,
        weight_scale: WeightScale = "layer",
    ) -> None:
        super().__init__()
        self.code, self.weights, self.accumulator_bits = code, weights, accumulator_bits
        self.heads = dict(heads or {})
        self.steps = tuple(steps)
        self.layers = nn.ModuleDict(modules)
        self.weight_scale = weight_scale
        if weight_scale == "channel":
            self._take_shifts()
        self.encode = encoder(code)
        self.fire = nn.ModuleDict({step.name: Fire(code, "ttfs") for step in steps if step.fires or step.merges})
        self.register_buffer("_stage", torch.tensor(0, dtype=torch.int64))
        self.register_buffer("_input_shape", torch.zeros(AXES, dtype=torch.int64))
        self.register_buffer("_seal", torch.tensor(0, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_complete)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_mark)  # type: ignore[no-untyped-call]
        self._write({})
        self._mark_planes()
        last_use: dict[str, int] = {}
        for index, step in enumerate(self.steps):
            for name in step.reads:
                last_use[name] = index
        self._last_use = last_use
        self._warned = False

    def __repr__(self) -> str:
        layers = len(list(self.synapses()))
        try:
            stage, shape = self.stage, self.input_shape
        except StateError:
            return f"Prepared({layers} layers with weights, whose stage and scales do not fit each other)"
        size = "size of an image not yet known" if shape is None else f"input {'x'.join(map(str, shape))}"
        return (
            f"Prepared(stage {stage!r}, {layers} layers with weights, {size}, T={self.code.T}, tau={self.code.tau}, "
            f"{self.weights.bits}-bit weights; .layers lists its modules)"
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def summary(self) -> Table:
        """The steps as a table: what each reads, whether it fires, its parameters and scale."""
        records: list[dict[str, Any]] = [
            {
                "name": step.name,
                "kind": step.kind,
                "reads": " + ".join(step.reads),
                "fires": step.fires,
                "parameters": sum(parameter.numel() for parameter in self.layers[step.name].parameters()),
            }
            for step in self.steps
        ]
        rows = [
            (one["name"], one["kind"], one["reads"], "yes" if one["fires"] else "", f"{one['parameters']:,}")
            for one in records
        ]
        heads = ("step", "kind", "reads", "fires", "parameters")
        return Table(title=repr(self), heads=heads, rows=rows, words=4, records=records)

    def _mark_planes(self) -> None:
        """Tell the layers that read the input, or what only passes it on, whether it is planes.

        Before the size of an image is known, an average that might merge counts as one that does.
        """
        merged = None if self.input_shape is None else self.merged_octaves()
        passing = {INPUT}
        for step in self.steps:
            passes = step.kind in ("flatten", "dropout") or (step.merges and (merged is None or step.name in merged))
            layer = self.layers[step.name]
            if isinstance(layer, Synapses):
                layer.planes = self.code.planes and step.source in passing
            if passes and step.source in passing:
                passing.add(step.name)

    def _take_shifts(self) -> None:
        """Give shifts to the layers that may have them: those of one connection that fire and add no residual."""
        parts = {name for step in self.steps for name in step.parts}
        for step in self.steps:
            layer, alone = self.layers[step.name], not step.residuals and not step.parts and step.name not in parts
            if isinstance(layer, Synapses) and step.fires and alone:
                layer.take_shifts()

    def follow_code(self, code: Code) -> None:
        """Take another spike code; weights and stage stay."""
        self.code = code
        self.encode = encoder(code)
        for module in self.modules():
            if isinstance(module, Fire):
                module.follow_code(code)
            elif isinstance(module, Synapses):
                module.code = code
        self._mark_planes()

    @property
    def accumulator_bits(self) -> int:
        """``A``, bits of a membrane, for which conversion checks the network; layers keep theirs, by which they chose scales.

        Raises:
            TypeError, ValueError: the value set is no int in 8..48.
        """
        return self._accumulator_bits

    @accumulator_bits.setter
    def accumulator_bits(self, bits: int) -> None:
        checks.integer("accumulator_bits", bits, low=8, high=48)
        self._accumulator_bits = bits

    @property
    def stage(self) -> str:
        """Stage of conversion-aware training, one of `STAGES`; setting it calls `set_stage`.

        Raises:
            StateError: stage and scales were averaged or written one by one.
            ValueError: as `set_stage` does.
        """
        return STAGES[self._integers()["_stage"][0]]

    @stage.setter
    def stage(self, stage: str) -> None:
        self.set_stage(stage)

    def set_stage(
        self,
        stage: str,
        *,
        scales: Mapping[str, int] | None = None,
        shifts: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """Enter a stage. Entering ``"quantised"`` from another one chooses every layer's scale anew, by its weights now.

        Where an average merges into the layer that reads it, that layer's scale leaves room for it, which depends on the
        size of an image.

        Args:
            stage: one of `STAGES`.
            scales: of every layer with weights, by name, where they are known and not to be chosen.
            shifts: with ``scales``, of the output channels of every layer that has them, by name.

        Raises:
            ValueError: there is no such stage; or ``"quantised"`` needs the size of an image before one is known, or
                meets weights that are not finite.
            UnsupportedError: ``"quantised"`` meets a layer with a hook, which would be lost.
        """
        rank = stage_rank(stage)
        if scales is None:
            enters = stage == "quantised" and self.stage != "quantised"
            scales, shifts = self._fitting_scales() if enters else ({}, {})
        values: dict[str, list[int]] = {f"layers.{name}.scale": [scale] for name, scale in scales.items()}
        values |= {f"layers.{name}.shifts": list(own) for name, own in (shifts or {}).items()}
        self._write({"_stage": [rank], **values})

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one image, ``(channels, height, width)`` or ``(features,)``; None before it is known.

        `prepare` takes it from its example, else the network from the first batch that it runs on. It then stays.
        """
        shape = self._integers()["_input_shape"]
        return tuple(extent for extent in shape if extent) or None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one image's logits.

        Raises:
            ValueError: the size of an image is not known.
        """
        shape = self.input_shape
        if shape is None:
            raise ValueError(
                "the shape of the logits needs that of an image: run one batch, or prepare(net, example=images)"
            )
        return tuple(self._shapes(shape)[self.steps[-1].name][1:])

    def set_input_shape(self, shape: Sequence[int]) -> None:
        """Say how large an image is.

        Raises:
            ValueError: the network takes no such image.
        """
        shape = tuple(int(extent) for extent in shape)
        shape = (shape[0], 1, shape[1]) if len(shape) == AXES - 1 else shape
        if not 1 <= len(shape) <= AXES or min(shape) < 1:
            raise ValueError(f"an image must have 1 to {AXES} axes of 1 or more, not shape {shape!r}")
        try:
            self._shapes(shape)
        except RuntimeError as error:
            raise ValueError(f"an image must have a shape that the network takes, not {shape!r}: {error}") from error
        self._write({"_input_shape": [*shape, *[0] * (AXES - len(shape))]})
        self._mark_planes()

    def _numbers(self) -> dict[str, Tensor]:
        """The integers of the state by their names in it, the seal aside."""
        scales = {f"layers.{name}.scale": layer.scale for name, layer in self.synapses()}
        shifts = {f"layers.{name}.shifts": layer.shifts for name, layer in self.synapses() if layer.shifts is not None}
        return {"_stage": self._stage, "_input_shape": self._input_shape, **scales, **shifts}

    def _integers(self) -> dict[str, list[int]]:
        numbers = self._numbers()
        flat = torch.cat([number.reshape(-1) for number in (self._seal, *numbers.values())]).tolist()
        seal, values = flat[0], iter(flat[1:])
        integers = {key: [next(values) for _ in range(number.numel())] for key, number in numbers.items()}
        if seal != _checksum(integers):
            raise StateError(_MIXED)
        return integers

    def _write(self, values: Mapping[str, list[int]]) -> None:
        """Set integers of the state by their names in it, and the seal to fit."""
        numbers = self._numbers()
        with torch.no_grad():
            for key, value in values.items():
                numbers[key].copy_(torch.tensor(value).reshape(numbers[key].shape))
            self._seal.fill_(_checksum({key: number.reshape(-1).tolist() for key, number in numbers.items()}))

    def synapses(self) -> Iterable[tuple[str, Synapses]]:
        """The layers with weights, by name."""
        return [(name, layer) for name, layer in self.layers.items() if isinstance(layer, Synapses)]

    def check_layers(self) -> None:
        """Refuse what stage "quantised" would not run: hooks on a layer's parts, forwards that were replaced.

        Raises:
            UnsupportedError: there is one; the text names the part.
        """
        check_global()
        for name, layer in self.synapses():
            for part, module in (("linear", layer.linear), ("norm", layer.norm)):
                if module is not None:
                    check_module(f"layers.{name}.{part}", module, weight_hooks=True)

    def _fitting_scales(self) -> tuple[dict[str, int], dict[str, list[int]]]:
        """The scale of every layer by its weights, and shifts; connections of one layer leave room for each other."""
        self.check_layers()
        octaves = self.merged_octaves()
        self._mark_planes()
        steps = {step.name: step for step in self.steps}
        parts = {name for step in self.steps for name in step.parts}
        heads = {name for step in self.steps if step.kind == "heads" for name in step.reads}
        scales, shifts = {}, {}
        for step in self.steps:
            if step.name in parts | heads or not (step.kind == "heads" or isinstance(self.layers[step.name], Synapses)):
                continue
            own = step.reads if step.kind == "heads" else (step.name, *step.parts)
            for one in (steps[name] for name in own):
                layer = self.layers[one.name]
                assert isinstance(layer, Synapses)
                merged = octaves.get(one.source, 0)
                try:
                    found = (
                        layer.fitting_shifts(octaves=merged) if layer.shifts is not None and not step.parts else None
                    )
                    if found is None:
                        beside = self.beside(step, one)
                        scale = layer.fitting_scale(residuals=len(step.residuals), octaves=merged, beside=beside)
                        found = scale, torch.zeros(0 if layer.shifts is None else len(layer.shifts), dtype=torch.int64)
                except ValueError as error:
                    raise ValueError(f"layer {one.name!r}: {error}") from error
                scales[one.name] = found[0]
                if layer.shifts is not None:
                    shifts[one.name] = found[1].tolist()
        return scales, shifts

    def beside(self, step: Step, one: Step) -> tuple[Tensor, Tensor] | None:
        """Greatest and least sums that the connections of a layer other than ``one`` add to each output; None for none.

        Heads add nothing to each other, but lie on one grid: each leaves room for the largest of the others.
        """
        own = step.reads if step.kind == "heads" else (step.name, *step.parts)
        others = [self.layers[name] for name in own if name != one.name]
        reach = [other.reach() for other in others if isinstance(other, Synapses)]
        if not reach:
            return None
        if step.kind == "heads":
            return torch.stack([high.max() for high, _ in reach]).max(), torch.stack(
                [low.min() for _, low in reach]
            ).min()
        high, low = (torch.stack(sums).sum(dim=0) for sums in zip(*reach, strict=True))
        return high, low

    def firing(self) -> frozenset[str]:
        """Names of the steps that fire, for images of `input_shape`; averages that merge into their reader do not."""
        octaves = self.merged_octaves()
        return frozenset(step.name for step in self.steps if step.fires or (step.merges and step.name not in octaves))

    def merged_octaves(self) -> dict[str, int]:
        """Of the averages that merge, and of what only passes values on: the binary logarithm of their pixels.

        Raises:
            ValueError: an average might merge, and the size of an image is not known.
        """
        averages = [step for step in self.steps if step.merges]
        if not averages:
            return {}
        shape = self.input_shape
        if shape is None:
            raise ValueError(
                f"stage 'quantised' needs the size of an image, by which the average {averages[0].name!r} merges or not; "
                f"run one batch before it, or give prepare(net, example=images)"
            )
        octaves: dict[str, int] = {}
        shapes = self._shapes(shape)
        for step in self.steps:
            if step.kind in ("flatten", "dropout"):
                octaves[step.name] = octaves.get(step.source, 0)
            elif step.merges and self.merged(step, _size(shapes[step.source])):
                window = _pixels(shapes[step.source]) // _pixels(shapes[step.name])
                octaves[step.name] = window.bit_length() - 1
        return octaves

    def _shapes(self, shape: Sequence[int]) -> dict[str, torch.Size]:
        """Shape of the input's and every step's value, for one image; nothing fires, no state changes."""
        parameter = next(self.parameters(), torch.zeros(()))
        with evaluating(self), torch.no_grad():
            values = {INPUT: parameter.new_zeros((1, *shape))}
            for step in self.steps:
                values[step.name] = self.compute(step, values, "relu")
        return {name: value.shape for name, value in values.items()}

    @property
    def fires(self) -> dict[str, Fire]:
        """All firing activations by step name, the input's under ``"input"``."""
        return {INPUT: self.encode, **{name: fire for name, fire in self.fire.items() if isinstance(fire, Fire)}}

    def observe(self, active: bool, *, spikes: bool = False) -> None:
        """Keep each activation's sum (`activity`) in the following runs, and its spike count if ``spikes``."""
        for fire in self.fires.values():
            fire.observe, fire.count_spikes = active, spikes
            if not active:
                fire.activity = fire.spikes = None

    def activity(self) -> Tensor:
        """Mean activation per neuron of the last observed run, with gradient: the penalty that keeps neurons silent."""
        seen = [fire for fire in self.fire.values() if isinstance(fire, Fire) and fire.activity is not None]
        if not seen:
            raise ValueError("activity needs a run after observe(True), not a fresh network")
        total = torch.stack([fire.activity for fire in seen if fire.activity is not None]).sum()
        return total / sum(fire.neurons for fire in seen)

    def spikes_per_neuron(self) -> float:
        """Spikes per neuron of input and spiking layers in the last run observed with ``spikes=True``."""
        seen = [fire for fire in self.fires.values() if fire.spikes is not None]
        if not seen:
            raise ValueError("spikes_per_neuron needs a run after observe(True, spikes=True), not a fresh network")
        return float(sum(float(fire.spikes) for fire in seen if fire.spikes is not None)) / sum(f.neurons for f in seen)

    def merged(self, step: Step, size: tuple[int, int]) -> bool:
        """Whether an average over an input of ``size`` pixels merges into the layer that reads it.

        It does where no rounding arises: windows of ``2^a`` pixels that tile the input, read by one linear layer alone.
        """
        layer = self.layers[step.name]
        if not step.merges or not isinstance(layer, AveragePool):
            return False
        window = layer.window(size)
        count = window[0] * window[1]
        return count & (count - 1) == 0 and size[0] % window[0] == 0 and size[1] % window[1] == 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, classes]`` of images ``x`` in ``[0, 1]``, ``[n, *shape]``."""
        values = self._run(x, keep=False)
        return values[self.steps[-1].name]

    def split(self, logits: Tensor) -> dict[str, Tensor]:
        """The logits of each output by name, where a network has several."""
        return dict(zip(self.heads, torch.split(logits, list(self.heads.values()), dim=1), strict=True))

    def spike_values(self, x: Tensor) -> dict[str, Tensor]:
        """Output of every step by name, the encoded input under ``"input"``: decoded spikes, and the logits."""
        return self._run(x, keep=True)

    def health(self, images: Tensor) -> tuple[LayerHealth, ...]:
        """Which layers saturate or stay silent on some images, in this stage, and what to do; see `firstspike.cat.health`."""
        return health(self, images)

    def _run(self, x: Tensor, *, keep: bool) -> dict[str, Tensor]:
        if isinstance(x, np.ndarray):
            raise TypeError("images must be a tensor here, not an array; use torch.from_numpy(images)")
        x = x.unsqueeze(2) if x.dim() == AXES else x
        integers = self._integers()
        if not any(integers["_input_shape"]) and 1 < x.dim() <= AXES + 1 and len(x):
            self._write({"_input_shape": [*x.shape[1:], *[0] * (AXES + 1 - x.dim())]})
            self._mark_planes()
        self._check_pixels(x)
        stage = STAGES[integers["_stage"][0]]
        values = {INPUT: self.encode(x, stage)}
        for index, step in enumerate(self.steps):
            y = self.compute(step, values, stage)
            if step.fires or (step.merges and not self.merged(step, _size(values[step.source].shape))):
                y = self.fire[step.name](y, stage)
            values[step.name] = y
            if not keep:
                for name in set(step.reads):
                    if self._last_use[name] == index:
                        del values[name]
        return values

    def _check_pixels(self, x: Tensor) -> None:
        """Warn once of images that no spikes could stand for: they are cut to [0, 1]."""
        if self._warned or not x.numel():
            return
        low, high = (float(extreme) for extreme in torch.aminmax(x.detach()))
        if low < -PIXEL_TOLERANCE or high > 1 + PIXEL_TOLERANCE:
            self._warned = True
            warnings.warn(
                f"images should hold values in [0, 1], not {low:g}..{high:g}: spikes stand for no others, and values below 0 "
                f"are 0 in every stage; do not normalise images, or clamp them: images.clamp(0, 1)",
                UserWarning,
                stacklevel=3,
            )

    def compute(self, step: Step, values: Mapping[str, Tensor], stage: str) -> Tensor:
        """A step's value before it fires."""
        layer = self.layers[step.name]
        inputs = [values[name] for name in step.reads]
        y: Tensor = layer(*inputs, stage=stage) if isinstance(layer, Synapses) else layer(*inputs)
        return y


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; then each module is in its own mode again."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


_MIXED = (
    "the stage and scales of this network must be those that were set or loaded together, not averages or single writes of "
    "them: average its parameters only (AveragedModel with use_buffers=False) and copy integers as they are"
)


def _checksum(integers: Mapping[str, Sequence[int]]) -> int:
    """24 bits, which float32 holds too, over integers by name."""
    return crc32(repr(sorted((key, list(map(int, value))) for key, value in integers.items())).encode()) & 0xFFFFFF


def _complete(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """A hook before a state is loaded: one of before shapes and seals gets them, one whose seal does not fit is refused."""
    assert isinstance(module, Prepared)
    own = module._numbers()
    whole = all(prefix + key in state for key in (*own, "_seal"))
    state.setdefault(f"{prefix}_input_shape", own["_input_shape"].clone())
    numbers = {key: state.get(prefix + key, number).reshape(-1).tolist() for key, number in own.items()}
    seal = _checksum(numbers)
    if whole and int(state[f"{prefix}_seal"]) != seal:
        raise StateError(_MIXED)
    state[f"{prefix}_seal"] = torch.tensor(seal)


def _mark(module: nn.Module, _: object) -> None:
    """A hook that can be pickled: the size of an image may have come with the state."""
    assert isinstance(module, Prepared)
    module._mark_planes()


def _size(shape: Sequence[int]) -> tuple[int, int]:
    return int(shape[-2]), int(shape[-1])


def _pixels(shape: Sequence[int]) -> int:
    height, width = _size(shape)
    return height * width
