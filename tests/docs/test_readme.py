"""What the README and the examples show runs as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_run_in_the_order_they_stand(tmp_path: Path) -> None:
    (commands,) = blocks("bash")
    lines = [shlex.split(line) for line in commands.strip().splitlines()]
    steps = ("demo", "train", "convert", "inspect", "evaluate", "cost", "report", "playground")
    assert [line[:2] for line in lines] == [["firstspike", name] for name in steps]
    for line in lines:
        run([sys.executable, "-m", "firstspike.cli.main", *line[1:]], tmp_path)
    assert (tmp_path / "demo" / "report.html").is_file()
    assert (tmp_path / "demo" / "record.json").is_file()
    assert (tmp_path / "digits.safetensors").is_file()
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "playground.html").is_file()


def test_the_python_example_runs(tmp_path: Path) -> None:
    (code,) = blocks("python")
    shown = run([sys.executable, "-c", code], tmp_path)
    assert shown.startswith("torch.Size([16, 10])")
    assert (tmp_path / "net.safetensors").is_file()


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    assert run([sys.executable, str(example)], tmp_path)


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "log").glob("*.md")]


def prose(page: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "", re.sub(r"^\| `.*$", "", text, flags=re.MULTILINE))


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name != "log"], ids=lambda page: page.name)
def test_units_are_spelled_as_they_are_written(page: Path) -> None:
    assert re.findall(r"\b(?:uJ|uW|um2|mm2)\b|\d us\b", prose(page)) == [], "µJ, µW, µm², mm², µs"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 100


# What the site's build makes (scripts/site_hooks.py).
MADE = {"playground/digits.html"}


def test_every_page_that_is_linked_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and target not in MADE:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
