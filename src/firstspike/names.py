"""What can be asked for by name, and what a mistyped name may have meant; nothing is loaded for it."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent

ZOO = PACKAGE / "zoo"
"""Where the trained networks lie, a card beside each."""

RECIPES = PACKAGE / "recipes"

DESIGNS = PACKAGE / "processor" / "designs"

DATA_SETS = ("digits", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet")

ENGINES = ("native", "reference", "cuda")

PLANS = ("vgg16", "small")
"""Networks that a recipe can name."""

PRECISIONS = ("32-true", "bf16-mixed")
"""Arithmetic of training, by Lightning's names."""


def networks(folder: Path = ZOO) -> tuple[str, ...]:
    """Names of the networks in a folder."""
    return _stems(folder, "safetensors")


def recipes() -> tuple[str, ...]:
    """Recipes of the package."""
    return _stems(RECIPES, "toml")


def teachers() -> tuple[str, ...]:
    """Recipes of the package for float networks that others learn from."""
    return _stems(RECIPES / "teachers", "toml")


def designs() -> tuple[str, ...]:
    """Processors of the package."""
    return _stems(DESIGNS, "toml")


def _stems(folder: Path, suffix: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob(f"*.{suffix}")))


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known name that is nearest to it, or nothing.

    >>> meant("cifar-10", DATA_SETS)
    "; did you mean 'cifar10'?"
    >>> meant("nothing like it", DATA_SETS)
    ''
    """
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
