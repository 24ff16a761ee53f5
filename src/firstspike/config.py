"""Configuration files: one strict reader with one voice, for recipes, designs, technologies and spaces.

Every error reads ``FILE: KEY rule, not VALUE``, the key with the tables that it lies in.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from firstspike import files
from firstspike.messages import brief, line

Kind = TypeVar("Kind")

MAX_BYTES = 1 << 17
"""Longest configuration file: ten times the longest of the project."""

_WORDS: Mapping[Any, str] = {
    int: "an int",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


class ConfigError(ValueError):
    """A configuration file breaks a rule; the text names file, key, rule and value, on one line whatever they are."""

    def __init__(self, text: str) -> None:
        super().__init__(line(text))


class Keys:
    """Keys of a table of a configuration file, emptied key by key, so that what is left over is unknown.

    Args:
        values: keys and values as the file's parser gives them.
        file: name of the file, for errors.
        path: tables that this one lies in, each with a dot after it.
        error: class of the errors.
    """

    def __init__(
        self, values: Mapping[str, Any], *, file: str, path: str = "", error: type[ConfigError] = ConfigError
    ) -> None:
        self._values, self._file, self._path, self._error = dict(values), file, path, error

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def names(self) -> list[str]:
        """Keys that are left, in order."""
        return list(self._values)

    def broken(self, key: str, rule: str) -> ConfigError:
        """The error that ``key`` breaks ``rule``, to be raised."""
        return self._error(f"{self._file}: {self._path}{key} {rule}")

    def take(self, key: str, kind: Any = object) -> Any:
        """Remove a value and return it as ``kind``: numbers from numbers, tuples from lists, nothing from text.

        Raises:
            ConfigError: it is missing or of another type.
        """
        if key not in self._values:
            raise self.broken(key, "is missing")
        value = self._values.pop(key)
        if kind is object:
            return value
        try:
            return msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError:
            raise self.broken(key, f"must be {_word(kind)}, not {brief(value)}") from None

    def table(self, key: str) -> "Keys":
        """Remove a table and return it.

        Raises:
            ConfigError: it is missing or no table.
        """
        values = self.take(key, dict)
        return Keys(values, file=self._file, path=f"{self._path}{key}.", error=self._error)

    def version(self, wanted: int) -> None:
        """Remove the key ``format``, which must be ``wanted``.

        Raises:
            ConfigError: it is missing or another one.
        """
        given = self.take("format")
        if given != wanted or isinstance(given, bool):
            raise self.broken("format", f"must be {wanted}, not {brief(given)}")

    def close(self, known: Iterable[str] = ()) -> None:
        """Refuse what is left over; ``known`` are named as what could stand there.

        Raises:
            ConfigError: something is.
        """
        for key, value in self._values.items():
            if key not in known:
                others = f"; known are {', '.join(known)}" if known else ""
                raise self.broken(key, f"is not a known key (value {brief(value)}){others}")

    def build(self, kind: type[Kind]) -> Kind:
        """A dataclass of all that is left: a table for each field that is a dataclass itself.

        Raises:
            ConfigError: a key is unknown, missing or of another type, or the dataclass refuses a value.
        """
        known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
        self.close(known)
        hints, values = get_type_hints(kind), {}
        for name, field in known.items():
            if name in self:
                declared: Any = hints[name]
                nested = isinstance(declared, type) and is_dataclass(declared)
                values[name] = self.table(name).build(declared) if nested else self.take(name, declared)
            elif field.default is MISSING and field.default_factory is MISSING:
                raise self.broken(name, "is missing")
        try:
            return kind(**values)
        except ConfigError:
            raise
        except (TypeError, ValueError) as error:
            raise self._error(f"{self._file}: {error}") from None


def read_text(path: str | Path, *, error: type[ConfigError] = ConfigError) -> str:
    """Text of a file in UTF-8.

    Raises:
        OSError: it cannot be read.
        ConfigError: it is no regular file of at most `MAX_BYTES`, or no such text.
    """
    try:
        data = files.read(path, most=MAX_BYTES)
    except ValueError as found:
        raise error(str(found)) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as found:
        byte = data[found.start : found.start + 1]
        raise error(f"{Path(path).name}: must be UTF-8 text, not {byte!r}") from None


def parse(text: str, file: str, *, error: type[ConfigError] = ConfigError) -> Keys:
    """The whole of a TOML file called ``file``.

    Raises:
        ConfigError: the text is no TOML.
    """
    return Keys(_toml(text, file, error), file=file, error=error)


def _toml(text: str, file: str, error: type[ConfigError]) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise error(f"{file}: must be TOML of a few levels, not nested deeper") from None
    except ValueError as found:  # TOMLDecodeError, or an integer of more digits than Python reads
        raise error(f"{file}: must be TOML, not this: {found}") from None
    return numbers_checked(values, file, error=error)


def numbers_checked(values: dict[Any, Any], file: str, *, error: type[ConfigError] = ConfigError) -> dict[Any, Any]:
    """``values`` if every integer anywhere in them fits 64 bits: longer ones fit no float, and print no more.

    Raises:
        ConfigError: one does not.
    """
    levels: list[Any] = [values]
    while levels:
        value = levels.pop()
        if isinstance(value, dict):
            levels += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            levels += value
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise error(f"{file}: an integer must fit 64 bits, not be {brief(value)}")
    return values


def load(path: str | Path, *, named: Mapping[str, Path] | None = None) -> Keys:
    """A TOML file, laid over the file that its key ``base`` names, if it has one.

    Args:
        path: the file.
        named: files that a base may be given by name; another base is a file beside the one that names it.

    Raises:
        OSError: a file cannot be read.
        ConfigError: one is no TOML in UTF-8, or its bases go round in a circle.
    """
    return Keys(_overlaid(Path(path), named or {}, ()), file=Path(path).name)


def _overlaid(path: Path, named: Mapping[str, Path], above: tuple[Path, ...]) -> dict[str, Any]:
    file = Keys({}, file=path.name)
    values = _toml(read_text(path), path.name, ConfigError)
    if "base" not in values:
        return values
    base = values.pop("base")
    if not isinstance(base, str):
        raise file.broken("base", f"must be {_WORDS[str]}, not {brief(base)}")
    below = named.get(base, path.parent / base)
    if not below.is_file():
        names = f"one of {', '.join(named)} or " if named else ""
        raise file.broken("base", f"must be {names}a TOML file beside this one, not {brief(base)}")
    above = (*above, path.resolve())
    if below.resolve() in above:
        raise file.broken("base", f"must not lead back to {below.name}, not {brief(base)}")
    return overlaid(_overlaid(below, named, above), values)


def overlaid(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``own`` states in its place, table by table.

    >>> overlaid({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2]})
    {'a': {'x': 1, 'y': 3}, 'b': [2]}
    """
    both = dict(base)
    for key, value in own.items():
        under = both.get(key)
        both[key] = overlaid(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return both


def _word(kind: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return f"a list, each {_word(inner[0])}"
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, UnionType):
        inner = tuple(part for part in inner if part is not NoneType)
        return _WORDS[float] if set(inner) == {int, float} else " or ".join(map(_word, inner))
    return _WORDS[kind]
