"""The notebooks run as they are committed: without outputs, cell by cell, in a kernel of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel", reason="needs pip install 'firstspike[notebook]'")
nbformat = pytest.importorskip("nbformat", reason="needs pip install 'firstspike[dev]'")
nbclient = pytest.importorskip("nbclient", reason="needs pip install 'firstspike[dev]'")

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NEEDS = {"digits": "torch", "own-network": "torch", "verilog-energy": "amaranth"}


def outputs(notebook: Any) -> list[dict[str, Any]]:
    """What the cells show, by MIME type."""
    return [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.ipynb")))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(NEEDS[name], reason="needs pip install 'firstspike[train,rtl]'")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = outputs(notebook)
    assert sum("text/html" in data for data in shown) >= 2, "tables and figures are shown"
    assert all(len(data.get("text/plain", "")) < 5_000 for data in shown)
    assert {
        "digits": ["digits.safetensors", "playground.html", "report.html"],
        "own-network": ["report.html"],
        "verilog-energy": ["rtl"],
    }[name] == sorted(p.name for p in tmp_path.iterdir() if p.name != "ipython")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
