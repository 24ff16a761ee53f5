"""Baselines: SpinalFlow's counts against a machine that pops spike by spike; the others against arithmetic on ours."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import spec
from firstspike.arith import Code, LogWeights, encode
from firstspike.engine.events import trace as trace_events
from firstspike.engine.reference import ReferenceEngine
from firstspike.processor import COMPONENTS, Processor, baselines, cycles, energy, spinalflow, technology

TECHNOLOGY = technology.default()
LOGIC, BASELINE = TECHNOLOGY.logic, TECHNOLOGY.baseline


def conv(rng, name, source, shape, **options) -> spec.Conv2d:
    codes = rng.integers(0, 32, shape, dtype=np.uint8)
    return spec.Conv2d(
        name=name, source=source, codes=codes, scale=4, bias=np.zeros(shape[0], dtype=np.int64), **options
    )


def network(seed: int, *, channels: int = 6, kernel: int = 3, stride: int = 1, groups: int = 1, size: int = 5):
    """Two convolutions with a pooling between them and a read-out; the second convolution as asked."""
    rng = np.random.default_rng(seed)
    padding = min(1, kernel - 1)
    side = (size // 2 + 2 * padding - kernel) // stride + 1
    return spec.Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(2, size, size),
        layers=(
            conv(rng, "a", "input", (channels, 2, 3, 3), padding=(1, 1)),
            spec.MaxPool2d(name="p", source="a", kernel=(2, 2), stride=(2, 2)),
            conv(
                rng,
                "b",
                "p",
                (2 * groups, channels // groups, kernel, kernel),
                stride=(stride, stride),
                padding=(padding, padding),
                groups=groups,
            ),
            spec.Flatten(name="f", source="b"),
            spec.Linear(
                name="out",
                source="f",
                codes=rng.integers(0, 32, (3, 2 * groups * side * side), dtype=np.uint8),
                scale=4,
                bias=np.zeros(3, dtype=np.int64),
                fires=False,
            ),
        ),
    )


def run(net: spec.Network, seed: int, images: int = 2) -> spec.Trace:
    x = np.random.default_rng(seed).random((images, *net.input_shape)).astype(np.float32)
    return trace_events(ReferenceEngine(net), encode(x, net.code))


def times_of(trace: spec.Trace) -> dict[str, np.ndarray]:
    return trace.times


def pop_all(spines: list[list[tuple[int, int]]], buffers: int) -> tuple[int, list[tuple[int, int]]]:
    """Cycles and the merged spikes: batch after batch through the min-finder, then the merger; one spike a cycle."""
    batches = [spines[i : i + buffers] for i in range(0, len(spines), buffers)]
    clock, fifos = 0, []
    for batch in batches[:-1]:
        heads, fifo = [sorted(spine) for spine in batch], []
        while any(heads):
            smallest = min((head for head in heads if head), key=lambda head: head[0])
            fifo.append(smallest.pop(0))
            clock += 1
        fifos.append(fifo)
    live = [sorted(spine) for spine in batches[-1]] if batches else []
    merged = []
    while any(fifos) or any(live):
        smallest = min((head for head in fifos + live if head), key=lambda head: head[0])
        merged.append(smallest.pop(0))
        clock += 1
    return clock, merged


def machine(source, layer, design, fired, T):
    """One image of a synaptic layer, pixel by pixel and tile by tile, with plain loops."""
    kernel = layer.codes.shape[2:] if isinstance(layer, spec.Conv2d) else source.shape[1:]
    stride, padding, groups = (
        (layer.stride, layer.padding, layer.groups) if isinstance(layer, spec.Conv2d) else ((1, 1), (0, 0), 1)
    )
    channels, height, width = source.shape
    out_h = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
    out_w = (width + 2 * padding[1] - kernel[1]) // stride[1] + 1
    total = dict.fromkeys(("cycles", "walk_cycles", "rows", "lane_adds", "threshold_steps", "weight_write_bits"), 0)
    for first in range(0, layer.outputs, design.pes):
        outputs = range(first, min(first + design.pes, layer.outputs))
        seen = sorted(
            {c for o in outputs for c in range(channels) if c // (channels // groups) == o // (layer.outputs // groups)}
        )
        busy = 0
        for y in range(out_h):
            for x in range(out_w):
                spines = []
                for dy in range(kernel[0]):
                    for dx in range(kernel[1]):
                        row, column = y * stride[0] + dy - padding[0], x * stride[1] + dx - padding[1]
                        inside = 0 <= row < height and 0 <= column < width
                        spine = [(int(source[c, row, column]), c) for c in seen] if inside else []
                        spines.append([spike for spike in spine if spike[0] != 255])
                clock, merged = pop_all(spines, design.spines)
                assert [t for t, _ in merged] == sorted(t for t, _ in merged)
                assert len(merged) == sum(map(len, spines))
                total["walk_cycles"] += clock
                total["rows"] += len(merged)
                total["lane_adds"] += len(merged) * len(outputs)
                emitted = len(outputs) if fired is None else int((fired[list(outputs), y, x] != 255).sum())
                steps = 0 if fired is None else T
                total["threshold_steps"] += steps
                busy += 1 + clock + steps + emitted
        bits = len(seen) * kernel[0] * kernel[1] * design.pes * design.weight_bits
        total["weight_write_bits"] += bits
        load = bits + design.pes * 32 + (0 if fired is None else 32 * T)
        total["cycles"] += max(busy, -(-load // 64))
    return total


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 3, 6]),
    pes=st.sampled_from([2, 4, 8]),
    spines=st.sampled_from([2, 4, 16]),
)
def test_spinalflow_counts_equal_a_machine_that_pops_spikes(seed, kernel, stride, groups, pes, spines) -> None:
    net = network(seed, kernel=kernel, stride=stride, groups=groups)
    design = spinalflow.SpinalFlow(pes=pes, spines=spines)
    trace = run(net, seed + 1)
    times = times_of(trace)
    counted = {layer.name: layer for layer in spinalflow.count(net, times, design)}
    assert list(counted) == ["input", "a", "p", "b", "out"]
    for layer in net.synaptic:
        source = times["b" if layer.source == "f" else layer.source]
        for image in range(trace.images):
            fired = times[layer.name][image] if layer.fires else None
            expected = machine(source[image], layer, design, fired, net.code.T)
            assert {key: int(getattr(counted[layer.name], key)[image]) for key in expected} == expected, layer.name
        assert np.array_equal(counted[layer.name].sops, trace.layers[layer.name].sops)


def test_spinalflow_pooling_and_load() -> None:
    net = network(3)
    trace = run(net, 4)
    layers = {layer.name: layer for layer in spinalflow.count(net, times_of(trace), spinalflow.SpinalFlow())}
    seen = (trace.layers["a"].times[:, :, :4, :4] != 255).reshape(2, -1).sum(axis=1)  # windows of 2 leave out row 4
    assert np.array_equal(layers["p"].walk_cycles, seen)
    assert np.array_equal(layers["p"].cycles, seen + 4)
    assert np.array_equal(layers["p"].activation_read_bits, seen * (8 + 3))
    assert np.array_equal(layers["p"].activation_write_bits, trace.layers["p"].spikes * (8 + 3))
    assert np.array_equal(layers["input"].dram_read_bits, [448, 448])  # 50 bytes in words of 8
    assert np.array_equal(layers["input"].activation_write_bits, trace.layers["input"].spikes * 9)


def test_spinalflow_memories_are_the_published_585_kb() -> None:
    design = spinalflow.SpinalFlow()
    filters = design.filter_rows * design.pes * design.weight_bits / 8192
    assert filters == 576
    spine = 128 * 4 / 1024  # 128 entries; a time and a channel fit 4 bytes
    assert filters + design.spines * spine == pytest.approx(585, abs=1)


def test_spinalflow_refuses_what_it_cannot_hold() -> None:
    net = network(5)
    times = times_of(run(net, 6))
    with pytest.raises(ValueError, match=r"layer 'b': its 54 filter rows must fit the filter buffer of 50 rows"):
        spinalflow.count(net, times, spinalflow.SpinalFlow(filter_rows=50))
    with pytest.raises(ValueError, match=r"SpinalFlow\.pes must be .* not 0"):
        spinalflow.SpinalFlow(pes=0)
    rng = np.random.default_rng(0)
    layers = (
        conv(rng, "a", "input", (2, 2, 3, 3), padding=(1, 1)),
        replace(conv(rng, "r", "a", (2, 2, 3, 3), padding=(1, 1)), residuals=("input",), scale=2),
        replace(conv(rng, "o", "r", (2, 2, 5, 5)), fires=False),
    )
    residual = replace(net, layers=layers)
    with pytest.raises(ValueError, match=r"layer 'r': SpinalFlow has no residual inputs, not \('input',\)"):
        spinalflow.count(residual, times_of(run(residual, 1)), spinalflow.SpinalFlow())


@pytest.fixture(scope="module")
def priced() -> tuple[spec.Network, spec.Trace, dict[str, energy.Cost]]:
    net = network(7, channels=20, groups=1, size=8)
    trace = run(net, 8, images=3)
    return net, trace, baselines.compare(net, trace, processor=Processor(), technology=TECHNOLOGY)


def test_all_designs_do_the_same_work(priced) -> None:
    _, trace, costs = priced
    assert list(costs) == ["firstspike", "linear weights", "base-e tables", "SpinalFlow"]
    for name, cost in costs.items():
        assert cost.design == name
        assert cost.sops_per_image == trace.sops_per_image
        assert cost.energy.low <= cost.energy.value <= cost.energy.high


def test_our_own_bits_reproduce_our_own_counts(priced) -> None:
    net, trace, _ = priced
    counts, same = baselines._with_bits(net, times_of(trace), Processor(), 5)
    assert same == Processor()
    ours = cycles.count(net, times_of(trace), Processor())
    for mine, theirs in zip(counts.layers, ours.layers, strict=True):
        assert all(np.array_equal(getattr(mine, event), getattr(theirs, event)) for event in cycles.EVENTS)
    assert net.weights == LogWeights()


def test_linear_weights_cost_their_bits_and_their_multiplier(priced) -> None:
    _, _, costs = priced
    ours, linear = costs["firstspike"], costs["linear weights"]
    assert linear.event("weight_read_bits") == ours.event("weight_read_bits") * 8 / 5
    assert linear.event("rows") == ours.event("rows")
    fetched = ours.event("lane_adds") * LOGIC.lane_fetch.value * 1e-6
    assert linear.components["pe"].value - fetched == pytest.approx(
        (ours.components["pe"].value - fetched) * BASELINE.multiply_operation.value / LOGIC.pe_operation.value
    )
    rows = ours.event("weight_write_bits") / 640
    assert linear.event("dram_read_bits") - ours.event("dram_read_bits") == rows * 128 * 3


def test_tables_cost_a_read_a_spike_and_their_fetch(priced) -> None:
    net, _, costs = priced
    linear, tables = costs["linear weights"], costs["base-e tables"]
    extra = len(net.synaptic) * 24 * 16 * 2
    assert tables.event("dram_read_bits") - linear.event("dram_read_bits") == extra
    picked = tables.components["encoder"].value - linear.components["encoder"].value
    assert picked == pytest.approx(linear.event("rows") * 0.476e-6)  # the 2 KiB, 32-bit macro
    fetched = linear.event("lane_adds") * LOGIC.lane_fetch.value * 1e-6
    assert tables.components["pe"].value - fetched == pytest.approx(
        (linear.components["pe"].value - fetched) * BASELINE.table_operation.value / BASELINE.multiply_operation.value
    )


def test_baselines_know_every_component_and_scenario(priced) -> None:
    net, trace, costs = priced
    for cost in costs.values():
        assert list(cost.components) == list(COMPONENTS)
    dear = baselines.compare(net, trace, processor=Processor(), technology=TECHNOLOGY, dram="lpddr3")
    assert all(dear[name].energy_uj > costs[name].energy_uj for name in costs)
    with pytest.raises(ValueError, match="dram must be one of"):
        baselines.compare(net, trace, processor=Processor(), technology=TECHNOLOGY, dram="none")
    with pytest.raises(ValueError, match=r"bits must be in 2\.\.8, not 9"):
        baselines.linear_weights(net, times_of(trace), Processor(), TECHNOLOGY, "flat-4pj", bits=9)
