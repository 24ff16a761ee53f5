"""Dense baseline: its own sums on counts at hand; on a small layer ZigZag's mapping against bounds no mapping can beat."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from firstspike import spec
from firstspike.arith import Code, LogWeights, encode
from firstspike.engine.events import trace as trace_events
from firstspike.engine.reference import ReferenceEngine
from firstspike.processor import COMPONENTS, technology
from studies.rivals import dense

TECHNOLOGY = technology.default()
DESIGN = dense.Dense(rows=4, columns=4, weight_kib=8, activation_kib=8)


def network() -> spec.Network:
    rng = np.random.default_rng(0)
    silent = np.zeros(8, dtype=np.int64)
    return spec.Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(4, 6, 6),
        layers=(
            spec.Conv2d(
                name="a",
                source="input",
                codes=rng.integers(0, 32, (8, 4, 3, 3), dtype=np.uint8),
                scale=4,
                bias=silent,
                padding=(1, 1),
            ),
            spec.Flatten(name="f", source="a"),
            spec.Linear(
                name="out",
                source="f",
                codes=rng.integers(0, 32, (3, 288), dtype=np.uint8),
                scale=4,
                bias=silent[:3],
                fires=False,
            ),
        ),
    )


def run(net: spec.Network) -> spec.Trace:
    x = np.random.default_rng(1).random((3, 4, 6, 6)).astype(np.float32)
    return trace_events(ReferenceEngine(net), encode(x, net.code))


def test_sums_of_given_counts() -> None:
    """With products of two non-zero numbers, narrower weights, compulsory traffic, a clock that always runs."""
    net = network()
    trace = run(net)
    nonzero = sum(layer.sops_nonzero.mean() for layer in trace.layers.values())
    kept = [int((layer.codes % 16 != 15).sum()) for layer in net.synaptic]
    assert kept[0] < 288 and kept[1] < 864
    counts = {"cycles": 1000.0, "weights": 50.0, "activations": 70.0, "read_bits": 640.0, "write_bits": 64.0}
    for images, bits in ((1, 8), (2, 8), (2, 4)):
        design = replace(DESIGN, images=images, bits=bits)
        mapped = dense.Mapped(design=design, layers={"a": counts, "out": counts})
        cost = dense.cost(net, trace, mapped, TECHNOLOGY, "lpddr3")
        assert list(cost.components) == list(COMPONENTS)
        assert cost.sops_per_image == pytest.approx(trace.sops_per_image)
        parts = {key: part.value * 1e6 for key, part in cost.components.items()}  # pJ
        baseline, logic = TECHNOLOGY.baseline, TECHNOLOGY.logic
        adder = baseline.add_operation.value
        product = logic.wires.value * (adder + (baseline.dense_operation.value - adder) * bits / 8)
        assert parts["pe"] == pytest.approx(product * nonzero)
        assert parts["weight_read"] == pytest.approx(100 / images * bits / 8)
        assert parts["activation_read"] == pytest.approx(140 / images)
        # both layers run for the whole batch, the map of 288 bytes between them stays on chip
        weights = (288 + 864) * bits / images
        assert parts["dram_read"] == pytest.approx((weights + 4 * 36 * 8) * 5.1)
        assert parts["dram_write"] == pytest.approx(3 * 32 * 5.9)
        cycles = 288 * 36 / 16 + max(864 / 16, (864 * bits / images + 96) / 64)
        assert cost.cycles_per_image == pytest.approx(cycles)
        assert parts["dram_standby"] == pytest.approx(58 * cycles / 250 * 1e3)
        assert parts["control"] == pytest.approx(logic.control_cycle.value * cycles)
        assert parts["clock"] == pytest.approx((logic.clock_cycle.value + 16 * logic.lane_cycle.value) * cycles)
        buffer = TECHNOLOGY.sram.buffer(capacity_kib=8, width_bits=128)
        area = (16 * baseline.dense_area.value + logic.control_area.value) * 1e-6
        assert cost.area.value == pytest.approx(2 * buffer.area_mm2.value + area)
        leakage = 2 * buffer.leakage_mw.value + area * logic.leakage.value
        assert parts["leakage"] == pytest.approx(leakage * cycles / 250 * 1e3)
        assert cost.energy.low <= cost.energy.value <= cost.energy.high


def test_banks_that_a_layer_does_not_need_are_off() -> None:
    """Of 8 KiB in four banks: 288 and 864 weights take one; maps of 144, 288 and 12 bytes of eight images two."""
    net, switches = network(), TECHNOLOGY.switches
    assert switches is not None
    bank = TECHNOLOGY.sram.buffer(capacity_kib=2, width_bits=128)
    design = replace(DESIGN, images=8, banks=4)
    logic = dense.logic_mm2(design, TECHNOLOGY).value * TECHNOLOGY.logic.leakage.value
    left = switches.leakage.value / 100
    found = dense.leakage_mw(net, design, TECHNOLOGY)
    for name, on in (("a", 1 + 2), ("out", 1 + 2)):
        assert found[name].value == pytest.approx(bank.leakage_mw.value * (on + left * (8 - on)) + logic)
    area = 8 * bank.area_mm2.value * (1 + switches.area.value / 100) + dense.logic_mm2(design, TECHNOLOGY).value
    assert dense.area_mm2(design, TECHNOLOGY).value == pytest.approx(area)
    always = dense.leakage_mw(net, replace(design, banks=1), TECHNOLOGY)["a"].value
    whole = TECHNOLOGY.sram.buffer(capacity_kib=8, width_bits=128).leakage_mw.value
    assert always == pytest.approx(2 * whole + logic)


def test_no_schedule_moves_fewer_bits() -> None:
    """Against every way to choose how many images of four a layer runs for, written out."""
    net = network()
    conv, out = ((layer.codes.size * 8) for layer in net.synaptic)
    size_in, size_map = 144 * 8, 288 * 8
    for kib in (1, 2, 8):
        design = replace(DESIGN, images=4, activation_kib=kib)
        ways = []
        for first in (1, 2, 4):
            for second in (size for size in (1, 2, 4) if size >= first):
                stays = first == second and max(size_in + size_map, size_map + 96) * first <= kib * 8192
                ways.append(conv / first + out / second + (0 if stays else 2 * size_map) + 96)
        moved = dense.traffic(net, design)
        assert sum(map(sum, moved.values())) == min(ways), kib


def test_zeros_are_not_fetched_where_a_bitmap_is_shorter() -> None:
    net = network()
    codes = net.synaptic[0].codes.copy()
    codes[np.random.default_rng(2).random(codes.shape) < 0.7] = 15
    sparse = replace(net, layers=(replace(net.layers[0], codes=codes), *net.layers[1:]))
    kept = int((codes % 16 != 15).sum())
    assert dense.weight_bits(sparse, sparse.synaptic[0], 5) == 288 + 5 * kept < 288 * 5
    assert dense.weight_bits(net, net.synaptic[0], 4) == 288 * 4


def test_the_bound_is_below_what_is_counted() -> None:
    """Each weight once, each input once for every four outputs, each output once."""
    net = network()
    found = dense.bound(net, DESIGN, TECHNOLOGY).layers
    buffer = TECHNOLOGY.sram.buffer(capacity_kib=8, width_bits=128)
    word = (buffer.read_pj.value + buffer.write_pj.value) / 128
    assert found["a"]["weights"] == pytest.approx(288 * 8 * word)
    moved = 144 * 8 * 2 * buffer.read_pj.value + 288 * 8 * buffer.write_pj.value
    assert found["a"]["activations"] == pytest.approx(moved / 128)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("zigzag") is None, reason=dense.INSTALL)
@pytest.mark.filterwarnings("ignore")
def test_zigzag_counts_at_least_what_any_mapping_needs() -> None:
    net = network()
    mapped = dense.map_network(net, DESIGN, TECHNOLOGY)
    conv, out = mapped.layers["a"], mapped.layers["out"]
    assert conv["read_bits"] >= 8 * 4 * 9 * 8
    assert out["read_bits"] == 3 * 288 * 8  # weights of a vector are read once in any order
    assert conv["cycles"] >= 8 * 4 * 9 * 36 / 16
    assert conv["write_bits"] == out["write_bits"] == 0  # maps stay on chip
    shared = dense.map_network(net, replace(DESIGN, images=4), TECHNOLOGY).layers
    assert shared["out"]["read_bits"] >= 3 * 288 * 8 + 4 * 288 * 8  # weights once, activations of four images
    assert shared["out"]["write_bits"] >= 4 * 3 * 8


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"Dense\.rows must be .* not 0"):
        dense.Dense(rows=0)
    with pytest.raises(ValueError, match="clock_mhz must be in"):
        dense.Dense(clock_mhz=0)
    net = network()
    with pytest.raises(ValueError, match="dram must be one of"):
        dense.cost(net, run(net), dense.Mapped(design=DESIGN, layers={}), TECHNOLOGY, "none")
    monkeypatch.setattr(dense, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="pip install 'firstspike"):
        dense.map_network(net, DESIGN, TECHNOLOGY)
