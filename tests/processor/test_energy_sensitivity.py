"""Sensitivity: each swing is that constant's share alone, and together they make the interval."""

import numpy as np
import pytest

from firstspike import spec
from firstspike.processor import energy, sensitivity, technology
from firstspike.processor.cycles import EVENTS, Counts, LayerCounts

TECHNOLOGY = technology.default()


def counts(seed: int = 1) -> Counts:
    events = np.random.default_rng(seed).integers(1, 1 << 24, (len(EVENTS), 3))
    named = dict(zip(EVENTS, events, strict=True))
    named["nonzero_adds"] = named["lane_adds"]  # the bounds of zeros follow those of pe_operation
    layer = LayerCounts(name="a", kind="conv2d", **named)
    return Counts(layers=(layer,), processor=spec.ProcessorSpec())


@pytest.mark.parametrize("dram", ["flat-4pj", "lpddr3"])
def test_swings_are_the_shares_of_the_interval(dram) -> None:
    cost = energy.cost(counts(), weight_bits=5, technology=TECHNOLOGY, dram=dram)
    found = {s.key: s for s in sensitivity.of_counts(counts(), weight_bits=5, technology=TECHNOLOGY, dram=dram)}
    adds, logic = counts().layers[0].lane_adds.mean() * 1e-6, TECHNOLOGY.logic
    assert found["logic.lane_fetch"].width_uj == pytest.approx(adds * (logic.lane_fetch.high - logic.lane_fetch.low))
    operation, wires = logic.pe_operation, logic.wires
    assert found["logic.pe_operation"].width_uj == pytest.approx(adds * wires.value * (operation.high - operation.low))
    gates = (cost.components["pe"].value - adds * logic.lane_fetch.value + cost.components["fire"].value) / wires.value
    assert found["logic.wires"].width_uj == pytest.approx(gates * (wires.high - wires.low))
    names = ("weight_read", "weight_write", "activation_read", "activation_write")
    moved = sum(cost.components[name].high - cost.components[name].low for name in names)
    membrane = cost.components["membrane"]
    moved += membrane.high - membrane.low
    assert found["sram.energy"].width_uj == pytest.approx(moved)
    assert ("dram.lpddr3.read" in found) == (dram == "lpddr3")
    assert not any(key.startswith(("baseline.", "link.")) or ".page" in key for key in found)
    widths = [swing.width_uj for swing in found.values()]
    assert widths == sorted(widths, reverse=True)
    # products of two uncertain figures (logic leakage, lanes with wires) make the interval a little wider than the sum of swings
    assert sum(widths) == pytest.approx(cost.energy.high - cost.energy.low, rel=0.1)
    assert sum(widths) < cost.energy.high - cost.energy.low


def test_every_constant_can_be_moved_to_both_ends() -> None:
    for key, constant in TECHNOLOGY.constants().items():
        for bound in ("low", "high"):
            moved = sensitivity.at(TECHNOLOGY, key, bound).constants()
            assert moved.pop(key).value == getattr(constant, bound)
            rest = TECHNOLOGY.constants()
            del rest[key]
            assert moved == rest


def test_wrong_asks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"key must be a constant of the technology, not 'logic\.magic'"):
        sensitivity.at(TECHNOLOGY, "logic.magic", "low")
    with pytest.raises(ValueError, match="bound must be low or high, not 'middle'"):
        sensitivity.at(TECHNOLOGY, "logic.pe_area", "middle")


def test_leakage_at_its_low_end_is_lstp() -> None:
    moved = sensitivity.at(TECHNOLOGY, "sram.leakage", "low").sram.buffer(capacity_kib=64, width_bits=64)
    least = TECHNOLOGY.cells["lstp"].buffer(capacity_kib=64, width_bits=64).leakage_mw
    assert moved.leakage_mw.value == moved.leakage_mw.low == least.low == pytest.approx(0.001)
    assert moved.read_pj == TECHNOLOGY.sram.buffer(capacity_kib=64, width_bits=64).read_pj
