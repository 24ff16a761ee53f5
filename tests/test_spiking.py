"""The public face: images in, integer logits and traces out; what is accepted, and what is refused with which words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.networks import plain
from oracles import network as oracle
from torch import nn

import firstspike as fs
from firstspike import spiking
from firstspike.engine import ReferenceEngine


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 7)
    )
    assert isinstance(net[1], nn.BatchNorm2d)
    nn.init.constant_(net[1].bias, 0.2)
    return net


@pytest.fixture(scope="module")
def snn() -> fs.SpikingNetwork:
    cat = fs.prepare(network(), code=fs.Code(), weights=fs.LogWeights())
    cat.stage = "quantised"
    return fs.convert(cat, example=images(2), classes=tuple("abcdefg"))


def images(count: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed))


# ---- results ------------------------------------------------------------------------------------------------------


def test_logits_are_the_oracles_integers(snn: fs.SpikingNetwork) -> None:
    x = images()
    logits = snn(x)
    assert isinstance(logits, torch.Tensor)
    assert logits.dtype == torch.int64
    assert logits.shape == (5, 7)
    expected = [oracle.run(plain(snn.network), image.double().numpy()) for image in x]
    assert logits.tolist() == [result.logits for result in expected]
    assert snn.classify(x).tolist() == [result.label for result in expected]
    assert isinstance(snn.classify(x), torch.Tensor)
    assert isinstance(snn.classify(x.numpy()), np.ndarray)


def test_latency_and_exponent(snn: fs.SpikingNetwork) -> None:
    assert snn.latency_steps == 2 * 24
    assert snn.logit_exponent == snn.network.exponent(snn.network.synaptic[-1])
    assert repr(snn).startswith("SpikingNetwork(4 layers, input (2, 6, 6), T=24, tau=4, 5-bit weights, engine '")


def test_class_of_equal_logits_is_the_first(snn: fs.SpikingNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(snn.engine), "logits", lambda self, times: np.array([[1, 5, 5, 0, 5, 2, 3]] * len(times)))
    assert snn.classify(images(2)).tolist() == [1, 1]


def variants() -> dict[str, Any]:
    """The same pixels, multiples of 1/255 that float16 holds too, in every accepted form."""
    levels = torch.tensor([0, 255], dtype=torch.uint8)
    pixels = levels[torch.randint(0, 2, (5, 2, 6, 6), generator=torch.Generator().manual_seed(4))]
    x = pixels.float() / 255
    frozen = x.numpy().copy()
    frozen.flags.writeable = False
    return {
        "float32": x,
        "float64": x.double(),
        "float16": x.half(),
        "bfloat16": x.bfloat16(),
        "uint8": pixels,
        "NumPy float32": x.numpy(),
        "NumPy float64": x.double().numpy(),
        "NumPy float16": x.half().numpy(),
        "NumPy uint8": pixels.numpy(),
        "read-only": frozen,
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "backwards": np.ascontiguousarray(x.numpy()[::-1])[::-1],
        "Fortran order": np.asfortranarray(x.numpy()),
        "with gradient": x.clone().requires_grad_(),
        "parameter": nn.Parameter(x.clone()),
    }


@pytest.mark.parametrize("form", variants())
def test_every_form_of_images_gives_the_same(snn: fs.SpikingNetwork, form: str) -> None:
    x = variants()[form]
    expected = snn(variants()["float64"])
    logits = snn(x)
    assert isinstance(logits, torch.Tensor if isinstance(x, torch.Tensor) else np.ndarray)
    assert np.array_equal(np.asarray(logits), expected.numpy())
    assert np.array_equal(snn.trace(x).logits, expected.numpy())
    cat = fs.prepare(network())
    cat.stage = "quantised"
    fs.convert(cat, example=x)


def test_half_precision_is_widened_and_bytes_are_divided_by_255(snn: fs.SpikingNetwork) -> None:
    x = images()
    for typed in (x.half(), x.bfloat16()):
        assert torch.equal(snn(typed), snn(typed.double()))
    pixels = torch.randint(0, 256, (5, 2, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    expected = snn(pixels.numpy().astype(np.float32) / np.float32(255))
    assert np.array_equal(snn(pixels).numpy(), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_batches_do_not_change_results(snn: fs.SpikingNetwork, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(7)
    expected, whole = snn(x), snn.trace(x)
    monkeypatch.setattr(spiking, "BATCH", size)
    assert torch.equal(snn(x), expected)
    trace = snn.trace(x)
    assert list(trace.layers) == list(whole.layers)
    assert trace.latency_steps == whole.latency_steps
    assert np.array_equal(trace.logits, whole.logits)
    for name, layer in trace.layers.items():
        other = whole.layers[name]
        assert (layer.kind, layer.shape, layer.neuron) == (other.kind, other.shape, other.neuron)
        assert (layer.times is None) == (other.times is None)
        for field in ("times", "spikes", "sops", "sops_nonzero"):
            found = getattr(layer, field)
            assert found is None or np.array_equal(found, getattr(other, field)), (name, field)
    assert trace.spikes_per_neuron == whole.spikes_per_neuron
    assert trace.sops_per_image == whole.sops_per_image
    assert np.array_equal(np.concatenate([snn(x[i : i + 1]) for i in range(7)]), expected.numpy())


def test_no_images(snn: fs.SpikingNetwork) -> None:
    x = torch.zeros(0, 2, 6, 6)
    assert snn(x).shape == (0, 7)
    assert snn(x.numpy()).shape == (0, 7)
    assert snn.classify(x).shape == (0,)
    trace = snn.trace(x)
    assert trace.images == 0
    assert trace.spikes_per_neuron == trace.sops_per_image == trace.sops_nonzero_per_image == 0
    assert trace.predictions.shape == (0,)


def test_images_are_not_changed(snn: fs.SpikingNetwork) -> None:
    for x in (images(), images().double().numpy(), (images() * 255).byte()):
        before = x.copy() if isinstance(x, np.ndarray) else x.clone()
        snn(x)
        snn.trace(x)
        assert (x == before).all()


# ---- bad input ----------------------------------------------------------------------------------------------------


def changed(value: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = images().to(dtype)
    x[3, 1, 5, 5] = value
    return x


SHAPE = r"images must have shape \[n, 2, 6, 6\], not "
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "NaN": (changed(float("nan")), ValueError, r"images must hold values in \[0, 1\], not nan"),
    "NaN, float16": (changed(float("nan"), torch.float16), ValueError, r"images must hold values in \[0, 1\], not nan"),
    "infinite": (changed(float("inf")), ValueError, r"images must hold values in \[0, 1\], not inf"),
    "above 1": (
        changed(1.000001, torch.float64),
        ValueError,
        r"images must hold values in \[0, 1\], not 1.000001; do not",
    ),
    "below 0": (
        changed(-1e-6, torch.float64),
        ValueError,
        r"images must hold values in \[0, 1\], not -1e-06; .*images.clip",
    ),
    "pixels of 255": (images() * 255, ValueError, r"images must hold values in \[0, 1\], not 2\d\d\."),
    "one image": (images()[0], ValueError, SHAPE + r"\(2, 6, 6\)"),
    "channels": (torch.rand(5, 3, 6, 6), ValueError, SHAPE + r"\(5, 3, 6, 6\)"),
    "height": (torch.rand(5, 2, 5, 6), ValueError, SHAPE + r"\(5, 2, 5, 6\)"),
    "channels last": (np.zeros((5, 6, 6, 2)), ValueError, SHAPE + r"\(5, 6, 6, 2\)"),
    "flat": (torch.rand(5, 72), ValueError, SHAPE + r"\(5, 72\)"),
    "axes": (torch.rand(5, 1, 2, 6, 6), ValueError, SHAPE + r"\(5, 1, 2, 6, 6\)"),
    "number": (torch.tensor(0.5), ValueError, SHAPE + r"\(\)"),
    "int64": (
        torch.zeros(5, 2, 6, 6, dtype=torch.int64),
        TypeError,
        r"images must hold floats in \[0, 1\] or uint8, not int64",
    ),
    "int8": (np.zeros((5, 2, 6, 6), dtype=np.int8), TypeError, "images must hold floats .*, not int8"),
    "uint16": (np.zeros((5, 2, 6, 6), dtype=np.uint16), TypeError, "images must hold floats .*, not uint16"),
    "bool": (torch.zeros(5, 2, 6, 6, dtype=torch.bool), TypeError, "images must hold floats .*, not bool"),
    "complex": (torch.zeros(5, 2, 6, 6, dtype=torch.complex64), TypeError, "images must hold floats .*, not complex64"),
    "text": (np.full((5, 2, 6, 6), "a"), TypeError, "images must hold floats .*, not <U1"),
    "objects": (np.full((5, 2, 6, 6), None), TypeError, "images must hold floats .*, not object"),
    "other bytes": (np.zeros((5, 2, 6, 6), dtype=">f4"), TypeError, "images must hold floats .*, not >f4"),
    "list": ([[0.5]], TypeError, "images must be a torch tensor or a NumPy array, not list"),
    "None": (None, TypeError, "images must be a torch tensor or a NumPy array, not NoneType"),
    "float": (0.5, TypeError, "images must be a torch tensor or a NumPy array, not float"),
}


@pytest.mark.parametrize("label", BAD)
def test_bad_images(snn: fs.SpikingNetwork, label: str) -> None:
    x, error, text = BAD[label]
    for run in (snn, snn.trace, snn.encode, snn.classify, lambda y: fs.Processor().run(snn, y)):
        with pytest.raises(error, match=text):
            run(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_that_resizing_left_a_little_outside_are_0_and_1(snn: fs.SpikingNetwork, dtype: torch.dtype) -> None:
    inside = torch.tensor([0.0, 1.0], dtype=dtype).repeat(36).reshape(1, 2, 6, 6)
    outside = inside * (1 + 2.0**-21) - (1 - inside) * 2.0**-22
    assert not torch.equal(inside, outside)
    assert torch.equal(snn(outside), snn(inside))


def test_negative_zero_is_zero(snn: fs.SpikingNetwork) -> None:
    assert torch.equal(snn(torch.full((1, 2, 6, 6), -0.0)), snn(torch.zeros(1, 2, 6, 6)))


# ---- engines and files --------------------------------------------------------------------------------------------


def test_engines_by_name(snn: fs.SpikingNetwork) -> None:
    reference = fs.SpikingNetwork(snn.network, engine="reference")
    assert isinstance(reference.engine, ReferenceEngine)
    assert torch.equal(reference(images()), snn(images()))
    with pytest.raises(ValueError, match="engine must be one of native, reference, cuda, not 'gpu'"):
        fs.SpikingNetwork(snn.network, engine="gpu")


def test_saved_and_loaded_is_the_same(snn: fs.SpikingNetwork, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    snn.save(path, notes={"recipe": "none"})
    for where in (path, str(path)):
        again = fs.load(where)
        assert torch.equal(again(images()), snn(images()))
        assert again.network.classes == tuple("abcdefg")
    assert fs.load(path, engine="reference").engine.name == "reference"
    other = tmp_path / "again.safetensors"
    fs.load(path).save(other, notes={"recipe": "none"})
    assert other.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "net.safetensors"]


def test_files_that_cannot_be_read_or_written(snn: fs.SpikingNetwork, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        fs.load(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        snn.save(tmp_path / "nowhere" / "net.safetensors")
    (tmp_path / "text.safetensors").write_text("no model")
    with pytest.raises(fs.FormatError, match=r"text\.safetensors"):
        fs.load(tmp_path / "text.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["text.safetensors"]
