"""Kinds of layer beyond the plain ones: each computes what PyTorch does in stage "relu", converts exactly, and comes back."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from engine.networks import plain
from oracles import network as oracle
from structures.kinds import KINDS, network
from structures.plain_nets import Net, batch, block, readout
from torch import Tensor, nn
from torch.nn import functional as F

import firstspike as fs
from firstspike.cat.rebuild import rebuild
from firstspike.engine import ReferenceEngine
from firstspike.engine.native import NativeEngine
from firstspike.spec import INPUT, fingerprint, load, save


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("label", KINDS)
def test_the_same_function_and_exact_integers(label: str, tmp_path: Any) -> None:
    net, x = network(label).double().eval(), batch()
    cat = fs.prepare(net, example=x).eval()
    with torch.no_grad():
        wanted, found = net(x).flatten(1), cat(x).flatten(1)
    pools = "Avg" in label or "pixels" in label
    torch.testing.assert_close(found, wanted, rtol=0.1 if pools else 1e-12, atol=0.1 if pools else 1e-12)
    cat.stage = "quantised"
    snn = fs.convert(cat, example=x)  # equal to float64 in every spike
    times = snn.encode(x)
    reference = ReferenceEngine(snn.network).layers(times)
    for instructions in ("portable", "auto"):
        for path in ("event", "dense"):
            layers = NativeEngine(snn.network, threads=1, instructions=instructions, path=path).layers(times)
            assert all(np.array_equal(reference[name], layers[name]) for name in reference), (instructions, path)
    one = oracle.run_times(plain(snn.network), times[0].reshape(-1).tolist())
    assert one.logits == reference[snn.network.layers[-1].name][0].reshape(-1).tolist()
    save(snn.network, tmp_path / "net.safetensors")
    assert fingerprint(load(tmp_path / "net.safetensors")) == fingerprint(snn.network)
    again = rebuild(snn.network)
    with torch.no_grad():
        assert torch.equal(again(x).flatten(1), cat.double()(x).flatten(1))


class Line(nn.Module):
    """A network of sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.pool = nn.Conv1d(2, 4, 5, 2, 2), nn.BatchNorm1d(4), nn.MaxPool1d(2)
        self.b = nn.Conv1d(4, 6, 3, padding="same", dilation=2)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.norm(self.a(x))))
        x = F.avg_pool1d(F.relu(self.b(x)), x.shape[-1])
        logits: Tensor = self.fc(x.permute(0, 2, 1))
        return F.log_softmax(logits, dim=2).squeeze(1)


def test_sequences_are_images_of_one_row() -> None:
    torch.manual_seed(0)
    net, x = Line().double().eval(), torch.rand(3, 2, 32).double()
    for example in (x, None):
        with pytest.warns(UserWarning, match="log_softmax: it is left out, since the largest logit stays the largest"):
            cat = fs.prepare(net, example=example).eval()
        with torch.no_grad():
            torch.testing.assert_close(F.log_softmax(cat(x).flatten(1), 1), net(x))
    cat.stage = "quantised"
    snn = fs.convert(cat, example=x)
    assert snn.network.input_shape == (2, 1, 32)
    assert torch.equal(snn(x), snn(x[:, :, None]))
    assert snn(x).shape == (3, 5)


def test_several_outputs_are_one_read_out() -> None:
    def forward(n: Any, x: Tensor) -> dict[str, Tensor]:
        y = n.flatten(block(n, x))
        return {"class": n.fc(y), "angle": n.other(F.relu(n.deep(y)))}

    torch.manual_seed(1)
    net = Net(forward, other=nn.Linear(7, 2), deep=nn.Linear(144, 7)).double().eval()
    x = batch()
    cat = fs.prepare(net, example=x).eval()
    assert cat.heads == {"class": 5, "angle": 2}
    with torch.no_grad():
        wanted, found = net(x), cat.split(cat(x))
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    cat.stage = "quantised"
    snn = fs.convert(cat, example=x)
    assert snn.network.heads == (("class", 5), ("angle", 2))
    logits = snn(x)
    split = snn.split(logits)
    assert [tuple(one.shape) for one in split.values()] == [(3, 5), (3, 2)]
    assert torch.equal(torch.cat([split["class"], split["angle"]], 1), logits)
    times = snn.encode(x)
    one = oracle.run_times(plain(snn.network), times[0].reshape(-1).tolist())
    assert one.logits == logits[0].tolist()
    assert rebuild(snn.network).heads == cat.heads


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.LogSoftmax(dim=-1), nn.Sigmoid()])
def test_what_a_last_layer_may_have_after_it_is_left_out_and_said(last: nn.Module) -> None:
    net = Net(lambda n, x: n.last(readout(n, block(n, x))), last=last).double().eval()
    with pytest.warns(UserWarning, match="last: it is left out"):
        cat = fs.prepare(net, example=batch()).eval()
    with torch.no_grad():
        assert torch.allclose(last(cat(batch())), net(batch()))


def test_planes_see_a_normalised_input_too() -> None:
    net = network("normalised input").double().eval()
    cat = fs.prepare(net, example=batch(), code=fs.Code(input="planes")).eval()
    cat.stage = "quantised"
    snn = fs.convert(cat, example=batch())
    assert snn.network.planes(INPUT) == 8


class Normalise(nn.Module):
    """As transforms of images write it: constants made in forward, a copy changed in place."""

    def forward(self, x: Tensor) -> Tensor:
        mean = torch.as_tensor([0.5, 0.25], dtype=x.dtype, device=x.device)
        std = torch.as_tensor([0.2, 0.5], dtype=x.dtype, device=x.device)
        return x.clone().sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def test_a_normalisation_with_constants_of_its_own() -> None:
    net = (
        Net(
            lambda n, x: n.valid(n.relu(n.no(n.first(x))).flatten(1)),
            first=Normalise(),
            no=nn.Conv2d(2, 4, 3),
            valid=nn.Linear(64, 5),
        )
        .double()
        .eval()
    )
    for example in (batch(), None):
        same, changes = fs.adapt(net, example=batch())
        assert not changes
        cat = fs.prepare(net if example is None else same, example=example).eval()
        with torch.no_grad():
            torch.testing.assert_close(cat(batch()), net(batch()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("window", [4, 24])
def test_a_shift_of_padded_images_ends_where_they_end(window: int) -> None:
    net = network("normalised input, padding").double().eval()
    code = fs.Code(T=window, tau=4, input="planes")
    cat = fs.prepare(net, example=batch(), code=code).eval()
    with torch.no_grad():
        torch.testing.assert_close(cat(batch()), net(batch()), rtol=1e-12, atol=1e-12)
    constants = cat.spike_values(batch())["constants"]
    assert torch.equal(constants, torch.full_like(constants, 0.5 if window > 4 else 1.0))


def test_calibration_keeps_constants() -> None:
    images = torch.rand(64, 2, 6, 6, generator=torch.Generator().manual_seed(4))
    cat = fs.prepare(network("normalised input, padding"), example=images, code=fs.Code(input="planes"))
    found = {layer.name: layer for layer in fs.calibrate(cat, images)}
    assert (found["constants"].saturated, found["constants"].error) == (0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snn = fs.convert(cat.eval(), example=images)
    assert (snn.trace(images).times["constants"] == 4).all()


@pytest.mark.parametrize(
    "label", ["same, even", "PixelShuffle", "ReLU6", "Linear on pixels", "normalised input, padding"]
)
def test_calibration_takes_them(label: str) -> None:
    images = torch.rand(16, 2, 6, 6, generator=torch.Generator().manual_seed(4))
    cat = fs.prepare(network(label), example=images, accumulator_bits=40)
    fs.calibrate(cat, images, percentile=100.0)
    fs.convert(cat.eval(), example=images)


def test_calibration_leaves_room_for_all_outputs() -> None:
    def forward(n: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        y = n.flatten(block(n, x))
        return 40 * n.fc(y), n.other(y) / 40

    images = torch.rand(16, 2, 6, 6, generator=torch.Generator().manual_seed(4))
    cat = fs.prepare(Net(forward, other=nn.Linear(144, 2)), example=images)
    assert list(cat.heads) == ["0", "1"]
    fs.calibrate(cat, images, percentile=100.0)
    fs.convert(cat.eval(), example=images)
