"""Counts of the cycle model against a walk through every window, one word after the other, in plain Python."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from firstspike.arith import Code, LogWeights
from firstspike.compiler import mapping
from firstspike.compiler.storage import allocate
from firstspike.engine import create
from firstspike.processor import cycles, planner
from firstspike.spec import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network, ProcessorSpec
from firstspike.spec.program import Convolve, Load, Store, descriptor

SMALL = ProcessorSpec(pes=16, activation_buffer_kib=8, weight_buffer_kib=2, membrane_rows=8)


def _network(seed: int = 0, fires: int = 3, channels: int = 20) -> Network:
    rng = np.random.default_rng(seed)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(0, 32, shape).astype(np.uint8)

    def bias(outputs: int) -> np.ndarray:
        return rng.integers(-(1 << 20), 1 << fires * 7, outputs)

    return Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(3, 6, 5),
        layers=(
            Conv2d(
                name="a", source=INPUT, codes=codes(channels, 3, 3, 3), scale=0, bias=bias(channels), padding=(1, 1)
            ),
            Conv2d(
                name="b",
                source="a",
                codes=codes(channels, channels // 4, 3, 3),
                scale=0,
                bias=bias(channels),
                padding=(1, 1),
                groups=4,
                residuals=("a", "a"),
            ),
            MaxPool2d(name="p", source="b", kernel=(2, 2), stride=(2, 1), padding=(0, 1)),
            Conv2d(name="c", source="p", codes=codes(24, channels, 2, 2), scale=1, bias=bias(24), stride=(1, 2)),
            Flatten(name="f", source="c"),
            Linear(name="r", source="f", codes=codes(5, 24 * 2 * 3), scale=0, bias=bias(5), fires=False),
        ),
        accumulator_bits=32,
    )


def _times(network: Network, density: float, images: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(int(density * 10))
    shape = (images, *network.input_shape)
    times = np.where(rng.random(shape) < density, rng.integers(0, network.code.T, shape), 255).astype(np.uint8)
    return {INPUT: times, **create(network).layers(times)}


def _walk(
    network: Network, processor: ProcessorSpec, times: dict[str, np.ndarray], image: int
) -> dict[str, dict[str, int]]:
    """Cycles and events by layer, from the operations' geometry and the micro-architecture's page, no closed form."""
    origin = {layer.name: layer.source for layer in network.layers if isinstance(layer, Flatten)}
    program = mapping.program(network, processor)
    total: dict[str, dict[str, int]] = {}
    finished, loaded, bus = 0, 0, 0  # when the executor, the payload of the operation, the loader are done
    started: list[tuple[str, int]] = []
    banks: list[object] = [None, None]
    for operation in [*program.operations, None]:
        words = -(-sum(bits for _, bits in descriptor(processor)) // processor.word_bits)
        loaded = bus + 1 + processor.dram_latency_cycles + words
        counts = {} if operation is None else total.setdefault(operation.layer, {})
        if isinstance(operation, Convolve):
            rows = operation.rows * -(-processor.pes * 5 // processor.word_bits)
            held = processor.resident_weights and banks[operation.bank] == _rows(operation)
            banks[operation.bank] = _rows(operation)
            payload = 0 if held else rows
            payload += -(-processor.pes * 32 // processor.word_bits) if operation.first else 0
            payload += network.code.T if operation.residual or (operation.last and operation.fires) else 0
            loaded += 1 + bool(payload) * processor.dram_latency_cycles + payload
            counts["written"] = counts.get("written", 0) + (not held) * operation.rows * processor.pes * 5
            counts["dram"] = counts.get("dram", 0) + payload * processor.word_bits
        now = max(finished, loaded) + 1
        if operation is None:
            started.append(("", now))
            break
        started.append((operation.layer, now))
        bus = now
        if isinstance(operation, Load):
            now += 1 + processor.dram_latency_cycles + operation.words
            bus = now
        elif isinstance(operation, Store):
            now += 2 + operation.words
            bus = now
        else:
            source = network.layer(operation.layer).source
            stored = times[origin.get(source, source)][image]
            stored = stored if stored.ndim == 3 else stored[:, None, None]
            now += _windows(network, processor, operation, stored, counts)
        finished = now
    for (layer, begin), (_, end) in itertools.pairwise(started):
        total[layer]["cycles"] = total[layer].get("cycles", 0) + end - begin
    total[INPUT]["cycles"] += started[0][1]
    return total


def _rows(operation: Convolve) -> tuple[object, ...]:
    """Which weights an operation has: tile and box of its layer's."""
    place = operation.outputs, operation.kernel_offset, operation.kernel, operation.channel_word, operation.words
    return operation.connection, operation.empty, *place


def _windows(network, processor, operation, stored, counts) -> int:  # type: ignore[no-untyped-def]
    lanes, spent = processor.lanes, 0
    _, height, width = stored.shape
    convolve = isinstance(operation, Convolve)
    repeats = range(1) if convolve else range(operation.words)
    for _ in repeats:
        for oy in range(operation.height):
            for ox in range(operation.width):
                spent += 2
                for ky in range(operation.kernel[0]):
                    for kx in range(operation.kernel[1]):
                        y = operation.origin[0] + oy * operation.stride[0] + ky
                        x = operation.origin[1] + ox * operation.stride[1] + kx
                        if not (0 <= y < height and 0 <= x < width) or not convolve:
                            spent += 1
                            continue
                        for word in range(operation.channel_word, operation.channel_word + operation.words):
                            spikes = int((stored[word * lanes : (word + 1) * lanes, y, x] != 255).sum())
                            spent += max(1, spikes)
                            counts["rows"] = counts.get("rows", 0) + spikes
                            counts["lane_adds"] = counts.get("lane_adds", 0) + spikes * operation.outputs[1]
                if not convolve:
                    spent += 2
                    continue
                spent += 2
                if operation.residual is not None:
                    spent += -(-operation.outputs[1] // lanes) + 1 + network.code.T + 1
                if not operation.last:
                    spent += 1
                elif operation.fires:
                    spent += network.code.T + 1 + -(-operation.outputs[1] // lanes)
                else:
                    spent += operation.outputs[1]
                spent += 1
    return spent


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("word_bits", [32, 64, 128])
@pytest.mark.parametrize("pixel_groups", [False, True])
@pytest.mark.parametrize("resident", [False, True])
def test_counts_equal_a_walk(density: float, word_bits: int, pixel_groups: bool, resident: bool) -> None:
    """Cycles, weight rows, lane operations of every layer, chunks, blocks, residuals, groups and padding included."""
    network = _network(channels=16 if pixel_groups else 20)
    processor = ProcessorSpec(
        pes=80 if pixel_groups else 16,
        word_bits=word_bits,
        activation_buffer_kib=8,
        weight_buffer_kib=2,
        membrane_rows=1 if resident else 8,  # short operations, which wait for descriptors: the next has no payload
        dram_latency_cycles=60 if resident else 9,
        pixel_groups=pixel_groups,
        resident_weights=resident,
    )
    operations = mapping.program(network, processor).operations
    assert len(operations) > 12
    assert resident == any(isinstance(one, Convolve) and one.kept for one in operations)
    groups = {operation.layer: operation.group for operation in operations if isinstance(operation, Convolve)}
    assert (groups["a"], groups["b"]) == (5 if pixel_groups else 1, 1)
    times = _times(network, density)
    counts = cycles.count(network, times, processor)
    for image in range(2):
        walked = _walk(network, processor, times, image)
        assert [layer.name for layer in counts.layers] == list(walked)
        for layer in counts.layers:
            assert layer.cycles[image] == walked[layer.name]["cycles"], layer.name
            assert layer.rows[image] == walked[layer.name].get("rows", 0), layer.name
            assert layer.lane_adds[image] == walked[layer.name].get("lane_adds", 0), layer.name
            assert layer.weight_write_bits[image] == walked[layer.name].get("written", 0), layer.name


def test_sops_equal_brute_force() -> None:
    """Synaptic operations: every spike times the outputs of its group whose windows hold it; those of non-zero weight."""
    network = _network()
    times = _times(network, 0.4)
    counts = {layer.name: layer for layer in cycles.count(network, times, SMALL).layers}
    for layer in network.layers:
        if not isinstance(layer, Conv2d):
            continue
        source, (outputs, height, width) = times[layer.source], network.shapes[layer.name]
        per_group = outputs // layer.groups
        sops, nonzero = (np.zeros(len(source), dtype=np.int64) for _ in range(2))
        kept = layer.codes % 16 != 15
        kept = kept.reshape(layer.groups, per_group, *kept.shape[1:]).sum(axis=1).reshape(-1, *kept.shape[2:])
        for oy in range(height):
            for ox in range(width):
                y, x = oy * layer.stride[0] - layer.padding[0], ox * layer.stride[1] - layer.padding[1]
                window = source[:, :, max(y, 0) : y + layer.codes.shape[2], max(x, 0) : x + layer.codes.shape[3]]
                sops += per_group * (window != 255).sum(axis=(1, 2, 3))
                top, left = max(-y, 0), max(-x, 0)
                taps = kept[:, top : top + window.shape[2], left : left + window.shape[3]]
                nonzero += ((window != 255) * taps).sum(axis=(1, 2, 3))
        assert np.array_equal(counts[layer.name].sops, sops)
        assert np.array_equal(counts[layer.name].nonzero_adds, nonzero)
        assert (nonzero < sops).all()
    assert np.array_equal(counts["r"].sops, 5 * (times["f"] != 255).sum(axis=1))


def test_plan_is_reused_and_stalls_cost_cycles() -> None:
    """A plan made once gives the same counts; a stalling DRAM costs cycles and nothing else."""
    network = _network()
    times = _times(network, 0.4)
    plan = planner.plan(network, SMALL)
    fresh, planned = cycles.count(network, times, SMALL), cycles.count(network, times, SMALL, plan=plan)
    stalled = cycles.count(network, times, SMALL, plan=plan, stall=0.5)
    for event in cycles.EVENTS:
        assert np.array_equal(fresh.total(event), planned.total(event))
        if event not in ("cycles", "wait_cycles"):
            assert np.array_equal(stalled.total(event), planned.total(event))
    assert (stalled.cycles > planned.cycles).all()
    with pytest.raises(ValueError, match=r"stall must be in \[0, 1\), not 1"):
        cycles.count(network, times, SMALL, stall=1)
    with pytest.raises(ValueError, match=r"event must be one of cycles, .*, not 'joules'"):
        fresh.total("joules")


def test_what_does_not_fit_is_refused() -> None:
    """With the memory, the bytes it has and the bytes needed."""
    network = _network()
    wide = Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(16, 2, 80),
        layers=(
            Conv2d(
                name="r",
                source=INPUT,
                codes=np.full((1, 16, 1, 1), 3, np.uint8),
                scale=0,
                bias=np.zeros(1, np.int64),
                fires=False,
            ),
        ),
    )
    with pytest.raises(
        ValueError, match=r"layer 'r': its 1280 bytes must fit the activation buffer of 1024 bytes beside"
    ):
        mapping.program(wide, ProcessorSpec(pes=16, activation_buffer_kib=1))
    tiny = ProcessorSpec(pes=1024, weight_buffer_kib=2)
    with pytest.raises(
        ValueError, match=r"bank of the weight buffer must hold 8 rows, not 1 \(2048 bytes in two banks\)"
    ):
        mapping.program(network, tiny)
    with pytest.raises(ValueError, match=r"^the processor's accumulators: layer .* must fit 8 bits.*; take a design"):
        mapping.program(network, ProcessorSpec(accumulator_bits=8))


def test_membranes_that_fit_run_on_narrower_accumulators() -> None:
    """What counts is what membranes can reach, not the width that the network was made for."""
    network = _network()
    assert network.accumulator_bits == 32
    narrow = mapping.program(network, ProcessorSpec(accumulator_bits=28))
    assert narrow == mapping.program(replace(network, accumulator_bits=28), ProcessorSpec(accumulator_bits=28))


def test_maps_do_not_overlap_while_in_use() -> None:
    """No layer writes over a map that it, or a later layer, still reads."""
    network = _network()
    maps = allocate(network, SMALL).maps
    for layer in network.layers:
        if isinstance(layer, Flatten):
            continue
        target = maps[layer.name]
        for name in layer.inputs:
            source = maps[name]
            assert source.address + source.size <= target.address or target.address + target.size <= source.address


def test_shifts_cost_the_largest_of_a_tile_and_their_words() -> None:
    """30 pixels in tiles of 16 and 4 channels: 5 and 2 cycles each, a word of DRAM for either tile; nothing elsewhere."""
    plain = _network()
    first = plain.synaptic[0]
    own = replace(first, shifts=(*[0, 5, 1, 3] * 4, 0, 2, 1, 0))
    shifted = replace(plain, layers=(own, *plain.layers[1:]), accumulator_bits=40)
    engine = create(replace(plain, accumulator_bits=40), "reference")
    times = np.random.default_rng(0).integers(0, 24, (2, *plain.input_shape)).astype(np.uint8)
    known = {INPUT: times, **engine.layers(times)}
    processor = replace(SMALL, accumulator_bits=40)
    before, after = (cycles.count(network, known, processor) for network in (plain, shifted))
    for old, new in zip(before.layers, after.layers, strict=True):
        settled = 30 * (5 + 2) if new.name == "a" else 0
        assert np.array_equal(new.fire_cycles - old.fire_cycles, [settled] * 2)
        assert np.array_equal(new.threshold_steps - old.threshold_steps, [settled] * 2)
        assert np.array_equal(new.dram_read_bits - old.dram_read_bits, [2 * 64 if new.name == "a" else 0] * 2)
        for event in ("rows", "sops", "lane_adds", "walk_cycles", "weight_write_bits", "bias_write_bits"):
            assert np.array_equal(getattr(new, event), getattr(old, event)), event
