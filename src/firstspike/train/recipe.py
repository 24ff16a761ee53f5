"""A training recipe: everything that decides a result, in one readable TOML file, checked when built."""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from firstspike import config, names
from firstspike.arith import Code, LogWeights, checks
from firstspike.cat.layers import STAGES, WeightScale
from firstspike.cat.models import SMALL, VGG16, Plan
from firstspike.names import PRECISIONS, meant

PLANS: dict[str, Plan] = dict(zip(names.PLANS, (VGG16, SMALL), strict=True))
"""Networks that a recipe can name."""


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Images and their augmentation.

    Attributes:
        name: name or path of the data set.
        validation: images held out of the training set, stratified, for model selection.
        pad, flip, cutout: see `firstspike.data.Augment`; pixels, bool, pixels.
        cutmix: probability that a batch is mixed, see `firstspike.data.cutmix`.
        size: resize images to this many pixels, 0 for as they are.
        limit: train on this many images, spread evenly over those that are not held out; 0 for all.
    """

    name: str
    validation: int = 2000
    pad: int = 4
    flip: bool = True
    cutout: int = 0
    cutmix: float = 0.0
    size: int = 0
    limit: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.cutmix <= 1:
            raise ValueError(f"data.cutmix must be in [0, 1], not {self.cutmix!r}")


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe:
    """A VGG, or a network of one's own.

    Attributes:
        plan: the VGG's name.
        width: factor on all its widths.
        widths: output channels of each of its convolutions in place of the plan's, or empty.
        hidden: widths of its hidden fully connected layers.
        dropout: before each of them.
        model: ``module:factory`` of a network of one's own in its place (`firstspike.cat.own`), or empty.
        weights: file of that network's weights to start from, or empty.
        mean, std: of each channel, of pixels in [0, 1]: that network reads ``(pixel - mean) / std``; empty if it reads pixels.
        weight_scale: "layer", or "channel" for a scale of each output channel, as depthwise layers need (`firstspike.prepare`).
    """

    plan: str = "vgg16"
    width: float = 1.0
    widths: tuple[int, ...] = ()
    hidden: tuple[int, ...] = (512, 512)
    dropout: float = 0.0
    model: str = ""
    weights: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    weight_scale: WeightScale = "layer"

    def __post_init__(self) -> None:
        if self.plan not in PLANS:
            raise ValueError(f"network.plan must be one of {', '.join(PLANS)}, not {self.plan!r}")
        if not 0 < self.width <= 16:
            raise ValueError(f"network.width must be in (0, 16], not {self.width!r}")
        for name in ("hidden", "widths"):
            if not isinstance(getattr(self, name), tuple):
                raise TypeError(f"network.{name} must be a tuple of widths, not {getattr(self, name)!r}")
            for width in getattr(self, name):
                checks.integer(f"network.{name}", width, low=1, high=1 << 16)
        convolutions = sum(entry != "M" for entry in PLANS[self.plan])
        if self.widths and len(self.widths) != convolutions:
            raise ValueError(
                f"network.widths must have a width for each of the {convolutions} convolutions of {self.plan}, "
                f"not {len(self.widths)}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"network.dropout must be in [0, 1), not {self.dropout!r}")
        if self.weight_scale not in get_args(WeightScale):
            raise ValueError(f"network.weight_scale must be 'layer' or 'channel', not {self.weight_scale!r}")
        if self.weights and not self.model:
            raise ValueError(
                f"network.weights must come with network.model, whose weights they are, not {self.weights!r}"
            )
        if (self.mean or self.std) and not self.model:
            raise ValueError(f"network.mean must come with network.model, whose images it shifts, not {self.mean!r}")


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """Stochastic gradient descent with Nesterov momentum and a one-cycle schedule.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step over all processes.
        learning_rate: the peak.
        warmup: share of all steps in which the learning rate rises linearly; it falls linearly afterwards.
        final: learning rate at the end as a share of the peak.
        quantised_rate: factor on the learning rate in stage "quantised", where folded batch norm no longer normalises and
            a deep network diverges at rates that it bore before.
        momentum, weight_decay: of the optimiser; no decay on biases and batch norm.
        label_smoothing: of the cross entropy.
        seed: of the validation split, initialisation, order, augmentation and dropout.
        frozen: the first so many layers with weights keep those of the initial network, which saves their gradients.
        order: another order, augmentation and dropout from the same start and split: siblings, whose average to train on.
        precision: Lightning's name, "32-true" or "bf16-mixed".
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup: float = 0.2
    final: float = 0.001
    quantised_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    seed: int = 0
    order: int = 0
    frozen: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        checks.integer("training.epochs", self.epochs, low=1, high=1 << 20)
        checks.integer("training.batch_size", self.batch_size, low=1, high=1 << 20)
        checks.integer("training.seed", self.seed, low=0, high=(1 << 32) - 1)
        checks.integer("training.order", self.order, low=0, high=1 << 10)
        checks.integer("training.frozen", self.frozen, low=0, high=1 << 10)
        for name in ("learning_rate", "quantised_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"training.{name} must be positive and finite, not {getattr(self, name)!r}")
        for name in ("warmup", "final", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"training.{name} must be in [0, 1], not {getattr(self, name)!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"training.momentum must be in [0, 1), not {self.momentum!r}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"training.weight_decay must be at least 0 and finite, not {self.weight_decay!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"training.precision must be '32-true' or 'bf16-mixed', not {self.precision!r}")

    @property
    def stream(self) -> int:
        """Seed of what ``order`` changes; ``seed`` itself for order 0."""
        return self.seed + (self.order << 32)


@dataclass(frozen=True, kw_only=True)
class StagesRecipe:
    """Epoch in which each stage begins (from 0); a stage left out is passed over, and ``relu`` begins at 0.

    Raises:
        TypeError: an epoch is no int.
        ValueError: an epoch is negative, or they do not rise in the order of the stages.
    """

    clip: int | None = 0
    input: int | None = None
    ttfs: int | None = None
    quantised: int | None = None

    def __post_init__(self) -> None:
        starts = [(stage, getattr(self, stage)) for stage in STAGES[1:] if getattr(self, stage) is not None]
        for stage, start in starts:
            checks.integer(f"stages.{stage}", start, low=0, high=1 << 20)
        epochs = [start for _, start in starts]
        if epochs != sorted(epochs):
            raise ValueError(f"stages must begin in the order {', '.join(STAGES)}, not at epochs {epochs!r}")

    def at(self, epoch: int) -> str:
        """The stage of an epoch.

        >>> StagesRecipe(clip=0, ttfs=2, quantised=3).at(2)
        'ttfs'
        """
        current = "relu"
        for stage in STAGES[1:]:
            start = getattr(self, stage)
            if start is not None and epoch >= start:
                current = stage
        return current


@dataclass(frozen=True, kw_only=True)
class SparsityRecipe:
    """A penalty on the mean activation, its weight steered until the spikes per neuron meet a target.

    Attributes:
        weight: initial factor of the penalty; 0 for none.
        target: spikes per neuron to reach; 0 keeps the weight as it is.
        gain: every ten steps the weight grows by ``exp(gain * (spikes / target - 1))``.
        limit: largest weight.
    """

    weight: float = 0.0
    target: float = 0.0
    gain: float = 0.05
    limit: float = 10.0

    def __post_init__(self) -> None:
        for name in ("weight", "target", "gain", "limit"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"sparsity.{name} must be at least 0 and finite, not {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class AveragingRecipe:
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407) before stage "quantised", which starts from the mean.

    Attributes:
        start: epoch (from 0) from which on states are averaged; left out for no averaging.
        every: steps from one averaged state to the next.
        rate: learning rate meanwhile, as a share of the peak; it falls to that until ``start``, then stays.
    """

    start: int | None = None
    every: int = 100
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.start is not None:
            checks.integer("averaging.start", self.start, low=0, high=1 << 20)
        checks.integer("averaging.every", self.every, low=1, high=1 << 20)
        if not 0 < self.rate <= 1:
            raise ValueError(f"averaging.rate must be in (0, 1], not {self.rate!r}")


@dataclass(frozen=True, kw_only=True)
class DistillationRecipe:
    """Soft labels of trained networks in the loss; see `firstspike.train.distillation.Teachers`.

    Attributes:
        weight: share of the soft labels' cross entropy in the loss, the rest being that of the labels; 0 for none.
        temperature: divides the logits of teacher and student.
        relations: share of the correlations with the teacher in its part of the loss, the rest being its soft labels.
        start: epoch (from 0) in which the teachers begin; labels alone before it.
    """

    weight: float = 0.0
    temperature: float = 2.0
    relations: float = 0.0
    start: int = 0

    def __post_init__(self) -> None:
        checks.integer("distillation.start", self.start, low=0, high=1 << 20)
        if not 0 <= self.relations <= 1:
            raise ValueError(f"distillation.relations must be in [0, 1], not {self.relations!r}")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"distillation.weight must be in [0, 1], not {self.weight!r}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"distillation.temperature must be positive and finite, not {self.temperature!r}")


@dataclass(frozen=True, kw_only=True)
class PruningRecipe:
    """Gradual pruning: weights of least magnitude become zero and stay zero, also in the stage "quantised".

    From the beginning of epoch ``start`` to the beginning of epoch ``end`` the share of zeros rises to ``target`` as
    ``1 - (1 - x)^3`` (Zhu and Gupta 2017, arXiv 1710.01878); later epochs train with these zeros.

    Attributes:
        target: share of zero weights, over all weights of all layers but the first ``skip``; 0 for no pruning.
        scope: "layer" takes the same share of every layer, "global" compares the weights of all layers, each by its
            square over the sum of its layer's squares that are no smaller (Lee et al. 2021, arXiv 2010.07611).
        skip: the first so many layers with weights keep theirs.
        start, end: epochs (from 0).
        every: steps from one choice of zeros to the next.
        hold: weights that are zero in the initial network stay zero, in every layer; without ``target``.
    """

    target: float = 0.0
    scope: Literal["global", "layer"] = "global"
    skip: int = 1
    start: int = 0
    end: int = 1
    every: int = 100
    hold: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.target < 1:
            raise ValueError(f"pruning.target must be in [0, 1), not {self.target!r}")
        if self.hold and self.target:
            raise ValueError(f"pruning.target must be 0 with pruning.hold, which chooses no zeros, not {self.target!r}")
        if self.scope not in ("global", "layer"):
            raise ValueError(f"pruning.scope must be 'global' or 'layer', not {self.scope!r}")
        checks.integer("pruning.skip", self.skip, low=0, high=1 << 10)
        checks.integer("pruning.start", self.start, low=0, high=1 << 20)
        checks.integer("pruning.end", self.end, low=self.start + 1, high=1 << 20)
        checks.integer("pruning.every", self.every, low=1, high=1 << 20)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe; see `load_recipe`.

    Raises:
        ValueError: averaging does not begin before the stage "quantised" that would start from it, or pruning does not end
            within training.
    """

    data: DataRecipe
    training: TrainingRecipe
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    code: Code = field(default_factory=Code)
    weights: LogWeights = field(default_factory=LogWeights)
    stages: StagesRecipe = field(default_factory=StagesRecipe)
    sparsity: SparsityRecipe = field(default_factory=SparsityRecipe)
    averaging: AveragingRecipe = field(default_factory=AveragingRecipe)
    distillation: DistillationRecipe = field(default_factory=DistillationRecipe)
    pruning: PruningRecipe = field(default_factory=PruningRecipe)

    def __post_init__(self) -> None:
        start, quantised = self.averaging.start, self.stages.quantised
        if start is not None and (quantised is None or start >= quantised):
            raise ValueError(
                f"averaging.start must be an epoch before stage 'quantised' ({quantised!r}), which starts from the average, "
                f"not {start!r}"
            )
        if self.pruning.target and self.pruning.end > self.training.epochs:
            raise ValueError(
                f"pruning.end must be at most training.epochs, {self.training.epochs}, not {self.pruning.end!r}"
            )

    def values(self) -> dict[str, Any]:
        """Every value by the name of its part and key, ``"training.epochs"``; tuples as lists."""
        parts = {part: asdict(getattr(self, part)) for part in (entry.name for entry in fields(self))}
        return {
            f"{part}.{key}": list(value) if isinstance(value, tuple) else value
            for part, table in parts.items()
            for key, value in table.items()
        }


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a TOML file, one table per part.

    A key ``base`` names a recipe of the package, or a file beside this one, which this one is laid over table by table.

    Raises:
        FileNotFoundError: there is no such file.
        firstspike.config.ConfigError: the file is no TOML, or a key is unknown, missing or out of range; the text names
            file and key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"recipe {str(path)!r}: there is no such file")
    table = config.load(path, named=_named())
    recipe = table.build(Recipe)
    epochs = recipe.training.epochs
    for stage in STAGES[1:]:
        begin = getattr(recipe.stages, stage)
        if begin is not None and begin > epochs:
            rule = f"must begin within training's {epochs} epochs, 0..{epochs}, not {begin!r}"
            raise table.broken(f"stages.{stage}", rule)
    return recipe


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package (also in the folder ``recipes/`` of the project)."""
    return names.recipes()


def _named() -> dict[str, Path]:
    return {name: names.RECIPES / f"{name}.toml" for name in names.recipes()}


def find_recipe(name: str) -> Recipe:
    """A recipe of the package by name, or of a TOML file by path.

    Raises:
        FileNotFoundError: it is neither.
        ValueError: the file breaks a rule.
    """
    if name in _named():
        return load_recipe(_named()[name])
    if not Path(name).is_file():
        known = recipe_names()
        raise FileNotFoundError(
            f"recipe must be one of {', '.join(known)} or a TOML file, not {name!r}{meant(name, known)}"
        )
    return load_recipe(name)
