"""Every library that the package imports is one that it requires, or one of the extra that `firstspike.extras` names."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from firstspike.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEVELOPERS = {"baselines", "bench", "dev", "docs", "formal", "studies"}
"""Extras that nobody needs to use the package."""

PEERS = {"nncf", "onnxruntime", "openvino", "sinabs", "snntorch", "spikingjelly"}
"""What `firstspike bench` measures itself against, of the extra bench."""


def distributions(requirements: list[str]) -> set[str]:
    """Names of distributions, with those of an extra that is named among them."""
    found: set[str] = set()
    for requirement in requirements:
        name, extra = re.match(r"([\w.-]+)(?:\[(\w+)\])?", requirement).groups()
        found |= distributions(PROJECT["optional-dependencies"][extra]) if name == "firstspike" else {name.lower()}
    return found


def imported() -> dict[str, Path]:
    """Top-level modules of other libraries that the package imports, each with a file that does."""
    found: dict[str, Path] = {}
    for path in sorted((ROOT / "src" / "firstspike").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.partition(".")[0]: path for name in names}
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, "firstspike", *PEERS}}


def test_every_library_is_required_or_of_the_extra_that_is_named() -> None:
    known = metadata.packages_distributions()
    required = distributions(PROJECT["dependencies"])
    for module, path in imported().items():
        names = {name.lower() for name in known.get(module, [module])}
        brings = distributions(PROJECT["optional-dependencies"][EXTRAS[module]]) if module in EXTRAS else required
        assert names & brings, f"{path.name} imports {module}: {EXTRAS.get(module, 'what is required')} must bring it"


def test_everything_required_is_imported() -> None:
    """What nobody imports, nobody should have to install."""
    known, modules = metadata.packages_distributions(), set(imported())
    for name in distributions(PROJECT["dependencies"]):
        brought = {module for module, owners in known.items() if name in {owner.lower() for owner in owners}}
        assert brought & modules, f"{name} is required and never imported"


def test_extras_are_of_the_project() -> None:
    assert set(EXTRAS.values()) <= set(PROJECT["optional-dependencies"]) - DEVELOPERS
