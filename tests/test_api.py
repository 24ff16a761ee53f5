"""The API of the README, as short as it stands there, from a plain network to what it costs."""

import copy
import pickle

import numpy as np
import pytest
import torch

import firstspike as fs


def test_the_whole_path(tmp_path, capsys):
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = (x.mean(dim=(1, 2, 3)) > 0.5).long()
    torch.manual_seed(0)

    code = fs.Code(T=24, tau=4, mantissa_bits=5)
    net = fs.models.vgg(fs.models.SMALL, classes=2, in_channels=1, image_size=8, hidden=(16,), width=0.25)
    cat = fs.prepare(net, code=code, weights=fs.LogWeights(bits=5, levels_per_octave=2))
    optimiser = torch.optim.SGD(cat.parameters(), lr=0.02, momentum=0.9)
    losses = {}
    for stage in ("clip", "ttfs", "quantised"):
        cat.stage = stage
        cat.train()
        for _ in range(8):
            loss = torch.nn.functional.cross_entropy(cat(x), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.setdefault(stage, []).append(loss.item())
    assert losses["quantised"][-1] < losses["clip"][0]  # it learns

    snn = fs.convert(cat, example=x)
    y = snn(x)
    run = snn.trace(x)
    snn.save(tmp_path / "net.safetensors")
    again = fs.load(tmp_path / "net.safetensors")
    cost = fs.Processor().run(snn, x)

    assert torch.equal(y, again(x))
    assert np.array_equal(run.logits, y.numpy())
    with torch.no_grad():
        double = cat.double().eval()(x.double())
    assert torch.equal(double, y * 2.0**-snn.logit_exponent)
    assert run.latency_steps == snn.latency_steps == 6 * 24
    assert run.sops_per_image > 0
    assert cost.cycles_per_image > 0
    assert cost.energy_uj > 0
    assert capsys.readouterr().out == ""  # a library is silent


def test_everything_public_is_there():
    for name in fs.__all__:
        assert getattr(fs, name) is not None
    assert set(fs.__all__) >= {
        "Code",
        "ConversionError",
        "FormatError",
        "LogWeights",
        "Prepared",
        "Processor",
        "SpikingNetwork",
        "UnsupportedError",
        "convert",
        "load",
        "models",
        "prepare",
    }
    for error in (fs.ConversionError, fs.FormatError, fs.UnsupportedError):
        assert issubclass(error, ValueError)


def test_networks_can_be_pickled():
    """Prepared ones for torch.save and spawned processes, spiking ones with their engine made anew."""
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    cat = fs.prepare(fs.models.vgg(fs.models.SMALL, classes=2, in_channels=1, image_size=8, hidden=(16,), width=0.25))
    cat.stage = "quantised"
    again = pickle.loads(pickle.dumps(cat.eval()))
    assert again.stage == "quantised"
    assert torch.equal(again(x), cat(x))
    snn = fs.convert(cat, example=x)
    for other in (pickle.loads(pickle.dumps(snn)), copy.deepcopy(snn)):
        assert other.engine.name == snn.engine.name
        assert torch.equal(other(x), snn(x))


def test_weights_changed_behind_autograds_back_count():
    """Averages of weights are often written to ``.data``, which no version counter sees."""
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    cat = fs.prepare(fs.models.vgg(fs.models.SMALL, classes=2, in_channels=1, image_size=8, hidden=(16,), width=0.25))
    cat.stage = "quantised"
    cat.eval()
    with torch.no_grad():
        before = cat(x)
        assert torch.equal(cat(x), before)
        for parameter in cat.parameters():
            parameter.data.neg_()
        after = cat(x)
        assert not torch.equal(after, before)
        assert torch.equal(copy.deepcopy(cat)(x), after)
        double = {name: parameter.double() for name, parameter in cat.named_parameters()}
        found = torch.func.functional_call(cat, double, (x.double(),))
        assert found.dtype == torch.float64
        assert torch.equal(cat(x), after)


def test_the_zoo_is_there_without_an_import_of_its_own():
    assert "vgg16-cifar10" in fs.zoo.names()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"classes": 0}, "classes must be in 1..1048576, not 0"),
        ({"classes": "3"}, "classes must be an int, not '3'"),
        ({"classes": 2, "width": -1.0}, r"width must be in \(0, 16\], not -1.0"),
        ({"classes": 2, "plan": "abc"}, "plan must be an int, not 'a'"),
        ({"classes": 2, "image_size": 8}, "image_size must be at least 32 for 5 poolings, not 8"),
    ],
)
def test_a_vgg_that_cannot_be(arguments, text):
    with pytest.raises((TypeError, ValueError), match=text):
        fs.models.vgg(**arguments)


def test_a_processor_runs_converted_networks_only():
    with pytest.raises(TypeError, match=r"snn must be a network of firstspike.convert or firstspike.load, not str"):
        fs.Processor().run("snn", torch.rand(1, 1, 8, 8))
