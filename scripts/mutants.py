"""Faults put into the Python of hardware and compiler one at a time: which of them no test notices.

``python scripts/mutants.py --count 20 --seed 0`` draws so many faults of all that there are, runs the tests that are mapped to
the faulty file, and prints the survivors. A journal, ``build/mutants.jsonl``, holds what was done, to go on from.

The mutated module is handed to the tests by an import hook: this file is a plugin of pytest too (``-p mutants``).
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    "firstspike/verify": ("tests/verify/test_simulator.py", *HARDWARE),
}
"""Tests by folder, the quick ones first."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
}  # fmt: skip


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
        for path in sorted((SOURCE / folder).rglob("*.py")):
            count = len(list(places(ast.parse(path.read_text()))))
            found += [Mutant(file=str(path.relative_to(SOURCE)), place=place) for place in range(count)]
    return found


def outcome(mutant: Mutant, *, seconds: float) -> str:
    """``killed``, ``survived`` or ``timed out``."""
    source, _ = mutant.source()
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(source)
        file.flush()
        module = mutant.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        return tested(_folder(mutant), {"MUTANT_MODULE": module, "MUTANT_FILE": file.name}, seconds=seconds)


def tested(folder: str, variables: dict[str, str], *, seconds: float) -> str:
    """How the tests of a folder end: ``survived`` if they pass."""
    environment = os.environ | variables | {"PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "mutants", "-p", "no:cacheprovider", *TESTS[folder]]
    try:
        ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return "timed out"
    return {0: "survived", 1: "killed", 2: "killed"}.get(ended.returncode, f"pytest ended with {ended.returncode}")


def _folder(mutant: Mutant) -> str:
    return next(folder for folder in TESTS if mutant.file.startswith(folder))


def main() -> int:
    """Run a sample and print how it ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="faults to draw (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1800, help="a fault is given up after this time (%(default)s)")
    parser.add_argument(
        "--journal", type=Path, default=ROOT / "build/mutants.jsonl", help="what was done (%(default)s)"
    )
    options = parser.parse_args()
    mutants = all_mutants()
    chosen = random.Random(options.seed).sample(mutants, min(options.count, len(mutants)))
    print(f"{len(mutants)} faults, {len(chosen)} drawn with seed {options.seed}", flush=True)
    for folder in sorted({_folder(mutant) for mutant in chosen}):
        if (how := tested(folder, {}, seconds=options.seconds)) != "survived":
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
    """Finds the mutated module before anybody else does."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != os.environ["MUTANT_MODULE"]:
            return None
        sys.meta_path.remove(self)
        try:
            true = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        assert true is not None and true.origin is not None
        loader = _Loader(name, true.origin)
        return importlib.util.spec_from_file_location(
            name, true.origin, loader=loader, submodule_search_locations=true.submodule_search_locations
        )


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the mutated text under the true name; nothing is cached."""

    def get_code(self, fullname: str) -> Any:
        return compile(Path(os.environ["MUTANT_FILE"]).read_text(), self.path, "exec")


if "MUTANT_MODULE" in os.environ:
    import importlib.util

    sys.meta_path.insert(0, _Finder())

if __name__ == "__main__":
    sys.exit(main())
