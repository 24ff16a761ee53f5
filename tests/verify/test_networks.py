"""Whole random networks in RTL: every spike time, every logit and every cycle."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from compiler.test_channels import residual_network
from torch import nn

import firstspike as fs
from firstspike.arith import encode_weights
from firstspike.compiler import mapping
from firstspike.compiler.channels import resolve
from firstspike.engine import create
from firstspike.rtl import emit
from firstspike.rtl.parameters import Parameters
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, Synaptic
from firstspike.verify import Simulator, run
from firstspike.verify.simulator import Stalls

from .conftest import SETS
from .networks import draw

Build = Callable[[str], Simulator]
QUICK = [
    ("small", range(0, 30)),
    ("narrow", range(0, 10)),
    ("wide", range(0, 10)),
    ("planes", range(0, 15)),
    ("sources", range(0, 20)),
    ("fpga", range(0, 20)),
    ("packed", range(0, 9)),
    ("packed-narrow", range(0, 15)),
    ("shifts", range(0, 20)),
    ("shifts-packed", range(0, 10)),
    ("shifts-fpga", range(0, 15)),
    ("switched", range(0, 16)),
    ("resident-small", range(0, 16)),
    ("resident-packed-narrow", range(0, 10)),
    ("resident-switched", range(0, 16)),
    ("resident-chunks", range(0, 12)),
]


def _exact(name: str, seeds: range, simulator: Simulator) -> None:
    for seed in seeds:
        network, times = draw(seed, SETS[name])
        record = run(network, times, SETS[name].processor, simulator=simulator)
        assert record.bit_exact and record.cycle_exact, (name, seed, record.differences)
        assert record.rtl_cycles == record.model_cycles
        spilled_input = mapping.program(network, SETS[name].processor).operations[0].layer != INPUT
        assert record.layers_compared == 2 - spilled_input + sum(
            not isinstance(layer, Flatten) for layer in resolve(network).layers[:-1]
        )


@pytest.mark.parametrize(("name", "seeds"), QUICK)
def test_random_networks(name: str, seeds: range, simulator: Build) -> None:
    """Bit-exact and cycle-exact with an ideal DRAM."""
    _exact(name, seeds, simulator(name))


def test_a_depthwise_network_with_a_scale_for_each_channel(simulator: Build) -> None:
    """Converted with shifts of several octaves: depthwise, pointwise and linear layers, in tiles of 16 lanes."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(2, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.ReLU()),
        *(nn.Conv2d(24, 20, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(180, 4)),
    )
    with torch.no_grad():
        for layer in (net[0], net[2], net[4]):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.mul_(2.0 ** -torch.randint(0, 5, (len(layer.weight), 1, 1, 1)))
    parameters = SETS["shifts"]
    images = torch.rand(3, 2, 6, 6)
    cat = fs.prepare(
        net.eval(), example=images, code=parameters.code, weights=parameters.weights, weight_scale="channel"
    )
    cat.set_stage("quantised")
    snn = fs.convert(cat, example=images)
    assert [any(layer.shifts) for layer in snn.network.synaptic] == [True, True, True, False]
    assert Parameters.of(snn.network, parameters.processor).channel_shifts
    record = run(snn.network, snn.encode(images), parameters.processor, simulator=simulator("shifts"))
    assert record.bit_exact and record.cycle_exact, record.differences
    alone = replace(snn.network, layers=tuple(_without_shifts(layer) for layer in snn.network.layers))
    assert not Parameters.of(alone, parameters.processor).channel_shifts


def _without_shifts(layer: Layer) -> Layer:
    return replace(layer, shifts=(), bias=layer.bias >> layer.channel_shifts) if isinstance(layer, Synaptic) else layer


def test_the_widest_padding_equal_thresholds_and_a_read_out_with_residuals(simulator: Build) -> None:
    """What the random networks do not draw: padding one below the kernel, all thresholds 1, sums as logits."""
    parameters, rng = SETS["small"], np.random.default_rng(0)
    top = parameters.weights.zero_level

    def codes(*shape: int) -> np.ndarray:
        return encode_weights(rng.integers(0, top + 1, shape), rng.random(shape) < 0.3, parameters.weights)

    padded = MaxPool2d(name="pool", source=INPUT, kernel=(2, 3), stride=(1, 1), padding=(1, 2))
    wide = Conv2d(
        name="wide", source="pool", codes=codes(4, 3, 1, 2), scale=0, bias=rng.integers(-9, 1 << 18, 4), padding=(0, 1)
    )
    equal = Conv2d(name="equal", source="wide", codes=codes(4, 4, 1, 1), scale=-60, bias=rng.integers(-400, 400, 4))
    sums = Conv2d(
        name="sums",
        source="equal",
        codes=codes(4, 4, 1, 1),
        scale=1,
        bias=rng.integers(-99, 99, 4),
        fires=False,
        residuals=("wide", "equal"),
    )
    network = Network(
        code=parameters.code,
        weights=parameters.weights,
        input_shape=(3, 3, 3),
        layers=(padded, wide, equal, sums),
        accumulator_bits=parameters.processor.accumulator_bits,
    )
    assert set(network.thresholds(equal).tolist()) == {1}
    times = np.where(rng.random((3, 3, 3, 3)) < 0.7, rng.integers(0, parameters.code.T, (3, 3, 3, 3)), 255)
    outputs = create(network).layers(times.astype(np.uint8))
    assert all((outputs[name] == 255).any() and (outputs[name] != 255).any() for name in ("wide", "equal"))
    record = run(network, times.astype(np.uint8), parameters.processor, simulator=simulator("small"))
    assert record.bit_exact and record.cycle_exact, record.differences
    assert record.layers_compared == 5  # the input, three that fire or pool, the logits


def test_planes_through_a_flattening_and_groups(simulator: Build) -> None:
    """A linear layer and a grouped convolution both read the planes of an image, whose pixels fill no whole words."""
    parameters, rng = SETS["planes"], np.random.default_rng(0)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(0, 1 << parameters.weights.bits, shape).astype(np.uint8)

    bias = rng.integers(-(1 << 18), 1 << 19, 20)
    network = Network(
        code=parameters.code,
        weights=parameters.weights,
        input_shape=(3, 4, 2),
        layers=(
            Flatten(name="flat", source=INPUT),
            Linear(name="dense", source="flat", codes=codes(20, 24), scale=3, bias=bias),
            Conv2d(
                name="conv", source=INPUT, codes=codes(3, 1, 3, 3), scale=1, bias=bias[:3], padding=(1, 1), groups=3
            ),
            Flatten(name="rest", source="conv"),
            Linear(
                name="out", source="rest", codes=codes(20, 24), scale=0, bias=bias, residuals=("dense",), fires=False
            ),
        ),
    )
    times = rng.integers(0, 256, (4, 3, 4, 2)).astype(np.uint8)
    times[3] = 255
    outputs = create(network).layers(times)
    assert all((outputs[name] == 255).any() and (outputs[name] != 255).any() for name in ("dense", "conv"))
    record = run(network, times, parameters.processor, simulator=simulator("planes"))
    assert record.bit_exact and record.cycle_exact, record.differences
    assert Parameters.of(network, parameters.processor).largest_shift == 14


def test_rearranged_channels(simulator: Build) -> None:
    """Concatenated, shuffled and silent channels, as sources and as a residual: the engine runs them, the RTL their readers."""
    network, parameters = residual_network(), SETS["sources"]
    times = np.random.default_rng(1).integers(0, 14, (5, 2, 5, 5)).astype(np.uint8)
    times[times >= parameters.code.T] = 255
    record = run(network, times, parameters.processor, simulator=simulator("sources"))
    assert record.bit_exact and record.cycle_exact, record.differences
    assert Parameters.of(network, parameters.processor).shift_base <= parameters.shift_base


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_hundreds_of_random_networks(name: str, simulator: Build) -> None:
    """The same, 300 networks of each parameter set."""
    _exact(name, range(100, 400), simulator(name))


@pytest.mark.parametrize(("name", "seeds", "per_mille"), [("small", range(12), 300), ("narrow", range(6), 700)])
def test_stalling_dram(name: str, seeds: range, per_mille: int, simulator: Build) -> None:
    """Random stalls on every stream of the port change cycles alone; in sum within 2 % of the model's expectation."""
    cycles = np.zeros(2)
    for seed in seeds:
        network, times = draw(seed, SETS[name])
        stalls = Stalls(per_mille=per_mille, seed=seed)
        record = run(network, times, SETS[name].processor, simulator=simulator(name), stalls=stalls)
        assert record.bit_exact, (seed, record.differences)
        cycles += record.rtl_cycles, record.model_cycles
    assert cycles[0] == pytest.approx(cycles[1], rel=0.02)


def _stalled(name: str, seeds: range, simulator: Simulator) -> None:
    for seed in seeds:
        network, times = draw(seed, SETS[name])
        stalls = Stalls(per_mille=300 * (seed % 2), inside=(100, 400, 800)[seed % 3], seed=seed)
        record = run(network, times, SETS[name].processor, simulator=simulator, stalls=stalls)
        assert record.bit_exact, (name, seed, record.differences)
        assert record.rtl_cycles > record.model_cycles * (not stalls.per_mille), (name, seed)


def test_stalls_on_every_stream(simulator: Build) -> None:
    """The streams inside (operations, spikes) held back at random too, with and without the port's: cycles alone change."""
    _stalled("small", range(30), simulator("small"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_hundreds_of_random_networks_stalled(name: str) -> None:
    """The same, 100 networks of each parameter set."""
    _stalled(name, range(400, 500), Simulator(SETS[name], holds=True))


def test_stalls_inside_need_their_simulator(simulator: Build) -> None:
    """The design as emitted has nothing that could hold a stream back."""
    network, times = draw(3, SETS["narrow"])
    with pytest.raises(ValueError, match="a simulator built without holds must have no stalls inside, not 1"):
        run(network, times, SETS["narrow"].processor, simulator=simulator("narrow"), stalls=Stalls(inside=1))
    top = emit.verilog_files(SETS["narrow"])
    held = emit.verilog_files(SETS["narrow"], holds=True)
    assert held.keys() - top.keys() == {"firstspike_hold_operation.v", "firstspike_hold_spikes.v"}


def test_random_networks_cover_the_cases() -> None:
    """The networks above hold every kind of layer and of operation (so that their agreement means something)."""
    seen: set[str] = set()
    for name, seeds in QUICK:
        for seed in seeds:
            network, times = draw(seed, SETS[name])
            program = mapping.program(network, SETS[name].processor)
            outputs = create(network).layers(times)
            for operation in program.operations:
                seen |= {type(operation).__name__}
                seen |= {"strip"} if getattr(operation, "in_first", 0) else set()
                if hasattr(operation, "first"):
                    seen |= {"chunks"} if not operation.first else set()
                    seen |= {"residual"} if operation.residual else set()
                    seen |= {"empty chunk"} if operation.empty else set()
                    seen |= {"part"} if operation.connection != operation.layer else set()
                    seen |= {"shift of its own"} if operation.shift > SETS[name].shift_base else set()
                    seen |= {"part tile"} if operation.outputs[1] % SETS[name].processor.pes else set()
                    seen |= {"second tile"} if operation.outputs[0] else set()
                    seen |= {"kernel chunk"} if operation.kernel_offset != (0, 0) else set()
            for layer in network.layers:
                seen |= {type(layer).__name__}
                if isinstance(layer, Conv2d):
                    seen |= {"groups"} if layer.groups > 1 else set()
                    seen |= {"stride"} if max(layer.stride) > 1 else set()
                    seen |= {"padding"} if max(layer.padding) else set()
                    seen |= {"dilation"} if max(layer.dilation) > 1 else set()
                if isinstance(layer, Conv2d | Linear) and layer.fires:
                    spikes = outputs[layer.name]
                    seen |= {"silent layer"} if (spikes == 255).all(axis=tuple(range(1, spikes.ndim))).any() else set()
                    seen |= {"full layer"} if (spikes != 255).all(axis=tuple(range(1, spikes.ndim))).any() else set()
                if isinstance(layer, MaxPool2d) and max(layer.padding):
                    seen |= {"padded pooling"}
    kinds = {"Convolve", "Pool", "Load", "Store", "Conv2d", "Linear", "MaxPool2d", "Flatten"}
    cases = {"chunks", "kernel chunk", "residual", "empty chunk", "part tile", "second tile", "groups", "stride"}
    kinds |= {"Channels", "PixelShuffle", "dilation"}
    assert kinds | cases | {"part", "padding", "padded pooling", "silent layer", "full layer", "strip"} <= seen
