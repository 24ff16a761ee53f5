"""What each use of the package loads: no more than it needs. By what lies in ``sys.modules``, in a process of its own."""

import ast
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import firstspike as fs

HEAVY = {"torch", "lightning", "tensorboard", "sklearn", "scipy", "matplotlib", "pooch", "amaranth", "optuna", "ray"}

USES = {
    "import firstspike": ("", {"numpy", "rich", "PIL", "jaxtyping"} | HEAVY),
    "inference": ("import numpy as np; fs.zoo.load('vgg16-cifar10')(np.zeros((1, 3, 32, 32), np.float32))", HEAVY),
    "cost": (
        "import numpy as np; n = fs.zoo.load('vgg16-cifar10'); "
        "fs.Processor().run(n, np.zeros((1, 3, 32, 32), np.float32))",
        HEAVY,
    ),
    "RTL": ("import firstspike.verify, firstspike.gates.synthesise, firstspike.compiler.image", HEAVY - {"amaranth"}),
    "data": ("import firstspike.data", HEAVY),
    "report": ("import firstspike.pages", HEAVY),
}


def loaded(program: str) -> set[str]:
    """Top-level modules that a program leaves loaded."""
    probe = "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program + probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("use", USES)
def test_a_use_loads_what_it_needs(use: str) -> None:
    program, never = USES[use]
    assert loaded(f"import firstspike as fs\n{program}").isdisjoint(never)


def test_type_checkers_see_the_names_that_are_loaded_when_used() -> None:
    tree = ast.parse(Path(fs.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert seen == fs._PLACES
    assert {*seen, "__version__"} == set(fs.__all__) == set(fs.__all__) & set(dir(fs))


def test_the_version_is_one() -> None:
    citation = (Path(__file__).resolve().parents[1] / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fs.__version__}\n" in citation
    assert metadata.version("firstspike") == fs.__version__


def test_no_such_name() -> None:
    with pytest.raises(AttributeError, match="module 'firstspike' has no attribute 'prepared'"):
        fs.prepared  # noqa: B018


def test_a_missing_extra_is_named() -> None:
    program = "import sys; sys.modules['torch'] = None\nimport firstspike as fs\nfs.prepare"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    wanted = "ImportError: firstspike.prepare needs torch; install it with: pip install 'firstspike[train]'"
    assert done.stderr.splitlines()[-1] == wanted
