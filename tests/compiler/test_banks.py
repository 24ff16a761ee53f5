"""Which memories are on: no word that is read later lies in one that is off, word by word."""

import contextlib
from dataclasses import replace

import pytest
from rtl.random_networks import random_network
from rtl.vgg import random_vgg

from firstspike.arith import Code, LogWeights
from firstspike.compiler import mapping
from firstspike.compiler.image import assemble
from firstspike.compiler.stages import stages
from firstspike.spec import ProcessorSpec
from firstspike.spec.program import DESCRIPTOR, Convolve, Load, Operation, Pool, Program, Store, descriptor

VGG = (16, 16, "M", 32, 32, "M", 64, 64, "M")
SMALL = ProcessorSpec(
    pes=16, accumulator_bits=40, activation_buffer_kib=4, weight_buffer_kib=2, membrane_rows=8, banks=4
)


def positions(operation: Convolve | Pool, axis: int) -> set[int]:
    """Rows or columns of the stored input that any window looks at."""
    count, size = (operation.height, operation.width)[axis], operation.in_size[axis]
    taps = range(operation.kernel[axis])
    places = {operation.origin[axis] + operation.stride[axis] * n + tap for n in range(count) for tap in taps}
    return {place for place in places if 0 <= place < size}


def words(operation: Operation, lanes: int) -> tuple[set[int], set[int]]:
    """Words of the activation buffer that an operation reads, and that it writes."""
    if isinstance(operation, Load | Store):
        moved = set(range(operation.address, operation.address + operation.words))
        return (set(), moved) if isinstance(operation, Load) else (moved, set())
    read, written = set(), set()
    pixels = [(row, column) for row in range(operation.height) for column in range(operation.width)]
    convolve = isinstance(operation, Convolve)
    for image in range(operation.images if convolve else 1):
        for row in positions(operation, 0):
            for column in positions(operation, 1):
                first = operation.read.at(image=image, row=row, column=column).address
                read |= set(range(first, first + operation.words))
        for row, column in pixels:
            if not convolve or operation.last:
                first = operation.write.at(image=image, row=row, column=column).address
                written |= set(range(first, first + (operation.out_words if convolve else operation.words)))
            if convolve and operation.added is not None:
                first = operation.added.at(image=image, row=row, column=column).address
                read |= set(range(first, first + -(-operation.outputs[1] // lanes)))
    return read, written


def check(program: Program, processor: ProcessorSpec) -> int:
    """Banks off in all operations; every access and every word that is read later lies in one that is on."""
    per, off = processor.bank_words, 0
    held: set[int] = set()
    sums = False
    for number, operation in enumerate(program.operations):
        on = {bank for bank in range(processor.banks) if operation.awake >> bank & 1}
        off += processor.banks - len(on)
        held = {word for word in held if word // per in on}
        read, written = words(operation, processor.lanes)
        assert {word // per for word in read | written} <= on, number
        assert read <= held, number
        held |= written
        if isinstance(operation, Convolve):
            membrane = bool(operation.awake >> processor.banks)
            assert membrane == (not (operation.first and operation.last)), number
            assert operation.first or sums, number
            sums = membrane and not operation.last
        else:
            assert not operation.awake >> processor.banks, number
            sums = False
    return off


@pytest.mark.parametrize("images", [1, 3, 4])
def test_nothing_that_is_read_later_is_switched_off(images: int) -> None:
    """Random networks of all kinds, alone and in batches, maps on chip and in strips."""
    off = 0
    for seed in range(40 if images == 1 else 12):
        network = random_network(seed, Code(T=12, tau=4), LogWeights(), accumulator_bits=40)
        processor = replace(SMALL, images=images, activation_buffer_kib=(4, 1)[seed % 2])
        with contextlib.suppress(ValueError):  # it does not fit
            off += check(mapping.program(network, processor), processor)
    assert off > 300


@pytest.mark.parametrize("kib", [2, 3, 4, 6])
def test_strips_of_maps_in_dram_are_on(kib: int) -> None:
    """Maps of 4 and 8 KiB, loaded and stored a few rows at a time."""
    network = random_vgg((16, 16, "M", 32, "M"), (3, 16, 16))
    banks = 4 if kib in (2, 4) else 3
    processor = replace(SMALL, accumulator_bits=32, weight_buffer_kib=16, activation_buffer_kib=kib, banks=banks)
    program = mapping.program(network, processor)
    assert any(name.startswith("map ") for name in program.regions)
    assert check(program, processor) > 0


def test_late_layers_lie_in_one_bank() -> None:
    """Maps of 4 KiB at first, of 1 KiB at last, in banks of 2 KiB; what does not fit so lies as ever."""
    network, processor = random_vgg(VGG, (3, 16, 16)), replace(SMALL, activation_buffer_kib=8)
    program = mapping.program(network, processor)
    check(program, processor)
    late = [operation for operation in program.operations if operation.layer in ("layer6", "layer7", "layer8")]
    assert len(late) > 3 and {(operation.awake & 15).bit_count() for operation in late} == {1}
    assert max((operation.awake & 15).bit_count() for operation in program.operations) == 4
    spilled = [mapping.program(network, replace(SMALL, activation_buffer_kib=3, banks=banks)) for banks in (1, 3)]
    assert spilled[0].regions == spilled[1].regions and "map layer0" in spilled[0].regions


def test_the_mask_is_the_descriptors_last_field() -> None:
    """Designs that switch nothing off have none."""
    network = random_vgg((16, "M"), (1, 8, 8))
    for processor in (ProcessorSpec(), ProcessorSpec(banks=4)):
        program = mapping.program(network, processor)
        assert processor.switched or not any(operation.awake for operation in program.operations)
        size = sum(bits for _, bits in descriptor(processor))
        assert size == sum(bits for _, bits in DESCRIPTOR) + 5 * processor.switched
        data = assemble(network, program, processor).data
        stride = -(-size // 64) * 8
        for number, operation in enumerate(program.operations):
            whole = int.from_bytes(data[number * stride : (number + 1) * stride], "little")
            assert whole >> 640 == operation.awake


def test_stages_are_the_same() -> None:
    """Images that run together do not depend on the banks: what does not fit packed lies as ever."""
    network = random_vgg(VGG, (3, 16, 16))
    cuts = []
    for banks in (1, 4):
        processor = replace(SMALL, activation_buffer_kib=8, banks=banks, images=4)
        cuts.append([(stage.layers, stage.images) for stage in stages(network, processor)])
    assert cuts[0] == cuts[1] and len(cuts[0]) > 1


def test_sizes_of_banks() -> None:
    with pytest.raises(
        ValueError, match=r"must cut the activation buffer's 16384 words into powers of 2, not 3; take an"
    ):
        ProcessorSpec(banks=3)
    assert ProcessorSpec(banks=3, activation_buffer_kib=96).bank_words == 4096
    with pytest.raises(ValueError, match=r"wake_cycles must be at most dram_latency_cycles = 5, .*, not 16"):
        ProcessorSpec(banks=2, dram_latency_cycles=5)
    assert not ProcessorSpec(dram_latency_cycles=5).switched
    with pytest.raises(ValueError, match=r"banks must be"):
        ProcessorSpec(banks=17)
