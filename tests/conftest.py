"""What tests of several parts share: one thread, since their networks are small; the network that the digits recipe trains."""

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts its background jobs, and they their children
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in every run, so that a failure comes from a change; "make test-random" looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run: its folder, what ``fit`` returned, the recipe."""

    folder: Path
    fitted: Any
    recipe: Any

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.ckpt"


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in a fixed order, and no more than one core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The digits recipe, run to its end once a session (5 s)."""
    from firstspike.train.fit import fit
    from firstspike.train.recipe import find_recipe

    folder, recipe = tmp_path_factory.mktemp("digits"), find_recipe("digits")
    with one_thread():
        return Run(folder=folder, fitted=fit(recipe, out=folder), recipe=recipe)


@pytest.fixture
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def digits_model(digits_run: Run) -> Path:
    """The model file of the digits recipe."""
    from firstspike.converter import convert
    from firstspike.data import load

    images, path = load("digits", split="test"), digits_run.folder / "digits.safetensors"
    convert(digits_run.fitted.network, example=images.pixels(0, 8), classes=images.classes).save(path)
    return path
