"""The page draws every design in a browser, and holds all it needs."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="the extra 'explore' is not installed")

from explore.spaces import TEXT, Pure, small
from firstspike.explore.page import page, record, table
from firstspike.explore.search import search

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_draws_in_a_browser(tmp_path: Path) -> None:
    space = small(tmp_path, TEXT.replace("trials: 30", "trials: 16"))
    found = search(space, Pure(), storage=tmp_path / "a.db", digest="d")
    file = tmp_path / "explore.html"
    file.write_text(page(space, found, {"command": "<b>"}), encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    number = len(found.points)
    assert f'data-drawn="{2 * number}"' in done.stdout  # one pair of objectives, and any two
    assert done.stdout.count("<polyline") == number
    assert "<td>&lt;b&gt;</td>" in done.stdout


def test_nothing_is_loaded_from_outside_and_columns_have_units(tmp_path: Path) -> None:
    space = small(tmp_path, TEXT.replace("trials: 30", "trials: 16"))
    found = search(space, Pure(), storage=tmp_path / "a.db", digest="d")
    text = page(space, found, {})
    assert "default-src 'none'" in unescape(text)
    assert not re.search(r"(src|href)=\"?(http|//)", text)
    head, *rows = table(space, found).splitlines()
    assert head == (
        "trial,network,dram,code_T_steps,processor_pes,processor_clock_mhz,"
        "accuracy,energy_uj,area_mm2,latency_us,latency_steps,frames_per_second,front"
    )
    assert len(rows) == len(found.points)
    assert len(record(space, found)["front"]) == sum(point.front for point in found.points) > 0
