"""The reader of configuration files: types, tables, left-over keys, and what its errors say."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from firstspike import config
from firstspike.config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Part:
    size: int = 3
    share: float = 0.5
    kind: Literal["a", "b"] = "a"
    last: int | None = None

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"part.size must be at least 0, not {self.size!r}")


@dataclass(frozen=True, kw_only=True)
class Whole:
    name: str
    sizes: tuple[int, ...] = ()
    on: bool = False
    part: Part = field(default_factory=Part)


def build(text: str) -> Whole:
    return config.parse(text, "x.toml").build(Whole)


def test_values_take_their_declared_types() -> None:
    found = build('name = "n"\nsizes = [1, 2]\non = true\n[part]\nsize = 4\nshare = 1\nkind = "b"\nlast = 2')
    assert found == Whole(name="n", sizes=(1, 2), on=True, part=Part(size=4, share=1.0, kind="b", last=2))
    assert type(found.part.share) is float
    assert build('name = "n"') == Whole(name="n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name", "x.toml: must be TOML, not this: "),
        ("", "x.toml: name is missing"),
        ("name = 3", "x.toml: name must be text, not 3"),
        ('name = "n"\nsizes = 3', "x.toml: sizes must be a list, each an int, not 3"),
        ('name = "n"\nsizes = [1, 2.5]', "x.toml: sizes must be a list, each an int, not [1, 2.5]"),
        ('name = "n"\non = 1', "x.toml: on must be true or false, not 1"),
        ('name = "n"\npart = 1', "x.toml: part must be a table, not 1"),
        ('name = "n"\n[part]\nsize = true', "x.toml: part.size must be an int, not True"),
        ('name = "n"\n[part]\nshare = "1"', "x.toml: part.share must be a number, not '1'"),
        ('name = "n"\n[part]\nkind = "c"', "x.toml: part.kind must be 'a' or 'b', not 'c'"),
        ('name = "n"\n[part]\nlast = 1.0', "x.toml: part.last must be an int, not 1.0"),
        ('name = "n"\n[part]\nsize = -1', "x.toml: part.size must be at least 0, not -1"),
        ('name = "n"\n[part]\nsise = 1', "x.toml: part.sise is not a known key (value 1); known are size, share, "),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_tables(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(text)
    assert str(raised.value).startswith(message)


def test_versions() -> None:
    table = config.parse("format = 1\nx = 2", "x.toml")
    table.version(1)
    assert table.names() == ["x"]
    for text, message in (
        ("format = 2", "must be 1, not 2"),
        ("format = true", "must be 1, not True"),
        ("", "is missing"),
    ):
        with pytest.raises(ConfigError, match=f"^x.toml: format {message}$"):
            config.parse(text, "x.toml").version(1)


def test_errors_are_of_the_reader_s_own_class() -> None:
    class OwnError(ConfigError):
        pass

    with pytest.raises(OwnError, match=r"x.toml: part.size must be an int"):
        config.parse('name = "n"\n[part]\nsize = ""', "x.toml", error=OwnError).build(Whole)
