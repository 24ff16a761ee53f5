"""A teacher's recipe: everything that decides its weights, in one TOML file."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from firstspike import config, names
from firstspike.arith import checks


@dataclass(frozen=True, kw_only=True)
class TeacherData:
    """Images and their augmentation: every other epoch shows an image mirrored, which half begins is drawn once.

    Attributes:
        name: name or path of the data set.
        validation: images held out of the training set, as in the student's recipe: the teacher must not see them.
        seed: of the split, as in the student's recipe.
        pad: pixels added on each side, by reflection, before the random crop.
        cutout: side of a square that is blanked, pixels; 0 for none.
        size: resize images to this many pixels, 0 for as they are.
    """

    name: str
    validation: int = 2000
    seed: int = 0
    pad: int = 4
    cutout: int = 0
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class TeacherShape:
    """Channels of the three groups, and convolutions a group; see `TeacherNetwork`."""

    widths: tuple[int, ...] = (128, 384, 384)
    depth: int = 2


@dataclass(frozen=True, kw_only=True)
class TeacherTraining:
    """Nesterov momentum with decoupled rates, a triangular schedule, and a slow copy of the weights (look-ahead).

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the peak, for the sum of the losses of 1,024 images and divided by ``1 + 1 / (1 - momentum)``.
        bias_rate: factor on it for the biases of batch norm.
        momentum: of the optimiser.
        weight_decay: a step's, for 1,024 images, independent of the learning rate.
        label_smoothing: of the cross entropy.
        rise: share of all steps in which the rate rises linearly, from ``first`` to 1; it falls to ``last`` then.
        first, last: rates of the first and the last step as shares of the peak.
        whitening_epochs: in so many first epochs the bias of the whitening layer is trained.
        seed: of initialisation, order and augmentation.
        precision: "32-true" or "bf16-mixed".
    """

    epochs: int
    batch_size: int = 512
    learning_rate: float = 10.0
    bias_rate: float = 64.0
    momentum: float = 0.85
    weight_decay: float = 0.0153
    label_smoothing: float = 0.2
    rise: float = 0.23
    first: float = 0.2
    last: float = 0.07
    whitening_epochs: int = 3
    seed: int = 0
    precision: str = "bf16-mixed"

    def __post_init__(self) -> None:
        checks.integer("training.epochs", self.epochs, low=1, high=1 << 20)
        checks.integer("training.batch_size", self.batch_size, low=2, high=1 << 20)
        checks.integer("training.seed", self.seed, low=0, high=(1 << 32) - 1)
        checks.integer("training.whitening_epochs", self.whitening_epochs, low=0, high=1 << 20)
        for name in ("learning_rate", "bias_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"training.{name} must be positive and finite, not {getattr(self, name)!r}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"training.weight_decay must be at least 0 and finite, not {self.weight_decay!r}")
        for name in ("label_smoothing", "first", "last"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"training.{name} must be in [0, 1], not {getattr(self, name)!r}")
        for name in ("momentum", "rise"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be in (0, 1), not {getattr(self, name)!r}")
        if self.precision not in ("32-true", "bf16-mixed"):
            raise ValueError(f"training.precision must be '32-true' or 'bf16-mixed', not {self.precision!r}")


@dataclass(frozen=True, kw_only=True)
class TeacherRecipe:
    """A whole recipe; see `find_teacher_recipe`."""

    data: TeacherData
    training: TeacherTraining
    network: TeacherShape = field(default_factory=TeacherShape)


def teacher_recipe_names() -> tuple[str, ...]:
    """Names of the teachers' recipes that come with the package."""
    return names.teachers()


def find_teacher_recipe(name: str) -> TeacherRecipe:
    """A teacher's recipe of the package by name, or of a TOML file by path; see `firstspike.config` for its rules.

    Raises:
        FileNotFoundError: it is neither.
        firstspike.config.ConfigError: the file breaks a rule.
    """
    path = _named().get(name, Path(name))
    if not path.is_file():
        known = teacher_recipe_names()
        raise FileNotFoundError(
            f"recipe must be one of {', '.join(known)} or a TOML file, not {name!r}{names.meant(name, known)}"
        )
    return config.load(path, named=_named()).build(TeacherRecipe)


def _named() -> dict[str, Path]:
    return {name: names.RECIPES / "teachers" / f"{name}.toml" for name in names.teachers()}
