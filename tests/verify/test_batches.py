"""Batches of images in RTL: every spike time, every logit and every cycle, whatever the stages."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rtl.random_networks import random_codes, random_network, random_times, with_bias

from firstspike.compiler import mapping
from firstspike.compiler.stages import stages
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, Network
from firstspike.spec.program import Convolve, Load, Pool, Store
from firstspike.verify import Simulator, emission, emit, run
from firstspike.verify.simulator import Stalls

from .conftest import SETS
from .networks import draw

Build = Callable[[str], Simulator]
QUICK = [
    ("small", (200, 201, 202, 203, 204, 210, 225, 233, 238)),
    ("narrow", (200, 201, 202, 203, 205, 206, 207)),
    ("wide", (200, 201, 202, 203, 207, 210)),
    ("switched", (200, 201, 202, 203, 210, 225)),
]


def _size(seed: int) -> int:
    """Batches of 2, 3, 4 and 8: five images, so that some are whole batches, some the rest, and some the rest alone."""
    return (2, 3, 4, 8)[seed % 4]


def _exact(name: str, seeds: Sequence[int], simulator: Simulator) -> None:
    for seed in seeds:
        network, times = draw(seed, SETS[name])
        processor = replace(SETS[name].processor, images=_size(seed))
        record = run(network, times, processor, simulator=simulator)
        assert record.bit_exact and record.cycle_exact, (name, seed, record.differences)
        assert record.images == 5 and record.rtl_cycles == record.model_cycles
        assert record.layer_cycles["layer0"][0].shape == (-(-5 // processor.images),)


@pytest.mark.parametrize(("name", "seeds"), QUICK)
def test_random_networks(name: str, seeds: Sequence[int], simulator: Build) -> None:
    """Bit-exact and cycle-exact with an ideal DRAM; what is left of the last batch too."""
    _exact(name, seeds, simulator(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_many_random_networks(name: str, simulator: Build) -> None:
    """The same, 60 networks of each parameter set."""
    _exact(name, range(1000, 1060), simulator(name))


def test_stalling_dram(simulator: Build) -> None:
    """Random stalls on every stream of the port change cycles alone."""
    for seed in range(200, 208):
        network, times = draw(seed, SETS["small"])
        processor = replace(SETS["small"].processor, images=_size(seed))
        stalls = Stalls(per_mille=300, seed=seed)
        record = run(network, times, processor, simulator=simulator("small"), stalls=stalls)
        assert record.bit_exact, (seed, record.differences)


def test_logits_do_not_depend_on_the_batch(simulator: Build) -> None:
    """Progress counts images, and a batch as large as the set is run once."""
    network, times = draw(203, SETS["small"])
    seen: list[tuple[int, int]] = []
    for size, runs in ((1, 5), (2, 3), (5, 1)):
        seen.clear()
        record = run(
            network,
            times,
            replace(SETS["small"].processor, images=size),
            simulator=simulator("small"),
            progress=lambda done, spent: seen.append((done, spent)),
        )
        assert record.bit_exact and record.cycle_exact
        assert len(record.layer_cycles["layer0"][0]) == runs
        assert seen[-1][0] == 5


def _cases(network: Network, name: str, size: int) -> set[str]:
    processor = replace(SETS[name].processor, images=size)
    parts = stages(network, processor)
    seen = {f"{len(parts)} stages"} | {"part of the batch" for part in parts if 1 < part.images < size}
    for operation in mapping.program(network, processor).operations:
        if isinstance(operation, Convolve) and operation.images > 1:
            seen |= {"images share weights"}
            seen |= {"partial sums of several images"} if not operation.first else set()
            seen |= {"later block of images"} if operation.image else set()
            seen |= {"residuals of several images"} if operation.residual else set()
            seen |= {"logits of several images"} if not operation.fires else set()
            seen |= {"several pixels of several images"} if operation.height * operation.width > 1 else set()
        elif isinstance(operation, Pool):
            seen |= {"pooling of a later image"} if operation.image else set()
        elif isinstance(operation, Load | Store) and operation.region.startswith("map "):
            seen |= {f"{type(operation).__name__} of a later image"} if operation.image else set()
    return seen


def test_random_networks_cover_the_cases() -> None:
    """The networks above hold every way in which a batch can be cut (so that their agreement means something)."""
    seen: set[str] = set()
    for name, seeds in QUICK:
        for seed in seeds:
            seen |= _cases(draw(seed, SETS[name])[0], name, _size(seed))
    assert {
        "1 stages",
        "2 stages",
        "3 stages",
        "part of the batch",
        "images share weights",
        "partial sums of several images",
        "later block of images",
        "residuals of several images",
        "logits of several images",
        "several pixels of several images",
        "pooling of a later image",
        "Load of a later image",
        "Store of a later image",
    } <= seen, seen


def test_regions_are_maps_that_layers_store() -> None:
    """Spilled maps have a region each, flattenings share their source's; the logits are never spilled."""
    parameters = SETS["narrow"]
    for attempt in (1006, 1020):
        tight = random_network(attempt, parameters.code, parameters.weights, accumulator_bits=32)
        with pytest.raises(ValueError, match=r"layer 'readout': its .* bytes must fit the activation buffer"):
            mapping.program(tight, parameters.processor)
    for seed in (1020, 1054):
        network, _ = draw(seed, parameters)
        program = mapping.program(network, replace(parameters.processor, images=2))
        stored = {o.region for o in program.operations if isinstance(o, Store)}
        assert any(name.startswith("map ") for name in stored)
        assert set(program.regions) == stored | {INPUT}


def test_input_read_by_a_later_stage(simulator: Build) -> None:
    """A residual that reaches past a cut between stages, back to the input: both stages load it."""
    parameters = SETS["narrow"]
    rng, code, weights = np.random.default_rng(0), parameters.code, parameters.weights
    layers: list[Layer] = []
    source = INPUT
    for name, (outputs, inputs), residuals in (("a", (16, 4), ()), ("b", (4, 16), ()), ("c", (4, 4), (INPUT,))):
        side = 5 if residuals else 3
        codes, zero = random_codes(rng, weights, (outputs, inputs, side, side)), np.zeros(outputs, np.int64)
        padding = (side // 2, side // 2)
        layer = Conv2d(name=name, source=source, codes=codes, scale=4, bias=zero, padding=padding)
        layers.append(with_bias(rng, code, weights, layer, residuals))
        source = name
    layers.append(Flatten(name="f", source=source))
    codes, zero = random_codes(rng, weights, (40, 64)), np.zeros(40, np.int64)
    layers.append(Linear(name="r", source="f", codes=codes, scale=0, bias=zero, fires=False))
    network = Network(code=code, weights=weights, input_shape=(4, 4, 4), layers=tuple(layers), accumulator_bits=32)
    processor = replace(parameters.processor, images=4)
    parts = stages(network, processor)
    assert [(part.images, part.layout.entries) for part in parts] == [(2, (INPUT,)), (4, (INPUT, "b"))]
    assert network.layers[2].inputs == ("b", INPUT)
    times = random_times(rng, code, (9, 4, 4, 4), 0.6)
    record = run(network, times, processor, simulator=simulator("narrow"))
    assert record.bit_exact and record.cycle_exact, record.differences


def test_emitted_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs, logits and cycles of an emitted batch are its images' in order; a testbench runs whole batches."""
    monkeypatch.setattr(emission.folder.emit, "verilog_files", lambda parameters, **options: {})
    network, times = draw(203, SETS["small"])
    texts = {}
    for size in (1, 2):
        processor = replace(SETS["small"].processor, images=size)
        texts[size] = {
            path.name: path.read_text() for path in emit(network, times[:4], processor, tmp_path / str(size))
        }
        assert len(texts[size]["cycles.hex"].split()) == 4 // size
        assert f"localparam BATCHES = {4 // size};" in texts[size]["parameters.vh"]
    for name in ("inputs.hex", "logits.hex"):
        assert texts[1][name] == texts[2][name]
    with pytest.raises(ValueError, match="images of a testbench must be whole batches of 2, not 5"):
        emit(network, times, processor, tmp_path)
