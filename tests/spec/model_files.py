"""A small network of every layer kind, comparison of networks, and files forged from wrong parts."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from firstspike.arith import Code, LogWeights
from firstspike.spec import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network, container, save

Description = dict[str, Any]
Tensors = dict[str, np.ndarray]


def small_network() -> Network:
    """Every layer kind, a residual, groups, classes; codes that fill no whole byte."""
    rng = np.random.default_rng(7)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(0, 32, shape, dtype=np.uint8)

    return Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(2, 5, 4),
        layers=(
            Conv2d(name="a", source=INPUT, codes=codes(4, 2, 3, 3), scale=1, bias=np.arange(4) - 2, padding=(1, 1)),
            MaxPool2d(name="pool", source="a", kernel=(2, 2), stride=(2, 1), padding=(1, 0)),
            Conv2d(name="b", source="pool", codes=codes(4, 2, 1, 1), scale=-3, bias=np.arange(4), groups=2),
            Conv2d(
                name="c",
                source="b",
                codes=codes(4, 4, 3, 1),
                scale=5,
                bias=np.zeros(4, np.int64),
                padding=(1, 0),
                residuals=("pool", "b"),
            ),
            Flatten(name="flat", source="c"),
            Linear(
                name="out",
                source="flat",
                codes=codes(3, 36),
                scale=2,
                bias=np.array([5, -(1 << 29), 1 << 29]),
                fires=False,
            ),
        ),
        accumulator_bits=33,
        classes=("cat", "Hündin", "鳥"),
    )


def same(one: Network, other: Network) -> bool:
    """Whether two networks are equal in every field, types included."""
    if len(one.layers) != len(other.layers):
        return False
    objects = [(one, other), *zip(one.layers, other.layers, strict=True)]
    for left, right in zip(one.layers, other.layers, strict=True):
        inner, outer = getattr(left, "parts", ()), getattr(right, "parts", ())
        if len(inner) != len(outer):
            return False
        objects += zip(inner, outer, strict=True)
    for left, right in objects:
        if type(left) is not type(right):
            return False
        for field in fields(left):
            a, b = getattr(left, field.name), getattr(right, field.name)
            if isinstance(a, np.ndarray):
                if not (isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)):
                    return False
            elif field.name not in ("layers", "parts") and (type(a) is not type(b) or a != b):
                return False
    return True


def parts(path: Path) -> tuple[Description, Tensors, dict[str, str]]:
    """Description, tensors and metadata of a good file."""
    metadata, tensors = container.read(path, lambda metadata: None)
    return json.loads(metadata["firstspike"]), {name: tensor.copy() for name, tensor in tensors.items()}, metadata


def forge(path: Path, description: Any, tensors: Tensors, *, notes: str | None = None) -> None:
    """Write a file whose container and checksum are right, whatever its content is."""
    metadata = {"firstspike": description if isinstance(description, str) else json.dumps(description)}
    if notes is not None:
        metadata["notes"] = notes
    digest = hashlib.sha256((metadata["firstspike"] + (notes or "")).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].tobytes())
    container.write(path, metadata | {"sha256": digest.hexdigest()}, tensors)


def forge_small(path: Path, edit: Callable[[Description, Tensors], object]) -> None:
    """The small network's file after ``edit`` has changed its description or its tensors."""
    save(small_network(), path)
    description, tensors, _ = parts(path)
    edit(description, tensors)
    forge(path, description, tensors)


def raw(path: Path, header: Any, data: bytes = b"") -> None:
    """Any header and data as a safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
