"""Wrong model files: each is a FormatError with file, rule and value, or it is the very same network."""

import os
import pickle
import re
import tracemalloc
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.networks import networks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstspike.arith import Code, LogWeights
from firstspike.spec import INPUT, FormatError, Linear, Network, container, load, save
from firstspike.spec.file import read_notes
from spec.model_files import Description, Tensors, forge, forge_small, parts, raw, same, small_network

SHARED_FOLDER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of files that no crash need survive."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


def refused(path: Path, text: str) -> None:
    """Loading fails, and the message is the file's name, then a match of ``text``."""
    with pytest.raises(FormatError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert re.search(text, str(caught.value)), str(caught.value)
    assert len(str(caught.value)) < 2000


def refused_or_same(path: Path, network: Network) -> bool:
    """Whether the file is refused; if it is read, it is read right."""
    try:
        found = load(path)
    except FormatError:
        return True
    assert same(found, network)
    return False


# ---- every byte ---------------------------------------------------------------------------------------------------


def tiny_network() -> Network:
    codes = np.array([[1, 18, 3]], dtype=np.uint8)
    out = Linear(name="out", source=INPUT, codes=codes, scale=1, bias=np.array([3]), fires=False)
    return Network(code=Code(T=3), weights=LogWeights(), input_shape=(3,), layers=(out,))


def test_every_truncation(path: Path) -> None:
    save(tiny_network(), path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(path, "truncated|file size must be in 8|tensors, not")
    path.write_bytes(content + b"\0")
    refused(path, "must hold 58 bytes of tensors, not 59: it is followed by bytes of no tensor")


@pytest.mark.parametrize("mask", [1, 2, 128])
def test_every_byte_flipped(mask: int, path: Path) -> None:
    network = tiny_network()
    save(network, path)
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little")
    accepted = []
    for position in range(len(content)):
        content[position] ^= mask
        path.write_bytes(content)
        if not refused_or_same(path, network):
            accepted.append(position)
        content[position] ^= mask
    assert all(8 <= position < 8 + header for position in accepted)  # a blank of another kind, at most
    assert len(accepted) < 8


@settings(SHARED_FOLDER, max_examples=200)
@given(data=st.data())
def test_random_damage(data: st.DataObject, tmp_path: Path) -> None:
    """Bytes changed, removed, inserted or moved, anywhere in any network's file."""
    network = data.draw(networks(max_layers=3))
    path = tmp_path / "net.safetensors"
    save(network, path, notes={"by": "us"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        first = data.draw(st.integers(0, len(content) - 1))
        last = min(len(content), first + data.draw(st.integers(0, 20)))
        kind = data.draw(st.sampled_from(["change", "remove", "insert", "copy"]))
        new = data.draw(st.binary(max_size=12))
        if kind == "change":
            content[first : first + len(new)] = new
        elif kind == "remove":
            del content[first:last]
        elif kind == "insert":
            content[first:first] = new
        else:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place:place] = content[first:last]
    path.write_bytes(content)
    refused_or_same(path, network)


@settings(SHARED_FOLDER, max_examples=200)
@given(content=st.binary(max_size=64))
def test_random_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    refused(path, "")
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    refused(path, "")


# ---- the container ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"file size must be in 8\.\.536870912 bytes, not 0"),
        (b"PK\3\4 some zip archive", "header must have at most 16777216 bytes, not [0-9]+: is it a safetensors file"),
        (pickle.dumps({"weights": [1, 2, 3]}), "header must have at most 16777216 bytes, not"),
        ((100).to_bytes(8, "little") + b"{}", "file must hold its header of 100 bytes, not 2: it is truncated"),
    ],
)
def test_no_safetensors_file(content: bytes, text: str, path: Path) -> None:
    path.write_bytes(content)
    refused(path, text)
    with pytest.raises(FormatError, match=text):
        read_notes(path)


PLACE = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
GOOD = {"__metadata__": {"firstspike": '{"format_version":1}', "sha256": ""}}


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"", "header must be JSON: Expecting value"),
        (b"\xff\xfe", "header must be JSON: .*utf-8"),
        (b"[" * 100_000, "header must be JSON of a few levels, not nested deeper"),
        (b'{"a":1.5}', "header must be JSON: numbers must be integers, not '1.5'"),
        (b'{"a":NaN}', "header must be JSON: numbers must be integers, not 'NaN'"),
        (b'{"a":' + b"9" * 5000 + b"}", "header must be JSON: an integer must have at most 20 characters, not 5000"),
        (b'{"a":1,"b":2,"a":3}', "header must be JSON: keys must differ, not 'a' twice"),
        ([], r"header must be an object, not \[\]"),
        ({}, r"metadata must have the key 'firstspike', not \[\]: is it a model file\?"),
        ({"__metadata__": None}, "__metadata__ must be an object, not None"),
        ({"__metadata__": {"a": 1}}, "metadata 'a' must be text, not 1"),
        ({"__metadata__": {"format": "pt"}}, r"metadata must have the key 'firstspike', not \['format'\]"),
        ({"__metadata__": {"firstspike": "{"}}, "firstspike must be JSON: Expecting"),
        ({"__metadata__": {"firstspike": "3"}}, "firstspike must be an object, not 3"),
        ({"__metadata__": {"firstspike": "{}"}}, "format_version must be an integer from 1, not None"),
        ({"__metadata__": {"firstspike": '{"format_version":"1"}'}}, "format_version must be an integer.*not '1'"),
        ({"__metadata__": {"firstspike": '{"format_version":true}'}}, "format_version must be an integer.*not True"),
        ({"__metadata__": {"firstspike": '{"format_version":0}'}}, "format_version must be an integer from 1, not 0"),
        ({"__metadata__": {"firstspike": '{"format_version":1}'}}, r"metadata must have .* missing \['sha256'\]"),
        ({"__metadata__": GOOD["__metadata__"] | {"x": ""}}, r"metadata must have the keys.*unknown \['x'\]"),
        (GOOD | {"t": 3}, "tensor 't' must be an object, not 3"),
        (GOOD | {"t": PLACE | {"more": 1}}, r"tensor 't' must have the keys .* unknown \['more'\]"),
        (GOOD | {"t": PLACE | {"dtype": "F32"}}, "tensor 't': dtype must be one of U8, I64, not 'F32'"),
        (GOOD | {"t": PLACE | {"dtype": ["U8"]}}, r"tensor 't': dtype must be one of U8, I64, not \['U8'\]"),
        (GOOD | {"t": PLACE | {"shape": [-2]}}, r"tensor 't': shape must be a list of up to 8 integers.*not \[-2\]"),
        (GOOD | {"t": PLACE | {"shape": ["2"]}}, r"tensor 't': shape must be a list .* not \['2'\]"),
        (GOOD | {"t": PLACE | {"shape": [True]}}, r"tensor 't': shape must be a list .* not \[True\]"),
        (GOOD | {"t": PLACE | {"shape": 2}}, "tensor 't': shape must be a list of up to 8 integers from 0, not 2"),
        (GOOD | {"t": PLACE | {"shape": [1] * 9}}, "tensor 't': shape must be a list of up to 8 integers"),
        (GOOD | {"t": PLACE | {"shape": [3]}}, r"tensor 't': shape \(3,\) of uint8 must fill its bytes, not 0\.\.2"),
        (GOOD | {"t": PLACE | {"dtype": "I64"}}, r"tensor 't': shape \(2,\) of int64 must fill its bytes, not 0\.\.2"),
        (GOOD | {"t": PLACE | {"data_offsets": [0]}}, r"data_offsets must be a list of 2 integers from 0, not \[0\]"),
        (GOOD | {"t": PLACE | {"data_offsets": [2, 0]}}, r"tensor 't': shape \(2,\) of uint8 must fill its bytes"),
        (GOOD | {"t": PLACE | {"data_offsets": [1, 3]}}, "tensor 't': data must begin at byte 0, not 1"),
        (GOOD | {"t": PLACE, "u": PLACE}, "tensor 'u': data must begin at byte 2, not 0"),
        (GOOD | {"t": PLACE | {"shape": [9], "data_offsets": [0, 9]}}, "must hold 9 bytes of tensors, not 2: .*trunc"),
        (GOOD, "file must hold 0 bytes of tensors, not 2: it is followed by bytes of no tensor"),
        (GOOD | {"t": PLACE}, "sha256 must be [0-9a-f]{64}, not '': the file is damaged"),
    ],
)
def test_containers_that_are_refused(header: Any, text: str, path: Path) -> None:
    raw(path, header, b"\1\2")
    refused(path, text)


def test_a_newer_version_names_both(path: Path) -> None:
    """It is told from its number alone, whatever else is new in the file."""
    future = '{"format_version":3,"planes":[]}'
    raw(path, {"__metadata__": {"firstspike": future, "checksum": ""}, "t": {"dtype": "F8", "bits": []}})
    text = "format_version must be at most 2, the newest that this release reads, not 3"
    refused(path, text)
    with pytest.raises(FormatError, match=text):
        read_notes(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.safetensors")
    refused(tmp_path, "a model file must be a regular file, not a folder or device")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a model file must be a regular file, not a folder or device")


@pytest.mark.parametrize(
    ("notes", "text"),
    [
        ("[]", r"notes must be an object, not \[\]"),
        ('{"n":1}', "note 'n' must be text, not 1"),
        ('{"n":"a","n":"b"}', "notes must be JSON: keys must differ, not 'n' twice"),
        ('{"n":"\\ud800"}', r"note 'n' must be text that UTF-8 can write, not '\\ud800'"),
        ('{"\\ud800":""}', "name of a note must be text that UTF-8 can write"),
        ('{"n":"' + "x" * (1 << 20) + '"}', "notes must have at most 1048576 characters as JSON, not 1048584"),
    ],
)
def test_notes_that_are_refused(notes: str, text: str, path: Path) -> None:
    save(small_network(), path)
    description, tensors, _ = parts(path)
    forge(path, description, tensors, notes=notes)
    refused(path, text)
    with pytest.raises(FormatError, match=text):
        read_notes(path)


# ---- sizes --------------------------------------------------------------------------------------------------------


def test_declared_sizes_take_no_memory(path: Path) -> None:
    """Wherever a number can say that something is huge: refused before memory is taken for it."""
    huge = 1 << 40

    def shape(description: Description, tensors: Tensors) -> None:
        description["layers"][0]["shape"] = [1 << 20, 1 << 20, 3, 3]

    def thin(description: Description, tensors: Tensors) -> None:
        description["layers"][0]["shape"] = [1 << 14, 1 << 12, 1, 1]

    def image(description: Description, tensors: Tensors) -> None:
        description["input_shape"] = [2, 1 << 16, 1 << 16]

    def padding(description: Description, tensors: Tensors) -> None:
        description["input_shape"] = [2, 1 << 10, 1 << 11]
        description["layers"][1]["kernel"] = description["layers"][1]["stride"] = [1 << 12, 1 << 12]
        description["layers"][1]["padding"] = [(1 << 12) - 1] * 2

    cases: list[tuple[Callable[[Path], None], str]] = [
        (lambda p: p.write_bytes((1 << 62).to_bytes(8, "little") + b"{}"), "header must have at most"),  # type: ignore[list-item,return-value]
        (
            lambda p: raw(p, GOOD | {"t": {"dtype": "U8", "shape": [huge], "data_offsets": [0, huge]}}),
            f"file must hold {huge} bytes of tensors, not 0: it is truncated",
        ),
        (lambda p: forge_small(p, shape), "layer 'a': shape must hold 1..134217728 weights, not"),
        (lambda p: forge_small(p, thin), r"tensor 'a.codes' must be uint8 of shape \(41943040,\)"),
        (lambda p: forge_small(p, image), r"'input' must have at most 16777216 outputs, not shape"),
        (lambda p: forge_small(p, padding), r"layer 'pool': its padded input must have at most 33554432 values, not"),
    ]
    for make, text in cases:
        make(path)
        tracemalloc.start()
        refused(path, text)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20, text


def test_a_large_file_is_not_read(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(container.MAX_FILE + 1)  # a hole: it takes no disk
    refused(path, r"file size must be in 8\.\.536870912 bytes, not 536870913")


# ---- the description ----------------------------------------------------------------------------------------------


def put(*keys: str | int, value: Any) -> Callable[[Description, Tensors], None]:
    """An edit that sets one value of the description."""

    def edit(description: Description, tensors: Tensors) -> None:
        target: Any = description
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return edit


def drop(*keys: str | int) -> Callable[[Description, Tensors], None]:
    """An edit that removes one value of the description."""

    def edit(description: Description, tensors: Tensors) -> None:
        target: Any = description
        for key in keys[:-1]:
            target = target[key]
        del target[keys[-1]]

    return edit


EDITS = [
    (put("planes", value=1), r"firstspike must have the keys .* not missing \[\] and unknown \['planes'\]"),
    (drop("classes"), r"firstspike must have the keys .* not missing \['classes'\]"),
    (put("code", value=[24, 4, 5]), r"code must be an object, not \[24, 4, 5\]"),
    (put("code", "kernel", value="exp"), r"code must have the keys .* unknown \['kernel'\]"),
    (put("code", "T", value="24"), "Code.T must be an int, not '24'"),
    (put("code", "T", value=True), "Code.T must be an int, not True"),
    (put("code", "T", value=0), r"Code.T must be in 1\.\.255, not 0"),
    (put("code", "tau", value=3), "Code.tau must be a power of two, not 3"),
    (put("code", "mantissa_bits", value=1), "fall strictly with t"),
    (
        put("code", "mantissa_bits", value=6),
        r"tensor 'kernel_mantissas' must be as computed .* \[64, 54, 45, 38\], not",
    ),
    (put("code", "T", value=23), r"tensor 'a.thresholds' must be int64 of shape \(23,\), not int64 of \(24,\)"),
    (put("code", "tau", value=8), r"tensor 'kernel_mantissas' must be int64 of shape \(8,\), not int64 of \(4,\)"),
    (drop("weights", "bits"), r"weights must have the keys .* missing \['bits'\]"),
    (put("weights", "bits", value=None), "LogWeights.bits must be an int, not None"),
    (put("weights", "bits", value=4), r"tensor 'a.codes' must be uint8 of shape \(36,\), not uint8 of \(45,\)"),
    (put("weights", "mantissa_bits", value=4), "tensor 'weight_mantissas' must be as computed"),
    (put("weights", "levels_per_octave", value=1), r"tensor 'weight_mantissas' must be int64 of shape \(1,\)"),
    (put("accumulator_bits", value="32"), "Network.accumulator_bits must be an int, not '32'"),
    (put("accumulator_bits", value=49), r"Network.accumulator_bits must be in 8\.\.48, not 49"),
    (put("accumulator_bits", value=24), "layer 'a': the membrane must fit 24 bits"),
    (put("input_shape", value=[2, 5]), r"Network.input_shape must have 1 or 3 axes, not \(2, 5\)"),
    (put("input_shape", value=[2, 5, 0]), r"Network.input_shape must be in 1\.\.65536, not 0"),
    (put("input_shape", value=[2, 5, "4"]), "input_shape must be a list of up to 8 integers from 0"),
    (put("input_shape", value=40), "input_shape must be a list of up to 8 integers from 0, not 40"),
    (put("input_shape", value=[3, 5, 4]), r"layer 'a': input shape must be \(2, height, width\), not \(3, 5, 4\)"),
    (put("input_shape", value=[2, 5, 5]), r"layer 'out': input shape must be \(36,\), not \(48,\)"),
    (put("classes", value=["a"]), "Network.classes must name all 3 logits, not 1"),
    (put("classes", value=["a", "b", 3]), "classes must be text, not 3"),
    (put("classes", value="abc"), "classes must be a list, not 'abc'"),
    (put("layers", value={}), "layers must be a list, not {}"),
    (put("layers", value=[]), r"Network.layers must hold 1\.\.4096 layers, not 0"),
    (put("layers", 0, value=None), "layer must be an object, not None"),
    (
        put("layers", 0, "kind", value="conv3d"),
        "layer kind must be one of conv2d, linear, maxpool2d, flatten, not 'conv3d'",
    ),
    (put("layers", 0, "kind", value=["conv2d"]), r"layer kind must be one of .* not \['conv2d'\]"),
    (
        put("layers", 0, "kind", value="linear"),
        r"layer 'a' must have the keys .* unknown \['groups', 'padding', 'stride'\]",
    ),
    (drop("layers", 0, "name"), "layer name must be text, not None"),
    (put("layers", 0, "name", value=""), "tensor '.codes' must be there, not only"),
    (put("layers", 0, "name", value="z"), "tensor 'z.codes' must be there, not only"),
    (put("layers", 1, "name", value="a"), "layer names must be unique .* not 'a'"),
    (put("layers", 1, "name", value="input"), "layer names must be unique .* not 'input'"),
    (put("layers", 1, "name", value=1), "layer name must be text, not 1"),
    (put("layers", 1, "source", value="b"), "layer 'pool': it must read an earlier layer, not 'b'"),
    (put("layers", 1, "source", value=None), "layer 'pool': source must be text, not None"),
    (put("layers", 1, "dilation", value=1), r"layer 'pool' must have the keys .* unknown \['dilation'\]"),
    (put("layers", 1, "kernel", value=[0, 2]), r"layer 'pool': kernel must be in 1\.\.65536, not 0"),
    (put("layers", 1, "kernel", value=[9, 9]), r"layer 'pool': window \(9, 9\) must fit its padded input"),
    (put("layers", 1, "stride", value=[2]), r"layer 'pool': stride must be a list of 2 integers from 0, not \[2\]"),
    (put("layers", 1, "stride", value=[0, 1]), r"layer 'pool': stride must be in 1\.\.65536, not 0"),
    (put("layers", 1, "padding", value=[-1, 0]), "layer 'pool': padding must be a list of 2 integers from 0"),
    (
        put("layers", 1, "padding", value=[1 << 63, 0]),
        r"layer 'pool': padding must be in 0\.\.65536, not 9223372036854",
    ),
    (put("layers", 0, "scale", value="1"), "layer 'a': scale must be an int, not '1'"),
    (put("layers", 0, "scale", value=257), r"layer 'a': scale must be in -256\.\.256, not 257"),
    (put("layers", 0, "scale", value=3), "tensor 'a.thresholds' must be as computed from the parameters"),
    (
        put("layers", 0, "shape", value=[4, 2, 9]),
        r"layer 'a': shape must be a list of 4 integers from 0, not \[4, 2, 9\]",
    ),
    (put("layers", 0, "shape", value=[4, 0, 3, 3]), r"layer 'a': shape must hold 1\.\.134217728 weights, not"),
    (
        put("layers", 0, "shape", value=[2, 4, 3, 3]),
        r"tensor 'a.bias' must be int64 of shape \(2,\), not int64 of \(4,\)",
    ),
    (put("layers", 0, "groups", value=0), r"layer 'a': groups must be in 1\.\.4, not 0"),
    (put("layers", 0, "groups", value=3), "layer 'a': groups must divide 4 outputs, not 3"),
    (put("layers", 0, "groups", value=[1]), r"layer 'a': groups must be an int, not \[1\]"),
    (put("layers", 0, "fires", value=1), "layer 'a': fires must be true or false, not 1"),
    (put("layers", 0, "fires", value=False), "layer 'a': only the last layer may be a read-out"),
    (put("layers", 5, "fires", value=True), "the last layer must be a read-out"),
    (put("layers", 0, "residuals", value="pool"), "layer 'a': residuals must be a list, not 'pool'"),
    (put("layers", 0, "residuals", value=[1]), "layer 'a': residuals must be text, not 1"),
    (put("layers", 0, "residuals", value=["pool"]), "layer 'a': it must read an earlier layer, not 'pool'"),
    (put("layers", 0, "residuals", value=["input"]), "layer 'a': residual 'input' must have shape"),
]


@pytest.mark.parametrize(("edit", "text"), EDITS)
def test_descriptions_that_are_refused(edit: Callable[[Description, Tensors], None], text: str, path: Path) -> None:
    forge_small(path, edit)
    refused(path, text)


def test_any_value_anywhere(path: Path) -> None:
    """Every value of the description replaced by one of every JSON type: a value of another type is refused."""
    save(small_network(), path)
    description, tensors, _ = parts(path)
    places: list[tuple[tuple[str | int, ...], Any]] = []

    def walk(value: Any, keys: tuple[str | int, ...]) -> None:
        places.append((keys, value))
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, entry in items:
            walk(entry, (*keys, key))

    walk(description, ())
    assert len(places) > 90
    for keys, old in places[1:]:
        for value in (None, True, -1, 10**19, "x", [], {}, [[1]], {"T": 1}):
            changed = deepcopy(description)
            put(*keys, value=value)(changed, tensors)
            forge(path, changed, tensors)
            try:
                load(path)
                accepted = True
            except FormatError:
                accepted = False
            assert not (accepted and type(value) is not type(old)), (keys, value)


# ---- the tensors --------------------------------------------------------------------------------------------------


def change(name: str, make: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Description, Tensors], None]:
    """An edit that replaces one tensor, or removes it."""

    def edit(description: Description, tensors: Tensors) -> None:
        made = make(tensors.pop(name))
        if made is not None:
            tensors[name] = made

    return edit


def more(index: int) -> Callable[[np.ndarray], np.ndarray]:
    def make(tensor: np.ndarray) -> np.ndarray:
        tensor[index] += 1
        return tensor

    return make


TENSORS = [
    (change("a.codes", lambda t: None), "tensor 'a.codes' must be there, not only"),
    (change("a.bias", lambda t: None), "tensor 'a.bias' must be there, not only"),
    (change("a.thresholds", lambda t: None), "tensor 'a.thresholds' must be there, not only"),
    (change("kernel_mantissas", lambda t: None), "tensor 'kernel_mantissas' must be there, not only"),
    (change("a.codes", lambda t: t[:-1]), r"tensor 'a.codes' must be uint8 of shape \(45,\), not uint8 of \(44,\)"),
    (change("a.codes", lambda t: t.astype(np.int64)), r"tensor 'a.codes' must be uint8 of shape \(45,\), not int64"),
    (change("a.codes", lambda t: t.reshape(5, 9)), r"tensor 'a.codes' must be uint8 of shape \(45,\), not .* \(5, 9\)"),
    (change("a.bias", lambda t: t[:, None]), r"tensor 'a.bias' must be int64 of shape \(4,\), not int64 of \(4, 1\)"),
    (change("a.bias", lambda t: t.astype(np.uint8)), r"tensor 'a.bias' must be int64 of shape \(4,\), not uint8"),
    (change("a.bias", lambda t: t + (1 << 40)), "layer 'a': the membrane must fit 33 bits"),
    (change("a.bias", lambda t: t + (1 << 62)), "layer 'a': the membrane must fit 33 bits"),
    (change("a.thresholds", more(23)), r"tensor 'a.thresholds' must be as computed from the parameters, \[4194304, "),
    (change("kernel_mantissas", more(1)), r"'kernel_mantissas' must be as computed .* \[32, 27, .*, not \[32, 28"),
    (change("weight_mantissas", more(0)), r"'weight_mantissas' must be as computed .*\[32, 23\], not \[33, 23\]"),
    (lambda d, t: t.update(extra=np.zeros(3, np.uint8)), r"tensors must be those of the layers, not also \['extra'\]"),
    (lambda d, t: t.update({"out.thresholds": t["a.thresholds"]}), r"not also \['out.thresholds'\]"),
]


@pytest.mark.parametrize(("edit", "text"), TENSORS)
def test_tensors_that_are_refused(edit: Callable[[Description, Tensors], None], text: str, path: Path) -> None:
    forge_small(path, edit)
    refused(path, text)


def test_padding_bits_are_zero(path: Path) -> None:
    """108 codes of 5 bits end in 4 padding bits; each of them must be 0, and no other bit need be."""
    for bit in range(8):

        def edit(description: Description, tensors: Tensors, bit: int = bit) -> None:
            assert tensors["out.codes"].size * 8 - 108 * 5 == 4
            tensors["out.codes"][-1] |= 1 << bit

        forge_small(path, edit)
        if bit >= 4:
            refused(path, "tensor 'out.codes': the last 4 bits must be 0, not 0b")
        else:
            load(path)


def test_both_zeros_are_read(path: Path) -> None:
    """Writers use sign 0 for a weight of zero; a reader keeps what it finds."""
    network = small_network()
    vars(network.layers[0])["codes"][0, 0, 0] = [15, 31, 15]
    save(network, path)
    assert load(path).synaptic[0].codes[0, 0, 0].tolist() == [15, 31, 15]
