"""Safetensors files of integer arrays: strict reading, deterministic and atomic writing.

Layout (https://github.com/huggingface/safetensors): 8 bytes ``N``, unsigned little-endian; ``N`` bytes of JSON, which
give metadata (text to text) and dtype, shape and place of every tensor; the tensors' bytes, without a gap. The library
writes metadata in random order, and here the same content must give the same bytes: hence a writer of its own.
"""

import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from firstspike import files
from firstspike.messages import brief

MAX_FILE = 1 << 29
"""Largest file in bytes that is read or written: five-bit weights of 800 million synapses."""

MAX_HEADER = 1 << 24
"""Largest header in bytes that is read or written."""

MAX_DIGITS = 20
"""Most characters of an integer in a header: 64 bits and a sign."""

DTYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype("u1"), "I64": np.dtype("<i8")}
"""The safetensors dtypes that a model file uses."""


def write(path: str | os.PathLike[str], metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write a file in one step: it is complete under its name, or its name is as before.

    Raises:
        OSError: the file cannot be written.
        ValueError: ``path`` is there and is no regular file, or the file would be too long to be read.
    """
    target = os.path.realpath(path)  # a link stays a link
    if os.path.exists(target) and not os.path.isfile(target):
        raise ValueError(f"{os.fspath(path)}: a model file must be a regular file, not a folder or device")
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    buffers = []
    end = 0
    names = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):  # keeps I64 aligned
        data = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).tobytes()
        place = [end, end := end + len(data)]
        table[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        buffers.append(data)
    header = dump(table).encode("ascii")
    header += b" " * (-len(header) % 8)
    if len(header) > MAX_HEADER:
        raise ValueError(f"{os.fspath(path)}: header must have at most {MAX_HEADER} bytes, not {len(header)!r}")
    if 8 + len(header) + end > MAX_FILE:
        raise ValueError(f"{os.fspath(path)}: file must have at most {MAX_FILE} bytes, not {8 + len(header) + end!r}")
    files.write(target, len(header).to_bytes(8, "little"), header, *buffers)


def read(
    path: str | os.PathLike[str], accept: Callable[[dict[str, str]], None]
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and tensors (read-only) of a file. ``accept`` sees the metadata before the tensors, and may raise.

    Every size is compared with the file's before memory is taken for it: at most the file's own size is read.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file breaks a rule; the text has the rule and the value.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: a pipe would wait for ever
        raise ValueError("a model file must be a regular file, not a folder or device")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not 8 <= size <= MAX_FILE:
            raise ValueError(f"file size must be in 8..{MAX_FILE} bytes, not {size!r}")
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"header must have at most {MAX_HEADER} bytes, not {length!r}: is it a safetensors file?")
        if 8 + length > size:
            raise ValueError(f"file must hold its header of {length} bytes, not {size - 8!r}: it is truncated")
        header = parse("header", file.read(length))
        metadata = mapping("header", header).pop("__metadata__", {})
        for key, value in mapping("__metadata__", metadata).items():
            text(f"metadata {brief(key)}", value)
        accept(metadata)
        places = _places(header, size - 8 - length)
        tensors = {}
        for name, (dtype, shape, start, end) in sorted(places.items(), key=lambda item: item[1][2:]):
            tensor = np.empty(shape, dtype=dtype)  # each in memory of its own: a reader can let go of it alone
            if file.readinto(tensor.reshape(-1).data) != end - start:
                raise ValueError(f"tensor {brief(name)}: file must hold its {end - start} bytes: it is truncated")
            tensors[name] = tensor.astype(dtype.newbyteorder("="), copy=False)
            tensors[name].flags.writeable = False
    return metadata, tensors


def _places(header: dict[str, Any], size: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]]:
    """Dtype, shape, first and last byte of every tensor; together they must be the ``size`` bytes of data, gapless."""
    places = {}
    for name, entry in header.items():
        subject = f"tensor {brief(name)}"
        keys(subject, entry, {"dtype", "shape", "data_offsets"})
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
            raise ValueError(f"{subject}: dtype must be one of {', '.join(DTYPES)}, not {brief(entry['dtype'])}")
        dtype = DTYPES[entry["dtype"]]
        shape = integers(f"{subject}: shape", entry["shape"])
        start, end = integers(f"{subject}: data_offsets", entry["data_offsets"], count=2)
        if math.prod(shape) * dtype.itemsize != end - start:
            raise ValueError(f"{subject}: shape {shape!r} of {dtype} must fill its bytes, not {start}..{end}")
        places[name] = (dtype, shape, start, end)
    expected = 0
    for name, (_, _, start, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if start != expected:
            raise ValueError(f"tensor {brief(name)}: data must begin at byte {expected}, not {start!r}")
        expected = end
    if expected != size:
        hint = "truncated" if size < expected else "followed by bytes of no tensor"
        raise ValueError(f"file must hold {expected} bytes of tensors, not {size!r}: it is {hint}")
    return places


# ---- JSON: values of the wrong type are errors, and nothing is guessed --------------------------------------------


def dump(value: Any) -> str:
    """Canonical JSON text: ASCII, no spaces, keys in the order of the value."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def parse(subject: str, source: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: the text is no JSON in UTF-8, repeats a key, or has a number that is no 64-bit integer.
    """
    try:
        return json.loads(
            source if isinstance(source, str) else source.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_refused,
            parse_constant=_refused,
        )
    except RecursionError:
        raise ValueError(f"{subject} must be JSON of a few levels, not nested deeper") from None
    except ValueError as error:
        raise ValueError(f"{subject} must be JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"keys must differ, not {brief(key)} twice")
        result[key] = value
    return result


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer must have at most {MAX_DIGITS} characters, not {len(digits)!r}")
    return int(digits)


def _refused(number: str) -> Any:
    raise ValueError(f"numbers must be integers, not {number[:MAX_DIGITS]!r}")


def mapping(subject: str, value: Any) -> dict[str, Any]:
    """``value`` if it is an object.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{subject} must be an object, not {brief(value)}")
    return value


def keys(subject: str, value: Any, names: set[str]) -> dict[str, Any]:
    """``value`` if it is an object with exactly these keys.

    Raises:
        ValueError: it is not, or it has others.
    """
    found = mapping(subject, value)
    missing, unknown = sorted(names - set(found)), sorted(set(found) - names)
    if missing or unknown:
        raise ValueError(
            f"{subject} must have the keys {sorted(names)!r}, not missing {brief(missing)} and unknown {brief(unknown)}"
        )
    return found


def text(subject: str, value: Any) -> str:
    """``value`` if it is text that UTF-8 can write.

    Raises:
        TypeError: it is no ``str``.
        ValueError: it has a lone surrogate.
    """
    if not isinstance(value, str):
        raise TypeError(f"{subject} must be text, not {brief(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{subject} must be text that UTF-8 can write, not {brief(value)}") from None
    return value


def integers(subject: str, value: Any, *, count: int | None = None) -> tuple[int, ...]:
    """``value`` as a tuple if it is a list of ``count`` (else any number of) integers, none below 0.

    Raises:
        ValueError: it is not.
    """
    plain = isinstance(value, list) and all(type(entry) is int and entry >= 0 for entry in value)
    if not plain or (len(value) != count if count is not None else len(value) > 8):
        rule = "up to 8" if count is None else str(count)
        raise ValueError(f"{subject} must be a list of {rule} integers from 0, not {brief(value)}")
    return tuple(value)
