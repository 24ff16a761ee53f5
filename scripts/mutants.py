"""Faults put into Python sources one at a time: which of them no test notices.

``python scripts/mutants.py --count 20 --seed 0`` draws so many faults of all that there are, runs the examples in the faulty
file and the tests that are mapped to it, and prints the survivors. A journal, ``build/mutants.jsonl``, holds what was done, to
go on from.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amaranth
import hypothesis
import numpy
import pytest
import torch

assert amaranth and hypothesis and numpy and torch  # what tests import takes longer than most tests

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"

HARDWARE = (
    "tests/rtl",
    "tests/verify/test_networks.py",
    "tests/verify/test_batches.py",
    "tests/verify/test_emission.py",
)
TESTS: dict[str, tuple[str, ...]] = {
    "firstspike/compiler": (
        "tests/compiler",
        "tests/processor/test_cycles.py",
        "tests/processor/test_batches.py",
        *HARDWARE,
    ),
    "firstspike/rtl": HARDWARE,
    "firstspike/verify": ("tests/verify/test_simulator.py", "tests/verify/test_board.py", *HARDWARE),
    "firstspike/cat/calibrate.py": ("tests/cat/test_calibrate.py", "tests/cat/test_structures.py"),
    "firstspike/cat/ties.py": ("tests/cat/test_ties.py", "tests/cat/test_calibrate.py"),
    "firstspike/cat/rounding.py": ("tests/cat/test_rounding.py", "tests/cat/test_calibrate.py"),
    "firstspike/train/teacher": ("tests/train/teacher", "tests/train/test_distillation.py"),
}
"""Tests by folder or file, the quick ones first."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
}


UNUSED = 100
"""Status of tests that passed without loading the faulty file."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault: the number of a place among those of a file."""

    file: str
    place: int

    def source(self) -> tuple[str, str]:
        """The file with the fault, and what it is, by line."""
        tree = ast.parse((SOURCE / self.file).read_text())
        node, kind = list(places(tree))[self.place]
        before = ast.unparse(node)
        kind.apply(node)
        return ast.unparse(
            ast.fix_missing_locations(tree)
        ), f"{self.file}:{node.lineno}: {before} -> {ast.unparse(node)}"


class Change:
    """A change of one node in its place."""

    def __init__(self, name: str, **values: Any) -> None:
        self.name, self.values = name, values

    def apply(self, node: ast.AST) -> None:
        """Make the change."""
        for field, value in self.values.items():
            setattr(node, field, value)


def places(tree: ast.AST) -> Iterator[tuple[Any, Change]]:
    """Every node that can be changed, with the change; text, imports and annotations are left alone."""
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for field in ("annotation", "returns")
        if getattr(node, field, None) is not None
        for inner in ast.walk(getattr(node, field))
    }
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            yield node, Change("comparison", ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
        elif (
            isinstance(node, ast.BinOp)
            and type(node.op) in OPERATORS
            and not isinstance(node.left, ast.Constant | ast.JoinedStr)
        ):
            yield node, Change("operator", op=OPERATORS[type(node.op)]())
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield node, Change("number", value=node.value + 1)
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield node, Change("truth", value=not node.value)
        elif isinstance(node, ast.BoolOp):
            yield node, Change("connective", op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        elif isinstance(node, ast.IfExp):
            yield node, Change("choice", body=node.orelse, orelse=node.body)


def all_mutants() -> list[Mutant]:
    """Every fault in every file that tests are mapped to."""
    found = []
    for folder in TESTS:
        place = SOURCE / folder
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            count = len(list(places(ast.parse(path.read_text()))))
            found += [Mutant(file=str(path.relative_to(SOURCE)), place=place) for place in range(count)]
    return found


def outcome(mutant: Mutant, *, seconds: float) -> str:
    """``killed``, ``survived``, ``timed out``, or ``not loaded``: no test has the faulty file."""
    source, _ = mutant.source()
    module = mutant.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    examples = str((SOURCE / mutant.file).relative_to(ROOT))
    return tested((examples, *TESTS[_folder(mutant)]), _Finder(module, source), seconds=seconds)


def tested(tests: tuple[str, ...], finder: "_Finder | None", *, seconds: float) -> str:
    """How tests end, in a fork that has their libraries but not the package: ``survived`` if they pass."""
    child = os.fork()
    if child == 0:
        signal.alarm(round(seconds))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        if finder is not None:
            sys.meta_path.insert(0, finder)
        os.chdir(ROOT)
        imported = "ignore::pytest.PytestAssertRewriteWarning"  # Hypothesis, before the fork
        plain = "--assert=plain"  # rewriting would read the true file
        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", plain, "-W", imported, *tests]))
        os._exit(UNUSED if finder in sys.meta_path and status == 0 else status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return "timed out"
    if os.waitstatus_to_exitcode(status) == UNUSED:
        return "not loaded"
    return "survived" if status == 0 else "killed"


def _folder(mutant: Mutant) -> str:
    return next(folder for folder in TESTS if mutant.file.startswith(folder))


def main() -> int:
    """Run a sample and print how it ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", choices=sorted(TESTS), help="draw from this folder only")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="tests to run (default: those of the faulty file)")
    parser.add_argument("--count", type=int, default=20, help="faults to draw (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1800, help="a fault is given up after this time (%(default)s)")
    parser.add_argument(
        "--journal", type=Path, default=ROOT / "build/mutants.jsonl", help="what was done (%(default)s)"
    )
    options = parser.parse_args()
    if options.tests:
        TESTS.update(dict.fromkeys(TESTS, tuple(options.tests)))
    mutants = [mutant for mutant in all_mutants() if options.folder in (None, _folder(mutant))]
    chosen = random.Random(options.seed).sample(mutants, min(options.count, len(mutants)))
    print(f"{len(mutants)} faults, {len(chosen)} drawn with seed {options.seed}", flush=True)
    for folder in sorted({_folder(mutant) for mutant in chosen}):
        examples = str((SOURCE / folder).relative_to(ROOT))
        if (how := tested((examples, *TESTS[folder]), None, seconds=options.seconds)) != "survived":
            print(f"the tests of {folder} must pass without a fault, not end with {how!r}")
            return 1
    known: dict[str, str] = {}
    options.journal.parent.mkdir(parents=True, exist_ok=True)
    if options.journal.exists():
        known = {record["fault"]: record["how"] for record in map(json.loads, options.journal.read_text().splitlines())}
    for mutant in chosen:
        fault = mutant.source()[1]
        if fault not in known:
            known[fault] = outcome(mutant, seconds=options.seconds)
            with options.journal.open("a") as stream:
                stream.write(json.dumps({"fault": fault, "how": known[fault]}) + "\n")
        print(f"{known[fault]}: {fault}", flush=True)
    drawn = [known[mutant.source()[1]] for mutant in chosen]
    print(", ".join(f"{drawn.count(how)} {how}" for how in sorted(set(drawn))))
    return 0


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the faulty module before anybody else does."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The true module's place, with the faulty text."""
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        true = importlib.util.find_spec(name)
        assert true is not None and true.origin is not None
        loader = _Loader(name, true.origin, self.source)
        return importlib.util.spec_from_file_location(
            name, true.origin, loader=loader, submodule_search_locations=true.submodule_search_locations
        )


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a text under the name of a file; nothing is cached."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> Any:
        """The text, compiled."""
        return compile(self.source, self.path, "exec")


if __name__ == "__main__":
    sys.exit(main())
