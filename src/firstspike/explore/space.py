"""The space of designs: a YAML file, every parameter with its unit, checked before anything runs."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from firstspike import config, zoo
from firstspike.arith import Code, LogWeights, checks
from firstspike.config import ConfigError, Keys
from firstspike.extras import needed
from firstspike.messages import brief
from firstspike.processor import designs, technology
from firstspike.processor.run import Processor
from firstspike.processor.technology import Technology

FORMAT = 1
"""Version of the file format."""

OBJECTIVES: Mapping[str, str] = {
    "accuracy": "maximize",
    "energy_uj": "minimize",
    "area_mm2": "minimize",
    "latency_us": "minimize",
    "latency_steps": "minimize",
    "frames_per_second": "maximize",
}
"""What can be asked of a design, and which way is better."""

METHODS = ("nsga2", "random", "grid")
"""Searches: an evolutionary one, random draws, every design once."""

MAX_GRID = 1_000_000
"""Most designs of a grid."""

MAX_COUNT = 10_000_000
"""Most of anything else that is counted."""

_UNITS = {"mhz": "MHz", "kib": "KiB", "bits": "bit", "T": "steps", "tau": "steps/octave"}


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Weights set to zero after training.

    Attributes:
        zeros: share of every layer's weights but the first layer's, those of least magnitude.
    """

    zeros: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.zeros < 1:
            raise ValueError(f"pruning.zeros must be in [0, 1), not {self.zeros!r}")


_GROUPS: Mapping[str, type] = {"code": Code, "weights": LogWeights, "pruning": Pruning, "processor": Processor}
_KEYS = ("format", "networks", "data", "technology", "cells", "dram", "design", "objectives", "search", *_GROUPS)

Value = bool | int | float | str
Design = Mapping[str, Value]
"""One point of a space: a value for each parameter."""


class SpaceError(ConfigError):
    """A space breaks a rule; the text names file, key, rule and value."""


def unit(name: str) -> str:
    """Unit of a field of `Code`, `LogWeights` or `Processor`, from its name; a new field has one too.

    >>> unit("clock_mhz"), unit("dram_cycles_per_word"), unit("membrane_rows"), unit("pes"), unit("T")
    ('MHz', 'cycles/word', 'rows', 'pes', 'steps')
    """
    head, _, per = name.partition("_per_")
    last = head.rsplit("_", 1)[-1]
    return _UNITS.get(last, last) + (f"/{per}" if per else "")


def column(key: str) -> str:
    """A parameter's name in records: with its unit.

    >>> column("code.T"), column("processor.clock_mhz"), column("dram")
    ('code_T_steps', 'processor_clock_mhz', 'dram')
    """
    group, _, name = key.partition(".")
    ending = {"T": "_steps", "tau": "_steps_per_octave"}.get(name, "")
    return f"{group}_{name}{ending}" if name else group


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What one parameter of a design may be.

    Attributes:
        key: ``network``, or group and field, as in ``processor.pes``.
        unit: of its values; empty for names and switches.
        values: the choices; empty where any number from ``low`` to ``high`` will do.
        low, high: bounds of such a number.
    """

    key: str
    unit: str = ""
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Data:
    """Images that accuracy and cost are measured on: always of the validation split, never test images.

    Attributes:
        name: data set, as in `firstspike.data.load`.
        root: where named sets lie.
        validation_images, seed: the split of the training images that training holds out (its recipe's numbers).
        accuracy_images: of these, how many accuracy is measured on.
        cost_images: how many of those are priced.
    """

    name: str
    root: str | None = None
    validation_images: int
    seed: int = 0
    accuracy_images: int
    cost_images: int

    def __post_init__(self) -> None:
        checks.integer("data.seed", self.seed, low=0, high=MAX_COUNT)
        checks.integer("data.validation_images", self.validation_images, low=1, high=MAX_COUNT)
        checks.integer("data.accuracy_images", self.accuracy_images, low=1, high=self.validation_images)
        checks.integer("data.cost_images", self.cost_images, low=1, high=self.accuracy_images)


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the space is searched.

    Attributes:
        method: one of `METHODS`.
        trials: designs to draw; the grid has its own number.
        population: designs of a generation, drawn before any of them is known.
        seed: of all draws.
    """

    method: str = "nsga2"
    trials: int = 200
    population: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"search.method must be one of {', '.join(METHODS)}, not {self.method!r}")
        checks.integer("search.trials", self.trials, low=1, high=MAX_COUNT)
        checks.integer("search.population", self.population, low=1, high=MAX_COUNT)
        checks.integer("search.seed", self.seed, low=0, high=MAX_COUNT)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A space of designs, checked.

    Attributes:
        networks: model file by name as given.
        parameters: what varies.
        base: the processor that the parameters change.
        drams: scenarios of the external memory: every design is priced in all of them, and judged in the first.
        objectives: names from `OBJECTIVES`.
    """

    networks: Mapping[str, Path]
    parameters: tuple[Parameter, ...]
    base: Processor
    drams: tuple[str, ...]
    technology: Technology
    data: Data
    search: Search
    objectives: tuple[str, ...]
    text: str = field(repr=False)

    @property
    def size(self) -> int | None:
        """Number of designs; None where a parameter is continuous."""
        number = 1
        for parameter in self.parameters:
            number *= len(parameter.values)
        return number or None

    def grid(self) -> list[dict[str, Value]]:
        """Every design, the last parameter changing fastest."""
        names = [parameter.key for parameter in self.parameters]
        return [
            dict(zip(names, point, strict=True)) for point in itertools.product(*(p.values for p in self.parameters))
        ]

    def group(self, design: Design, name: str) -> dict[str, Any]:
        """The design's fields of ``code``, ``weights``, ``pruning`` or ``processor``."""
        return {key.partition(".")[2]: value for key, value in design.items() if key.startswith(f"{name}.")}


def load(path: str | Path) -> Space:
    """Read and check a space.

    Raises:
        SpaceError: it breaks a rule; the text names file, key, rule and value.
        ImportError: PyYAML is missing; the text says how to install it.
        OSError: a file cannot be read.
    """
    file = Path(path)
    return parse(config.read_text(file, error=SpaceError), name=file.name, folder=file.parent)


def parse(text: str, *, name: str, folder: Path = Path()) -> Space:
    """Check the text of a space called ``name``; model files lie where they say, or relative to ``folder``."""
    root = Keys(_yaml(text, name), file=name, error=SpaceError)
    root.close(_KEYS)
    root.version(FORMAT)
    constants = _technology(root, folder)
    networks = {entry: _network(root, entry, folder) for entry in _names(root, "networks", None)}
    drams = _names(root, "dram", ["flat-4pj"])
    for entry in drams:
        if entry not in constants.dram:
            raise root.broken("dram", f"must be among {', '.join(constants.dram)}, not {brief(entry)}")
    parameters = [Parameter(key="network", values=tuple(networks))]
    for group in _GROUPS:
        parameters += _group(root, group)
    objectives = _names(root, "objectives", list(OBJECTIVES)[:4])
    for entry in objectives:
        if entry not in OBJECTIVES:
            raise root.broken("objectives", f"must be among {', '.join(OBJECTIVES)}, not {brief(entry)}")
    space = Space(
        networks=networks,
        parameters=tuple(parameters),
        base=_design(root, folder),
        drams=drams,
        technology=constants,
        data=root.table("data").build(Data),
        search=root.table("search").build(Search) if "search" in root else Search(),
        objectives=objectives,
        text=text,
    )
    if space.search.method == "grid" and not 0 < (space.size or 0) <= MAX_GRID:
        size = "continuous parameters" if space.size is None else space.size
        raise root.broken("search.method", f"grid needs 1 to {MAX_GRID} designs, not {size!r}")
    return space


def require(module: str) -> Any:
    """A module of the extra ``explore``.

    Raises:
        ImportError: it is not installed.
    """
    with needed("explore", "explore"):
        return import_module(module)


def _yaml(text: str, name: str) -> dict[Any, Any]:
    yaml = require("yaml")

    class UniqueKeys(yaml.SafeLoader):  # type: ignore[name-defined,misc]
        """The safe loader, which would let the later of two equal keys win, and an alias repeat whatever it names."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise SpaceError(
                    f"{name}: values must be written out, not repeated by the alias *{self.peek_event().anchor}"
                )
            return super().compose_node(parent, index)

    def unique(loader: Any, node: Any) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            entry = loader.construct_object(key)
            if entry in seen:
                raise SpaceError(f"{name}: key {brief(entry)} must be given once, not twice")
            seen.add(entry)
        return dict(loader.construct_mapping(node, deep=True))

    UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, unique)
    try:
        values = yaml.load(text, UniqueKeys)  # a subclass of the safe loader
    except (SpaceError, MemoryError):
        raise
    except Exception as error:  # a scalar that its tag does not fit raises nearly every kind there is
        raise SpaceError(f"{name}: must be YAML, not this: {error}") from None
    if not isinstance(values, dict) or not values:
        raise SpaceError(f"{name}: a space must be a mapping of keys, not {brief(values)}")
    return config.numbers_checked(values, name, error=SpaceError)


def _names(root: Keys, key: str, default: list[str] | None) -> tuple[str, ...]:
    value = default if default is not None and key not in root else root.take(key)
    if not isinstance(value, list) or not value or not all(isinstance(entry, str) and entry for entry in value):
        raise root.broken(key, f"must be a list of names, not empty, not {brief(value)}")
    if len(set(value)) < len(value):
        raise root.broken(key, f"must name each once, not {brief(value)}")
    return tuple(value)


def _network(root: Keys, entry: str, folder: Path) -> Path:
    if entry in zoo.names():
        return zoo.path(entry)
    for path in (Path(entry), folder / entry):
        if path.is_file():
            return path.resolve()
    known = ", ".join(zoo.names())
    raise root.broken("networks", f"must hold model files or names of the zoo ({known}), not {brief(entry)}")


def _technology(root: Keys, folder: Path) -> Technology:
    found = technology.default()
    if "technology" in root:
        value = root.take("technology", str)
        path = folder / value
        found = technology.load(path if path.is_file() else Path(value))
    if "cells" not in root:
        return found
    cells = root.take("cells", str)
    if cells not in found.cells:
        raise root.broken("cells", f"must be one of {', '.join(found.cells) or 'none'}, not {brief(cells)}")
    return found.of_cells(cells)


def _design(root: Keys, folder: Path) -> Processor:
    value = root.take("design", str) if "design" in root else "default"
    path = folder / value
    try:
        return designs.load(path if path.is_file() else value)
    except ValueError as error:
        raise root.broken("design", f"breaks a rule: {error}") from None


def _group(root: Keys, group: str) -> list[Parameter]:
    if group not in root:
        return []
    table = root.table(group)
    kinds = {entry.name: type(entry.default) for entry in fields(_GROUPS[group])}
    table.close(kinds)
    return [_parameter(table, group, name, kinds[name]) for name in table.names()]


def _parameter(table: Keys, group: str, name: str, kind: type) -> Parameter:
    """Choices of one field, or the bounds of a number that may take any value between them."""
    expected = unit(name) if kind in (int, float) else ""
    value = table.take(name)
    if not isinstance(value, dict):
        raise table.broken(name, f"must be a table with its unit ({expected or 'none'}) and values, not {brief(value)}")
    given = dict(value)
    if expected and "unit" not in given:
        raise table.broken(name, f"must have the unit {expected!r}, not none in {brief(value)}")
    if given.pop("unit", "") != expected:
        raise table.broken(f"{name}.unit", f"must be {expected!r}, not {brief(value['unit'])}")
    key = f"{group}.{name}"
    if given.keys() == {"values"}:
        choices = given["values"]
        if not isinstance(choices, list) or not choices:
            raise table.broken(f"{name}.values", f"must be a list that is not empty, not {brief(choices)}")
    elif kind in (int, float) and given.keys() in ({"low", "high"}, {"low", "high", "step"}):
        for bound, number in given.items():
            _check(table, f"{name}.{bound}", kind, number)
        if not given["low"] < given["high"] or given.get("step") == 0:
            raise table.broken(name, f"must have low < high and step > 0, not {brief(value)}")
        if kind is float and "step" not in given:
            for bound in ("low", "high"):
                _in_range(table, name, key, given[bound])
            return Parameter(key=key, unit=expected, low=given["low"], high=given["high"])
        choices = _steps(table, name, given)
    else:
        forms = "values, or low, high and step" if expected else "values"
        raise table.broken(name, f"must have the keys {forms}, not {brief(sorted(map(str, given)))}")
    for choice in choices:
        _check(table, name, kind, choice)
    choices = [kind(choice) for choice in choices]
    if len(set(choices)) < len(choices):
        raise table.broken(f"{name}.values", f"must differ, not {brief(choices)}")
    for choice in choices if len(choices) < 1000 else (choices[0], choices[-1]):
        _in_range(table, name, key, choice)
    return Parameter(key=key, unit=expected, values=tuple(choices))


def _steps(table: Keys, name: str, given: Mapping[str, Any]) -> list[Any]:
    low, high, step = given["low"], given["high"], given.get("step", 1)
    steps = (high - low) / step * (1 + 1e-12)
    if not steps < MAX_GRID:
        raise table.broken(name, f"must have at most {MAX_GRID} values, not {steps + 1:g}")
    return [low + index * step for index in range(int(steps) + 1)]


def _check(table: Keys, name: str, kind: type, value: object) -> None:
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise table.broken(name, f"must be of type {kind.__name__}, not {brief(value)}")
    if kind in (int, float) and not 0 <= value < float("inf"):  # type: ignore[operator]
        raise table.broken(name, f"must be finite and not negative, not {brief(value)}")


def _in_range(table: Keys, name: str, key: str, value: Value) -> None:
    """A value outside a field's own range is refused now; what only some combinations break, in the search."""
    low, high = _RANGES.get(key, (None, None))
    if low is not None and not low <= value <= high:  # type: ignore[operator]
        raise table.broken(name, f"must be from {low} to {high}, not {brief(value)}")
    if (
        value == 0
        and not key.endswith(("zeros", "mantissa_bits", "dram_latency_cycles"))
        and not isinstance(value, bool)
    ):
        raise table.broken(name, f"must be above 0, not {brief(value)}")


_RANGES: Mapping[str, tuple[int, int]] = {
    "code.T": (1, 255),
    "code.tau": (1, 128),
    "code.mantissa_bits": (0, 12),
    "weights.bits": (2, 8),
    "weights.levels_per_octave": (1, 16),
    "weights.mantissa_bits": (0, 12),
}
