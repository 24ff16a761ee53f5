"""Image files decoded in parallel into one uint8 array, kept in a cache that is checked and can be deleted."""

import hashlib
import io
import os
import tempfile
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from firstspike.train.sources import Listing, Source

MAX_DECODED_BYTES = 8 * 2**30
MAX_IMAGE_PIXELS = 2**26
CACHE_VERSION = 1
_CHUNK = 64
_GREY, _COLOUR, _ALPHA = {"1", "L"}, {"RGB", "CMYK", "YCbCr", "LAB", "HSV"}, {"LA", "La", "PA", "RGBA", "RGBa"}


def decode(
    source: Source,
    listing: Listing,
    *,
    size: int | None = None,
    channels: int | None = None,
    max_bytes: int = MAX_DECODED_BYTES,
) -> np.ndarray:
    """Decode the listed images: uint8 [N, C, H, W].

    All images must have one height and width, unless ``size`` is given: then each is resized by ``resize``. ``C`` is 1
    if all images are grey and 3 (RGB, grey repeated) if any has colour; ``channels`` asks for 1 or 3. ValueError names
    the image that cannot be read, has another shape, more than 8 bits per channel, transparency, or colour where grey
    was asked for, and refuses before decoding what would take more than ``max_bytes``.
    """
    where, files = source.path, [name for name, _ in listing.files]
    first = _open(source, files[0])
    height, width = (size, size) if size is not None else (first.height, first.width)
    if (needed := len(files) * 3 * height * width) > max_bytes:
        shown = f"{len(files)} x 3 x {height} x {width}"
        raise ValueError(f"images of {where} must decode to at most {max_bytes} bytes, not {shown} = {needed!r}")
    images = np.empty((len(files), 3, height, width), dtype=np.uint8)

    def fill(start: int) -> bool:
        coloured = False
        for index in range(start, min(start + _CHUNK, len(files))):
            image = _convert(_open(source, files[index]), files[index])
            if size is not None:
                image = resize(image, size)
            elif (image.height, image.width) != (height, width):
                rule = f"must be {height} x {width} pixels like {files[0]!r} (a size resizes all)"
                raise ValueError(f"image {files[index]!r} {rule}, not {image.height} x {image.width}")
            if image.mode == "RGB":
                if channels == 1:
                    raise ValueError(f"image {files[index]!r} must be grey, not {image.mode!r}")
                coloured = True
                images[index] = np.asarray(image).transpose(2, 0, 1)
            else:
                images[index] = np.asarray(image)
        return coloured

    pool = ThreadPoolExecutor(max_workers=min(32, os.cpu_count() or 1))
    try:
        coloured = any(list(pool.map(fill, range(0, len(files), _CHUNK))))
    finally:
        pool.shutdown(cancel_futures=True)
    return images if channels == 3 or (coloured and channels is None) else images[:, :1].copy()


def resize(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square and resample it to ``size`` x ``size``, bilinear with antialiasing (Pillow)."""
    side = min(image.width, image.height)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _open(source: Source, name: str) -> Image.Image:
    data = source.read(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow's warnings about odd metadata and about size, which is checked here
            image = Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"image {name!r} in {source.path} must be readable, not broken: {error}") from error
    if image.width * image.height > MAX_IMAGE_PIXELS:
        shown = f"{image.width} x {image.height}"
        raise ValueError(f"image {name!r} in {source.path} must have at most {MAX_IMAGE_PIXELS} pixels, not {shown}")
    return image


def _convert(image: Image.Image, name: str) -> Image.Image:
    """Decode to mode L or RGB. ValueError for what cannot be shown in them without loss."""
    try:
        image.load()
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    except (OSError, ValueError, SyntaxError, IndexError, EOFError) as error:
        raise ValueError(f"image {name!r} must be readable, not broken: {error}") from error
    if image.mode in _ALPHA:
        if image.getchannel("A").getextrema() != (255, 255):
            raise ValueError(f"image {name!r} must be opaque, not transparent in places")
        return image.convert("L" if image.mode in ("LA", "La") else "RGB")
    if image.mode in _GREY:
        return image.convert("L")
    if image.mode in _COLOUR:
        return image.convert("RGB")
    raise ValueError(f"image {name!r} must have 8 bits per channel, not mode {image.mode!r}")


def decode_cached(
    source: Source, listing: Listing, *, cache: Path | None, size: int | None = None, channels: int | None = None
) -> np.ndarray:
    """``decode``, kept as an ``.npz`` file in the folder ``cache`` under a fingerprint of all that goes into it.

    The fingerprint covers each file's name, size and time (in a zip: size and CRC), so a changed set is decoded anew
    and its old file deleted. A damaged file is rebuilt with a warning; a folder that cannot be written is left alone.
    """
    if cache is None:
        return decode(source, listing, size=size, channels=channels)
    digest = hashlib.sha256(f"{CACHE_VERSION} {size} {channels}\n".encode())
    for name, label in listing.files:
        digest.update(f"{name}\0{label}\0{source.stamp(name)}\n".encode("utf-8", "surrogateescape"))
    place = f"{source.path.resolve()} {size} {channels} {listing.files[0][0].split('/')[0]}"
    stem = f"{source.path.stem}-{hashlib.sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
    path = cache / f"{stem}-{digest.hexdigest()[:24]}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                images = stored["images"]
            if images.dtype == np.uint8 and images.ndim == 4 and len(images) == len(listing.files):
                return images
            problem = f"it holds {images.dtype} {images.shape}"
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError) as error:
            problem = str(error)
        warnings.warn(f"cache file {path} is damaged and is rebuilt: {problem}", stacklevel=2)
    images = decode(source, listing, size=size, channels=channels)
    _store(path, images, stem)
    return images


def _store(path: Path, images: np.ndarray, stem: str) -> None:
    """Write whole or not at all, then delete what the same source left under other fingerprints."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{stem}-", suffix=".tmp")
    except OSError:  # a read-only data folder is a good data folder
        return
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, images=images)
        os.replace(temporary, path)
    except OSError as error:
        warnings.warn(f"cache file {path} could not be written: {error}", stacklevel=3)
        return
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    for other in path.parent.glob(f"{stem}-*.npz"):
        if other != path:
            with suppress(OSError):
                other.unlink()
