"""Every study and benchmark says in its head what it makes, of how many, on what machine and with which versions."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    path
    for path in sorted([*(ROOT / "studies").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
    if re.search(rf"python (-m studies\.|benchmarks/){path.stem}\b", path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_a_head_and_a_main(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    head = ast.get_docstring(tree) or ""
    assert [word for word in ("Number:", "n:") if not re.search(rf"^{word} ", head, re.MULTILINE)] == []
    assert re.search(r"\bMachine\b.*: ", head)
    assert re.search(r"\b[Vv]ersions\b.*: ", head)
    assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    calls = [node for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    assert {ast.unparse(node) for node in calls} <= {"matplotlib.use('Agg')", "mpl.use('Agg')"}, "work at module level"


def test_scripts_are_found() -> None:
    assert {"baselines", "results", "sweep", "training"} <= {path.stem for path in SCRIPTS}
