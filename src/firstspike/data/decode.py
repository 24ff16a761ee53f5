"""Image files decoded in parallel into one uint8 array, kept in a cache that is checked and can be deleted."""

import hashlib
import io
import os
import warnings
import zipfile
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


def decode(
    source: Source, listing: Listing, *, size: int | None = None, max_bytes: int = MAX_DECODED_BYTES
) -> np.ndarray:
    """Decode the listed images: uint8 [N, C, H, W].

    All images must have one height and width, unless ``size`` is given: then each is resized by ``resize``. ``C`` is 1
    if all images are grey and 3 (RGB, grey repeated) if any has colour. ValueError names the image that cannot be read,
    has another shape, more than 8 bits per channel, transparency or several frames, and refuses before decoding what
    would take more than ``max_bytes``.
    """
    listed = [name for name, _ in listing.files]
    first = _open(source, listed[0])
    height, width = (size, size) if size is not None else (first.height, first.width)
    if (needed := len(listed) * 3 * height * width) > max_bytes:
        shown = f"{len(listed)} x 3 x {height} x {width}"
        raise ValueError(f"images of {source.path} must decode to at most {max_bytes} bytes, not {shown} = {needed!r}")
    images = np.empty((len(listed), 3, height, width), dtype=np.uint8)

    def fill(start: int) -> bool:
        coloured = False
        for index in range(start, min(start + _CHUNK, len(listed))):
            name = listed[index]
            image = _convert(_open(source, name), source, name)
            if size is not None:
                image = resize(image, size)
            elif (image.height, image.width) != (height, width):
                rule = f"must be {height} x {width} pixels like {listed[0]!r} (a given size resizes all)"
                raise ValueError(f"image {name!r} in {source.path} {rule}, not {image.height} x {image.width}")
            if image.mode == "RGB":
                coloured = True
                images[index] = np.asarray(image).transpose(2, 0, 1)
            else:
                images[index] = np.asarray(image)
        return coloured

    pool = ThreadPoolExecutor(max_workers=min(32, os.cpu_count() or 1))
    try:
        coloured = any(list(pool.map(fill, range(0, len(listed), _CHUNK))))  # a list, so that every chunk is waited for
    finally:
        pool.shutdown(cancel_futures=True)
    return images if coloured else images[:, :1].copy()


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
) -> np.ndarray:
    """``decode``, kept as an ``.npz`` file in the folder ``cache`` under a fingerprint of all that goes into it.

    The fingerprint covers each file's name, size and time (in a zip: size and CRC), so a changed set is decoded anew
    and its old file deleted. A damaged file is rebuilt with a warning; a read-only folder is left alone.
    """
    if cache is None:
        return decode(source, listing, size=size)
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
    images = decode(source, listing, size=size)
    _store(path, images, stem)
    return images


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
