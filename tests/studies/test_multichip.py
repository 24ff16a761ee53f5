"""Rows of chips: against single-chip costs, hand-worked partitions and traffic, and a search through all partitions."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firstspike as fs
from firstspike.processor import energy, technology
from firstspike.spec import INPUT, Conv2d, Linear, Network, ProcessorSpec
from firstspike.spec import load as load_network
from studies.rivals import multichip, shapes
from studies.rivals.multichip import Item, Place, partition
from studies.rivals.shapes import Activity

MODEL = Path(__file__).parents[2] / "zoo" / "vgg16-cifar10.safetensors"
CHIP = ProcessorSpec()
CONSTANTS = technology.default()


# ---- one chip -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Network:
    return shapes.vgg16(size=32, classes=10, hidden=512)


@pytest.fixture(scope="module")
def work(small: Network) -> multichip.Workload:
    return multichip.workload(small, shapes.spikes(small), CHIP)


@pytest.mark.parametrize("dram", ["flat-4pj", "lpddr3"])
def test_one_chip_is_the_processor(work: multichip.Workload, dram: str) -> None:
    """The same events at the same rates: what `firstspike cost` would say of these spikes."""
    cost = energy.cost(work.counts, weight_bits=5, technology=CONSTANTS, dram=dram)
    one = multichip.system(work, 1, technology=CONSTANTS, dram=dram)
    assert one.chips == 1
    assert one.period_cycles == one.latency_cycles == cost.cycles_per_image
    assert one.frames_per_second == pytest.approx(cost.frames_per_second, rel=1e-12)
    for key, part in cost.components.items():
        for bound in ("low", "value", "high"):
            assert getattr(one.parts[key], bound) == pytest.approx(getattr(part, bound), rel=1e-9), (key, bound)
    assert one.parts["link"].high == one.parts["weight_store"].high == 0
    assert one.area == cost.area


def test_spikes_of_a_density_cost_what_the_trained_network_costs(small: Network) -> None:
    """The trained VGG-16, and this model from shapes and the activity of its maps alone: within 2 %.

    Shapes know no weights of zero, so the trained network has none here either.
    """
    snn = fs.load(MODEL)
    assert snn.network.shapes == small.shapes
    coarse = np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32)
    trace = snn.trace(coarse.repeat(4, axis=2).repeat(4, axis=3))
    cost = fs.Processor().price(_filled(snn.network), trace)
    times = trace.times
    drawn = shapes.spikes(small, shapes.measure(snn.network, times))
    one = multichip.system(multichip.workload(small, drawn, CHIP), 1, technology=CONSTANTS)
    assert one.period_cycles == pytest.approx(cost.cycles_per_image, rel=0.02)
    assert one.energy.value == pytest.approx(cost.energy_uj, rel=0.02)
    assert one.parts["pe"].value == pytest.approx(cost.components["pe"].value, rel=0.02)


def _filled(network: Network) -> Network:
    """Its weights of zero as the smallest that are not."""
    zero = network.weights.zero_level
    layers = [
        replace(layer, codes=np.where(layer.codes % (zero + 1) == zero, layer.codes - 1, layer.codes))
        if isinstance(layer, Conv2d | Linear)
        else layer
        for layer in network.layers
    ]
    return replace(network, layers=tuple(layers))


# ---- partition ----------------------------------------------------------------------------------------------------


def item(cycles: float, *, tiles: int = 1, rows: int = 1, bits: int = 0, halo: float = 0.0, name: str = "") -> Item:
    return Item(
        names=(name,), cycles=cycles, tiles=tiles, rows=rows, weight_bits=bits, fetched_bits=3 * bits, halo=halo
    )


def test_parts_by_hand() -> None:
    one = item(1200, tiles=4, rows=10, bits=64 * 150)
    found = {
        (split, chips): multichip.part_cycles(one, chips, split, CHIP)
        for split in ("tiles", "rows")
        for chips in (2, 3, 4, 5, 10, 11)
    }
    assert [found["tiles", n] for n in (2, 3, 4, 5)] == [600, 600, 300, math.inf]
    # 150 words of weights take 150 cycles however few rows there are
    assert [found["rows", n] for n in (2, 3, 4, 5, 10, 11)] == [600, 480, 360, 240, 150, math.inf]
    assert [multichip.part_bits(one, n, "tiles") for n in (2, 3, 4)] == [4800, 4800, 2400]
    assert multichip.part_bits(one, 5, "rows") == 9600


def test_partitions_by_hand() -> None:
    whole = [item(cycles) for cycles in (4, 3, 2, 6, 1)]
    assert places(partition(whole, 1, CHIP)) == [(0, 1)] * 5
    assert places(partition(whole, 2, CHIP)) == [(0, 1), (0, 1), (0, 1), (1, 1), (1, 1)]  # 9 and 7
    assert places(partition(whole, 3, CHIP)) == [(0, 1), (0, 1), (1, 1), (2, 1), (2, 1)]  # 7, 2 and 7
    split = [item(8, rows=8), item(1), item(1)]
    assert places(partition(split, 5, CHIP)) == [(0, 4), (4, 1), (4, 1)]


def places(found: tuple[Place, ...] | None) -> list[tuple[int, int]]:
    assert found is not None
    return [(place.first, place.chips) for place in found]


def assignments(items: list[Item], chips: int, capacity: float) -> Iterator[float]:
    """Time of the busiest chip of every way to deal out items: all of them, one by one."""
    if not items:
        yield 0.0
        return
    if not chips:
        return
    for stop in range(1, len(items) + 1):
        if sum(one.weight_bits for one in items[:stop]) <= capacity:
            here = sum(one.cycles for one in items[:stop])
            yield from (max(here, rest) for rest in assignments(items[stop:], chips - 1, capacity))
    for count in range(2, chips + 1):
        for split in ("tiles", "rows"):
            here = multichip.part_cycles(items[0], count, split, CHIP)
            if here < math.inf and multichip.part_bits(items[0], count, split) <= capacity:
                yield from (max(here, rest) for rest in assignments(items[1:], chips - count, capacity))


@settings(deadline=None, max_examples=150)
@given(
    drawn=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 3), st.integers(1, 4), st.integers(0, 900)), min_size=1, max_size=4
    ),
    chips=st.integers(1, 5),
    capacity=st.sampled_from([math.inf, 300, 900, 1500]),
)
def test_no_partition_is_faster(drawn: list[tuple[int, int, int, int]], chips: int, capacity: float) -> None:
    items = [item(cycles, tiles=tiles, rows=rows, bits=bits) for cycles, tiles, rows, bits in drawn]
    best = min(assignments(items, chips, capacity), default=None)
    found = partition(items, chips, CHIP, capacity)
    assert (found is None) == (best is None)
    if found is None or best is None:
        return
    loads = [0.0] * chips
    held = [0.0] * chips
    for one, place in zip(items, found, strict=True):
        for chip in range(place.first, place.first + place.chips):
            loads[chip] += multichip.part_cycles(one, place.chips, place.split, CHIP)
            held[chip] += multichip.part_bits(one, place.chips, place.split)
    assert max(loads) == pytest.approx(best)
    assert max(held) <= capacity


# ---- traffic ------------------------------------------------------------------------------------------------------


def silent(*shape: int) -> np.ndarray:
    return np.full(shape, 15, dtype=np.uint8)


@pytest.fixture(scope="module")
def residual() -> Network:
    """a -> b -> c, and a's spikes added to c; 8 channels of 4 x 4 pixels, a read-out."""
    bias = np.zeros(8, dtype=np.int64)
    layers = (
        Conv2d(name="a", source=INPUT, codes=silent(8, 8, 3, 3), scale=0, bias=bias, padding=(1, 1)),
        Conv2d(name="b", source="a", codes=silent(8, 8, 3, 3), scale=0, bias=bias, padding=(1, 1)),
        Conv2d(name="c", source="b", codes=silent(8, 8, 1, 1), scale=0, bias=bias, residuals=("a",)),
        Conv2d(name="out", source="c", codes=silent(8, 8, 4, 4), scale=0, bias=bias, fires=False),
    )
    return Network(code=fs.Code(), weights=fs.LogWeights(), input_shape=(8, 4, 4), layers=layers)


def test_traffic_by_hand(residual: Network) -> None:
    full = Activity(density=1.0, silent_words=0.0)
    quarter = Activity(density=0.125, silent_words=0.0)
    times = shapes.spikes(residual, {"a": full, "b": full, "c": quarter})
    times["c"][...] = 255
    times["c"][0, 3] = 7  # one spike a pixel
    work = multichip.workload(residual, times, CHIP)
    # 128 neurons: 1024 bits as bytes; a list has a count of 4 bits a pixel, and 5 + 3 bits a spike
    assert work.map_bits == {"a": 1024, "b": 1024, "c": 16 * 4 + 16 * 8}
    assert work.stored_bits == {"a": 1024, "b": 1024, "c": 1024}
    assert [one.names for one in work.items] == [(INPUT, "a"), ("b",), ("c",), ("out",)]
    assert [one.halo for one in work.items] == [0.5, 0.5, 0, 0.75]

    def traffic(*placed: tuple[int, int, str]) -> tuple[float, ...]:
        return multichip.link_bits(work, [Place(first=first, chips=chips, split=how) for first, chips, how in placed])

    assert traffic(*[(0, 1, "whole")] * 4) == ()
    # a | b | c, out: a's map passes both links, for b and then for c
    assert traffic((0, 1, "whole"), (1, 1, "whole"), (2, 1, "whole"), (2, 1, "whole")) == (1024, 2048)
    # a, b | c | out
    assert traffic((0, 1, "whole"), (0, 1, "whole"), (1, 1, "whole"), (2, 1, "whole")) == (2048, 192)
    # b on two chips by rows: the second needs half of a's rows and half again (halo), and c all of a: 1024; half of b passes
    assert traffic((0, 1, "whole"), (1, 2, "rows"), (3, 1, "whole"), (3, 1, "whole")) == (1024, 1024 + 512, 2048)
    # out on two chips: by tiles the second needs all of c, by rows half and three quarters more, at most all
    assert traffic((0, 1, "whole"), (0, 1, "whole"), (0, 1, "whole"), (1, 2, "tiles")) == (192, 192)
    assert traffic((0, 1, "whole"), (0, 1, "whole"), (0, 1, "whole"), (1, 2, "rows")) == (192, 192)
    # a map that only its neighbour by rows reads
    assert traffic((0, 4, "rows"), (4, 1, "whole"), (4, 1, "whole"), (4, 1, "whole")) == (256, 512, 768, 1024)

    def copied(*placed: tuple[int, int, str]) -> tuple[float, float]:
        return multichip.copied_bits(work, [Place(first=first, chips=chips, split=how) for first, chips, how in placed])

    assert copied(*[(0, 1, "whole")] * 4) == (0, 0)
    assert copied((0, 1, "whole"), (1, 1, "whole"), (2, 1, "whole"), (2, 1, "whole")) == (2048, 3072)
    assert copied((0, 1, "whole"), (0, 1, "whole"), (0, 1, "whole"), (1, 2, "tiles")) == (1024, 2048)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 70), st.integers(1, 9), st.integers(2, 40), st.floats(0, 1), st.integers(0, 99))
def test_map_bits_by_counting(channels: int, pixels: int, steps: int, density: float, seed: int) -> None:
    """Writes the list out, as text."""
    generator = np.random.default_rng(seed)
    times = np.where(generator.random((1, channels, pixels)) < density, generator.integers(0, steps), 255).astype(
        np.uint8
    )
    text = ""
    for pixel in range(pixels):
        fired = [(c, int(times[0, c, pixel])) for c in range(channels) if times[0, c, pixel] != 255]
        text += format(len(fired), f"0{len(format(channels, 'b'))}b")
        for c, t in fired:
            text += format(c, f"0{len(format(channels - 1, 'b'))}b") + format(t, f"0{len(format(steps - 1, 'b'))}b")
    assert multichip.map_bits(times, steps) == min(len(text), 8 * channels * pixels)


# ---- energy -------------------------------------------------------------------------------------------------------


def test_more_chips_do_the_same_work(work: multichip.Workload) -> None:
    one = multichip.system(work, 1, technology=CONSTANTS)
    speed = one.frames_per_second
    for chips in (2, 3, 8, 20):
        many = multichip.system(work, chips, technology=CONSTANTS)
        assert many.chips <= chips
        assert speed < many.frames_per_second <= chips * one.frames_per_second * (1 + 1e-9)
        speed = many.frames_per_second
        assert many.parts["pe"] == one.parts["pe"]
        assert many.parts["fire"] == one.parts["fire"]
        assert many.parts["weight_read"] == one.parts["weight_read"]
        assert many.parts["dram_read"].value >= one.parts["dram_read"].value
        bits = sum(many.link_bits)
        assert bits > 0
        link = many.parts["link"]
        assert (link.low, link.value, link.high) == pytest.approx((bits * 0.82e-6, bits * 1.2e-6, bits * 1.75e-6))
        # all chips leak all the time
        assert many.parts["leakage"].value * many.frames_per_second == pytest.approx(
            many.chips * one.parts["leakage"].value * one.frames_per_second
        )
        assert many.area.value == pytest.approx(many.chips * one.area.value)


def test_weights_that_stay(work: multichip.Workload) -> None:
    """VGG-16 at 32 x 32 has 9.3 MiB of weight rows: five stores of 2 MiB hold it."""
    with pytest.raises(
        ValueError, match=r"chips: weights of 9,\d+ KiB must fit 4 stores of 2048 KiB by layers or parts"
    ):
        multichip.system(work, 4, technology=CONSTANTS, store_kib=2048)
    streamed = multichip.system(work, 6, technology=CONSTANTS)
    kept = multichip.system(work, 6, technology=CONSTANTS, store_kib=2048)
    assert kept.resident
    assert (streamed.resident, kept.weight_dram_bits) == (False, 0)
    fetched = sum(one.fetched_bits for one in work.items)
    assert streamed.weight_dram_bits >= fetched
    # 4 pJ a bit in DRAM; in the store a 64-bit word of a 128 KiB macro: 6.296 pJ (technologies/28nm.toml)
    other = sum(float(layer.dram_read_bits[0]) for layer in work.counts.layers) - fetched
    assert kept.parts["dram_read"].value >= 4e-6 * other
    assert kept.parts["weight_store"].value == pytest.approx(fetched / 64 * 6.296e-6, rel=1e-6)
    assert kept.parts["weight_store"].high == pytest.approx(2 * kept.parts["weight_store"].value)
    # 16 macros of 128 KiB a chip leak 16 x 3.381 mW more
    more = kept.parts["leakage"].value - kept.chips * streamed.parts["leakage"].value / streamed.chips * (
        kept.period_cycles / streamed.period_cycles
    )
    assert more == pytest.approx(kept.chips * 16 * 3.381 * kept.period_cycles / 250 * 1e-3, rel=1e-6)


def test_records_and_refusals(work: multichip.Workload, small: Network) -> None:
    record = multichip.system(work, 2, technology=CONSTANTS).record()
    parts = [record[f"{group.replace(' ', '_')}_uj"] for group in multichip.GROUPS]
    assert sum(parts) == pytest.approx(record["energy_uj"])
    assert {key for group in multichip.GROUPS.values() for key in group} == set(multichip.COMPONENTS)
    with pytest.raises(ValueError, match="chips must be"):
        multichip.system(work, 0, technology=CONSTANTS)
    with pytest.raises(ValueError, match="dram must be one of flat-4pj, lpddr3, not 'sdram'"):
        multichip.system(work, 1, technology=CONSTANTS, dram="sdram")
    with pytest.raises(ValueError, match=r"Processor\.images must be 1 for a row of chips, not 4"):
        multichip.workload(small, {}, ProcessorSpec(images=4))


# ---- shapes -------------------------------------------------------------------------------------------------------


def multiplications(network: Network) -> int:
    return sum(math.prod(network.shapes[layer.name]) * math.prod(layer.weight_shape[1:]) for layer in network.synaptic)


def test_tables_have_the_published_sizes() -> None:
    """Weights (without biases and batch norm) and multiply-accumulates as torchvision's model pages give them."""
    vgg, resnet = shapes.vgg16(), shapes.resnet50()
    assert sum(layer.weight_count + layer.outputs for layer in vgg.synaptic) == 138_357_544
    assert multiplications(vgg) / 1e9 == pytest.approx(15.47, abs=0.01)
    normalised = sum(2 * layer.outputs for layer in resnet.synaptic if isinstance(layer, Conv2d))
    assert sum(layer.weight_count for layer in resnet.synaptic) + normalised + 1000 == 25_557_032
    assert multiplications(resnet) / 1e9 == pytest.approx(4.09, abs=0.01)
    assert (len(vgg.synaptic), len(resnet.synaptic)) == (16, 54)
    assert resnet.shapes["conv5_3_3"] == (2048, 7, 7)


def test_the_small_table_is_the_trained_network(small: Network) -> None:
    trained = load_network(MODEL)
    assert [(layer.name, layer.kind, layer.source) for layer in small.layers] == [
        (layer.name, layer.kind, layer.source) for layer in trained.layers
    ]
    assert [layer.weight_shape for layer in small.synaptic] == [layer.weight_shape for layer in trained.synaptic]


@pytest.mark.parametrize(
    ("density", "silent_words"), [(0.25, 0.1), (0.25, 0.5), (0.219, 0.185), (0.02, 0.98), (0.0, 1.0), (1.0, 0.0)]
)
def test_spikes_have_the_activity(density: float, silent_words: float) -> None:
    layer = Linear(name="out", source=INPUT, codes=silent(1, 1 << 16), scale=0, bias=np.zeros(1, np.int64), fires=False)
    network = Network(code=fs.Code(), weights=fs.LogWeights(), input_shape=(1 << 16,), layers=(layer,))
    wanted = Activity(density=density, silent_words=silent_words)
    times = shapes.spikes(network, {INPUT: wanted})
    found = shapes.measure(network, times)[INPUT]
    assert found.density == pytest.approx(density, abs=0.02)
    assert found.silent_words == pytest.approx(max(silent_words, (1 - density) ** 8), abs=0.02)


def test_activities_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Activity.density must be in 0..1, not 1.5"):
        Activity(density=1.5, silent_words=0)
    with pytest.raises(ValueError, match=r"Activity.silent_words must be at most 1 - density = 0.5, not 0.75"):
        Activity(density=0.5, silent_words=0.75)
