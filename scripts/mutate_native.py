"""Mutation of the C++ sources: small changes, one at a time, each of which some test should notice.

A mutant is built beside the extension (build/mutants) and tried by the smoke test, then by the tests of the native engine;
threads.* and workspace.hpp also by the stress checks. Survivors are listed: equal code, slower code, or a test that is missing.

    python scripts/mutate_native.py --count 40 --seed 1 --files plan.cpp synaptic.cpp
"""

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "native"
BUILD = ROOT / "build" / "mutants"
TESTS = [
    "test_native_matrix.py",
    "test_native.py",
    "test_native_binding.py",
    "test_native_memory.py",
    "test_native_activation.py",
]
STRESS = {"threads.cpp": ("interrupts", "forks"), "workspace.hpp": ("memory",), "engine.cpp": ("in_flight",)}

CHANGES = [
    (r" < ", " <= "),
    (r" <= ", " < "),
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" == ", " != "),
    (r" != ", " == "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" \* ", " + "),
    (r" / ", " * "),
    (r" % ", " / "),
    (r" && ", " || "),
    (r" \|\| ", " && "),
    (r" << ", " >> "),
    (r" >> ", " << "),
    (r" & ", " | "),
    (r"std::min\b", "std::max"),
    (r"std::max\b", "std::min"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"(?<![\w.])[0-9]+(?![\w.])", "+1"),
]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one line."""

    file: str
    line: int
    column: int
    old: str
    new: str
    text: str


def mutants(name: str) -> list[Mutant]:
    """All changes of a file: of code, not of comments, messages, includes or template heads."""
    found = []
    for number, line in enumerate((SOURCES / name).read_text().splitlines(), start=1):
        code = line.split("//")[0]
        if re.match(r"\s*(#|template|using|namespace|static_assert|case )", code) or '"' in code:
            continue
        for pattern, new in CHANGES:
            for match in re.finditer(pattern, code):
                change = str(int(match[0]) + 1) if new == "+1" else new
                found.append(
                    Mutant(file=name, line=number, column=match.start(), old=match[0], new=change, text=line.strip())
                )
    return found


PATIENCE = 10
"""Machines have other work too: a command may take so many times its seconds by the clock."""


def run(*command: object, timeout: float) -> bool:
    """Whether a command ends well within so many seconds of its processor time."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (round(timeout), round(timeout)))

    words = [str(part) for part in command]
    try:
        ended = subprocess.run(words, capture_output=True, timeout=PATIENCE * timeout, preexec_fn=limit, check=False)
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


def build() -> bool:
    """Configure once, then build what changed."""
    if not (BUILD / "build.ninja").exists():
        where = subprocess.run(
            [sys.executable, "-m", "nanobind", "--cmake_dir"], check=True, capture_output=True, text=True
        ).stdout.strip()
        options = [
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dnanobind_DIR={where}",
            "-DCMAKE_BUILD_TYPE=None",
            "-DCMAKE_CXX_FLAGS=-O1",
        ]
        subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", BUILD, *options], check=True, capture_output=True)
    return run("cmake", "--build", BUILD, timeout=900)


def noticed(name: str) -> str:
    """Which test notices the mutant that is built; empty if none does."""
    tests = ROOT / "tests" / "engine"
    other = (sys.executable, tests / "with_build.py", BUILD)
    if not run(sys.executable, tests / "native_smoke.py", BUILD, timeout=120):
        return "smoke"
    for check in STRESS.get(name, ()):
        if not run(*other, tests / "native_stress.py", check, timeout=300):
            return check
    files = [tests / test for test in TESTS]
    return "" if run(*other, "pytest", "-x", "-q", "-p", "no:cacheprovider", *files, timeout=900) else "tests"


def attempt(mutant: Mutant) -> str:
    """Build a mutant and try it; the source is as before afterwards."""
    path = SOURCES / mutant.file
    source = path.read_text()
    lines = source.splitlines(keepends=True)
    line = lines[mutant.line - 1]
    end = mutant.column + len(mutant.old)
    lines[mutant.line - 1] = line[: mutant.column] + mutant.new + line[end:]
    try:
        path.write_text("".join(lines))
        return noticed(mutant.file) if build() else "compiler"
    finally:
        path.write_text(source)


def main() -> None:
    """Try a sample of mutants; one line each, and a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", nargs="+", default=sorted(path.name for path in SOURCES.glob("*.[ch]pp")))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    every = [mutant for name in options.files for mutant in mutants(name)]
    assert build(), "the sources do not build"
    for name in sorted({name for name in options.files if name in STRESS}) or options.files[:1]:
        by = noticed(name)
        assert not by, f"without a change there is a failure: {by}"
    results = []
    for mutant in random.Random(options.seed).sample(every, min(options.count, len(every))):
        start = time.monotonic()
        by = attempt(mutant)
        results.append(asdict(mutant) | {"noticed": by})
        print(
            f"{by or 'SURVIVED':9} {mutant.file}:{mutant.line}:{mutant.column} {mutant.old.strip()} -> "
            f"{mutant.new.strip()}  {mutant.text}  ({time.monotonic() - start:.0f} s)",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    build()
    survived = sum(not result["noticed"] for result in results)
    print(f"{len(results)} of {len(every)} mutants, {survived} survived")


if __name__ == "__main__":
    main()
