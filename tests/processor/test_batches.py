"""Batches: the choice of stages against all choices, and counts of a batch against those of its images."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from rtl.random_networks import random_network, random_times
from rtl.vgg import VGG16, random_vgg

from firstspike.arith import Code, LogWeights
from firstspike.compiler import mapping
from firstspike.compiler.image import assemble
from firstspike.compiler.stages import operations, stage_of, stages, traffic
from firstspike.compiler.storage import allocate
from firstspike.config import ConfigError
from firstspike.engine import create
from firstspike.processor import cycles, designs, energy, technology
from firstspike.spec import INPUT, Conv2d, Flatten, Network, ProcessorSpec
from firstspike.spec.program import Convolve, Pool

SMALL = ProcessorSpec(pes=16, activation_buffer_kib=2, weight_buffer_kib=2, membrane_rows=8)


def _network(seed: int) -> Network:
    return random_network(seed, Code(), LogWeights(), accumulator_bits=32)


def _networks(count: int) -> Iterator[tuple[int, Network]]:
    """Networks that fit the small processor one image at a time."""
    seed = 0
    while count:
        try:
            network = _network(seed)
            mapping.program(network, SMALL)
            yield seed, network
            count -= 1
        except ValueError:
            pass
        seed += 1


@cache
def _vgg16() -> Network:
    return random_vgg(VGG16, (3, 32, 32))


def _choices(network: Network, batch: int) -> Iterator[list[tuple[range, int]]]:
    """All ways to cut the layers into stages with rising divisors of the batch."""
    count = len(network.layers)
    places = [index for index in range(1, count) if not isinstance(network.layers[index], Flatten)]
    sizes = [size for size in range(1, batch + 1) if batch % size == 0]
    for number in range(1, len(sizes) + 1):
        for cuts in itertools.combinations(places, number - 1):
            for chosen in itertools.combinations(sizes, number):
                edges = [0, *cuts, count]
                yield [(range(*edge), size) for edge, size in zip(itertools.pairwise(edges), chosen, strict=True)]


def test_stages_move_the_fewest_words() -> None:
    """No other cut that fits has less traffic; the program's traffic is what the choice was made for."""
    several = 0
    for seed, network in _networks(12):
        batch = (4, 6)[seed % 2]
        processor = replace(SMALL, images=batch)
        least = None
        for choice in _choices(network, batch):
            try:
                parts = [stage_of(network, processor, layers, size) for layers, size in choice]
            except ValueError:
                continue
            words = sum(
                batch // part.images * traffic(network, processor, operations(network, part, processor))
                for part in parts
            )
            least = words if least is None else min(least, words)
        several += len(stages(network, processor)) > 1
        assert traffic(network, processor, mapping.program(network, processor).operations) == least
    assert several > 3


def test_vgg_shares_its_late_layers() -> None:
    """VGG-16: the small maps of all images are on chip together; weights of the last layers are fetched once a batch."""
    network = _vgg16()
    single, batch = ProcessorSpec(membrane_rows=128), ProcessorSpec(membrane_rows=128, images=8)
    assert [part.images for part in stages(network, batch)] == [1, 2, 8]
    words = [traffic(network, p, mapping.program(network, p).operations) for p in (single, batch)]
    assert words[1] < 8 * words[0] / 5
    rows = {
        p.images: sum(
            o.rows for o in mapping.program(network, p).operations if isinstance(o, Convolve) and o.layer == "layer16"
        )
        for p in (single, batch)
    }
    assert rows[1] == rows[8] == 4 * 512 * 9


def test_maps_of_a_batch_do_not_overlap() -> None:
    """No image's map lies on another's that is still read."""
    network = _vgg16()
    for part in stages(network, ProcessorSpec(membrane_rows=128, images=8)):
        maps = part.layout.maps
        for index in part.layers:
            layer = network.layers[index]
            if isinstance(layer, Flatten):
                continue
            target, source = maps[layer.name], maps[layer.source]
            assert source.size == part.images * source.height * source.width * source.pixel
            assert source.address + source.size <= target.address or target.address + target.size <= source.address
            assert max(source.address + source.size, target.address + target.size) <= ProcessorSpec().activation_words


def _times(network: Network, images: int) -> dict[str, np.ndarray]:
    times = random_times(np.random.default_rng(1), network.code, (images, *network.input_shape), 0.5)
    return {INPUT: times, **create(network).layers(times)}


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_events_of_a_batch_are_its_images_events(batch: int) -> None:
    """What spikes cause does not change; only DRAM traffic and time do, and the DRAM's is the program's, word by word."""
    per_spike = ("rows", "sops", "lane_adds", "threshold_steps", "weight_read_bits", "walk_cycles")
    for seed, network in _networks(6):
        times = _times(network, 7)
        processor = replace(SMALL, images=batch)
        single = cycles.count(network, times, SMALL)
        together = cycles.count(network, times, processor)
        assert together.images == 7 and len(together.cycles) == -(-7 // batch)
        names = {layer.name: layer for layer in together.layers}
        for layer in single.layers:
            for event in per_spike:
                mine, other = getattr(names[layer.name], event), getattr(layer, event)
                sums = [int(other[start : start + batch].sum()) for start in range(0, 7, batch)]
                assert mine.tolist() == sums, (seed, layer.name, event)
        word = processor.word_bits
        programs = [mapping.program(network, replace(processor, images=n)) for n in (batch, 7 % batch) if n]
        moved = [traffic(network, processor, program.operations) + 640 // word for program in programs]
        bits = together.total("dram_read_bits") + together.total("dram_write_bits")
        assert set(bits.tolist()) == {words * word for words in moved}


def test_energy_of_a_batch() -> None:
    """Per image: one batch of four costs a quarter of its events; its latency is the whole batch's."""
    network = next(iter(_networks(1)))[1]
    times = _times(network, 4)
    counts = cycles.count(network, times, replace(SMALL, images=4))
    cost = energy.cost(counts, weight_bits=5, technology=technology.default())
    assert (cost.images, cost.batches) == (4, 1)
    assert cost.cycles_per_image == counts.cycles[0] / 4
    assert cost.latency_us == pytest.approx(counts.cycles[0] / 250, rel=1e-12)
    assert cost.frames_per_second == pytest.approx(4e6 / cost.latency_us, rel=1e-12)
    assert cost.dram_bits == (counts.total("dram_read_bits") + counts.total("dram_write_bits"))[0] / 4
    assert cost.power_mw == pytest.approx(1e3 * cost.energy_uj * 4 / cost.latency_us, rel=1e-12)


def test_latency_is_a_whole_batch() -> None:
    """What is left of the last batch takes less time, and says nothing about the others."""
    network = next(iter(_networks(1)))[1]
    times = _times(network, 9)
    counts = cycles.count(network, times, replace(SMALL, images=4))
    assert len(counts.cycles) == 3 and counts.cycles[2] < min(counts.cycles[:2])
    cost = energy.cost(counts, weight_bits=5, technology=technology.default())
    assert cost.latency_cycles == counts.cycles[:2].mean()
    few = cycles.count(network, {name: layer[:3] for name, layer in times.items()}, replace(SMALL, images=4))
    cost = energy.cost(few, weight_bits=5, technology=technology.default())
    assert (cost.batches, cost.latency_cycles) == (1, few.cycles[0])


def test_payloads_are_stored_once() -> None:
    """A batch's DRAM image holds the weights of a single image's, and the regions of all images."""
    network = random_vgg(VGG16[:6], (3, 16, 16))
    sizes = []
    for images in (1, 4):
        processor = ProcessorSpec(pes=16, weight_buffer_kib=4, membrane_rows=16, images=images)
        program = mapping.program(network, processor)
        image = assemble(network, program, processor)
        sizes.append(image.words - 10 * image.descriptors - sum(program.regions.values()))
        assert program.regions[INPUT] == images * 16 * 16
    assert sizes[0] == sizes[1]


def test_pooling_is_per_image() -> None:
    """A batch's pooling is one operation an image, each on its own map."""
    network = random_vgg(VGG16[:6], (3, 16, 16))
    program = mapping.program(network, ProcessorSpec(images=4))
    pools = [o for o in program.operations if isinstance(o, Pool) and o.layer == "layer5"]
    assert [o.image for o in pools] == [0, 1, 2, 3]
    assert len({(o.read.address, o.write.address) for o in pools}) in (1, 4)


def test_batches_that_do_not_fit() -> None:
    """Where the maps of several images never fit, images run alone; one image that does not fit is refused as ever."""
    network = random_vgg((16, "M", 16, "M"), (3, 16, 16))
    tight = ProcessorSpec(pes=16, activation_buffer_kib=4, images=64)
    assert stages(network, tight)[0].images == 1
    codes, bias = np.full((1, 16, 1, 1), 3, np.uint8), np.zeros(1, np.int64)
    layer = Conv2d(name="r", source=INPUT, codes=codes, scale=0, bias=bias, fires=False)
    wide = Network(code=Code(), weights=LogWeights(), input_shape=(16, 2, 80), layers=(layer,))
    with pytest.raises(
        ValueError, match="layer 'r': its 1280 bytes must fit the activation buffer of 1024 bytes beside"
    ):
        mapping.program(wide, ProcessorSpec(pes=16, activation_buffer_kib=1, images=2))
    with pytest.raises(ValueError, match=r"Processor.images must be in 1\.\.1024, not 0"):
        ProcessorSpec(images=0)
    assert allocate(network, tight).entries == (INPUT,)


def test_designs(tmp_path: object) -> None:
    """Designs of the package, from a file, and what is refused."""
    assert set(designs.names()) == {"default", "batch", "lean", "lean-batch", "ulx3s"}
    assert designs.load("default") == designs.Processor()
    assert designs.load("batch").images > 1
    assert designs.parse("format = 1\npes = 64\nclock_mhz = 100.0", "mine.toml").pes == 64
    for text, message in (
        ("pes = 64", r"mine.toml: format is missing"),
        ("format = 2", r"mine.toml: format must be 1, not 2"),
        ("format = 1\nlanes = 3", r"mine.toml: lanes is not a known key \(value 3\); known are pes, "),
        ("format = 1\npes = 12", r"mine.toml: Processor.pes must be a multiple of word_bits / 8 = 8, not 12"),
        ("format =", r"mine.toml: must be TOML, not this"),
    ):
        with pytest.raises(ValueError, match=message):
            designs.parse(text, "mine.toml")
    with pytest.raises(ConfigError, match=r"mine.toml: pes must be an int, not '64'"):
        designs.parse('format = 1\npes = "64"', "mine.toml")
    with pytest.raises(
        ValueError,
        match=r"processor must be a file ending in .toml or one of batch, default, lean, lean-batch, ulx3s, not 'big'",
    ):
        designs.load("big")
    with pytest.raises(FileNotFoundError):
        designs.load("absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"pes = 16\xff")  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"binary\.toml: must be UTF-8 text, not b.\\xff"):
        designs.load(tmp_path / "binary.toml")  # type: ignore[operator]


def test_the_batch_design_is_small() -> None:
    """Memories and processing elements of the better design stay far below 1 mm2."""
    from firstspike.processor.rates import rates

    area = rates(designs.load("batch"), 5, technology.default(), "flat-4pj").area_mm2
    assert area.value < 1
