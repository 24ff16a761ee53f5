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
    net = network()
    trace = run(net)
    counts = {"cycles": 1000.0, "weights": 50.0, "activations": 70.0, "read_bits": 640.0, "write_bits": 64.0}
    for images in (1, 2):
        mapped = dense.Mapped(design=replace(DESIGN, images=images), layers={"a": counts, "out": counts})
        cost = dense.cost(net, trace, mapped, TECHNOLOGY, "lpddr3")
        assert list(cost.components) == list(COMPONENTS)
        assert cost.sops_per_image == pytest.approx(trace.sops_per_image)
        assert cost.cycles_per_image == 2 * 1000 / images
        parts = {key: part.value * 1e6 for key, part in cost.components.items()}  # pJ
        assert parts["pe"] == pytest.approx(TECHNOLOGY.baseline.dense_operation.value * trace.sops_per_image)
        assert parts["weight_read"] == pytest.approx(100 / images)
        assert parts["activation_read"] == pytest.approx(140 / images)
        assert parts["dram_read"] == pytest.approx((1280 / images + 4 * 36 * 8) * 5.1)
        assert parts["dram_write"] == pytest.approx(128 / images * 5.9)
        assert parts["dram_standby"] == pytest.approx(58 * 2000 / images / 250 * 1e3)
        weights = TECHNOLOGY.sram.buffer(capacity_kib=8, width_bits=128)
        logic = (16 * TECHNOLOGY.baseline.dense_area.value + TECHNOLOGY.logic.control_area.value) * 1e-6
        assert cost.area.value == pytest.approx(2 * weights.area_mm2.value + logic)
        leakage = 2 * weights.leakage_mw.value + logic * TECHNOLOGY.logic.leakage.value
        assert parts["leakage"] == pytest.approx(leakage * 2000 / images / 250 * 1e3)
        assert cost.energy.low <= cost.energy.value <= cost.energy.high


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
