"""The page draws every design in a browser, and holds all it needs."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
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
        "trial,network,code_T_steps,processor_pes,processor_clock_mhz,"
        "accuracy,energy_uj,area_mm2,latency_us,latency_steps,frames_per_second,front"
    )
    assert len(rows) == len(found.points)
    assert len(record(space, found)["front"]) == sum(point.front for point in found.points) > 0


def test_intervals_components_late_designs_and_marks_are_on_the_page(tmp_path: Path) -> None:
    """What a design shows beside its point, and the points that are no design of the search."""
    space = small(tmp_path, TEXT.replace("trials: 30", "trials: 8"))
    found = search(space, Pure(), storage=tmp_path / "a.db", digest="d")
    first = found.points[0].result
    first |= {
        "energy_uj_low": 1.0,
        "energy_uj_high": 9.0,
        "pe_uj": 2.5,
        "energy_uj_flat-4pj": 3.0,
        "meets_clock": False,
    }
    named = replace(space, networks={"net": Path("vgg16-cifar10.safetensors")})
    text = page(named, found, {}, {"net": {**first, "accuracy": 0.5}})
    content = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    axes = [axis["label"] for axis in content["axes"]]
    row = next(row for row in content["rows"] if row["t"] == found.points[0].trial)
    assert row["late"] == 1 and row["d"] == {"flat-4pj": 3.0} and row["c"][0] == 2.5
    assert row["e"][str(axes.index("energy"))] == [1.0, 9.0]
    share = first["accuracy"]
    assert row["e"][str(axes.index("accuracy"))][1] == pytest.approx(100 * (share + (share * (1 - share) / 40) ** 0.5))
    assert content["axes"][axes.index("energy")]["log"] and not content["axes"][axes.index("accuracy")]["log"]
    default, published = content["marks"]
    assert default["name"] == "vgg16-cifar10, as it is" and default["v"][axes.index("accuracy")] == 50
    assert published["v"][axes.index("energy")] == 486.7 and published["v"][axes.index("area")] is None
    assert "its memories miss its clock" in text
