"""Text of a Liberty file -> groups of attributes."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r'"[^"]*"|[{}();:,\n]|[^\s{}();:,"\\]+')


class LibertyError(ValueError):
    """A Liberty file breaks a rule; the text names file and rule."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group statement: ``name (arguments) { attributes; groups }``; values are texts without quotes."""

    name: str
    arguments: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def text(self, key: str, default: str = "") -> str:
        """First value of an attribute."""
        return self.attributes.get(key, (default,))[0]

    def all(self, name: str) -> list["Group"]:
        """Groups of that name, in order."""
        return [group for group in self.groups if group.name == name]


def parse(text: str) -> Group:
    """The first group of a text."""
    tokens = _TOKEN.findall(text.replace("\\\n", " "))
    group, _ = _group(tokens, _skip(tokens, 0))
    return group


def _skip(tokens: list[str], position: int) -> int:
    while position < len(tokens) and tokens[position] == "\n":
        position += 1
    return position


def _group(tokens: list[str], position: int) -> tuple[Group, int]:
    """Group whose name is at ``position``; returns the position after its closing brace."""
    name = tokens[position]
    arguments: list[str] = []
    position += 2
    while tokens[position] != ")":
        if tokens[position] not in (",", "\n"):
            arguments.append(tokens[position].strip('"'))
        position += 1
    group = Group(name=name, arguments=tuple(arguments))
    position = _skip(tokens, position + 1) + 1  # the closing parenthesis and the brace
    while position < len(tokens) and tokens[position] != "}":
        key = tokens[position]
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if key in (";", "\n"):
            position += 1
        elif following == ":":
            end = next(i for i in range(position, len(tokens)) if tokens[i] in (";", "\n"))  # some files forget the ";"
            group.attributes[key] = (" ".join(token.strip('"') for token in tokens[position + 2 : end]),)
            position = end + 1
        elif following == "(":
            end = tokens.index(")", position)
            after = _skip(tokens, end + 1)
            if after < len(tokens) and tokens[after] == "{":
                child, position = _group(tokens, position)
                group.groups.append(child)
            else:
                values = tuple(token.strip('"') for token in tokens[position + 2 : end] if token not in (",", "\n"))
                group.attributes[key] = values
                position = end + 1
        else:
            raise LibertyError(f"group {name} must hold attributes and groups, not {key!r}")
    return group, position + 1
