"""Kinds of layer beyond the plain ones: each computes what PyTorch does in stage "relu", converts exactly, and comes back."""

from typing import Any

import numpy as np
import pytest
import torch
from engine.networks import plain
from oracles import network as oracle
from plain_nets import Forward, Net, batch, block, readout
from torch import Tensor, nn
from torch.nn import functional as F

import firstspike as fs
from firstspike.cat.rebuild import rebuild
from firstspike.engine import ReferenceEngine
from firstspike.engine.native import NativeEngine
from firstspike.spec import INPUT, fingerprint, load, save


def conv(*arguments: Any, **options: Any) -> dict[str, nn.Module]:
    return {"c": nn.Conv2d(2, 4, *arguments, **options)}


def shuffled(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    count, channels, height, width = y.size()
    y = y.view(count, 2, channels // 2, height, width).permute(0, 2, 1, 3, 4).reshape(count, channels, height, width)
    return readout(n, n.relu(n.grouped(y)))


def upsampled(n: Any, x: Tensor) -> Tensor:
    y = F.max_pool2d(block(n, x), 2)
    return readout(n, n.relu(n.again(F.interpolate(y, scale_factor=2, mode="nearest"))))


def unshuffled(n: Any, x: Tensor) -> Tensor:
    return n.out(F.pixel_unshuffle(n.relu(n.conv(x)), 2).flatten(1))


def tokens(n: Any, x: Tensor) -> Tensor:
    y = block(n, x).flatten(2).transpose(1, 2)
    return n.tiny(F.relu(n.mix(y)).mean(1))


def normalised(n: Any, x: Tensor) -> Tensor:
    return n.valid(n.relu(n.no((x - 0.4) / 0.25 - n.mean.view(1, -1, 1, 1))).flatten(1))


def scaled(n: Any, x: Tensor) -> Tensor:
    return readout(n, n.relu(n.norm(n.conv(x)) * n.gamma.view(-1, 1, 1) + 0.1))


def inverted(n: Any, x: Tensor) -> Tensor:
    y = F.relu6(3 * n.conv(x))
    y = F.relu6(n.again(y) + y)
    return readout(n, torch.cat([y[:, :2], F.max_pool2d(y, 3, 1, 1)[:, 2:]], 1))


KINDS: dict[str, tuple[Forward, dict[str, Any]]] = {
    "dilation": (lambda n, x: readout(n, n.relu(n.c(x))), conv(3, padding=2, dilation=2)),
    "dilation, stride, groups": (lambda n, x: n.small(n.relu(n.c(x)).flatten(1)),
                                 conv(3, 2, padding=(2, 3), dilation=(2, 3), groups=2)),
    "same": (lambda n, x: readout(n, n.relu(n.c(x))), conv(3, padding="same")),
    "same, even": (lambda n, x: readout(n, n.relu(n.c(x))), conv((2, 4), padding="same")),
    "valid": (lambda n, x: n.valid(n.relu(n.c(x)).flatten(1)),
              {**conv(3, padding="valid"), "valid": nn.Linear(64, 5)}),
    "ZeroPad2d": (lambda n, x: n.small(n.relu(n.c(n.p(x))).flatten(1)), {**conv(3, 2), "p": nn.ZeroPad2d((0, 1, 1, 0))}),
    "F.pad": (lambda n, x: readout(n, n.relu(n.c(F.pad(n.relu(n.down(x)), (1, 1, 1, 1))))), {"c": nn.Conv2d(4, 4, 3)}),
    "F.pad, max pool": (lambda n, x: readout(n, F.max_pool2d(F.pad(block(n, x), (1, 1, 1, 1)), 3, 1)), {}),
    "AdaptiveAvgPool2d": (lambda n, x: n.small(n.p(block(n, x)).flatten(1)), {"p": nn.AdaptiveAvgPool2d(3)}),
    "AdaptiveMaxPool2d": (lambda n, x: n.small(n.p(block(n, x)).flatten(1)), {"p": nn.AdaptiveMaxPool2d((3, 3))}),
    "global max pool": (lambda n, x: n.tiny(F.adaptive_max_pool2d(n.conv(x), 1).relu().flatten(1)), {}),
    "Upsample": (lambda n, x: n.out(n.u(block(n, x)).flatten(1)),
                 {"u": nn.Upsample(scale_factor=(1, 2)), "out": nn.Linear(288, 5)}),
    "interpolate": (upsampled, {}),
    "PixelShuffle": (lambda n, x: n.out(n.relu(n.one(n.u(block(n, x)))).flatten(1)),
                     {"u": nn.PixelShuffle(2), "one": nn.Conv2d(1, 2, 3, 2, 1), "out": nn.Linear(72, 5)}),
    "PixelUnshuffle": (unshuffled, {"out": nn.Linear(144, 5)}),
    "channel shuffle": (shuffled, {"grouped": nn.Conv2d(4, 4, 1, groups=2)}),
    "ChannelShuffle": (lambda n, x: readout(n, n.s(block(n, x))), {"s": nn.ChannelShuffle(2)}),
    "channels last": (lambda n, x: n.fc(block(n, x).permute(0, 2, 3, 1).flatten(1)), {}),
    "some rows": (lambda n, x: n.out(block(n, x)[:, :, 2:].flatten(1)), {"out": nn.Linear(96, 5)}),
    "one channel": (lambda n, x: n.out(block(n, x)[:, 1].flatten(1)), {"out": nn.Linear(36, 5)}),
    "flipped": (lambda n, x: readout(n, torch.flip(block(n, x), [1])), {}),
    "Linear on pixels": (tokens, {"mix": nn.Linear(4, 4)}),
    "ReLU6": (inverted, {}),
    "Hardtanh": (lambda n, x: readout(n, n.h(4 * n.conv(x))), {"h": nn.Hardtanh(0, 0.5)}),
    "clamp": (lambda n, x: readout(n, (4 * n.conv(x)).clamp(0, 1.5) + block(n, x).clamp(min=0)), {}),
    "normalised input": (normalised, {"no": nn.Conv2d(2, 4, 3), "valid": nn.Linear(64, 5),
                                      "mean": nn.Parameter(torch.zeros(2))}),
    "input times two": (lambda n, x: readout(n, block(n, x * 2)), {}),
    "factors of channels": (scaled, {"gamma": nn.Parameter(torch.zeros(4))}),
}  # fmt: skip


def network(label: str) -> nn.Module:
    forward, modules = KINDS[label]
    torch.manual_seed(3)
    return Net(forward, **{name: torch.nn.Parameter(m) if isinstance(m, Tensor) else m for name, m in modules.items()})


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
