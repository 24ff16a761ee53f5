"""The real test sets, where they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

from firstspike.data import load

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "file", "classes", "side", "some"),
    [
        ("cifar10", "cifar10-test.zip", 10, 32, "airplane"),
        ("cifar100", "cifar100-test.zip", 100, 32, "train"),
        ("tiny-imagenet", "tiny-imagenet-val.zip", 200, 64, "n01443537"),
    ],
)
def test_test_set(name, file, classes, side, some):
    if not (DATA / file).exists():
        pytest.skip(f"{file} does not lie in ../shared/data")
    data = load(name, split="test", data_root=DATA, download=False)
    assert len(data) == 10_000
    assert data.shape == (3, side, side)
    assert np.bincount(data.labels).tolist() == [10_000 // classes] * classes
    assert some in data.classes
    assert list(data.classes) == sorted(data.classes)
    assert 0.3 < data.pixels(0, 10_000).mean() < 0.6
