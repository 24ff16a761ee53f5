"""Mini-batches: every image once, the same for the same seed and epoch, the same over any number of ranks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike.data import ImageSet
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches


def make(n, shape=(1, 4, 4)):
    images = torch.randint(256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    names = tuple(map(str, range(max(n, 1))))
    return ImageSet(
        images=images.numpy(), labels=np.arange(n), classes=names, name="made"
    )  # the label tells which image


def run(batches):
    return [(pixels, labels.tolist()) for pixels, labels in batches]


def test_in_order_without_shuffling():
    data = make(10)
    batches = Batches(data, batch_size=4, shuffle=False)
    assert [labels for _, labels in run(batches)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(batches) == 3
    for pixels, labels in batches:
        assert pixels.dtype == torch.float32
        assert np.array_equal(pixels.numpy(), data.subset(labels).pixels())


@settings(deadline=None)
@given(n=st.integers(1, 40), batch=st.integers(1, 12), drop=st.booleans(), seed=st.integers(0, 2**40))
def test_each_image_once(n, batch, drop, seed):
    if drop and n < batch:
        drop = False
    data = make(n)
    batches = Batches(data, batch_size=batch, seed=seed, drop_last=drop)
    steps = run(batches)
    seen = [label for _, labels in steps for label in labels]
    assert len(set(seen)) == len(seen) == (n // batch * batch if drop else n)
    assert len(steps) == len(batches)
    assert all(len(labels) == batch for _, labels in steps[:-1])
    assert all(np.array_equal(pixels.numpy(), data.subset(labels).pixels()) for pixels, labels in steps)


def test_repeats_for_the_same_seed_and_epoch_only():
    data, augment = make(64), Augment(pad=1, flip=True, cutout=2)

    def epoch(seed, number):
        batches = Batches(data, batch_size=16, seed=seed, augment=augment)
        batches.set_epoch(number)
        return run(batches)

    def same(a, b):
        return all(x[1] == y[1] and torch.equal(x[0], y[0]) for x, y in zip(a, b, strict=True))

    first = epoch(1, 5)
    torch.manual_seed(123)  # the global generator plays no part
    assert same(first, epoch(1, 5))
    assert first[0][1] != epoch(1, 6)[0][1]
    assert first[0][1] != epoch(2, 5)[0][1]
    assert epoch(0, 1)[0][1] != epoch(1, 0)[0][1]


def test_a_pass_begun_anew_starts_from_the_first_batch():
    batches = Batches(make(20), batch_size=5, seed=1, augment=Augment(flip=True))
    whole = run(batches)
    next(iter(batches))  # abandoned
    again = run(batches)
    assert [labels for _, labels in again] == [labels for _, labels in whole]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole, again, strict=True))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_share_what_one_process_would_see(world):
    options = {"batch_size": 12, "seed": 7, "augment": Augment(pad=2, flip=True, cutout=2), "drop_last": True}
    data = make(100)
    one = run(Batches(data, **options))
    ranks = [run(Batches(data, **options, share=(rank, world))) for rank in range(world)]
    assert [len(steps) for steps in ranks] == [len(one)] * world
    for step, (pixels, labels) in enumerate(one):
        parts = [steps[step] for steps in ranks]
        assert [len(part[1]) for part in parts] == [12 // world] * world
        assert torch.equal(torch.cat([part[0] for part in parts]), pixels)
        assert [label for part in parts for label in part[1]] == labels


def test_evaluation_over_ranks_counts_each_image_once():
    ranks = [Batches(make(13), batch_size=4, shuffle=False, share=(rank, 2)) for rank in range(2)]
    steps = [[labels for _, labels in run(batches)] for batches in ranks]
    assert steps == [[[0, 1], [4, 5], [8, 9]], [[2, 3], [6, 7], [10, 11], [12]]]
    assert [len(batches) for batches in ranks] == [3, 4]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"share": (0, 0)}, "share must be a process's number and how many there are, as (0, 1), not (0, 0)"),
        ({"share": (2, 2)}, "share must be a process's number and how many there are, as (0, 1), not (2, 2)"),
        ({"share": (0, 3)}, "batch_size must be a multiple of the 3 processes, not 4"),
        ({"share": (0, 2)}, "the last batch must be a multiple of the 2 processes or dropped, not 1"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"batch_size": 10, "drop_last": True}, "batch_size must be at most the 9 images with drop_last, not 10"),
    ],
)
def test_refuses(options, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        Batches(make(9), **({"batch_size": 4} | options))
    assert str(caught.value) == text


def test_refuses_a_negative_epoch():
    with pytest.raises(ValueError, match=r"^epoch must be at least 0, not -1$"):
        Batches(make(4), batch_size=2).set_epoch(-1)


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on data loader workers and on logging
def test_lightning_sets_the_epoch_also_when_it_resumes(tmp_path):
    from lightning.pytorch import LightningModule, Trainer

    class Recorder(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen = {}

        def training_step(self, batch, _):
            self.seen.setdefault(self.current_epoch, []).extend(batch[1].tolist())
            return self.weight * batch[0].mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(epochs, **options):
        recorder = Recorder()
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(recorder, Batches(make(12), batch_size=4, seed=3), **options)
        return recorder.seen, trainer

    def expected(epoch):
        batches = Batches(make(12), batch_size=4, seed=3)
        batches.set_epoch(epoch)
        return [label for _, labels in run(batches) for label in labels]

    seen, trainer = fit(2)
    assert seen == {0: expected(0), 1: expected(1)}
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    seen, _ = fit(4, ckpt_path=tmp_path / "last.ckpt")
    assert seen == {2: expected(2), 3: expected(3)}
