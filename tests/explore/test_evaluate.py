"""Designs of the digits network: recoded exactly by the rules, traced once, priced as the processor prices them."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("yaml", reason="the extra 'explore' is not installed")

import firstspike as fs
from explore.spaces import TEXT
from firstspike.arith import Code, LogWeights, decode_weights, level_values
from firstspike.conversion.recode import recode, thin
from firstspike.data import load as load_images
from firstspike.data import split_validation
from firstspike.explore import space
from firstspike.explore.evaluate import Evaluator, defaults, evaluate_all, prepare
from firstspike.processor import Processor
from firstspike.spiking import SpikingNetwork, load


def test_a_network_keeps_its_own_code(digits_model: Path) -> None:
    network = load(digits_model).network
    assert recode(network, code=network.code, weights=network.weights) is network


def test_weights_go_to_the_nearest_level_and_biases_to_the_new_grid(digits_model: Path) -> None:
    network = load(digits_model).network
    code, weights = Code(T=12, tau=2, mantissa_bits=4), LogWeights(bits=4)
    found = recode(network, code=code, weights=weights)
    assert (found.code, found.weights) == (code, weights)
    for old, new in zip(network.synaptic, found.synaptic, strict=True):
        before = decode_weights(old.codes, network.weights, old.scale).ravel()
        after = decode_weights(new.codes, weights, new.scale).ravel()
        levels = level_values(weights, new.scale)
        distance = np.abs(np.abs(before)[:, None] - levels).min(axis=1)
        assert np.array_equal(np.abs(before - after), distance)
        step = Fraction(2) ** (found.exponent(new) - network.exponent(old))
        assert new.bias.tolist() == [round(int(bias) * step) for bias in old.bias]


def test_an_average_takes_the_level_nearest_to_its_share() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.AvgPool2d(3, stride=1),
        nn.Conv2d(4, 4, 1, groups=4, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    with torch.no_grad():
        # on four levels of either format
        net[3].weight.copy_(torch.tensor([0.9, -0.35, 0.5, -0.06]).reshape(4, 1, 1, 1))
    image, weights = torch.rand(1, 1, 8, 8), LogWeights(levels_per_octave=4)
    networks = []
    for wanted in (LogWeights(), weights):
        cat = fs.prepare(net, weights=wanted)
        cat.stage = "quantised"
        networks.append(fs.convert(cat, example=image).network)
    found = recode(networks[0], code=networks[0].code, weights=weights)
    (average,) = (n for n, layer in enumerate(found.layers) if layer.name == "2")
    assert (found.layers[average].codes == networks[1].layers[average].codes).all()
    assert found.layers[average].scale == networks[1].layers[average].scale
    level = float(weights.level(int(found.layers[average].codes.flat[0]) + found.layers[average].scale))
    assert level == float(min(map(weights.level, range(30)), key=lambda value: abs(value - Fraction(1, 9))))
    trained = found.layers[average + 1]  # depthwise too, but learned: every weight the level nearest to its own
    before = decode_weights(networks[0].layers[average + 1].codes, LogWeights(), networks[0].layers[average + 1].scale)
    assert len(np.unique(decode_weights(trained.codes, weights, trained.scale))) == len(np.unique(before)) == 4


def test_a_code_in_which_a_layer_does_not_fit_is_refused(digits_model: Path) -> None:
    network = load(digits_model).network
    with pytest.raises(ValueError, match=r"layer 'conv1_1': the firing level 2\^G must fit 32 bits, not G = \d+"):
        recode(network, code=Code(T=96, tau=4), weights=network.weights)


def test_a_design_costs_what_the_processor_says_and_is_traced_once(digits_model: Path, tmp_path: Path) -> None:
    text = TEXT.replace("net.safetensors", str(digits_model)) + "dram: [lpddr3, flat-4pj]\n"
    job = prepare(space.parse(text, name="space.yaml"), cache=tmp_path / "traces")
    design = {
        "network": str(digits_model),
        "code.T": 8,
        "processor.pes": 64,
        "processor.clock_mhz": 100.0,
    }
    evaluator = Evaluator(job)
    result = evaluator.evaluate(design)

    original = load(digits_model).network
    snn = SpikingNetwork(recode(original, code=replace(original.code, T=8), weights=original.weights))
    _, validation = split_validation(load_images("digits", split="train"), count=200, seed=0)
    images = validation.limit(40)
    assert result["accuracy"] == float(np.mean(snn.classify(images.pixels()) == images.labels))
    cost = Processor(pes=64, clock_mhz=100.0).run(snn, images.limit(5).pixels(), dram="lpddr3")
    assert result["energy_uj"] == result["energy_uj_lpddr3"] == cost.energy_uj
    flat = Processor(pes=64, clock_mhz=100.0).run(snn, images.limit(5).pixels())
    assert result["energy_uj_flat-4pj"] == flat.energy_uj
    assert all(result[f"{key}_uj"] == part.value for key, part in cost.components.items())
    assert result["memory_ns"] < 10
    assert result["meets_clock"]
    assert result["latency_us"] == cost.latency_us
    assert result["area_mm2"] == cost.area.value
    assert result["frames_per_second"] == cost.frames_per_second
    assert result["latency_steps"] == snn.latency_steps

    batch = evaluator.evaluate({**design, "processor.images": 4})
    filled = images.limit(5).pixels()[[0, 1, 2, 3, 4, 0, 1, 2]]  # two whole batches
    cost = Processor(pes=64, clock_mhz=100.0, images=4).run(snn, filled, dram="lpddr3")
    assert (batch["latency_us"], batch["energy_uj"]) == (cost.latency_us, cost.energy_uj)

    assert evaluator.traced == 1
    evaluator.evaluate({**design, "processor.pes": 16})
    assert evaluator.traced == 1
    again = Evaluator(job)
    assert again.evaluate(design) == result
    assert again.traced == 0
    for file in (tmp_path / "traces").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert Evaluator(job).evaluate(design) == result
    assert evaluate_all(job, [design, design]) == [result, result]
    assert evaluator.evaluate({**design, "processor.pes": 12}) == {
        "refused": "Processor.pes must be a multiple of word_bits / 8 = 8, not 12"
    }


def test_cells_say_whether_memories_meet_the_clock(digits_model: Path, tmp_path: Path) -> None:
    """Low-leakage cells: 250 MHz is met, 500 MHz is not; the energy is theirs."""
    text = TEXT.replace("net.safetensors", str(digits_model)) + "cells: lstp\n"
    job = prepare(space.parse(text, name="space.yaml"), cache=tmp_path / "traces")
    evaluator = Evaluator(job)
    design = {"network": str(digits_model), "code.T": 24, "processor.pes": 128}
    fast, slow = (evaluator.evaluate({**design, "processor.clock_mhz": clock}) for clock in (500.0, 250.0))
    assert slow["meets_clock"] and not fast["meets_clock"]
    assert slow["memory_ns"] == fast["memory_ns"]
    other = prepare(space.parse(text.replace("lstp", "hp"), name="space.yaml"), cache=tmp_path / "traces")
    assert other.digest != job.digest
    assert Evaluator(other).evaluate({**design, "processor.clock_mhz": 500.0})["meets_clock"]
    assert defaults(job)[str(digits_model)]["energy_uj"] > 0
    with pytest.raises(space.SpaceError, match="cells must be one of lstp, lstp-hp, lop, hp, not 'sram'"):
        space.parse(text.replace("lstp", "sram"), name="space.yaml")


def test_pruning_is_a_dimension(digits_model: Path, tmp_path: Path) -> None:
    """Zeros cost accuracy, and packed rows make them worth fetching less for."""
    text = TEXT.replace("net.safetensors", str(digits_model))
    text = text.replace("objectives:", "pruning: {zeros: {unit: zeros, values: [0, 0.8]}}\nobjectives:")
    job = prepare(space.parse(text, name="space.yaml"), cache=tmp_path / "traces")
    evaluator = Evaluator(job)
    design = {"network": str(digits_model), "code.T": 24, "processor.pes": 64, "processor.packed_rows": True}
    dense, sparse = (evaluator.evaluate({**design, "pruning.zeros": share}) for share in (0.0, 0.8))
    assert evaluator.traced == 2
    assert sparse["dram_bits_per_image"] < 0.7 * dense["dram_bits_per_image"]
    assert sparse["accuracy"] <= dense["accuracy"]
    network = load(digits_model).network
    first, *others = (layer.codes & 15 == 15 for layer in thin(network, 0.8).synaptic)
    assert first.mean() < 0.5 and all(zeros.mean() > 0.79 for zeros in others)
    with pytest.raises(space.SpaceError, match=r"pruning\.zeros"):
        space.parse(text.replace("0.8", "-1"), name="space.yaml")
