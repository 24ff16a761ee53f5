"""``firstspike recipes``, ``zoo`` and ``completion``: what there is, with one line each, and what a shell completes."""

import argparse
import re
import textwrap
from typing import Any

from firstspike import names, zoo
from firstspike.cli.common import table, write_json
from firstspike.spec.file import read_notes
from firstspike.terminal import console


def recipes(options: argparse.Namespace) -> None:
    """Every recipe with the beginning of its first sentence, the whole of it in the record."""
    files = [names.RECIPES / f"{name}.toml" for name in names.recipes()]
    files += [names.RECIPES / "teachers" / f"{name}.toml" for name in names.teachers()]
    rows = {path.stem: _sentence(path.read_text("utf-8")) for path in files}
    shown = table(
        "firstspike train --recipe NAME; of a teacher: firstspike teacher --recipe NAME", ["recipe", "what it is"], []
    )
    for name, text in rows.items():
        shown.add_row(name, textwrap.shorten(text, 76, placeholder=" ..."))
    console.print(shown)
    write_json(options.json, {"recipes": [{"name": name, "text": text} for name, text in rows.items()]})


def _sentence(text: str) -> str:
    """The first sentence of the comment that a file begins with."""
    head = re.match(r"(?:#.*\n)+", text)
    words = " ".join(line.removeprefix("#").strip() for line in head[0].splitlines()) if head else ""
    return re.split(r"(?<=[.])\s", words, maxsplit=1)[0]


def networks(options: argparse.Namespace) -> None:
    """Every network of the zoo with its size and what its card says of it."""
    rows = [_network(name) for name in zoo.names()]
    shown = table("zoo: a name stands wherever a command takes NET", ["name", "accuracy"], ["input", "classes", "MB"])
    for row in rows:
        size = "x".join(str(extent) for extent in row["input_shape"])
        shown.add_row(row["name"], row["accuracy"], size, str(row["classes"]), f"{row['size_bytes'] / 1e6:.1f}")
    console.print(shown)
    write_json(options.json, {"networks": rows})


def _network(name: str) -> dict[str, Any]:
    path = zoo.path(name)
    network = zoo.find(name)
    card = path.with_suffix(".md")
    found = re.search(r"^\| accuracy[^|]*\| ([^|]*?) *\|", card.read_text("utf-8") if card.is_file() else "", re.M)
    return {
        "name": name,
        "accuracy": found[1] if found else "-",
        "input_shape": list(network.input_shape),
        "classes": len(network.classes),
        "size_bytes": path.stat().st_size,
        "notes": read_notes(path),
    }


def completion(options: argparse.Namespace) -> None:
    """The shell's completions of every command and option, written by shtab."""
    import shtab

    from firstspike.cli.arguments import parser

    print(shtab.complete(parser(), shell=options.shell))
