"""Small networks train in one thread, so that their numbers are the same on any number of cores."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firstspike.cat.models import SMALL, vgg
from firstspike.train import threads
from firstspike.train.fit import Fitted, fit
from firstspike.train.recipe import find_recipe


def test_multiplications_of_the_digits_network() -> None:
    with torch.device("meta"):
        small = vgg(SMALL, classes=10, in_channels=1, image_size=8, hidden=(64,))
    convolutions = 9 * (1 * 32 * 64 + 32 * 32 * 64 + 32 * 64 * 16 + 64 * 64 * 16)
    assert threads.multiplications(small, (1, 8, 8)) == convolutions + 256 * 64 + 64 * 10


@pytest.mark.parametrize(("plan", "expected"), [("small", 1), ("vgg16", 3)])
def test_only_small_networks_take_one_thread(plan: str, expected: int) -> None:
    with threads.kept():
        torch.set_num_threads(3)
        with torch.device("meta"):
            size = 8 if plan == "small" else 32
            network = vgg(SMALL, classes=10, image_size=size) if plan == "small" else vgg(classes=10, image_size=size)
        threads.suit(network, (3, size, size), batch=32)
        assert torch.get_num_threads() == expected


def test_a_run_gives_the_same_numbers_on_any_number_of_cores(tmp_path: Path) -> None:
    digits = find_recipe("digits")
    recipe = replace(digits, data=replace(digits.data, limit=128))

    def run(count: int) -> Fitted:
        torch.set_num_threads(count)
        fitted = fit(recipe, out=tmp_path / str(count), stop_after=1)
        assert torch.get_num_threads() == count
        return fitted

    with threads.kept():
        one, two = run(1), run(2)
    assert one.metrics == two.metrics
    for ours, theirs in zip(one.network.state_dict().values(), two.network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
