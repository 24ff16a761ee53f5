"""The state of a prepared network: copies agree with their source, spike for spike, or refuse; nothing depends on what ran."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import firstspike as fs
from firstspike.cat.layers import STAGES, Synapses
from firstspike.cat.prepared import StateError

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def plain(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))


def train(cat: fs.Prepared, after: Callable[[], object] = lambda: None) -> None:
    """Every stage, three steps each."""
    optimiser = torch.optim.SGD(cat.parameters(), 0.01)
    for stage in STAGES[1:]:
        cat.stage = stage
        cat.train()
        for _ in range(3):
            optimiser.zero_grad()
            cat(IMAGES).logsumexp(1).sum().backward()
            optimiser.step()
            after()
    cat.eval()


def agree(one: fs.Prepared, other: fs.Prepared) -> None:
    assert one.stage == other.stage
    first, second = one.eval().spike_values(IMAGES), other.eval().spike_values(IMAGES)
    assert all(torch.equal(first[name], second[name]) for name in first)
    integers = [fs.convert(cat, example=IMAGES).network for cat in (one, other)]
    for left, right in zip(*(network.synaptic for network in integers), strict=True):
        assert left.scale == right.scale
        assert (left.codes == right.codes).all()
        assert (left.bias == right.bias).all()


def last(averaged: Tensor, current: Tensor, count: Tensor) -> Tensor:
    return current.clone()


@pytest.mark.parametrize("buffers", [False, True])
def test_an_average_of_one_is_its_source(buffers: bool) -> None:
    """Parameters replaced at each update, and integers copied: the stage must have come along."""
    cat = fs.prepare(plain())
    average = AveragedModel(cat, avg_fn=last, use_buffers=buffers)  # type: ignore[arg-type]
    train(cat, lambda: average.update_parameters(cat))
    if not buffers:
        for own, other in zip(average.module.buffers(), cat.buffers(), strict=True):
            own.copy_(other)
    agree(average.module, cat)


def test_an_exponential_average_follows_the_stage() -> None:
    cat = fs.prepare(plain())
    average = AveragedModel(cat, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    train(cat, lambda: average.update_parameters(cat))
    module = average.module.eval()
    assert module.stage == "quantised"
    assert int(module.layers["0"].scale) == int(cat.layers["0"].scale)  # type: ignore[arg-type]
    snn = fs.convert(module, example=IMAGES)  # proves that it computes the stage it says
    assert snn.network.synaptic


def test_averaged_integers_are_refused() -> None:
    cat = fs.prepare(plain())
    average = AveragedModel(cat, use_buffers=True)
    train(cat, lambda: average.update_parameters(cat))
    for use in (
        lambda: average(IMAGES),
        lambda: average.module.stage,
        lambda: fs.convert(average.module, example=IMAGES),
    ):
        with pytest.raises(StateError, match=r"not averages .*AveragedModel with use_buffers=False"):
            use()
    with pytest.raises(StateError, match="not averages"):
        cat.load_state_dict(average.module.state_dict())
    average.module.load_state_dict(cat.state_dict())  # whole and unmixed again
    agree(average.module, cat)


def test_averaged_integers_that_never_changed_are_the_same() -> None:
    cat = fs.prepare(plain())
    train(cat)
    average = AveragedModel(cat, use_buffers=True)
    for _ in range(3):
        average.update_parameters(cat)
    agree(average.module, cat)


def in_place(cat: fs.Prepared) -> fs.Prepared:
    """As DDP's broadcast and most averages write: into the tensors that are there."""
    other = fs.prepare(plain(seed=2))
    other(IMAGES)
    for own, value in zip(other.state_dict().values(), cat.state_dict().values(), strict=True):
        own.copy_(value)
    return other


def data(cat: fs.Prepared) -> fs.Prepared:
    other = fs.prepare(plain(seed=2))
    for own, value in zip([*other.parameters(), *other.buffers()], [*cat.parameters(), *cat.buffers()], strict=True):
        own.data.copy_(value.data)
    return other


def loaded(cat: fs.Prepared) -> fs.Prepared:
    other = fs.prepare(plain(seed=2))
    other.load_state_dict(cat.state_dict())
    return other


def saved(cat: fs.Prepared) -> fs.Prepared:
    buffer = io.BytesIO()
    torch.save(cat, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)  # type: ignore[no-any-return]


def test_a_copy_leaves_what_the_last_run_observed() -> None:
    cat = fs.prepare(plain())
    cat.observe(True, spikes=True)
    cat(IMAGES)
    other = copy.deepcopy(cat)
    assert torch.equal(cat.eval()(IMAGES), other.eval()(IMAGES))


@pytest.mark.parametrize("copied", [in_place, data, loaded, saved, copy.deepcopy], ids=lambda c: c.__name__)
def test_copies_agree_with_their_source(copied: Callable[[fs.Prepared], fs.Prepared]) -> None:
    cat = fs.prepare(plain())
    for stage in STAGES:
        cat.stage = stage
        other = copied(cat)
        assert other.stage == stage
        assert torch.equal(cat.eval()(IMAGES), other.eval()(IMAGES))
    agree(copied(cat), cat)


def test_a_state_of_before_loads() -> None:
    """Networks saved before shapes were kept: ``_stage``, layers and scales alone."""
    cat = fs.prepare(plain(), example=IMAGES)
    train(cat)
    old = {name: value for name, value in cat.state_dict().items() if name not in ("_input_shape", "_seal")}
    assert sorted(name for name in old if "." not in name) == ["_stage"]
    other = fs.prepare(plain(seed=2), example=IMAGES)
    other.load_state_dict(old)
    assert other.input_shape == (3, 8, 8)
    agree(other, cat)
    other = fs.prepare(plain(seed=2))
    nn.ModuleDict({"network": other}).load_state_dict({f"network.{name}": value for name, value in old.items()})
    agree(other, cat)


def test_a_part_of_a_state_loads() -> None:
    cat = fs.prepare(plain())
    train(cat)
    part = {name: value for name, value in cat.state_dict().items() if not name.startswith("layers.4.")}
    other = fs.prepare(plain(seed=2))
    other.load_state_dict(part, strict=False)
    assert other.stage == "quantised"
    assert torch.isfinite(other(IMAGES)).all()


def test_the_shape_is_that_of_the_example_or_the_first_batch() -> None:
    cat = fs.prepare(plain())
    assert cat.input_shape is None
    cat(IMAGES)
    assert cat.input_shape == (3, 8, 8)
    assert fs.prepare(plain(), example=IMAGES.numpy()).input_shape == (3, 8, 8)
    assert fs.prepare(nn.Linear(4, 2), example=torch.zeros(1, 4)).input_shape == (4,)
    with pytest.raises(ValueError, match=r"4: it takes 512 features, not shape \(648,\)"):
        fs.prepare(plain(), example=torch.zeros(1, 3, 9, 9))
    with pytest.raises(ValueError, match=r"0: it does not take what it reads, shape \(3, 0, 8\)"):
        fs.prepare(plain(), example=torch.zeros(1, 3, 0, 8))
    with pytest.raises(TypeError, match="example must be a tensor or an array of images, not tuple"):
        fs.prepare(plain(), example=(1, 3, 8, 8))  # type: ignore[arg-type]


def test_every_module_keeps_its_mode() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = plain()
            self.head = Head()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.body(x).relu())
            return logits

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.fc = nn.Dropout(0.5), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(nn.functional.dropout(self.drop(x), 0.5, training=self.training))
            return logits

    for frozen, head in ((True, False), (False, True)):
        net = Net().train()
        net.body[1].train(not frozen)
        net.head.train(not head)
        cat = fs.prepare(net)
        assert cat.training
        dropouts = [layer.training for layer in cat.layers.values() if isinstance(layer, nn.Dropout)]
        assert dropouts == [not head, not head]
        norm = cat.layers["body_0"].norm
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.training is not frozen
        for stage in ("relu", "ttfs"):  # choosing scales and shapes changes no mode either
            cat.stage = stage
            before = norm.running_mean.clone()  # type: ignore[union-attr]
            cat(IMAGES)
            assert torch.equal(norm.running_mean, before) is frozen  # type: ignore[arg-type]
        cat.stage = "quantised"
        assert norm.training is not frozen


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_in_evaluation_mode_after_inference_mode(stage: str) -> None:
    cat = fs.prepare(plain()).eval()
    cat.stage = stage
    with torch.inference_mode():
        expected = cat(IMAGES)
    images = IMAGES.clone().requires_grad_()
    logits = cat(images)
    assert torch.equal(logits, expected)
    logits.square().sum().backward()
    assert images.grad is not None
    for name, parameter in cat.named_parameters():
        assert parameter.grad is not None, name
    cat.requires_grad_(False)
    images = IMAGES.clone().requires_grad_()
    cat(images).square().sum().backward()
    assert images.grad is not None


def pruned(module: nn.Module) -> None:
    prune.l1_unstructured(module, "weight", 0.5)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "pruning": pruned,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "old spectral norm": nn.utils.spectral_norm,
}


@pytest.mark.parametrize("label", CHANGES)
def test_changed_weights_hold_in_every_stage_and_convert(label: str) -> None:
    cat = fs.prepare(plain())
    layer = cat.layers["0"]
    assert isinstance(layer, Synapses)
    CHANGES[label](layer.linear)
    train(cat)
    cat.eval()
    agree(cat, copy.deepcopy(cat))
    network = fs.convert(cat, example=IMAGES).network
    if label == "pruning":
        mask = layer.linear.weight_mask.numpy()  # type: ignore[operator]
        zero = network.synaptic[0].codes & 15 == 15
        assert zero[mask == 0].all()
        assert not zero[mask == 1].all()
        for stage in STAGES[1:]:
            cat.stage = stage
            cat(IMAGES)
            assert (layer.linear.weight.detach().numpy()[mask == 0] == 0).all()


def test_other_hooks_on_layers_are_refused_by_name() -> None:
    cat = fs.prepare(plain())
    linear = cat.layers["0"].linear
    assert isinstance(linear, nn.Module)
    text = r"layers\.0\.linear: forward hooks cannot be converted"
    handle = linear.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(fs.UnsupportedError, match=text):
        cat.stage = "quantised"
    handle.remove()
    cat.stage = "quantised"
    linear.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(fs.UnsupportedError, match=text):
        fs.convert(cat, example=IMAGES)
