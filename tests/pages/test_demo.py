"""The page: it holds everything it shows, says what the record says, and a browser draws it."""

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstspike.pages import Example, demo_page
from tests.pages import example
from tests.pages.browser import browse, needs_browser

VOID = {"meta", "img"}


def page(**changes: object) -> str:
    arguments = {
        "network": example.network(),
        "trace": example.trace(),
        "cost": example.cost(),
        "example": Example(image=example.images()[0, 0], label=3),
        "provenance": {"command": "firstspike demo", "date": "2026-11-23"},
    }
    return demo_page(example.record(), **(arguments | changes))  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Checks that elements nest; collects texts and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_page_nests_and_asks_for_nothing_outside() -> None:
    text = page()
    reader = read(text)
    assert reader.addresses
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    assert not reader.tags & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio"}
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    assert "default-src 'none'" in unescape(text)


def test_page_says_what_the_record_says() -> None:
    texts = "\n".join(read(page()).texts)
    for expected in ("First spikes on digits", "98.06 %", "99.72 %", "96", "3 (true)", "firstspike demo", "2026-11-23"):
        assert expected in texts
    for layer in example.network().layers:
        assert layer.name in texts
    for section in ("Accuracy and cost", "Spike raster", "Spike times", "Energy", "By layer", "Layers", "Provenance"):
        assert section in texts


def test_page_compares_designs_and_names_the_deciding_constant() -> None:
    plain = "\n".join(read(page()).texts)
    assert "Other designs" not in plain
    assert "Which constant decides" not in plain
    texts = "\n".join(read(page(designs=example.designs(), swings=example.swings())).texts)
    for expected in ("Other designs", "SpinalFlow", "base-e tables", "Which constant decides", example.swings()[0].key):
        assert expected in texts
    assert "SpinalFlow, DRAM: " in texts


def test_page_repeats_to_the_byte() -> None:
    assert page() == page()


def test_texts_from_outside_stay_text() -> None:
    hostile = '<script>alert(1)</script>&"'
    record = example.record() | {"dataset": hostile}
    network = replace(example.network(), classes=(hostile, *"123456789"))
    text = demo_page(
        record,
        network=network,
        trace=example.trace(),
        cost=example.cost(),
        example=Example(image=example.images()[0]),
        provenance={hostile: hostile},
    )
    reader = read(text)
    assert "script" not in reader.tags
    assert hostile in "".join(reader.texts)


def test_many_classes_show_the_ten_largest() -> None:
    network, run = example.network(), example.trace()
    logits = np.tile(np.arange(25, dtype=np.int64)[::-1] << 20, (run.images, 1))
    network = replace(network, layers=(*network.layers[:-1], _wide(network.layers[-1])))
    text = page(
        network=network, trace=replace(run, logits=logits), example=Example(image=example.images()[0, 0], label=24)
    )
    assert "The ten largest of 25 logits are shown." in text
    assert "it is 24" in text


def _wide(layer: object) -> object:
    codes = np.full((25, 128), 15, dtype=np.uint8)
    return replace(layer, codes=codes, bias=np.zeros(25, dtype=np.int64))  # type: ignore[type-var]


def test_wrong_asks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"index must be in 0\.\.7, not 8"):
        page(example=Example(image=example.images()[0, 0], index=8))
    record = example.record()
    del record["tau"]
    with pytest.raises(ValueError, match="not lack tau"):
        demo_page(
            record,
            network=example.network(),
            trace=example.trace(),
            cost=example.cost(),
            example=Example(image=example.images()[0]),
        )


@pytest.fixture
def report(tmp_path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(page(), encoding="utf-8")
    return path


@needs_browser
def test_browser_draws_the_page(tmp_path, report) -> None:
    picture = tmp_path / "page.png"
    browse(
        tmp_path,
        report,
        f"--screenshot={picture}",
        "--window-size=1200,3000",
        "--blink-settings=preferredColorScheme=1",
    )
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    assert pixels.shape == (3000, 1200, 3)
    colours = {"page": "f6f6f3", "card": "ffffff", "bars": "2a78d6", "DRAM": "d8524a", "leakage": "7a63d2"}
    shares = {
        name: float((pixels == [int(colour[i : i + 2], 16) for i in (0, 2, 4)]).all(axis=2).mean())
        for name, colour in colours.items()
    }
    assert shares["page"] > 0.1, shares
    assert shares["card"] > 0.4, shares
    assert min(shares["bars"], shares["DRAM"], shares["leakage"]) > 0.0005, shares
    dark = (pixels.sum(axis=2) < 300).mean()
    assert 0.005 < dark < 0.2, "text is drawn, and the page is not black"
    lower = (pixels[2000:] == [0xD8, 0x52, 0x4A]).all(axis=2)
    assert lower.any(), "the energy charts stand in the lower part"


@needs_browser
def test_browser_finds_the_texts(tmp_path, report) -> None:
    dom = browse(tmp_path, report, "--dump-dom")
    for expected in (
        "First spikes on digits",
        "98.06 %",
        "Spike raster",
        "processing elements",
        "Provenance",
        "3 (true)",
    ):
        assert expected in dom
    assert dom.count("<svg") == page().count("<svg")
