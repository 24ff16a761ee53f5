"""The model file: what is saved comes back, to the bit, and as the page docs/reference/model-file.md says."""

import errno
import os
import re
import resource
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.networks import networks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from firstspike.arith import Code, LogWeights, integer_kernel, planes_kernel
from firstspike.spec import (
    INPUT,
    Channels,
    Conv2d,
    Flatten,
    FormatError,
    Linear,
    Network,
    PixelShuffle,
    fingerprint,
    load,
    save,
)
from firstspike.spec.codes import pack, packed_size, unpack
from firstspike.spec.file import read_notes
from spec.model_files import forge, parts, same, small_network

FORMAT = Path(__file__).parents[2] / "docs" / "reference" / "model-file.md"
SHARED_FOLDER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files that no crash need survive."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.usefixtures("_no_sync")
def test_a_fingerprint_is_that_of_the_file_without_notes(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    found = fingerprint(small_network())
    save(small_network(), path)
    with safe_open(path, "np") as file:
        assert file.metadata()["sha256"] == found
    save(small_network(), path, notes={"recipe": "digits"})
    with safe_open(path, "np") as file:
        assert file.metadata()["sha256"] != found
    assert fingerprint(load(path)) == found
    for change in ("codes", "bias"):
        other = small_network()
        vars(other.layers[0])[change].flat[0] ^= 1
        assert fingerprint(other) != found


@pytest.mark.usefixtures("_no_sync")
@settings(SHARED_FOLDER, max_examples=150)
@given(network=networks())
def test_round_trip(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(network, path)
    found = load(path)
    assert same(found, network)
    first = path.read_bytes()
    save(found, path)
    assert path.read_bytes() == first
    assert read_notes(path) == {}


def test_same_sees_differences(tmp_path: Path) -> None:
    """The comparison that all tests here lean on is not blind."""
    path = tmp_path / "net.safetensors"
    save(small_network(), path)
    assert same(load(path), small_network())
    for change in ("codes", "bias"):
        other = small_network()
        vars(other.layers[0])[change].flat[0] ^= 1
        assert not same(other, small_network())


@given(
    codes=st.lists(st.integers(0, 255), min_size=1, max_size=40),
    bits=st.integers(2, 8),
)
def test_packing_is_a_little_endian_number(codes: list[int], bits: int) -> None:
    """All codes together are one integer: code ``i`` times ``2^(bits i)``."""
    codes = [code % (1 << bits) for code in codes]
    number = sum(code << (bits * i) for i, code in enumerate(codes))
    packed = pack(np.array(codes, dtype=np.uint8), bits)
    assert packed.tobytes() == number.to_bytes(packed_size(len(codes), bits), "little")
    assert unpack(packed, bits, len(codes)).tolist() == codes


@pytest.mark.parametrize("bits", range(2, 9))
def test_packing_in_chunks(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (7, 31), dtype=np.uint8)
    whole = pack(codes, bits)
    monkeypatch.setattr("firstspike.spec.codes._GROUPS", 2)
    assert np.array_equal(pack(codes, bits), whole)
    assert np.array_equal(unpack(whole, bits, codes.size).reshape(7, 31), codes)


def test_notes(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    notes = {"recipe": "40 epochs, clip → ttfs", "accuracy": "0.98", "": "no name"}
    save(small_network(), path, notes=notes)
    assert read_notes(path) == notes
    assert same(load(path), small_network())
    first = path.read_bytes()
    save(small_network(), path, notes=dict(reversed(notes.items())))
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("notes", "error", "text"),
    [
        ({"n": 3}, TypeError, "note must be text, not 3"),
        ({3: "n"}, TypeError, "name of a note must be text, not 3"),
        ({"n": "\ud800"}, ValueError, r"note must be text that UTF-8 can write, not '\\ud800'"),
        ({"n": "x" * (1 << 20)}, ValueError, "notes must have at most 1048576 characters as JSON, not 1048584"),
    ],
)
def test_notes_that_are_refused(notes: Any, error: type[Exception], text: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=text):
        save(small_network(), tmp_path / "net.safetensors", notes=notes)
    assert list(tmp_path.iterdir()) == []


def test_the_library_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(small_network(), path)
    description, tensors, metadata = parts(path)
    assert description["format_version"] == 1  # all that this network has
    found = load_file(path)
    assert sorted(found) == sorted(tensors)
    assert all(
        np.array_equal(found[name], tensors[name]) and found[name].dtype == tensors[name].dtype for name in found
    )
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == metadata


def with_planes() -> Network:
    """The small network with input planes."""
    network = small_network()
    return replace(network, code=Code(T=16, input="planes"))


@pytest.mark.usefixtures("_no_sync")
def test_a_version_is_the_oldest_that_says_all(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(with_planes(), path)
    description, tensors, _ = parts(path)
    assert (description["format_version"], description["code"]["input"]) == (2, "planes")
    assert same(load(path), with_planes())
    assert fingerprint(load(path)) != fingerprint(replace(with_planes(), code=Code(T=16)))
    # version 2 can also say what version 1 says, and version 1 has no planes
    save(small_network(), path)
    description, tensors, _ = parts(path)
    forge(path, description | {"format_version": 2, "code": description["code"] | {"input": "spike"}}, tensors)
    assert same(load(path), small_network())
    forge(path, description | {"code": description["code"] | {"input": "planes"}}, tensors)
    with pytest.raises(FormatError, match=r"code must have the keys .* unknown \['input'\]"):
        load(path)


def test_a_file_that_the_library_wrote(tmp_path: Path) -> None:
    """Order of tensors and metadata is the writer's own business."""
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    save(small_network(), ours, notes={"by": "us"})
    _, tensors, metadata = parts(ours)
    save_file(tensors, theirs, metadata=metadata)
    assert same(load(theirs), small_network())
    assert read_notes(theirs) == {"by": "us"}


def test_size_is_that_of_the_packed_codes(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    network = small_network()
    save(network, path)
    numbers = sum(packed_size(layer.codes.size, 5) + 8 * layer.outputs for layer in network.synaptic)
    numbers += 8 * (4 + 2) + 3 * 8 * 24  # tables, thresholds
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert path.stat().st_size == 8 + header + numbers


# ---- the page -----------------------------------------------------------------------------------------------------


def documented_reader() -> Any:
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", FORMAT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {}
    exec(compile(snippet, str(FORMAT), "exec"), namespace)
    return namespace["read"]


@pytest.mark.usefixtures("_no_sync")
@settings(SHARED_FOLDER, max_examples=60)
@given(network=networks())
def test_the_reader_on_the_page(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(network, path, notes={"note": "ü"})
    found = documented_reader()(path)
    assert tuple(found["input_shape"]) == network.input_shape
    assert tuple(found["classes"]) == network.classes
    assert found["accumulator_bits"] == network.accumulator_bits
    assert np.array_equal(found["spike_values"], integer_kernel(network.code))
    if network.code.planes:
        assert np.array_equal(found["pixel_values"], planes_kernel(network.code))
    assert [layer["name"] for layer in found["layers"]] == [layer.name for layer in network.layers]
    for layer in network.synaptic:
        read = next(entry for entry in found["layers"] if entry["name"] == layer.name)
        for entry, connection in zip([read, *read.get("parts", [])], layer.connections, strict=True):
            assert np.array_equal(entry["codes"], connection.codes)
            assert np.array_equal(entry["weights"], network.integer_weights(layer, connection)[connection.codes])
        assert np.array_equal(read["bias"], layer.bias)
        assert read["shifts"].tolist() == layer.channel_shifts.tolist()
        assert read["G"] == network.exponent(layer)
        if layer.fires:
            assert np.array_equal(read["thresholds"], network.thresholds(layer))
        else:
            assert read["thresholds"] is None


def test_the_reader_on_the_page_sees_damage(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(small_network(), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        documented_reader()(path)


def test_the_page_names_every_field(tmp_path: Path) -> None:
    page = FORMAT.read_text(encoding="utf-8")
    save(with_planes(), tmp_path / "net.safetensors")
    description, tensors, metadata = parts(tmp_path / "net.safetensors")
    names = {*description, *description["code"], *description["weights"], *metadata, "kernel_mantissas", "notes"}
    for layer in description["layers"]:
        names |= set(layer)
    names |= {name.replace("out.", "LAYER.") for name in tensors if name.startswith("out.")}
    assert [name for name in sorted(names) if name not in page] == []


# ---- writing ------------------------------------------------------------------------------------------------------


def test_replaces_a_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    save(small_network(), path)
    assert same(load(path), small_network())
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    before = os.umask(0o027)
    try:
        save(small_network(), path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_writes_through_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    save(small_network(), link)
    assert link.is_symlink()
    assert same(load(link), load(target))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_keeps_the_old_file(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*/net\.safetensors'"):
        save(small_network(), path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_limit_of_the_system_keeps_the_old_file(tmp_path: Path) -> None:
    """A real short write: the process may not write files of more than 1000 bytes."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/net\.safetensors'"):
            save(small_network(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(small_network(), tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing/net\.safetensors"):
        save(small_network(), tmp_path / "missing" / "net.safetensors")
    with pytest.raises(ValueError, match="a model file must be a regular file, not a folder or device"):
        save(small_network(), tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: a model file must be a regular file"):
        save(small_network(), tmp_path / "pipe")
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_arrays_that_changed_are_checked_again(tmp_path: Path) -> None:
    network = small_network()
    vars(network.synaptic[0])["codes"][0, 0, 0, 0] = 32
    with pytest.raises(ValueError, match="layer 'a': codes must have 5 bits, not 32"):
        save(network, tmp_path / "net.safetensors")
    network = small_network()
    network.synaptic[1].bias[2] = 1 << 40
    with pytest.raises(ValueError, match="layer 'b': the membrane must fit 33 bits"):
        save(network, tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_files_too_large_to_be_read_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    save(small_network(), path)
    size, header = path.stat().st_size, int.from_bytes(path.read_bytes()[:8], "little")
    path.unlink()
    monkeypatch.setattr("firstspike.spec.container.MAX_FILE", size - 1)
    with pytest.raises(ValueError, match=rf"net\.safetensors: file must have at most {size - 1} bytes, not {size}$"):
        save(small_network(), path)
    monkeypatch.setattr("firstspike.spec.container.MAX_HEADER", header - 1)
    with pytest.raises(ValueError, match=rf"header must have at most {header - 1} bytes, not {header}$"):
        save(small_network(), path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    """The caller's name, not that of the temporary file, and nothing after it."""
    path = tmp_path / "nowhere" / "net.safetensors"
    with pytest.raises(FileNotFoundError) as raised:
        save(small_network(), path)
    assert str(raised.value) == f"[Errno 2] No such file or directory: {str(path)!r}"


# ---- several sources ----------------------------------------------------------------------------------------------


def with_parts() -> Network:
    """A small network with a part, and channels of two maps."""
    rng = np.random.default_rng(1)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(0, 32, shape, dtype=np.uint8)

    zeros = np.zeros(4, dtype=np.int64)
    first = Conv2d(name="a", source=INPUT, codes=codes(4, 2, 3, 3), scale=1, bias=zeros, padding=(1, 1))
    mixed = Channels(name="m", source="a", others=(INPUT,), channels=(5, -1, 0))
    part = Conv2d(name="p", source="m", codes=codes(4, 3, 1, 1), scale=7, bias=zeros, fires=False, stride=(2, 1))
    last = Conv2d(
        name="out", source="a", codes=codes(4, 4, 2, 1), scale=2, bias=zeros, fires=False, stride=(2, 1), parts=(part,)
    )
    return Network(
        code=Code(), weights=LogWeights(), input_shape=(2, 6, 3), layers=(first, mixed, last), accumulator_bits=40
    )


@pytest.mark.usefixtures("_no_sync")
def test_parts_are_in_version_two_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(with_parts(), path)
    description, tensors, _ = parts(path)
    assert description["format_version"] == 2
    assert set(description["layers"][2]["parts"][0]) == {
        "kind",
        "name",
        "source",
        "scale",
        "shape",
        "stride",
        "padding",
        "groups",
    }
    assert "p.bias" not in tensors and "p.thresholds" not in tensors
    assert same(load(path), with_parts())
    page = FORMAT.read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for layer in description["layers"] for name in layer)


@pytest.mark.usefixtures("_no_sync")
@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (
            lambda d: d.update(format_version=1) or d["code"].pop("input"),
            "layer kind must be one of .*, not 'channels'",
        ),
        (lambda d: d["layers"][2].update(parts=[]), "parts must hold at least one part where they are there"),
        (
            lambda d: d["layers"][2]["parts"][0].update(kind="flatten"),
            "a part must be of kind conv2d or linear, not 'flatten'",
        ),
        (
            lambda d: d["layers"][2]["parts"][0].update(fires=False),
            r"layer 'p' must have the keys .* unknown \['fires'\]",
        ),
        (lambda d: d["layers"][2]["parts"][0].update(name="a"), "tensor 'a.codes' must be there"),
        (lambda d: d["layers"][2]["parts"][0].update(source="b"), "it must read an earlier layer, not 'b'"),
        (
            lambda d: d["layers"][2]["parts"][0].update(stride=[1, 1]),
            r"part 'p' must have shape \(4, 3, 3\), not \(4, 6, 3\)",
        ),
        (
            lambda d: d["layers"][2]["parts"][0].update(scale=99),
            "must leave products of at most 62 bits|must fit 40 bits",
        ),
        (lambda d: d["layers"][1].update(channels=[6]), "channels must be below 6, not 6"),
        (lambda d: d["layers"][1].update(channels=[-2]), r"channels must be in -1\.\.16777216, not -2"),
        (lambda d: d["layers"][1].update(channels=[]), "channels must hold 1..65536 entries, not 0"),
        (lambda d: d["layers"][1].update(others=["x"]), "it must read an earlier layer, not 'x'"),
    ],
)
def test_parts_that_are_refused(edit: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(with_parts(), path)
    description, tensors, _ = parts(path)
    edit(description)
    forge(path, description, tensors)
    with pytest.raises(FormatError, match=text):
        load(path)


# ---- dilation, pixels of channels, several outputs ----------------------------------------------------------------


def with_kinds() -> Network:
    """A dilated convolution with a dilated part, channels that become pixels, two outputs."""
    rng = np.random.default_rng(2)

    def conv(name: str, source: str, *shape: int, **fields: Any) -> Conv2d:
        codes = rng.integers(0, 32, shape, dtype=np.uint8)
        return Conv2d(name=name, source=source, codes=codes, scale=1, bias=np.zeros(shape[0], dtype=np.int64), **fields)

    part = conv("p", INPUT, 4, 2, 3, 3, padding=(1, 2), dilation=(1, 2), fires=False)
    first = conv("a", INPUT, 4, 2, 3, 3, padding=(3, 1), dilation=(3, 1), parts=(part,))
    pixels = PixelShuffle(name="x", source="a", factor=(2, 1))
    last = conv("out", "x", 5, 2, 2, 1, stride=(2, 1), fires=False)
    return Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(2, 6, 3),
        layers=(first, pixels, last),
        accumulator_bits=40,
        heads=(("class", 3), ("box", 2)),
    )


@pytest.mark.usefixtures("_no_sync")
def test_fields_stand_only_where_they_say_something(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(with_kinds(), path)
    description, _, _ = parts(path)
    assert description["format_version"] == 2
    first, pixels, last = description["layers"]
    assert (first["dilation"], first["parts"][0]["dilation"], pixels["factor"]) == ([3, 1], [1, 2], [2, 1])
    assert "dilation" not in last and description["heads"] == [["class", 3], ["box", 2]]
    assert same(load(path), with_kinds()) and load(path).heads == with_kinds().heads
    page = FORMAT.read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for layer in description["layers"] for name in (*layer, "heads"))


@pytest.mark.usefixtures("_no_sync")
@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda d: d["layers"][0].update(dilation=[1, 1]), r"dilation must be above 1 where it is there, not \[1, 1\]"),
        (lambda d: d["layers"][0].update(dilation=[0, 1]), "dilation must be in 1..65536, not 0"),
        (lambda d: d["layers"][0].update(dilation=[9, 1]), r"window \(19, 3\) must fit its padded input"),
        (lambda d: d["layers"][0].update(padding=[7, 1]), r"padding must be below the kernel's size \(7, 3\)"),
        (lambda d: d["layers"][0]["parts"][0].update(dilation=[1]), "dilation must"),
        (lambda d: d["layers"][1].update(factor=[3, 1]), "input must have 3 or a multiple of channels"),
        (lambda d: d["layers"][1].update(factor=[0, 1]), "factor must be in 1..65536, not 0"),
        (lambda d: d.update(heads=[]), "heads must hold at least one head where they are there"),
        (lambda d: d.update(heads=[["class", 3]]), "heads must share the read-out's 5 channels"),
        (lambda d: d.update(heads=[["class", 3], ["class", 2]]), "heads must have names of their own"),
        (lambda d: d.update(heads=[["class", 5, 1]]), "a head must be a name and a number of channels"),
        (lambda d: d.update(heads=[[5, "class"]]), "name of a head must be"),
        (lambda d: d.update(heads=[["class", True], ["box", 4]]), "heads: 'class' must be"),
        (lambda d: d.update(format_version=1) or d["code"].pop("input"), "unknown \\['heads'\\]"),
    ],
)
def test_kinds_that_are_refused(edit: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(with_kinds(), path)
    description, tensors, _ = parts(path)
    edit(description)
    forge(path, description, tensors)
    with pytest.raises(FormatError, match=text):
        load(path)


# ---- a scale for each output channel ------------------------------------------------------------------------------


def with_shifts(shifts: tuple[int, ...] = (0, 7, 3, 1)) -> Network:
    """A part, a layer with shifts that adds it, and a read-out."""
    network = small_network()
    first, pool = network.layers[:2]
    assert isinstance(first, Conv2d)
    part = replace(first, name="p", bias=np.zeros(4, np.int64), fires=False)
    last = Linear(
        name="out", source="flat", codes=np.full((2, 36), 3, np.uint8), scale=0, bias=np.zeros(2, np.int64), fires=False
    )
    return replace(
        network,
        layers=(replace(first, parts=(part,), shifts=shifts), pool, Flatten(name="flat", source="pool"), last),
        classes=(),
    )


@pytest.mark.usefixtures("_no_sync")
def test_shifts_stand_only_where_one_is_above_0(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(with_shifts(), path)
    description, _, _ = parts(path)
    assert description["format_version"] == 2
    assert [layer.get("shifts") for layer in description["layers"]] == [[0, 7, 3, 1], None, None, None]
    assert "shifts" not in description["layers"][0]["parts"][0]
    assert same(load(path), with_shifts())
    assert "`shifts`" in FORMAT.read_text(encoding="utf-8")
    assert fingerprint(with_shifts((0, 0, 0, 0))) == fingerprint(with_shifts(()))


@pytest.mark.usefixtures("_no_sync")
@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (
            lambda d: d["layers"][0].update(shifts=[0, 0, 0, 0]),
            r"shifts must hold one above 0 where they are there, not \[0,",
        ),
        (lambda d: d["layers"][0].update(shifts=[]), r"shifts must hold one above 0 where they are there, not \[\]"),
        (
            lambda d: d["layers"][0].update(shifts=[1, 2]),
            "shifts must hold one entry for each of 4 output channels, not 2",
        ),
        (lambda d: d["layers"][0].update(shifts=[1, 2, 3, 8]), "shifts must be in 0..7, not 8"),
        (lambda d: d["layers"][0].update(shifts=[1, 2, 3, -1]), "shifts must be in 0..7, not -1"),
        (lambda d: d["layers"][0].update(shifts=[1, 2, 3, True]), "shifts must be an int, not True"),
        (lambda d: d["layers"][0].update(shifts=3), "shifts must be a list, not 3"),
        (lambda d: d["layers"][0]["parts"][0].update(shifts=[1, 2, 3, 4]), r"unknown \['shifts'\]"),
        (lambda d: d["layers"][1].update(shifts=[1, 2, 3, 4]), r"unknown \['shifts'\]"),
        (lambda d: d["layers"][3].update(shifts=[1, 0]), "shifts must be 0 in a layer with residuals or logits, not 1"),
        (lambda d: d.update(format_version=1) or d["code"].pop("input"), r"unknown \['parts', 'shifts'\]"),
    ],
)
def test_shifts_that_are_refused(edit: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(with_shifts(), path)
    description, tensors, _ = parts(path)
    edit(description)
    forge(path, description, tensors)
    with pytest.raises(FormatError, match=text):
        load(path)
