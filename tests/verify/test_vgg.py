"""Networks of published size in RTL: VGG-16 on 128 lanes, resident and spilled; a small VGG on all digits."""

import numpy as np
import pytest
from rtl.vgg import DIGITS, VGG16, random_vgg
from sklearn.datasets import load_digits

from firstspike import zoo
from firstspike.arith import encode
from firstspike.compiler import mapping
from firstspike.spec import ProcessorSpec
from firstspike.spec.program import Convolve
from firstspike.verify import ToolMissing, run


def _simulate(
    shape: tuple[int, int, int], plan: tuple[int | str, ...], images: np.ndarray, processor: ProcessorSpec
) -> None:
    network = random_vgg(plan, shape)
    try:
        record = run(network, encode(images, network.code), processor)
    except ToolMissing as error:
        pytest.skip(str(error))
    print(record.json())
    assert record.bit_exact and record.cycle_exact, record.differences
    assert record.images == len(images)
    assert record.spikes_compared > 0


@pytest.mark.slow
@pytest.mark.parametrize("banks", [1, 4])
@pytest.mark.parametrize("size", [32, 64])
def test_vgg16_on_128_lanes(size: int, banks: int) -> None:
    """One image; at 64 x 64 pixels the large maps are spilled and worked on in strips."""
    network, processor = random_vgg(VGG16, (3, size, size)), ProcessorSpec(banks=banks)
    spilled = [name for name in mapping.program(network, processor).regions if name.startswith("map ")]
    assert bool(spilled) == (size == 64)
    _simulate((3, size, size), VGG16, np.random.default_rng(1).random((1, 3, size, size)), processor)


@pytest.mark.slow
@pytest.mark.parametrize("banks", [1, 4])
def test_a_pruned_vgg16_in_pixel_groups(banks: int) -> None:
    """The zoo's network with packed rows, one image of random pixels; conv1 computes two pixels at once."""
    snn = zoo.load("vgg16-cifar10-lean")
    processor = ProcessorSpec(packed_rows=True, pixel_groups=True, membrane_rows=256, banks=banks)
    program = mapping.program(snn.network, processor)
    groups = {operation.layer: operation.group for operation in program.operations if isinstance(operation, Convolve)}
    assert [name for name, group in groups.items() if group == 2] == ["0", "3"]
    times = snn.encode(np.random.default_rng(1).random((1, 3, 32, 32)))
    try:
        record = run(snn.network, times, processor)
    except ToolMissing as error:
        pytest.skip(str(error))
    assert record.bit_exact and record.cycle_exact, record.differences


@pytest.mark.slow
@pytest.mark.parametrize("banks", [1, 8])
def test_all_digits(banks: int) -> None:
    """All 1,797 images of the handwritten digits, random weights, 16 lanes."""
    images = load_digits().images[:, None] / 16
    _simulate((1, 8, 8), DIGITS, images, ProcessorSpec(pes=16, activation_buffer_kib=8, banks=banks))


def test_vgg_fits_a_few_hundred_kib() -> None:
    """VGG-16 at 32 x 32 needs no DRAM for its maps with the default memories."""
    program = mapping.program(random_vgg(VGG16, (3, 32, 32)), ProcessorSpec())
    assert set(program.regions) == {"input", "logits"}
    assert program.activation_words <= ProcessorSpec().activation_words
