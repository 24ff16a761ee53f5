"""The report of any network: what it says is what runs and costs say, for one network and for two side by side."""

from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import firstspike as fs
from firstspike.cli import main
from firstspike.figures import numbers
from firstspike.processor import technology
from firstspike.reporter import ReportOptions
from firstspike.spec.tally import Tally
from firstspike.spiking import SpikingNetwork
from tests.pages import example
from tests.pages.browser import browse, needs_browser, widths
from tests.pages.test_demo import read

LABELS = np.array([3, 1, 4, 1, 5, 9, 2, 6])


def network(**changes: object) -> SpikingNetwork:
    return SpikingNetwork(replace(example.network(), **changes), engine="reference")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made() -> fs.Report:
    two = {"one": network(), "<two>": network(classes=tuple(f"class {i}" for i in range(10)))}
    return fs.report(two, example.images(), LABELS, ReportOptions(title="rings", shown=(0, 5), priced=4))


def test_the_record_is_that_of_runs_and_costs(made: fs.Report) -> None:
    snn, images = network(), example.images()
    record = made.record["one"]
    assert record["accuracy"] == float((snn.classify(images) == LABELS).mean())
    assert record["images"] == 8
    assert set(record["costs"]) == set(technology.default().dram)
    for dram, cost in record["costs"].items():
        assert cost == fs.Processor().run(snn, images[::2], dram=dram).record()


def test_the_page_holds_all_and_says_what_the_record_says(made: fs.Report) -> None:
    reader = read(made.html)
    texts = "\n".join(reader.texts)
    assert not reader.tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert all(address.startswith(("data:image/png;base64,", "#network-")) for address in reader.addresses)
    assert "default-src 'none'" in unescape(made.html)
    for word in ("2 networks on rings", "Side by side", "<two>", "Saturation and silence", "Provenance", "class 9"):
        assert word in texts
    for cost in made.record["one"]["costs"].values():
        low, high = (numbers.energy(cost[f"energy_uj_per_image_{end}"]) for end in ("low", "high"))
        assert f"{low} to {high}" in texts
    assert texts.count("Image 2") == 2


def test_a_tally_counts_spike_times() -> None:
    trace = example.trace()
    tally = Tally.of(trace, LABELS)
    parts = [Tally.of(network().trace(example.images()[i : i + 3]), LABELS[i : i + 3]) for i in (0, 3, 6)]
    joined = parts[0] + parts[1] + parts[2]
    for name, layer in tally.layers.items():
        times = trace.layers[name].times.reshape(8, -1).tolist()
        flat = [t for image in times for t in image]
        assert layer.counts.tolist() == [flat.count(t) for t in range(256)] == joined.layers[name].counts.tolist()
        assert layer.never == sum(all(t == 255 for t in column) for column in zip(*times, strict=True)) / len(times[0])
        assert layer.silent.tolist() == joined.layers[name].silent.tolist()
    assert tally.images.tolist() == [0, 2, 1, 1, 1, 1, 1, 0, 0, 1] == joined.images.tolist()
    assert tally.hits.tolist() == joined.hits.tolist()


def test_without_labels_there_is_no_accuracy() -> None:
    made = fs.report(network(), example.images(), options=ReportOptions(shown=0))
    assert made.record["network"]["accuracy"] is None
    assert "Accuracy by class" not in made.html
    assert "Image 1" not in made.html


def test_what_cannot_be_reported_is_refused() -> None:
    images = example.images()
    with pytest.raises(TypeError, match=r"network 'a' must be of firstspike\.convert or firstspike\.load, not Network"):
        fs.report({"a": example.network()}, images)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="labels must be 8 integers, as many as images, not 3 of int64"):
        fs.report(network(), images, LABELS[:3])
    with pytest.raises(ValueError, match=r"ReportOptions\.shown must hold places in 0\.\.7, not 8"):
        fs.report(network(), images, options=ReportOptions(shown=(8,)))
    with pytest.raises(ValueError, match="a report needs at least one image, not 0"):
        fs.report(network(), images[:0])
    with pytest.raises(ValueError, match="a report needs entries of different names"):
        fs.report({}, images)


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network().save(tmp_path / "rings.safetensors")
    np.savez(tmp_path / "images.npz", images=np.rint(255 * example.images()).astype(np.uint8), labels=LABELS)
    page, model = tmp_path / "page.html", str(tmp_path / "rings.safetensors")
    data = ["--data", str(tmp_path / "images.npz")]
    assert main(["report", model, *data, "--dram", "lpddr3", "--image", "7", "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "DRAM lpddr3" in text
    assert "Image 1" in text
    assert "Image 2" not in text
    assert "rings" in capsys.readouterr().out
    assert main(["report", model, model, *data, "--out", str(page)]) == 2
    assert "networks must have different names" in capsys.readouterr().err


@needs_browser
def test_a_browser_shows_it_wide_narrow_and_dark(tmp_path: Path, made: fs.Report) -> None:
    page = tmp_path / "page.html"
    made.save(page)
    assert widths(tmp_path, page) == {"1280": 1280, "420": 420}, "nothing is cut off or scrolls sideways"
    dark = tmp_path / "dark.png"
    browse(tmp_path, page, f"--screenshot={dark}", "--window-size=1280,2000", "--blink-settings=preferredColorScheme=0")
    with Image.open(dark) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert (pixels == (0x11, 0x11, 0x10)).all(axis=2).mean() > 0.1
    assert (pixels == (0x1B, 0x1B, 0x19)).all(axis=2).mean() > 0.3
    paper = tmp_path / "paper.pdf"
    browse(tmp_path, page, f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF-")
