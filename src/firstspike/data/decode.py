"""Image files decoded in parallel into one uint8 array, kept in a cache that is checked and can be deleted."""

import hashlib
import io
import math
import os
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from firstspike import files
from firstspike.data.sources import Listing, Source, Split, may_write

MAX_DECODED_BYTES = 8 * 2**30
MAX_IMAGE_PIXELS = 2**25
CACHE_VERSION = 1
_CHUNK = 64
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "TIFF", "WEBP")
_GREY, _COLOUR = {"1", "L", "LA"}, {"RGB", "RGBA", "CMYK", "YCbCr"}


class Decoding:
    """Images of a listing on their way into one uint8 array, decoded in order by threads of their own.

    The array has room for all images from the start, which is what bounds the memory. Leaving the context ends the
    threads, whether they are done or not.

    Args:
        source: where the files lie.
        listing: which of them are the images.
        size: each image is resized to ``size`` x ``size`` by ``resize``; None: all must have one height and width.
        max_bytes: most bytes of the array.
        keep: called once with all images when they are there.

    Raises:
        ValueError: the array would take more than ``max_bytes``, or the first image cannot be read.
    """

    def __init__(
        self,
        source: Source,
        listing: Listing,
        *,
        size: int | None = None,
        max_bytes: int = MAX_DECODED_BYTES,
        keep: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        self._source, self._size, self._keep = source, size, keep
        self._names = [name for name, _ in listing.files]
        first = _open(source, self._names[0])
        self.height, self.width = (size, size) if size is not None else (first.height, first.width)
        room = (len(self._names), 3, self.height, self.width)
        if (needed := math.prod(room)) > max_bytes:
            shown = " x ".join(map(str, room))
            raise ValueError(
                f"images of {source.path} must decode to at most {max_bytes} bytes, not {shown} = {needed!r}"
            )
        self._images = np.empty(room, dtype=np.uint8)
        self._pool = ThreadPoolExecutor(max_workers=min(32, os.cpu_count() or 1))
        starts = range(0, len(self._names), _CHUNK)
        self._coloured = [self._pool.submit(self._fill, start) for start in starts]
        self._result: np.ndarray | None = None

    def __enter__(self) -> "Decoding":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def part(self, start: int, stop: int) -> tuple[np.ndarray, bool]:
        """Images from ``start`` up to ``stop`` as soon as they are there: uint8 [n, 3, H, W], and whether any has colour.

        Raises:
            ValueError: names the first image up to ``stop`` that cannot be read, has another shape, more than 8 bits per
                channel, transparency or several frames.
        """
        coloured = [chunk.result() for chunk in self._coloured[: -(-stop // _CHUNK)]]
        return self._images[start:stop], any(coloured[start // _CHUNK :])

    def result(self) -> np.ndarray:
        """All images, uint8 [N, C, H, W]: ``C`` is 1 if all are grey, and 3 (RGB, grey repeated) if any has colour.

        Raises:
            ValueError: as `part`.
        """
        if self._result is None:
            images, coloured = self.part(0, len(self._names))
            self._result = images if coloured else images[:, :1].copy()
            if self._keep is not None:
                self._keep(self._result)
        return self._result

    def _fill(self, start: int) -> bool:
        """Decode a chunk; whether any image of it has colour."""
        coloured = False
        for index, name in enumerate(self._names[start : start + _CHUNK], start):
            image = _convert(_open(self._source, name), self._source, name)
            if self._size is not None:
                image = resize(image, self._size)
            elif (image.height, image.width) != (self.height, self.width):
                given = f"like {self._names[0]!r} (a given size resizes all)"
                rule = f"must be {self.height} x {self.width} pixels {given}"
                shown = f"{image.height} x {image.width}"
                raise ValueError(f"image {name!r} in {self._source.path} {rule}, not {shown}")
            if image.mode == "RGB":
                coloured = True
                self._images[index] = np.asarray(image).transpose(2, 0, 1)
            else:
                self._images[index] = np.asarray(image)
        return coloured


def resize(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square and resample it to ``size`` x ``size``, bilinear with antialiasing (Pillow)."""
    side = min(image.width, image.height)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)


def resize_all(images: np.ndarray, size: int) -> np.ndarray:
    """``resize`` for each image of uint8 [N, C, H, W], C = 1 or 3; returns uint8 [N, C, size, size]."""
    n, channels = images.shape[:2]
    out = np.empty((n, channels, size, size), dtype=np.uint8)
    for index, image in enumerate(images):
        for channel in range(channels):
            out[index, channel] = np.asarray(resize(Image.fromarray(image[channel]), size))
    return out


def _open(source: Source, name: str) -> Image.Image:
    data = source.read(name)
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photograph with its preview
    except UnidentifiedImageError as error:  # whose text shows the address of the stream
        known = ", ".join(_FORMATS)
        raise ValueError(
            f"image {name!r} in {source.path} must be readable, not broken: it is none of {known}"
        ) from error
    except Exception as error:  # on broken files Pillow raises nearly every kind there is
        raise ValueError(f"image {name!r} in {source.path} must be readable, not broken: {error}") from error
    if image.width * image.height > MAX_IMAGE_PIXELS:
        shown = f"{image.width} x {image.height}"
        raise ValueError(f"image {name!r} in {source.path} must have at most {MAX_IMAGE_PIXELS} pixels, not {shown}")
    if frames != 1:
        raise ValueError(f"image {name!r} in {source.path} must have one frame, not {frames!r}")
    return image


def _convert(image: Image.Image, source: Source, name: str) -> Image.Image:
    """Decode to mode L or RGB. ValueError for what these cannot show."""
    try:
        image.load()
        if image.mode == "P" or "transparency" in image.info:
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    except Exception as error:
        raise ValueError(f"image {name!r} in {source.path} must be readable, not broken: {error}") from error
    if image.mode not in _GREY | _COLOUR:
        raise ValueError(f"image {name!r} in {source.path} must have 8 bits per channel, not mode {image.mode!r}")
    if image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() != (255, 255):
        raise ValueError(f"image {name!r} in {source.path} must be opaque, not transparent in places")
    return image.convert("L" if image.mode in _GREY else "RGB")


def decode_cached(
    source: Source, listing: Listing, *, split: Split, cache: Path | None, size: int | None = None
) -> np.ndarray | Decoding:
    """The listed images from a file in the folder ``cache``, else their `Decoding`, which leaves that file behind.

    It is an ``.npz`` file under a fingerprint of all that goes into it: each file's name, size and time (in a zip: size
    and CRC), so a changed set is decoded anew and its old file deleted. A damaged file is rebuilt with a warning; a
    read-only folder is left alone.
    """
    if cache is None:
        return Decoding(source, listing, size=size)
    fingerprint = _digest(CACHE_VERSION, size, *(f"{name}\0{source.stamp(name)}" for name, _ in listing.files))
    stem = f"{source.path.stem}-{split}-{_digest(source.path.resolve(), split, size)[:12]}"
    path = cache / f"{stem}-{fingerprint[:24]}.npz"
    if path.exists():
        try:
            with files.reading(path) as file, np.load(file, allow_pickle=False) as stored:
                images: np.ndarray = stored["images"]
            if images.dtype == np.uint8 and images.ndim == 4 and len(images) == len(listing.files):
                return images
            problem = f"it holds {images.dtype} {images.shape}"
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError) as error:
            problem = str(error)
        warnings.warn(f"cache file {path} is damaged and is rebuilt: {problem}", stacklevel=2)
    return Decoding(source, listing, size=size, keep=lambda images: _store(path, images, stem))


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()


def _store(path: Path, images: np.ndarray, stem: str) -> None:
    """Write whole or not at all, then delete what the same source left under other fingerprints."""
    if not may_write(path.parent):  # a read-only data folder is a good data folder
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as file:
            np.savez(file, images=images)
    except OSError as error:
        warnings.warn(f"cache file {path} could not be written: {error}", stacklevel=3)
        return
    for other in path.parent.glob(f"{stem}-*.npz"):
        if other != path:
            with suppress(OSError):
                other.unlink()
