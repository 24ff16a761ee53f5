"""The prepared network: a graph of spiking layers with a stage, made by `prepare`, trained as any module."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from firstspike.arith import Code, LogWeights, checks
from firstspike.cat.layers import STAGES, AveragePool, Fire, Synapses, encoder, stage_rank

INPUT = "input"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One layer of a prepared network: which values it reads and whether it fires.

    Attributes:
        name: unique, the module path in the network it came from, dots replaced by underscores.
        kind: "synapses", "average", "maxpool", "flatten", "dropout" or "channels".
        source: name of the step it reads.
        others: of rearranged channels: names of the steps whose channels stand behind those of ``source``.
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


class Prepared(nn.Module):
    """A network in which every activation and weight follows the current ``stage``; see `prepare`."""

    _stage: Tensor

    def __init__(
        self,
        steps: Sequence[Step],
        modules: dict[str, nn.Module],
        *,
        code: Code,
        weights: LogWeights,
        accumulator_bits: int,
    ) -> None:
        super().__init__()
        self.code, self.weights, self.accumulator_bits = code, weights, accumulator_bits
        self.steps = tuple(steps)
        self.layers = nn.ModuleDict(modules)
        self.encode = encoder(code)
        self.fire = nn.ModuleDict({step.name: Fire(code, "ttfs") for step in steps if step.fires or step.merges})
        self.register_buffer("_stage", torch.tensor(0, dtype=torch.int64))
        self.register_load_state_dict_post_hook(_follow_stage)  # type: ignore[no-untyped-call]
        self._mark_planes()
        last_use: dict[str, int] = {}
        for index, step in enumerate(self.steps):
            for name in step.reads:
                last_use[name] = index
        self._last_use = last_use
        self._octaves: dict[
            str, int
        ] = {}  # of the averages that merged in the last run, and of what only passes them on

    def _mark_planes(self) -> None:
        """Tell the layers that read the input, or what only passes it on, whether it is planes."""
        passing = {INPUT}
        for step in self.steps:
            if step.source in passing:
                layer = self.layers[step.name]
                if isinstance(layer, Synapses):
                    layer.planes = self.code.planes
                if step.kind in ("flatten", "dropout") or step.merges:
                    passing.add(step.name)

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
        self._follow_stage()

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
        """Stage of conversion-aware training: one of `STAGES`. Setting ``"quantised"`` chooses every layer's scale.

        Where an average merges, its reader's scale leaves room for that from the network's first run on, which shows the
        window.

        Raises:
            ValueError: the value set is no stage, or weights to be quantised are not finite.
        """
        return STAGES[int(self._stage)]

    @stage.setter
    def stage(self, stage: str) -> None:
        rank = stage_rank(stage)
        if stage == "quantised" and self.stage != "quantised":
            self._choose_scales()
        self._stage.fill_(rank)
        self._follow_stage()

    def _choose_scales(self) -> None:
        """Choose every layer's scale; connections of one layer leave room for each other."""
        by_name = {step.name: step for step in self.steps}
        parts = {name for step in self.steps for name in step.parts}
        for step in self.steps:
            if step.name in parts or not isinstance(self.layers[step.name], Synapses):
                continue
            connections = [by_name[name] for name in (step.name, *step.parts)]
            for one in connections:
                layer = self.layers[one.name]
                assert isinstance(layer, Synapses)
                others = [self.layers[other.name] for other in connections if other is not one]
                reach = [other.reach() for other in others if isinstance(other, Synapses)]
                beside = None
                if reach:
                    high, low = (torch.stack(sums).sum(dim=0) for sums in zip(*reach, strict=True))
                    beside = high, low
                try:
                    layer.choose_scale(
                        residuals=len(step.residuals), octaves=self._octaves.get(one.source, 0), beside=beside
                    )
                except ValueError as error:
                    raise ValueError(f"layer {one.name!r}: {error}") from error

    def _follow_stage(self) -> None:
        stage = self.stage
        for module in self.modules():
            if isinstance(module, Fire | Synapses | AveragePool):
                module.stage = stage
        self.train(self.training)

    @property
    def fires(self) -> dict[str, Fire]:
        """All firing activations by step name, the input's under ``"input"``."""
        return {INPUT: self.encode, **{name: module for name, module in self.fire.items() if isinstance(module, Fire)}}

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

    def spike_values(self, x: Tensor) -> dict[str, Tensor]:
        """Output of every step by name, the encoded input under ``"input"``: decoded spikes, and the logits."""
        return self._run(x, keep=True)

    def _run(self, x: Tensor, *, keep: bool) -> dict[str, Tensor]:
        if isinstance(x, np.ndarray):
            raise TypeError("images must be a tensor here, not an array; use torch.from_numpy(images)")
        values = {INPUT: self.encode(x)}
        for index, step in enumerate(self.steps):
            source = values[step.source]
            y = self.layers[step.name](*(values[name] for name in step.reads))
            if step.kind in ("flatten", "dropout"):
                self._octaves[step.name] = self._octaves.get(step.source, 0)
            elif step.merges:
                size = (int(source.shape[-2]), int(source.shape[-1]))
                merges = self.merged(step, size)
                pixels = size[0] * size[1] // (int(y.shape[-2]) * int(y.shape[-1]))
                self._octaves[step.name] = pixels.bit_length() - 1 if merges else 0
                if not merges:
                    y = self.fire[step.name](y)
            if step.fires:
                y = self.fire[step.name](y)
            values[step.name] = y
            if not keep:
                for name in set(step.reads):
                    if self._last_use[name] == index:
                        del values[name]
        return values


def _follow_stage(module: nn.Module, _: object) -> None:
    """A hook that can be pickled: the stage may have come with the state."""
    assert isinstance(module, Prepared)
    module._follow_stage()
