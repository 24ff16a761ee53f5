"""Descriptors, payloads and stored maps."""

from dataclasses import replace

import numpy as np
import pytest

from firstspike.arith import Code, LogWeights
from firstspike.compiler import mapping
from firstspike.compiler.descriptor import pack
from firstspike.compiler.image import assemble, store_map, weight_rows
from firstspike.rtl.blocks.descriptor import LAYOUT
from firstspike.spec import INPUT, Conv2d, Network, ProcessorSpec
from firstspike.spec.program import DESCRIPTOR, Convolve

PROCESSOR = ProcessorSpec(pes=16, activation_buffer_kib=8, weight_buffer_kib=8)


def _network(groups: int = 2, source: str = "spike") -> Network:
    codes = np.arange(20 * (12 // groups) * 3 * 2).reshape(20, 12 // groups, 3, 2) % 31
    layer = Conv2d(
        name="r",
        source=INPUT,
        codes=codes.astype(np.uint8),
        scale=3,
        bias=np.arange(20) * 1000 - 7000,
        groups=groups,
        fires=False,
    )
    code = Code(input=source)  # type: ignore[arg-type]
    bits = 40 if code.planes else 32
    return Network(code=code, weights=LogWeights(), input_shape=(12, 5, 4), layers=(layer,), accumulator_bits=bits)


@pytest.mark.parametrize(("groups", "planes"), [(1, 1), (2, 1), (4, 1), (1, 8), (4, 8)])
def test_weight_rows(groups: int, planes: int) -> None:
    """Every synapse's code stands in its row and lane, everything else is weight zero, in both tiles.

    The planes of a pixel are neighbouring channels of one weight.
    """
    network = _network(groups, "planes" if planes == 8 else "spike")
    codes = network.synaptic[0].codes
    for operation in mapping.program(network, replace(PROCESSOR, accumulator_bits=40)).operations:
        if not isinstance(operation, Convolve):
            continue
        rows = weight_rows(network, operation, PROCESSOR)
        channels = operation.words * 8
        for row in range(operation.rows):
            (y, x), width = operation.kernel_offset, operation.kernel[1]
            ky, kx = y + row // channels // width, x + row // channels % width
            channel = (row % channels + operation.channel_word * 8) // planes
            for lane in range(16):
                output = operation.outputs[0] + lane
                group = output // (20 // groups)
                inside = lane < operation.outputs[1] and channel // (12 // groups) == group and channel < 12
                expected = codes[output, channel % (12 // groups), ky, kx] if inside else 15
                assert rows[row, lane] == expected


def test_image_layout() -> None:
    """The first descriptor is a LOAD of the input region, biases lead the first payload, regions come last."""
    network = _network()
    program = mapping.program(network, PROCESSOR)
    image = assemble(network, program, PROCESSOR)
    words = np.frombuffer(image.data, dtype="<u8")
    assert image.words == len(words) == image.regions["logits"] + program.regions["logits"]
    assert image.regions["logits"] == image.regions["input"] + program.regions["input"]
    assert words[0] & 15 == 3
    payload = 10 * image.descriptors
    biases = words[payload : payload + 8].view("<i4")
    assert np.array_equal(biases, network.synaptic[0].bias[:16])


def _values(stream: bytes, bits: int, count: int) -> list[int]:
    """``count`` numbers of two's complement from the lowest bit on."""
    whole = int.from_bytes(stream, "little")
    numbers = [whole >> (index * bits) & ((1 << bits) - 1) for index in range(count)]
    return [number - (number >> (bits - 1) << bits) for number in numbers]


def test_every_descriptor_says_where_its_payload_lies_and_what_it_holds() -> None:
    """Biases of the first box, thresholds of the last, codes of all, read back from the words that the descriptor names."""
    kernel = np.random.default_rng(0).integers(0, 32, (20, 20, 3, 3), dtype=np.uint8)
    numbers = {"scale": 3, "bias": np.arange(20) * 1000 - 7000, "padding": (1, 1)}
    first = Conv2d(name="a", source=INPUT, codes=kernel[:, :12], **numbers)  # type: ignore[arg-type]
    second = Conv2d(name="b", source="a", codes=kernel, residuals=("a",), **numbers)  # type: ignore[arg-type]
    last = Conv2d(name="c", source="b", codes=kernel, fires=False, **numbers)  # type: ignore[arg-type]
    network = Network(code=Code(), weights=LogWeights(), input_shape=(12, 5, 4), layers=(first, second, last))
    processor = ProcessorSpec(pes=16, accumulator_bits=40, weight_buffer_kib=4, images=2)
    program = mapping.program(network, processor)
    image = assemble(network, program, processor)
    residuals = 0
    for index, operation in enumerate(program.operations):
        whole, found = int.from_bytes(image.data[index * 80 : index * 80 + 80], "little"), {}
        for name, bits in DESCRIPTOR:
            found[name], whole = whole & ((1 << bits) - 1), whole >> bits
        if not isinstance(operation, Convolve):
            continue
        count, fires = operation.outputs[1], operation.last and operation.layer != "c"
        assert found["bias_words"] == (10 if operation.first else 0)  # 16 biases of 40 bits in words of 64
        assert found["theta_words"] == (network.code.T if fires else 0)
        assert found["dram_words"] == found["bias_words"] + found["theta_words"] + 2 * operation.rows
        assert found["residual"] == (operation.residual is not None)
        assert found["residual_words"] == ((2 if count > 8 else 1) if found["residual"] else 0)
        residuals += found["residual"]
        begin = found["dram_address"] * 8
        layer = network.synaptic["abc".index(operation.layer)]
        if operation.first:
            biases = layer.bias[operation.outputs[0] :][:count].tolist() + [0] * (16 - count)
            assert _values(image.data[begin : begin + 80], 40, 16) == biases
            begin += 80
        if fires:
            theta = [_values(image.data[begin + 8 * t :][:8], 40, 1)[0] for t in range(network.code.T)]
            assert theta == network.thresholds(layer).tolist()
            begin += 8 * network.code.T
        for row in weight_rows(network, operation, processor):
            assert [value & 31 for value in _values(image.data[begin : begin + 16], 5, 16)] == row.tolist()
            begin += 16
    assert residuals == 2  # a tile each, of both images


def test_shifts_lie_behind_the_thresholds_of_the_operation_that_fires() -> None:
    """Of 20 channels in tiles of 16, four bits a lane, in the payload of the last box alone; no word more elsewhere."""
    rng = np.random.default_rng(0)
    first = Conv2d(
        name="a",
        source=INPUT,
        codes=rng.integers(0, 32, (20, 40, 3, 3), dtype=np.uint8),
        scale=3,
        bias=np.zeros(20, np.int64),
        padding=(1, 1),
        shifts=tuple(map(int, rng.integers(0, 8, 20))),
    )
    last = Conv2d(
        name="b",
        source="a",
        codes=rng.integers(0, 32, (4, 20, 1, 1), dtype=np.uint8),
        scale=0,
        bias=np.zeros(4, np.int64),
        fires=False,
    )
    network = Network(code=Code(), weights=LogWeights(), input_shape=(40, 3, 3), layers=(first, last))
    processor = ProcessorSpec(pes=16, weight_buffer_kib=2)
    program = mapping.program(network, processor)
    image = assemble(network, program, processor)
    fired = 0
    for index, operation in enumerate(program.operations):
        if not isinstance(operation, Convolve):
            continue
        whole, found = int.from_bytes(image.data[index * 80 : index * 80 + 80], "little"), {}
        for name, bits in DESCRIPTOR:
            found[name], whole = whole & ((1 << bits) - 1), whole >> bits
        fires = operation.layer == "a" and operation.last
        assert found["theta_words"] == (24 + 1 if fires else 0)
        rows = found["dram_words"] - found["theta_words"] - found["bias_words"]
        assert rows == 2 * operation.rows
        if fires:
            begin, count = 8 * (found["dram_address"] + found["bias_words"] + 24), operation.outputs[1]
            shifts = _values(image.data[begin : begin + 8], 4, 16)
            assert shifts == list(first.shifts[operation.outputs[0] :][:count]) + [0] * (16 - count)
            fired += 1
    assert fired == 2 and len(program.operations) > 6  # several boxes a tile


def test_descriptor_layout() -> None:
    """Hardware and assembler agree on every field's place, and values that do not fit are refused."""
    offset = 0
    for name, bits in DESCRIPTOR:
        assert (LAYOUT[name].offset, LAYOUT[name].width) == (offset, bits)
        assert pack("op", {name: (1 << bits) - 1}) == ((1 << bits) - 1) << offset
        offset += bits
    assert pack("op", {"origin_y": -1}) == pack("op", {"origin_y": (1 << 20) - 1})
    with pytest.raises(ValueError, match="layer 'x': descriptor field first must fit 1 bits, not 2"):
        pack("layer 'x'", {"first": 2})
    with pytest.raises(ValueError, match=r"fields must be of a descriptor, not \['frist'\]"):
        pack("layer 'x'", {"frist": 1})


def test_stored_map() -> None:
    """Channels last, silent to whole words."""
    times = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(2, 3, 2, 2)
    stored = store_map(times, PROCESSOR).reshape(2, 2, 2, 8)
    assert np.array_equal(stored[..., :3], times.transpose(0, 2, 3, 1))
    assert (stored[..., 3:] == 255).all()
