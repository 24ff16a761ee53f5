"""Training from a trained integer network: it starts as that network's function, and what does not fit is left alone."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from firstspike.arith import decode
from firstspike.cat.prepare import prepare
from firstspike.cat.prepared import Prepared
from firstspike.cat.rebuild import real_weights, rebuild, reformat
from firstspike.cli.main import main
from firstspike.converter import convert
from firstspike.spec import INPUT, Network
from firstspike.spiking import SpikingNetwork, load
from firstspike.train.fit import build_network, fit, training_images
from firstspike.train.recipe import Recipe, find_recipe
from firstspike.train.run import CHECKPOINT
from firstspike.train.warm_start import warm_start
from studies.normalise import normalise
from tests.conftest import Run

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return find_recipe("digits")


@pytest.fixture(scope="module")
def images(recipe: Recipe) -> Tensor:
    return torch.from_numpy(training_images(recipe)[0].limit(300).pixels())


@pytest.fixture(scope="module")
def digits(digits_model: Path) -> SpikingNetwork:
    return load(digits_model)


def fresh(recipe: Recipe, *, seed: int = 5, hidden: tuple[int, ...] = (64,)) -> Prepared:
    torch.manual_seed(seed)
    wanted = replace(recipe, network=replace(recipe.network, hidden=hidden))
    return build_network(wanted, shape=(1, 8, 8), classes=10)


def integer_values(snn: SpikingNetwork, images: Tensor) -> dict[str, Tensor]:
    """Decoded spikes of every firing layer and the logits' real values, by the integer engine."""
    times = snn.encode(images)
    values = {INPUT: torch.from_numpy(decode(times, snn.network.code))}
    for name, output in snn.engine.layers(times).items():
        if name == snn.network.layers[-1].name:
            values[name] = torch.from_numpy(output).double() * 2.0**-snn.logit_exponent
        else:
            values[name] = torch.from_numpy(decode(output, snn.network.code))
    return values


def test_the_network_starts_as_the_integer_networks_function(
    recipe: Recipe, digits: SpikingNetwork, images: Tensor
) -> None:
    network = fresh(recipe).double()
    taken = warm_start(network, digits.network, images.double())
    assert set(taken) == {layer.name for layer in digits.network.synaptic}
    assert network.stage == "ttfs"
    with torch.no_grad():
        found = network.eval().spike_values(images.double())
    tipped = torch.zeros(len(images), dtype=torch.bool)
    for name, expected in integer_values(digits, images).items():
        different = (found[name] - expected).abs() > 1e-9
        if name == "logits":  # all of an image's follow a spike that tipped; the others' agree
            assert not different[~tipped].any()
        else:  # a membrane on a threshold falls to either side of it by rounding, and its readers follow
            assert float(different.double().mean()) < 1e-3, name
            tipped |= different.flatten(1).any(dim=1)
    assert float(tipped.double().mean()) < 0.1


def test_filters_have_the_size_that_initialisation_gave_them(
    recipe: Recipe, digits: SpikingNetwork, images: Tensor
) -> None:
    network = fresh(recipe)
    name = digits.network.synaptic[0].name
    usual = float(network.layers[name].linear.weight.detach().square().mean().sqrt())  # type: ignore[union-attr]
    warm_start(network, digits.network, images)
    sizes = network.layers[name].linear.weight.detach().flatten(1).square().mean(1).sqrt()  # type: ignore[union-attr]
    alive = sizes[sizes > 0]
    torch.testing.assert_close(alive, torch.full_like(alive, usual))


def test_layers_that_do_not_match_are_left_alone(recipe: Recipe, digits: SpikingNetwork, images: Tensor) -> None:
    network = fresh(recipe, hidden=(48,))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    taken = warm_start(network, digits.network, images)
    left = {"linear1", "logits"}
    assert set(taken) == {layer.name for layer in digits.network.synaptic} - left
    for name, value in network.state_dict().items():
        if name in {f"layers.{layer}.linear.weight" for layer in left}:
            assert torch.equal(value, before[name]), name
        elif name.endswith("linear.weight"):
            assert not torch.equal(value, before[name]), name


def test_a_linear_layer_of_a_larger_image_reads_the_average_of_each_channel(recipe: Recipe, images: Tensor) -> None:
    torch.manual_seed(3)
    small = nn.functional.avg_pool2d(images, 2)
    start = build_network(recipe, shape=(1, 4, 4), classes=10)
    start.stage = "quantised"
    known = convert(start.eval(), example=small).network
    layer = next(layer for layer in known.synaptic if layer.name == "linear1")
    network = fresh(recipe).double()
    assert set(warm_start(network, known, images.double())) == {layer.name for layer in known.synaptic}
    network.stage = "clip"
    with torch.no_grad():
        found = network.eval().spike_values(images.double())
    features = nn.functional.max_pool2d(found["conv2_2"], 2)
    assert features.shape[2:] == (2, 2)
    weight, bias = real_weights(layer, layer, known)
    expected = (features.mean(dim=(2, 3)) @ weight.T + bias).clamp(0, 1)
    assert float((expected > 0).double().mean()) > 0.1
    torch.testing.assert_close(found["linear1"], expected)


def test_a_global_average_folded_into_the_logits_is_taken_out_again(images: Tensor) -> None:
    def pooled() -> Prepared:
        return prepare(
            nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1, bias=False),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(6, 10),
            ),
            example=images[:2],
        )

    torch.manual_seed(2)
    first = pooled().eval()
    first.set_stage("quantised")
    snn = convert(first, example=images)
    assert snn.network.layers[-1].codes.shape == (10, 6 * 64)  # type: ignore[union-attr]
    torch.manual_seed(3)
    cat = pooled()
    taken = warm_start(cat, snn.network, images)
    assert len(taken) == 2
    cat.eval()
    cat.set_stage("ttfs")
    logits = torch.from_numpy(snn.engine.logits(snn.encode(images))).double() * 2.0**-snn.logit_exponent
    with torch.no_grad():
        assert (cat(images).double() - logits).abs().max() < 0.02 * logits.abs().max()


def test_layers_of_other_names_altogether_match_in_order(
    recipe: Recipe, digits: SpikingNetwork, images: Tensor
) -> None:
    wanted, network = fresh(recipe), fresh(recipe)
    taken = warm_start(wanted, digits.network, images)
    of = {layer.name: f"m{index}" for index, layer in enumerate(digits.network.layers)}
    others = [
        replace(layer, name=of[layer.name], source=of.get(layer.source, layer.source))
        for layer in digits.network.layers
    ]
    assert warm_start(network, replace(digits.network, layers=tuple(others)), images) == taken
    for name, value in wanted.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_nothing_that_matches_is_an_error(recipe: Recipe, digits: SpikingNetwork, images: Tensor) -> None:
    narrow = replace(recipe, network=replace(recipe.network, width=0.25, hidden=(48,)))
    network = build_network(narrow, shape=(1, 8, 8), classes=10)
    with pytest.raises(ValueError, match="initial network: a layer must agree in name and shape with conv1_1"):
        warm_start(network, digits.network, images)


def perturbed(recipe: Recipe, digits: SpikingNetwork, images: Tensor, *, noise: float) -> Network:
    """Another network of the same shapes."""
    network = fresh(recipe)
    warm_start(network, digits.network, images)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(noise * parameter.abs().mean() * torch.randn_like(parameter))
    network.stage = "quantised"
    return convert(network.double().eval(), example=images[:4].double()).network


def test_several_networks_start_as_the_average_of_their_parameters(
    recipe: Recipe, digits: SpikingNetwork, images: Tensor
) -> None:
    others = [digits.network, perturbed(recipe, digits, images, noise=0.2)]
    singles = []
    for other in others:
        single = fresh(recipe)
        warm_start(single, other, images)
        singles.append(dict(single.named_parameters()))
    network = fresh(recipe).eval()
    taken = warm_start(network, others, images)
    assert set(taken) == {layer.name for layer in digits.network.synaptic}
    assert not network.training
    assert not torch.equal(singles[0]["layers.conv1_1.linear.weight"], singles[1]["layers.conv1_1.linear.weight"])
    for name, value in network.named_parameters():
        torch.testing.assert_close(value, (singles[0][name] + singles[1][name]) / 2)
    for module in network.modules():  # batch norm's statistics are those of the average, not averages of statistics
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.register_forward_hook(statistics_agree)
    with torch.no_grad():
        network.train()(images)


def statistics_agree(norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.momentum == 0.1
    axes = [axis for axis in range(inputs[0].dim()) if axis != 1]
    torch.testing.assert_close(norm.running_mean, inputs[0].mean(axes), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, inputs[0].var(axes), rtol=1e-4, atol=1e-5)


def test_networks_of_other_shapes_have_no_average(recipe: Recipe, digits: SpikingNetwork, images: Tensor) -> None:
    wide = fresh(recipe, hidden=(48,))
    wide.stage = "quantised"
    other = convert(wide.double().eval(), example=images[:4].double()).network
    with pytest.raises(ValueError, match=r"initial networks: the same layers must agree in all of them.*linear1"):
        warm_start(fresh(recipe), [digits.network, other], images)
    with pytest.raises(ValueError, match="initial networks: there must be at least one"):
        warm_start(fresh(recipe), [], images)


def test_a_run_starts_there_and_resumes_without(
    recipe: Recipe, digits: SpikingNetwork, digits_run: Run, tmp_path: Path
) -> None:
    gentle = replace(recipe, training=replace(recipe.training, epochs=2, learning_rate=1e-4))
    gentle = replace(gentle, stages=replace(gentle.stages, clip=0, input=0, ttfs=0, quantised=None))
    first = fit(gentle, out=tmp_path / "a", initial=digits.network, accelerator="cpu", stop_after=1)
    trained = digits_run.fitted.metrics["validation_accuracy"]
    assert first.metrics["validation_accuracy"] > trained - 0.05  # an untrained network is right in a tenth
    resumed = fit(gentle, out=tmp_path / "a", accelerator="cpu")  # the checkpoint goes first
    whole = fit(gentle, out=tmp_path / "b", initial=digits.network, accelerator="cpu")
    assert resumed.metrics == whole.metrics
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_run_says_which_layers_start_afresh(
    recipe: Recipe, digits: SpikingNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = replace(recipe, training=replace(recipe.training, epochs=2))
    short = replace(short, stages=replace(short.stages, clip=0, input=0, ttfs=0, quantised=None))
    fit(short, out=tmp_path / "a", initial=digits.network, accelerator="cpu", stop_after=1)
    assert "initial network:" not in capsys.readouterr().out
    wider = replace(short, network=replace(short.network, hidden=(*short.network.hidden[:-1], 40)))
    fit(wider, out=tmp_path / "b", initial=digits.network, accelerator="cpu", stop_after=1)
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "initial network:" in line]
    names = list(dict(build_network(wider, shape=(1, 8, 8), classes=10).synapses()))
    assert told.startswith(f"initial network: 2 of {len(names)} layers with weights agree with none of its")
    assert told.endswith(f": {', '.join(names[-2:])}")
    fit(wider, out=tmp_path / "b", initial=digits.network, accelerator="cpu")  # from the checkpoint
    assert "initial network:" not in capsys.readouterr().out


def test_frozen_layers_keep_their_weights_and_the_others_learn(
    recipe: Recipe, digits: SpikingNetwork, images: Tensor, tmp_path: Path
) -> None:
    training = replace(recipe.training, epochs=2, learning_rate=0.01, frozen=2)
    stages = replace(recipe.stages, clip=0, input=0, ttfs=0, quantised=1)
    frozen = replace(recipe, training=training, stages=stages)
    start = build_network(frozen, shape=(1, 8, 8), classes=10)
    taken = warm_start(start, digits.network, images)
    fit(frozen, out=tmp_path, initial=digits.network, accelerator="cpu", stop_after=1)
    resumed = fit(frozen, out=tmp_path, accelerator="cpu")  # the checkpoint stands for the initial one
    end = resumed.network
    for number, name in enumerate(taken):
        weights = [network.layers[name].folded()[0] for network in (start, end)]
        norms = [weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1)) for weight in weights]
        same = torch.allclose(weights[0] / norms[0], weights[1] / norms[1], rtol=0, atol=1e-6)
        assert same == (number < 2), name


@pytest.mark.parametrize(
    ("frozen", "initial", "text"),
    [
        (1, False, "frozen must count layers that an initial network gives .*, not 1 with layer 'conv1_1'"),
        (6, True, "frozen must leave one of 6 layers to train, not be 6"),
    ],
)
def test_layers_that_cannot_be_frozen(
    frozen: int, initial: bool, text: str, recipe: Recipe, digits: SpikingNetwork, tmp_path: Path
) -> None:
    wanted = replace(recipe, training=replace(recipe.training, frozen=frozen))
    with pytest.raises(ValueError, match=text):
        fit(wanted, out=tmp_path, initial=digits.network if initial else None, accelerator="cpu")
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none.safetensors", r"none\.safetensors.*no such file"),
        ("vgg99-cifar10", "network must be a model file or one of .* not .vgg99-cifar10"),
    ],
)
def test_initial_networks_that_do_not_exist(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", "--recipe", "digits", "--initial", name, "--out", str(out)]) != 0
    printed = capsys.readouterr()
    assert re.search(text, " ".join((printed.out + printed.err).split()), re.IGNORECASE)
    assert not (out / CHECKPOINT).exists()


# ---- networks rebuilt ---------------------------------------------------------------------------------------------


def rebuilt_equals(network: Network, prepared: Prepared, snn: SpikingNetwork, images: Tensor) -> None:
    with torch.no_grad():
        found = prepared.spike_values(images.double())
    for name, expected in integer_values(snn, images).items():
        assert torch.equal(found[name], expected), name


def test_a_rebuilt_network_has_the_same_spikes_and_logits(digits: SpikingNetwork, images: Tensor) -> None:
    rebuilt_equals(digits.network, rebuild(digits.network), digits, images)


def test_another_format_is_that_formats_integer_network(digits: SpikingNetwork, images: Tensor) -> None:
    from firstspike.arith import Code, LogWeights

    other = reformat(rebuild(digits.network), code=Code(T=16, tau=8, mantissa_bits=6), weights=LogWeights(bits=4))
    snn = convert(other, example=images[:4])
    assert snn.network.code.T == 16
    assert snn.network.weights.bits == 4
    rebuilt_equals(snn.network, other, snn, images)


def test_normalised_activations_end_at_one_and_the_logits_stay(recipe: Recipe, images: Tensor) -> None:
    network = fresh(recipe).double().eval()
    with torch.no_grad():
        before = network(images.double())
        normalise(network, images.double(), percentile=100.0)
        after = network.spike_values(images.double())
    for step in network.steps:
        if step.fires:
            assert float(after[step.name].max()) == pytest.approx(1.0)
    torch.testing.assert_close(after["logits"], before)
    with pytest.raises(ValueError, match=r"percentile must be in \(0, 100\], not 0"):
        normalise(network, images.double(), percentile=0)
