"""Images that come while others are being decoded: the same as all at once, and the same cache behind them."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstspike.data import ImageSet, ImageStream, load, stream
from firstspike.data import decode as decode_module

COUNT = 200
"""More than two chunks that one thread decodes."""


def picture(number: int, *, grey: bool) -> Image.Image:
    shape = (3, 2) if grey else (3, 2, 3)
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8))


def folder(place: Path, *, coloured: range) -> Path:
    for number in range(COUNT):
        path = place / "ab"[number // 100] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, grey=number not in coloured).save(path)
    return place


@pytest.mark.parametrize(
    ("coloured", "channels"), [(range(0), 1), (range(0), 3), (range(COUNT), 3), (range(190, 195), 3)]
)
def test_parts_are_those_of_the_set(tmp_path: Path, coloured: range, channels: int) -> None:
    place, shape = folder(tmp_path / "set", coloured=coloured), (channels, 3, 2)
    expected = load(str(place), data_root=tmp_path / "eager", expect_shape=shape)
    for again in (False, True):
        with stream(str(place), split="test", data_root=tmp_path / "root", shape=shape) as images:
            assert isinstance(images, ImageSet if again else ImageStream)
            assert (len(images), images.classes, images.name) == (COUNT, ("a", "b"), str(place))
            assert images.whole
            assert np.array_equal(images.labels, expected.labels)
            for start in range(0, COUNT, 70):
                assert np.array_equal(images.pixels(start, start + 70), expected.pixels(start, start + 70))
            assert np.array_equal(images.pixels(), expected.pixels())
            assert np.array_equal(images.limit(7).images, expected.limit(7).images)
    (first,), (second,) = ((tmp_path / root / ".cache").glob("*.npz") for root in ("eager", "root"))
    assert np.array_equal(np.load(first)["images"], np.load(second)["images"])


def test_the_first_come_before_the_last_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, gate, convert = folder(tmp_path / "set", coloured=range(0)), threading.Event(), decode_module._convert

    def held(image: Image.Image, source: object, name: str) -> Image.Image:
        if "150" in name:
            assert gate.wait(60)
        return convert(image, source, name)

    monkeypatch.setattr(decode_module, "_convert", held)
    with stream(str(place), split="test", data_root=tmp_path, shape=(1, 3, 2)) as images:
        assert images.pixels(0, 50).shape == (50, 1, 3, 2)
        assert not list(tmp_path.glob(".cache/*"))
        gate.set()
    assert len(list(tmp_path.glob(".cache/*"))) == 1  # all are kept, also those that nobody asked for


def test_an_image_that_cannot_be_used_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    place = folder(tmp_path / "set", coloured=range(0))
    (place / "b" / "150.png").write_bytes(b"junk")
    text = r"^image 'b/150.png' in .*set must be readable, not broken: it is none of "

    def work() -> None:
        with stream(str(place), split="test", data_root=tmp_path, shape=(1, 3, 2)) as images:
            assert images.pixels(0, 50).shape == (50, 1, 3, 2)
            images.pixels(100, 200)

    with pytest.raises(ValueError, match=text):
        work()
    assert not list(tmp_path.glob(".cache/*"))


def test_colour_is_refused_where_grey_is_wanted(tmp_path: Path) -> None:
    place, text = (
        folder(tmp_path / "set", coloured=range(190, 191)),
        r"must have the shape \(1, 3, 2\), not \(3, 3, 2\)$",
    )

    def work() -> None:
        with stream(str(place), split="test", shape=(1, 3, 2)) as images:
            images.pixels(0, 128)
            images.pixels(128, 200)

    with pytest.raises(ValueError, match=text):
        work()
    with pytest.raises(ValueError, match=text):
        load(str(place), expect_shape=(1, 3, 2))


def test_another_size_is_refused_at_once(tmp_path: Path) -> None:
    place = folder(tmp_path / "set", coloured=range(0))
    with pytest.raises(ValueError, match=r"must have the shape \(3, 8, 8\), not \(3, 3, 2\)$"):
        stream(str(place), split="test", shape=(3, 8, 8)).__enter__()
