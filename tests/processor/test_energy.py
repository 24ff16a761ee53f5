"""Energy = events x energy per event: every event alone at a price made by hand, sums, bounds, bytes, a whole run."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from firstspike import spec
from firstspike.arith import Code, LogWeights, encode, product_table
from firstspike.engine.events import trace as trace_events
from firstspike.engine.reference import ReferenceEngine
from firstspike.processor import COMPONENTS, GROUPS, Processor, energy, rates, technology
from firstspike.processor.cycles import EVENTS, Counts, LayerCounts
from firstspike.spec.interval import Interval

TECHNOLOGY = technology.default()
LOGIC = TECHNOLOGY.logic
WIRES = LOGIC.wires.value


def layer_counts(name: str = "conv", kind: str = "conv2d", images: int = 2, **events: list[int]) -> LayerCounts:
    zero = np.zeros(images, dtype=np.int64)
    return LayerCounts(
        name=name, kind=kind, **{event: np.array(events.get(event, zero), dtype=np.int64) for event in EVENTS}
    )


def price(*layers: LayerCounts, dram: str = "flat-4pj", processor: spec.ProcessorSpec | None = None) -> energy.Cost:
    counts = Counts(layers=layers, processor=processor or spec.ProcessorSpec())
    return energy.cost(counts, weight_bits=5, technology=TECHNOLOGY, dram=dram)


def memories() -> rates.Memories:
    return rates.memories(spec.ProcessorSpec(), 5, TECHNOLOGY)


def hardware() -> rates.Rates:
    return rates.rates(spec.ProcessorSpec(), 5, TECHNOLOGY, "flat-4pj")


# one event, its component, and what two images with 600 and 1000 of it cost on average, in pJ (value of the interval)
PRICES = [
    ("lane_adds", "pe", 800 * (WIRES * LOGIC.zero_operation.value + LOGIC.lane_fetch.value)),
    ("weight_read_bits", "weight_read", 800 / 640 * memories().weight.read_pj.value),
    ("weight_write_bits", "weight_write", 800 / 640 * memories().weight.write_pj.value),
    ("activation_read_bits", "activation_read", 800 / 64 * 6.296),
    ("membrane_read_bits", "membrane", 800 / 4096 * 32 * 1.288),
    ("membrane_write_bits", "membrane", 800 / 4096 * 32 * 2.521),
    ("threshold_steps", "fire", 800 * 128 * WIRES * LOGIC.fire_comparison.value),
    ("rows", "encoder", 800 * LOGIC.encoder_byte.value),
    ("dram_read_bits", "dram_read", 800 * 4.0),
    ("dram_write_bits", "dram_write", 800 * 4.0),
]


@pytest.mark.parametrize(("event", "component", "picojoule"), PRICES, ids=[event for event, _, _ in PRICES])
def test_one_event_costs_its_constant_and_nothing_else(event, component, picojoule) -> None:
    cost = price(layer_counts(**{event: [600, 1000]}))
    parts = cost.components
    assert parts.pop(component).value == pytest.approx(picojoule * 1e-6, rel=1e-12)
    assert all(part.value == 0 for part in parts.values())


def test_products_that_are_not_zero_move_the_membrane() -> None:
    cost = price(layer_counts(lane_adds=[600, 1000], nonzero_adds=[100, 300]))
    moved, still = WIRES * LOGIC.pe_operation.value, WIRES * LOGIC.zero_operation.value
    assert cost.components["pe"].value == pytest.approx(
        (200 * moved + 600 * still + 800 * LOGIC.lane_fetch.value) * 1e-6, rel=1e-12
    )


def test_unpacking_is_priced_with_packed_rows_only() -> None:
    packed = spec.ProcessorSpec(packed_rows=True)
    counts = layer_counts(unpacked_bits=[640, 640])
    assert price(counts).components["weight_write"].value == 0
    assert price(counts, processor=packed).components["weight_write"].value == pytest.approx(
        640 * LOGIC.unpack_bit.value * 1e-6
    )
    bare = replace(TECHNOLOGY, logic=replace(LOGIC, unpack_bit=None))
    with pytest.raises(ValueError, match=r"technology must have logic\.unpack_bit and logic\.unpacker_area"):
        rates.rates(packed, 5, bare, "flat-4pj")
    plain, larger = (rates.rates(p, 5, TECHNOLOGY, "flat-4pj").area_mm2.value for p in (spec.ProcessorSpec(), packed))
    assert larger - plain == pytest.approx(128 * LOGIC.unpacker_area.value * 1e-6)


def test_zeros_cost_what_others_do_where_the_file_does_not_tell() -> None:
    bare = replace(TECHNOLOGY, logic=replace(LOGIC, zero_operation=None))
    counts = Counts(layers=(layer_counts(lane_adds=[8, 8]),), processor=spec.ProcessorSpec())
    found = energy.cost(counts, weight_bits=5, technology=bare).components["pe"].value
    assert found == pytest.approx(8 * (WIRES * LOGIC.pe_operation.value + LOGIC.lane_fetch.value) * 1e-6)


def test_wires_are_in_the_lanes_and_nowhere_else() -> None:
    """With the file's factor, and as much less without it, bound by bound."""
    bare = replace(TECHNOLOGY, logic=replace(LOGIC, wires=None))
    counts = Counts(layers=(busy("a", 4),), processor=spec.ProcessorSpec())
    with_wires, without = (energy.cost(counts, weight_bits=5, technology=t).components for t in (TECHNOLOGY, bare))
    wires, fetched = LOGIC.wires, LOGIC.lane_fetch.times(counts.layers[0].lane_adds.mean() * 1e-6)
    for bound in ("low", "value", "high"):
        factor = getattr(wires, bound)
        assert factor > 1
        fire, bare_fire = (getattr(cost["fire"], bound) for cost in (with_wires, without))
        assert fire == pytest.approx(factor * bare_fire)
        lanes, bare_lanes = (getattr(cost["pe"], bound) - getattr(fetched, bound) for cost in (with_wires, without))
        assert lanes == pytest.approx(factor * bare_lanes)
    for key in set(with_wires) - {"pe", "fire"}:
        assert with_wires[key] == without[key]


def test_a_cell_family_brings_energy_leakage_and_time_that_belong_together() -> None:
    """Low-leakage cells come in banks of 32 KiB; the slowest path is a memory's access and the logic behind that memory."""
    processor = spec.ProcessorSpec()
    assert rates.memory_ns(processor, 5, TECHNOLOGY) == pytest.approx(2.513 + LOGIC.behind_memory.value)
    unknown = replace(TECHNOLOGY.sram, macros=tuple(replace(m, access_ns=None) for m in TECHNOLOGY.sram.macros))
    assert rates.memory_ns(processor, 5, replace(TECHNOLOGY, sram=unknown)) is None
    low, high = (TECHNOLOGY.of_cells(name) for name in ("lstp", "hp"))
    slow = rates.memory_ns(processor, 5, low)
    assert slow == pytest.approx(2.070 + LOGIC.behind_memory.value)
    assert 4 > slow > rates.memory_ns(processor, 5, high)
    patient = replace(LOGIC.behind_weights, value=2.0, high=2.0)
    weights = rates.memories(processor, 5, low).weight.access_ns
    slower = replace(low, logic=replace(LOGIC, behind_weights=patient))
    assert rates.memory_ns(processor, 5, slower) == pytest.approx(weights + 2.0)
    assert rates.memory_ns(processor, 5, replace(low, logic=replace(LOGIC, behind_weights=None))) == slow
    activation = rates.memories(processor, 5, low).activation
    assert activation.read_pj.value == pytest.approx(3.535)  # one bank of four
    assert activation.leakage_mw.value == pytest.approx(4 * 0.001)
    assert activation.area_mm2.value == pytest.approx(4 * 0.04649)
    counts = Counts(layers=(layer_counts(cycles=[1000, 1000]),), processor=processor)
    costs = [energy.cost(counts, weight_bits=5, technology=t).components["leakage"].value for t in (low, high)]
    assert costs[0] < 0.05 * costs[1]
    with pytest.raises(ValueError, match="cells must be one of lstp, lstp-hp, lop, hp, not 'none'"):
        TECHNOLOGY.of_cells("none")


def test_a_narrower_format_costs_less_bit_by_bit() -> None:
    """Products of 16 bits and membranes of 24: each bit fewer is a share of the measured element, in every bound."""
    layers = (layer_counts(lane_adds=[8, 8], nonzero_adds=[6, 6]),)
    slim = spec.ProcessorSpec(accumulator_bits=24)
    whole, narrow = (
        energy.cost(Counts(layers=layers, processor=processor, product_bits=bits), weight_bits=5, technology=TECHNOLOGY)
        for processor, bits in ((spec.ProcessorSpec(), 23), (slim, 16))
    )
    gone = [7 * LOGIC.product_bit.value + 8 * LOGIC.membrane_bit.value]
    gone += [7 * getattr(LOGIC.product_bit, end) + 8 * getattr(LOGIC.membrane_bit, end) for end in ("high", "low")]
    parts = [cost.components["pe"] for cost in (whole, narrow)]
    fetched = LOGIC.lane_fetch.times(8e-6)
    for end, share in zip(("value", "low", "high"), gone, strict=True):
        wide, thin = (getattr(part, end) - getattr(fetched, end) for part in parts)
        assert thin == pytest.approx(wide * (1 - share)), end
        assert 0.6 < thin / wide < 0.8
    area = whole.area.value - narrow.area.value
    lanes = 128 * LOGIC.pe_area.value * (7 * LOGIC.product_area.value + 8 * LOGIC.membrane_area.value) * 1e-6
    row = [TECHNOLOGY.sram.buffer(capacity_kib=128 * bits * 64 / 8192, width_bits=128 * bits) for bits in (32, 24)]
    assert area == pytest.approx(lanes + row[0].area_mm2.value - row[1].area_mm2.value)
    plain = replace(TECHNOLOGY, logic=replace(LOGIC, product_bit=None, membrane_bit=None))
    unknown = energy.cost(
        Counts(layers=layers, processor=slim, product_bits=16), weight_bits=5, technology=plain
    ).components
    assert unknown["pe"] == whole.components["pe"]


@pytest.mark.parametrize("code", [Code(), Code(T=16, mantissa_bits=3), Code(T=9, tau=2, mantissa_bits=4)])
@pytest.mark.parametrize("weights", [LogWeights(), LogWeights(bits=4, mantissa_bits=2)])
def test_bits_of_a_product_are_those_that_hold_the_largest(code: Code, weights: LogWeights) -> None:
    layer = spec.Linear(
        name="a", source="input", codes=np.zeros((1, 1), np.uint8), bias=np.zeros(1, np.int64), scale=0, fires=False
    )
    network = spec.Network(code=code, weights=weights, input_shape=(1,), layers=(layer,))
    assert network.product_bits == int(product_table(code, weights, 0).max()).bit_length()


def test_written_bytes_are_encoded_and_pooled_bytes_compared() -> None:
    written = price(layer_counts(activation_write_bits=[640, 640])).components
    assert written["activation_write"].value == pytest.approx(10 * 16.616e-6)
    assert written["encoder"].value == pytest.approx(80 * LOGIC.encoder_byte.value * 1e-6)
    pooled = price(layer_counts(kind="maxpool2d", activation_read_bits=[640, 640])).components
    assert pooled["encoder"].value == pytest.approx(80 * LOGIC.encoder_byte.value * 1e-6)


def test_time_costs_control_clock_and_leakage() -> None:
    cost = price(layer_counts(cycles=[1000, 3000]))
    parts = cost.components
    assert cost.cycles_per_image == 2000
    assert cost.latency_us == 8
    assert cost.frames_per_second == 125_000
    assert parts["control"].value == pytest.approx(2000 * LOGIC.control_cycle.value * 1e-6)
    assert parts["clock"].value == pytest.approx(2000 * (LOGIC.clock_cycle.value + 128 * LOGIC.lane_cycle.value) * 1e-6)
    assert parts["leakage"].value == pytest.approx(hardware().leakage_mw.value * 8e-3)  # mW us = nJ
    assert parts["dram_standby"].value == 0
    assert cost.power_mw == pytest.approx(cost.energy_uj / 8e-6 * 1e-3)
    with_standby = price(layer_counts(cycles=[1000, 3000]), dram="lpddr3").components
    assert with_standby["dram_standby"].value == pytest.approx(58 * 8e-3)


def test_leakage_and_area_are_the_sum_of_the_parts() -> None:
    """Two 45 KiB weight banks of five macros of 9 KiB, one 128 KiB activation macro, 32 membrane macros, 128 lanes, control."""
    parts = hardware()
    logic = (128 * LOGIC.pe_area.value + LOGIC.control_area.value) * 1e-6
    between = (9 / 8) ** (np.log(0.429 / 0.219) / np.log(2))
    leakage = 10 * 0.219 * between + 3.381 + 32 * 0.066 + logic * LOGIC.leakage.value
    assert parts.leakage_mw.value == pytest.approx(leakage, rel=1e-9)
    area = 10 * 0.01205 * (9 / 8) ** (np.log(0.02344 / 0.01205) / np.log(2)) + 0.1939 + 32 * 0.00322 + logic
    assert parts.area_mm2.value == pytest.approx(area, rel=1e-9)


def test_switched_memories_leak_while_they_are_on() -> None:
    """Four banks of 32 KiB, membrane memory, two weight banks: all on, a share of it off; what waking takes."""
    processor = spec.ProcessorSpec(banks=4, membrane_rows=256)
    parts = rates.memories(processor, 5, TECHNOLOGY)
    assert parts.activation.leakage_mw.value == pytest.approx(4 * 0.858)
    assert parts.activation.read_pj.value == pytest.approx(3.026)
    assert TECHNOLOGY.switches is not None
    switches = 1 + TECHNOLOGY.switches.area.value / 100
    assert parts.activation.area_mm2.value == pytest.approx(4 * 0.04651 * switches)
    assert parts.membrane.area_mm2.value == pytest.approx(32 * 0.00553 * switches)
    off = {"activation_off_cycles": [3000, 1000], "membrane_off_cycles": [600, 200], "weight_off_cycles": [0, 100]}
    cost = price(layer_counts(cycles=[1000, 1000], woken_bits=[8192, 24576], **off), processor=processor)
    left, logic = TECHNOLOGY.switches.leakage.value / 100, rates.logic_mm2(TECHNOLOGY, 128).value * LOGIC.leakage.value
    mean = {"activation": (2000, 2000, 0.858), "membrane": (600, 400, 32 * 0.113)}
    mean["weight"] = (1950, 50, parts.weight.leakage_mw.value)
    expected = sum((on + left * rest) * mw for on, rest, mw in mean.values()) + 1000 * logic
    assert cost.components["leakage"].value == pytest.approx((expected * 4 + 2 * TECHNOLOGY.switches.wake.value) * 1e-6)
    always = price(layer_counts(cycles=[1000, 1000]), processor=replace(processor, banks=1)).components["leakage"]
    assert cost.components["leakage"].value < always.value
    bare = replace(TECHNOLOGY, switches=None)
    with pytest.raises(ValueError, match=r"must have \[switches\] for a processor with banks, and '28nm' has none"):
        rates.rates(processor, 5, bare, "flat-4pj")
    assert rates.rates(spec.ProcessorSpec(), 5, bare, "flat-4pj") == hardware()


def test_every_started_page_is_activated_per_image_and_direction() -> None:
    cost = price(layer_counts(dram_read_bits=[32768, 32769], dram_write_bits=[0, 1]), dram="lpddr3")
    assert cost.components["dram_activate"].value == pytest.approx((1 + 2 + 0 + 1) / 2 * 4.05e-3)
    assert cost.components["dram_read"].value == pytest.approx(32768.5 * 5.1e-6)
    assert cost.components["dram_write"].value == pytest.approx(0.5 * 5.9e-6)
    assert cost.dram_bits == 32769


def busy(name: str, seed: int) -> LayerCounts:
    events = np.random.default_rng(seed).integers(1, 1 << 30, (len(EVENTS), 3))
    found = dict(zip(EVENTS, events, strict=True))
    return layer_counts(name, images=3, **found | {"nonzero_adds": found["lane_adds"] // 3})


def test_layers_components_and_groups_add_up_to_the_total() -> None:
    cost = price(busy("a", 1), busy("b", 2), dram="lpddr3")
    assert sum(layer.energy_uj for layer in cost.layers) == pytest.approx(cost.energy_uj, rel=1e-12)
    for bound in ("low", "value", "high"):
        total = getattr(cost.energy, bound)
        assert sum(getattr(part, bound) for part in cost.components.values()) == pytest.approx(total, rel=1e-12)
        assert sum(getattr(part, bound) for part in cost.groups.values()) == pytest.approx(total, rel=1e-12)
    assert cost.energy.low < cost.energy.value < cost.energy.high
    assert sorted(key for keys in GROUPS.values() for key in keys) == sorted(COMPONENTS)
    assert list(cost.components) == list(COMPONENTS)


def test_mean_over_images_equals_images_one_by_one() -> None:
    counts = busy("a", 3)
    alone = [
        price(replace(counts, **{event: getattr(counts, event)[i : i + 1] for event in EVENTS})).energy_uj
        for i in range(3)
    ]
    assert price(counts).energy_uj == pytest.approx(sum(alone) / 3, rel=1e-12)


def test_dearer_constants_cost_more_and_only_there() -> None:
    doubled = {
        key: replace(constant, low=2 * constant.low, value=2 * constant.value, high=2 * constant.high)
        for key, constant in (
            ("pe_operation", LOGIC.pe_operation),
            ("zero_operation", LOGIC.zero_operation),
            ("lane_fetch", LOGIC.lane_fetch),
        )
    }
    dear = replace(TECHNOLOGY, logic=replace(LOGIC, **doubled))
    counts = Counts(layers=(busy("a", 4),), processor=spec.ProcessorSpec())
    plain, cost = (energy.cost(counts, weight_bits=5, technology=t).components for t in (TECHNOLOGY, dear))
    assert cost.pop("pe") == plain.pop("pe").times(2)
    assert cost == plain


def test_record_is_flat_carries_units_and_repeats_to_the_byte() -> None:
    texts = [json.dumps(price(busy("a", 5), busy("b", 6)).record()) for _ in range(2)]
    assert texts[0] == texts[1]
    record = json.loads(texts[0])
    assert all(isinstance(value, str | int | float) for value in record.values())
    parts = [value for key, value in record.items() if key.removesuffix("_uj_per_image") in COMPONENTS]
    assert len(parts) == len(COMPONENTS)
    assert sum(parts) == pytest.approx(record["energy_uj_per_image"], rel=1e-12)
    assert record["energy_uj_per_image_low"] < record["energy_uj_per_image"] < record["energy_uj_per_image_high"]
    assert record["pj_per_sop"] == pytest.approx(1e6 * record["energy_uj_per_image"] / record["sops_per_image"])
    rows = price(busy("a", 5), busy("b", 6)).layer_records()
    assert [row["name"] for row in rows] == ["a", "b"]
    assert sum(row["energy_uj"] for row in rows) == pytest.approx(record["energy_uj_per_image"], rel=1e-12)


def test_wrong_asks_are_refused() -> None:
    counts = Counts(layers=(busy("a", 7),), processor=spec.ProcessorSpec())
    with pytest.raises(ValueError, match=r"dram must be one of flat-4pj, lpddr3, not 'hbm'"):
        energy.cost(counts, weight_bits=5, technology=TECHNOLOGY, dram="hbm")
    with pytest.raises(ValueError, match=r"weight_bits must be in 1\.\.64, not 0"):
        energy.cost(counts, weight_bits=0, technology=TECHNOLOGY)
    nothing = Counts(layers=(layer_counts(images=0),), processor=spec.ProcessorSpec())
    with pytest.raises(ValueError, match="a cost needs at least one image, not 0"):
        energy.cost(nothing, weight_bits=5, technology=TECHNOLOGY)
    with pytest.raises(ValueError, match=r"event must be one of cycles, .*, not 'spins'"):
        price(busy("a", 8)).event("spins")


class Facade:
    """As much of a spiking network as the processor asks for."""

    def __init__(self, network: spec.Network) -> None:
        self.network = network
        self.traces = 0

    def trace(self, x: np.ndarray) -> spec.Trace:
        self.traces += 1
        return trace_events(ReferenceEngine(self.network), encode(x, self.network.code))


def small_network() -> spec.Network:
    rng = np.random.default_rng(11)
    return spec.Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(3, 8, 8),
        layers=(
            spec.Conv2d(
                name="conv",
                source="input",
                codes=rng.integers(0, 32, (20, 3, 3, 3), dtype=np.uint8),
                scale=2,
                bias=np.zeros(20, dtype=np.int64),
                padding=(1, 1),
            ),
            spec.MaxPool2d(name="pool", source="conv", kernel=(2, 2), stride=(2, 2)),
            spec.Flatten(name="flat", source="pool"),
            spec.Linear(
                name="read-out",
                source="flat",
                codes=rng.integers(0, 32, (10, 320), dtype=np.uint8),
                scale=2,
                bias=np.zeros(10, dtype=np.int64),
                fires=False,
            ),
        ),
    )


def test_a_whole_run_from_images_to_cost() -> None:
    snn = Facade(small_network())
    x = np.random.default_rng(12).random((4, 3, 8, 8)).astype(np.float32)
    cost = Processor().run(snn, x)
    trace = snn.trace(x)
    assert cost.sops_per_image == trace.sops_per_image
    assert cost.images == 4
    assert [layer.name for layer in cost.layers] == ["input", "conv", "pool", "read-out"]
    # an independent sum for the processing elements: here no layer is grouped, so additions are operations
    every = Fraction(int(sum(layer.sops.sum() for layer in trace.layers.values())), 4)
    moved = Fraction(int(sum(layer.sops_nonzero.sum() for layer in trace.layers.values())), 4)
    assert 0 < moved < every
    assert cost.components["pe"].value == pytest.approx(
        float(every) * LOGIC.lane_fetch.value * 1e-6
        + float(moved) * WIRES * LOGIC.pe_operation.value * 1e-6
        + float(every - moved) * WIRES * LOGIC.zero_operation.value * 1e-6,
        rel=1e-12,
    )
    assert cost.record() == Processor().price(snn.network, trace).record()
    silent = Processor().run(snn, np.zeros_like(x))
    assert silent.energy_uj < cost.energy_uj
    assert silent.layers[1].components["pe"] == Interval(low=0, value=0, high=0)
    assert Processor().run(snn, x, dram="lpddr3").energy_uj > cost.energy_uj
    assert Processor(clock_mhz=500).run(snn, x).latency_us == cost.latency_us / 2


def test_the_scenario_is_checked_before_the_work() -> None:
    snn = Facade(small_network())
    with pytest.raises(ValueError, match="dram must be one of"):
        Processor().run(snn, np.zeros((1, 3, 8, 8), dtype=np.float32), dram="none")
    assert snn.traces <= 1


def test_no_image_has_no_price() -> None:
    with pytest.raises(ValueError, match="images must be at least one to be priced, not 0"):
        Processor().run(Facade(small_network()), np.zeros((0, 3, 8, 8), dtype=np.float32))
