"""Bounds on sizes (docs/reference/model-file.md): at each a network is built, one beyond it is refused by name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstspike.arith import Code, LogWeights
from firstspike.spec import (
    INPUT,
    Channels,
    Conv2d,
    Flatten,
    FormatError,
    Layer,
    Linear,
    MaxPool2d,
    Network,
    limits,
    load,
)
from firstspike.spec.codes import PackedCodes
from spec.model_files import forge_small

FORMAT = Path(__file__).parents[2] / "docs" / "reference" / "model-file.md"


def zero(*shape: int) -> Any:
    """Codes of weight zero, packed in 8 bits: they are unpacked only if the sizes are right."""
    return PackedCodes(np.full(int(np.prod(shape)), 127, dtype=np.uint8), shape, 8)


def conv(*shape: int, name: str = "a", source: str = INPUT, **options: Any) -> Conv2d:
    bias = np.zeros(shape[0], dtype=np.int64)
    fields = {"fires": False, "scale": 0} | options
    return Conv2d(name=name, source=source, codes=zero(*shape), bias=bias, **fields)


def linear(outputs: int, inputs: int, **options: Any) -> Linear:
    fields: dict[str, Any] = {"name": "b", "source": INPUT, "fires": False} | options
    return Linear(codes=zero(outputs, inputs), scale=-64, bias=np.zeros(outputs, dtype=np.int64), **fields)


def pool(kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int] = (0, 0)) -> MaxPool2d:
    return MaxPool2d(name="p", source=INPUT, kernel=kernel, stride=stride, padding=padding)


def network(*layers: Layer, shape: tuple[int, ...]) -> Network:
    return Network(
        code=Code(),
        weights=LogWeights(bits=8, levels_per_octave=16),
        input_shape=shape,
        layers=layers,
        accumulator_bits=48,
    )


def copies(count: int, size: int) -> tuple[Layer, ...]:
    """``count`` flattenings of a flat input, then a read-out."""
    layers = [Flatten(name=f"f{i}", source=INPUT) for i in range(count)]
    return (*layers, linear(1, size))


def parts(count: int, channels: int, name: str = "") -> tuple[Conv2d, ...]:
    return tuple(conv(1, channels, 1, 1, name=f"part{name}.{i}") for i in range(count))


def with_parts(count: int) -> tuple[Layer, ...]:
    """Layers that fire, of as many parts as there may be."""
    return tuple(
        conv(1, 1, 1, 1, name=f"l{i}", fires=True, scale=-96, parts=parts(128, 1, f"{i}")) for i in range(count)
    )


def joined(others: int) -> Channels:
    """One channel of the input and others like it."""
    return Channels(name="c", source=INPUT, others=(INPUT,) * others, channels=(0,))


WIDE = (4, 1 << 10, 1 << 12)  # as many outputs as there may be
CASES: list[tuple[Callable[[], Network], Callable[[], Network], str]] = [
    (
        lambda: network(conv(1, 1, 2, 3, padding=(1, 2)), shape=(1, 4, 4)),
        lambda: network(conv(1, 1, 2, 3, padding=(2, 2)), shape=(1, 4, 4)),
        r"layer 'a': padding must be below the kernel's size \(2, 3\), not \(2, 2\)",
    ),
    (
        lambda: network(pool((2, 3), (1, 1), (1, 2)), conv(1, 1, 1, 1, source="p"), shape=(1, 4, 4)),
        lambda: network(pool((2, 3), (1, 1), (1, 3)), conv(1, 1, 1, 1, source="p"), shape=(1, 4, 4)),
        r"layer 'p': padding must be below the kernel's size \(2, 3\), not \(1, 3\)",
    ),
    (
        lambda: network(conv(1, 1, 1, 1 << 16, padding=(0, 1 << 15)), shape=(1, 1, 16)),
        lambda: network(conv(1, 1, 1, (1 << 16) + 1, padding=(0, 1 << 15)), shape=(1, 1, 16)),
        r"layer 'a': kernel must be in 1\.\.65536, not \(1, 65537\)",
    ),
    (
        lambda: network(conv(1, 1, 1, 6, padding=(0, 1)), shape=(1, 1, 4)),
        lambda: network(conv(1, 1, 1, 7, padding=(0, 1)), shape=(1, 1, 4)),
        r"layer 'a': window \(1, 7\) must fit its padded input, not \(1, 1, 4\)",
    ),
    (
        lambda: network(*copies(4095, 2), shape=(2,)),
        lambda: network(*copies(4096, 2), shape=(2,)),
        r"Network.layers must hold 1\.\.4096 layers, not 4097",
    ),
    (
        lambda: network(conv(1 << 16, 1, 1, 1), shape=(1, 1, 1)),
        lambda: network(conv((1 << 16) + 1, 1, 1, 1), shape=(1, 1, 1)),
        r"'a' must have at most 65536 channels, rows and columns, not shape \(65537, 1, 1\)",
    ),
    (
        lambda: network(conv(4, 4, 1, 1), shape=WIDE),
        lambda: network(conv(5, 4, 1, 1), shape=WIDE),
        r"'a' must have at most 16777216 outputs, not shape \(5, 1024, 4096\)",
    ),
    (
        lambda: network(linear(1, 1 << 16), shape=(1 << 16,)),
        lambda: network(linear(1, (1 << 16) + 1), shape=((1 << 16) + 1,)),
        r"Network.input_shape must be in 1\.\.65536, not 65537",
    ),
    (
        lambda: network(*[Flatten(name=f"f{i}", source=INPUT) for i in range(6)], conv(3, 4, 1, 1), shape=WIDE),
        lambda: network(*[Flatten(name=f"f{i}", source=INPUT) for i in range(7)], conv(1, 4, 1, 1), shape=WIDE),
        "all layers together must have at most 134217728 outputs, not 138412032",
    ),
    (
        lambda: network(conv(1, 4, 1, 4096, stride=(1, 8192), padding=(0, 2048)), shape=WIDE),
        lambda: network(conv(1, 4, 1, 4097, stride=(1, 8192), padding=(0, 2049)), shape=WIDE),
        r"layer 'a': its padded input must have at most 33554432 values, not \(4, 1024, 4096\) \+ 2 \* \(0, 2049\)",
    ),
    (
        lambda: network(conv(1, 64, 1 << 8, 1 << 8), shape=(64, 1 << 8, 1 << 8)),
        lambda: network(conv(1, 64, 257, 256), shape=(64, 257, 256)),
        "layer 'a': its kernel must see at most 4194304 values of the input, not 4210688",
    ),
    (
        lambda: network(
            Flatten(name="f", source=INPUT), linear(1, 1 << 22, source="f"), shape=(1 << 6, 1 << 8, 1 << 8)
        ),
        lambda: network(
            Flatten(name="f", source=INPUT), linear(1, 5 << 20, source="f"), shape=(5 << 4, 1 << 8, 1 << 8)
        ),
        "layer 'b': its kernel must see at most 4194304 values of the input, not 5242880",
    ),
    (
        lambda: network(conv(16, 1, 65, 63, padding=(32, 31)), shape=(1, 1 << 10, 1 << 10)),
        lambda: network(conv(16, 1, 65, 65, padding=(32, 32)), shape=(1, 1 << 10, 1 << 10)),
        "a network must take at most 68719476736 operations an image, not 70883737600",
    ),
    (
        lambda: network(pool((1 << 9, 1 << 8), (1, 1), (256, 128)), conv(1, 1, 1, 1, source="p"), shape=(1, 724, 720)),
        lambda: network(pool((1 << 9, 1 << 9), (1, 1), (256, 256)), conv(1, 1, 1, 1, source="p"), shape=(1, 724, 720)),
        "a network must take at most 68719476736 operations an image, not 13",
    ),
    (
        lambda: network(conv(1, 1, 1, 1, parts=parts(2, 1)), shape=(1, 1 << 12, 1 << 12)),
        lambda: network(conv(1, 1, 1, 1, parts=parts(3, 1)), shape=(1, 1 << 12, 1 << 12)),
        r"layer 'a': outputs times parts must be at most 33554432, not \(1, 4096, 4096\) times 3",
    ),
    (
        lambda: network(conv(1, 1, 1, 1, parts=parts(128, 1)), shape=(1, 1, 1)),
        lambda: network(conv(1, 1, 1, 1, parts=parts(129, 1)), shape=(1, 1, 1)),
        "layer 'a': it must have at most 128 parts, not 129",
    ),
    (
        lambda: network(*with_parts(32), conv(1, 1, 1, 1, source="l0"), shape=(1, 1, 1)),
        lambda: network(*with_parts(32), conv(1, 1, 1, 1, source="l0", parts=parts(1, 1)), shape=(1, 1, 1)),
        "all layers together must have at most 4096 parts, not 4097",
    ),
    (
        lambda: network(joined(1), conv(1, 1, 1, 1, source="c"), shape=WIDE),
        lambda: network(joined(2), conv(1, 1, 1, 1, source="c"), shape=WIDE),
        "layer 'c': its maps together must have at most 33554432 values, not 50331648",
    ),
    (
        lambda: network(conv(1, 1, 1, 1, residuals=(INPUT,) * 4094), shape=(1, 1 << 12, 1 << 12)),
        lambda: network(conv(1, 1, 1, 1, residuals=(INPUT,) * 4096), shape=(1, 1 << 12, 1 << 12)),
        "a network must take at most 68719476736 operations an image, not 68736253952",
    ),
]


@pytest.mark.parametrize(("inside", "beyond", "text"), CASES)
def test_bounds(inside: Callable[[], Network], beyond: Callable[[], Network], text: str) -> None:
    inside()
    with pytest.raises(ValueError, match=text):
        beyond()


def test_files_that_ran_for_ever(tmp_path: Path) -> None:
    """Windows of 2^32 inputs, 2^28 outputs of a 1x1 image, padding around nothing: refused before memory is taken."""
    for kernel, stride, padding in (
        ([65536, 65536], [8, 8], [65536, 65536]),
        ([65536, 65536], [8, 8], [65535, 65535]),
        ([1, 1], [1, 1], [8191, 8191]),
        ([1, 1], [65536, 65536], [65536, 65536]),
        ([4096, 4096], [1, 1], [4095, 4095]),
    ):

        def edit(description: Any, tensors: Any, values: Any = (kernel, stride, padding)) -> None:
            description["layers"][1] |= dict(zip(("kernel", "stride", "padding"), values, strict=True))

        path = tmp_path / "net.safetensors"
        forge_small(path, edit)
        with pytest.raises(FormatError, match=r"layer 'pool': (padding must be below|its padded input must have)"):
            load(path)


def test_the_page_states_the_bounds() -> None:
    (table,) = re.findall(r"^\| what \| bound \|.*?\n\n", FORMAT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for name in (
        "LAYERS",
        "EXTENT",
        "NEURONS",
        "ALL_NEURONS",
        "PADDED",
        "FIELD",
        "OPERATIONS",
        "PARTS",
        "ALL_PARTS",
        "SUMS",
    ):
        value = getattr(limits, f"MAX_{name}")
        assert f" 2^{value.bit_length() - 1} " in table, name
        assert value & (value - 1) == 0
