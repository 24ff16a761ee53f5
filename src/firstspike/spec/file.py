"""Model file: a network as integers in safetensors, versioned, checked when read, written whole or not at all.

The format is described in docs/reference/model-file.md, with a reader in plain Python and NumPy.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from firstspike.arith import Code, LogWeights
from firstspike.messages import brief, line
from firstspike.spec import container
from firstspike.spec.codes import PackedCodes, packed_size
from firstspike.spec.network import Channels, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, PixelShuffle, Synaptic

VERSION = 2
"""Newest format version that this release reads. A network is written in the oldest version that can say all of it."""

MAX_CODES = 1 << 27
"""Most weights of a layer in a file."""

MAX_NOTES = 1 << 20
"""Most characters of the notes as JSON text."""

_NETWORK = {"format_version", "code", "weights", "accumulator_bits", "input_shape", "classes", "layers"}
_CODE = {1: {"T", "tau", "mantissa_bits"}, 2: {"T", "tau", "mantissa_bits", "input"}}
_WEIGHTS = {"bits", "levels_per_octave", "mantissa_bits"}
_LAYERS = {
    "conv2d": {"kind", "name", "source", "residuals", "fires", "scale", "shape", "stride", "padding", "groups"},
    "linear": {"kind", "name", "source", "residuals", "fires", "scale", "shape"},
    "maxpool2d": {"kind", "name", "source", "kernel", "stride", "padding"},
    "flatten": {"kind", "name", "source"},
    "channels": {"kind", "name", "source", "others", "channels"},
    "pixelshuffle": {"kind", "name", "source", "factor"},
}
_SINCE_2 = ("channels", "pixelshuffle")
_OPTIONAL = {"conv2d": {"parts", "dilation", "shifts"}, "linear": {"parts", "shifts"}}
"""Fields of version 2 that stand only where they say something."""

_WEIGHTED = {"conv2d": 4, "linear": 2}


class FormatError(ValueError):
    """A model file breaks a rule of the format; the text names the file, the rule and the value."""


def save(network: Network, path: str | os.PathLike[str], *, notes: Mapping[str, str] | None = None) -> None:
    """Write a network to one file. The same network and notes give the same bytes.

    The file appears under its name when all of it is on the disk; until then, and after an error, an older file of
    that name stays as it was.

    Args:
        network: what to write.
        path: the file; its folder must exist.
        notes: free text (recipe, accuracy ...) that nothing is computed from.

    Raises:
        OSError: the file cannot be written.
        TypeError, ValueError: a name or note is no text, or an array was changed so that the network breaks a rule.
    """
    network = replace(network)  # its arrays may have changed since it was built: all checks again
    metadata = {"firstspike": container.dump(_describe(network))}
    if notes:
        checked = {container.text("name of a note", name): container.text("note", note) for name, note in notes.items()}
        metadata["notes"] = container.dump(dict(sorted(checked.items())))
        _check_notes_size(metadata["notes"])
    tensors = _tensors(network)
    metadata["sha256"] = _digest(metadata, tensors)
    container.write(path, metadata, tensors)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network and verify it: container, version, checksum, fields, tables, thresholds, shapes, overflow bounds.

    Raises:
        FormatError: the file breaks a rule.
        OSError: the file cannot be read.
    """
    try:
        description, _, tensors = _read(path)
        return _network(description, tensors)
    except (TypeError, ValueError) as error:
        raise FormatError(line(f"{os.fspath(path)}: {error}")) from None


def read_notes(path: str | os.PathLike[str]) -> dict[str, str]:
    """The free text that was saved with a network. Container, version and checksum are verified, the network is not.

    Raises:
        FormatError: the file breaks a rule.
        OSError: the file cannot be read.
    """
    try:
        return _read(path)[1]
    except (TypeError, ValueError) as error:
        raise FormatError(line(f"{os.fspath(path)}: {error}")) from None


def fingerprint(network: Network) -> str:
    """SHA-256, in hexadecimal, of all that a network computes from: that of its file if it is saved without notes."""
    return _digest({"firstspike": container.dump(_describe(network))}, _tensors(network))


def _check_notes_size(notes: str) -> None:
    if len(notes) > MAX_NOTES:
        raise ValueError(f"notes must have at most {MAX_NOTES} characters as JSON, not {len(notes)!r}")


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the texts ``firstspike`` and ``notes``, then every tensor's bytes in the order of names."""
    digest = hashlib.sha256()
    for key in ("firstspike", "notes"):
        digest.update(metadata.get(key, "").encode("utf-8"))
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name], dtype=tensors[name].dtype.newbyteorder("<"))
        digest.update(tensor.reshape(-1).data)
    return digest.hexdigest()


# ---- network -> description and tensors ---------------------------------------------------------------------------


def _version(network: Network) -> int:
    """The oldest format version that can say all of a network."""
    more = any(layer.kind in _SINCE_2 or getattr(layer, "parts", ()) for layer in network.layers)
    dilated = any(getattr(connection, "dilation", (1, 1)) != (1, 1) for connection in network.connections)
    shifted = any(any(layer.shifts) for layer in network.synaptic)
    return 2 if network.code.planes or network.heads or more or dilated or shifted else 1


def _describe(network: Network) -> dict[str, Any]:
    code, weights, version = network.code, network.weights, _version(network)
    fields: dict[str, Any] = {"T": code.T, "tau": code.tau, "mantissa_bits": code.mantissa_bits}
    description = {
        "format_version": version,
        "code": fields | {"input": code.input} if version > 1 else fields,
        "weights": {
            "bits": weights.bits,
            "levels_per_octave": weights.levels_per_octave,
            "mantissa_bits": weights.mantissa_bits,
        },
        "accumulator_bits": network.accumulator_bits,
        "input_shape": list(network.input_shape),
        "classes": [container.text("class name", name) for name in network.classes],
        "layers": [_describe_layer(layer) for layer in network.layers],
    }
    if network.heads:
        description["heads"] = [[container.text("name of a head", name), size] for name, size in network.heads]
    return description


def _describe_layer(layer: Layer) -> dict[str, Any]:
    name = container.text("layer name", layer.name)
    fields: dict[str, Any] = {"kind": layer.kind, "name": name, "source": layer.source}
    if isinstance(layer, Synaptic):
        fields |= {"residuals": list(layer.residuals), "fires": layer.fires, "scale": layer.scale}
        fields["shape"] = list(layer.weight_shape)
    if isinstance(layer, Conv2d):
        fields |= {"stride": list(layer.stride), "padding": list(layer.padding), "groups": layer.groups}
    if isinstance(layer, MaxPool2d):
        fields |= {"kernel": list(layer.kernel), "stride": list(layer.stride), "padding": list(layer.padding)}
    if isinstance(layer, Channels):
        fields |= {"others": list(layer.others), "channels": list(layer.channels)}
    if isinstance(layer, PixelShuffle):
        fields["factor"] = list(layer.factor)
    if set(fields) != _LAYERS.get(layer.kind):
        raise TypeError(f"layer {name!r}: kind must be one that the format has, not {type(layer).__name__!r}")
    if isinstance(layer, Conv2d) and layer.dilation != (1, 1):
        fields["dilation"] = list(layer.dilation)
    if isinstance(layer, Synaptic) and layer.parts:
        fields["parts"] = [_describe_part(part) for part in layer.parts]
    if isinstance(layer, Synaptic) and any(layer.shifts):
        fields["shifts"] = list(layer.shifts)
    return fields


def _describe_part(part: Synaptic) -> dict[str, Any]:
    return {key: value for key, value in _describe_layer(part).items() if key not in ("residuals", "fires")}


def _tensors(network: Network) -> dict[str, np.ndarray]:
    tensors = _tables(network.code, network.weights)
    for layer in network.synaptic:
        for connection in layer.connections:
            tensors[f"{connection.name}.codes"] = connection.packed(network.weights.bits)
        tensors[f"{layer.name}.bias"] = layer.bias
        if layer.fires:
            tensors[f"{layer.name}.thresholds"] = network.thresholds(layer)
    return tensors


def _tables(code: Code, weights: LogWeights) -> dict[str, np.ndarray]:
    return {
        "kernel_mantissas": np.array(code.mantissas, dtype=np.int64),
        "weight_mantissas": np.array(weights.mantissas, dtype=np.int64),
    }


# ---- file -> network ----------------------------------------------------------------------------------------------


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, str], dict[str, np.ndarray]]:
    """Description, notes and tensors of a file of this version whose checksum is right."""
    description: dict[str, Any] = {}

    def accept(metadata: dict[str, str]) -> None:
        if "firstspike" not in metadata:
            raise ValueError(f"metadata must have the key 'firstspike', not {sorted(metadata)!r}: is it a model file?")
        description.update(container.mapping("firstspike", container.parse("firstspike", metadata["firstspike"])))
        version = description.get("format_version")
        if type(version) is not int or version < 1:
            raise ValueError(f"format_version must be an integer from 1, not {brief(version)}")
        if version > VERSION:
            raise ValueError(
                f"format_version must be at most {VERSION}, the newest that this release reads, not {version!r}"
            )
        container.keys("metadata", {"notes": "", **metadata}, {"firstspike", "notes", "sha256"})

    metadata, tensors = container.read(path, accept)
    found = _digest(metadata, tensors)
    if metadata["sha256"] != found:
        raise ValueError(f"sha256 must be {found}, not {brief(metadata['sha256'])}: the file is damaged")
    notes: dict[str, str] = {}
    if "notes" in metadata:
        _check_notes_size(metadata["notes"])
        notes = container.mapping("notes", container.parse("notes", metadata["notes"]))
        for name, note in notes.items():
            container.text("name of a note", name)
            container.text(f"note {name!r}", note)
    return description, notes, tensors


def _network(description: dict[str, Any], tensors: dict[str, np.ndarray]) -> Network:
    version = description["format_version"]
    container.keys("firstspike", description, _NETWORK | ({"heads"} & set(description) if version > 1 else set()))
    entry = container.keys("code", description["code"], _CODE[version])
    code = Code(**entry)
    entry = container.keys("weights", description["weights"], _WEIGHTS)
    weights = LogWeights(
        bits=entry["bits"], levels_per_octave=entry["levels_per_octave"], mantissa_bits=entry["mantissa_bits"]
    )
    for name, table in _tables(code, weights).items():
        _expect(name, _take(tensors, name, np.int64, table.shape), table)
    network = Network(
        code=code,
        weights=weights,
        input_shape=container.integers("input_shape", description["input_shape"]),
        layers=tuple(_layer(entry, version, weights, tensors) for entry in _list("layers", description["layers"])),
        accumulator_bits=description["accumulator_bits"],
        classes=_texts("classes", description["classes"]),
        heads=_heads(description),
    )
    for layer in network.synaptic:
        if layer.fires:
            name = f"{layer.name}.thresholds"
            _expect(name, _take(tensors, name, np.int64, (code.T,)), network.thresholds(layer))
    if tensors:
        raise ValueError(f"tensors must be those of the layers, not also {brief(sorted(tensors))}")
    return network


def _heads(description: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    heads = []
    for entry in _list("heads", description.get("heads", [])):
        if len(_list("head", entry)) != 2:
            raise ValueError(f"a head must be a name and a number of channels, not {brief(entry)}")
        heads.append((container.text("name of a head", entry[0]), entry[1]))
    if "heads" in description and not heads:
        raise ValueError("heads must hold at least one head where they are there, not []")
    return tuple(heads)


def _layer(entry: Any, version: int, weights: LogWeights, tensors: dict[str, np.ndarray]) -> Layer:
    kind = container.mapping("layer", entry).get("kind")
    kinds = [known for known in _LAYERS if version > 1 or known not in _SINCE_2]
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"layer kind must be one of {', '.join(kinds)}, not {brief(kind)}")
    name = container.text("layer name", entry.get("name"))
    subject = f"layer {name!r}"
    more = _OPTIONAL.get(kind, set()) & set(entry) if version > 1 else set()
    container.keys(subject, entry, _LAYERS[kind] | more)
    source = container.text(f"{subject}: source", entry["source"])
    if kind == "channels":
        others = _texts(f"{subject}: others", entry["others"])
        channels = tuple(_list(f"{subject}: channels", entry["channels"]))
        return Channels(name=name, source=source, others=others, channels=channels)
    if kind == "flatten":
        return Flatten(name=name, source=source)
    if kind == "pixelshuffle":
        return PixelShuffle(name=name, source=source, factor=_pair(subject, "factor", entry))
    if kind == "maxpool2d":
        kernel, stride, padding = (_pair(subject, key, entry) for key in ("kernel", "stride", "padding"))
        return MaxPool2d(name=name, source=source, kernel=kernel, stride=stride, padding=padding)
    residuals = _texts(f"{subject}: residuals", entry["residuals"])
    if not isinstance(entry["fires"], bool):
        raise ValueError(f"{subject}: fires must be true or false, not {brief(entry['fires'])}")
    shape = container.integers(f"{subject}: shape", entry["shape"], count=_WEIGHTED[kind])
    codes = _codes(name, shape, weights.bits, tensors)
    bias = _take(tensors, f"{name}.bias", np.int64, shape[:1]).copy()
    parts = tuple(_part(subject, part, weights, tensors) for part in _list(f"{subject}: parts", entry.get("parts", [])))
    if parts == () and "parts" in more:
        raise ValueError(f"{subject}: parts must hold at least one part where they are there, not []")
    shifts = tuple(_list(f"{subject}: shifts", entry.get("shifts", [])))
    if "shifts" in more and not any(shifts):
        raise ValueError(f"{subject}: shifts must hold one above 0 where they are there, not {brief(list(shifts))}")
    fields: dict[str, Any] = {"fires": entry["fires"], "residuals": residuals, "parts": parts, "shifts": shifts}
    return _connection(kind, subject, entry, codes, bias, **fields)


def _part(subject: str, entry: Any, weights: LogWeights, tensors: dict[str, np.ndarray]) -> Synaptic:
    kind = container.mapping(f"{subject}: part", entry).get("kind")
    if not isinstance(kind, str) or kind not in _WEIGHTED:
        raise ValueError(f"{subject}: a part must be of kind {' or '.join(_WEIGHTED)}, not {brief(kind)}")
    subject = f"layer {container.text('layer name', entry.get('name'))!r}"
    more = (_OPTIONAL[kind] & {"dilation"}) & set(entry)
    container.keys(subject, entry, (_LAYERS[kind] | more) - {"residuals", "fires"})
    shape = container.integers(f"{subject}: shape", entry["shape"], count=_WEIGHTED[kind])
    codes = _codes(entry["name"], shape, weights.bits, tensors)
    return _connection(kind, subject, entry, codes, np.zeros(shape[0], dtype=np.int64), fires=False)


def _connection(
    kind: str, subject: str, entry: dict[str, Any], codes: PackedCodes, bias: np.ndarray, **fields: Any
) -> Synaptic:
    fields |= {"name": entry["name"], "source": container.text(f"{subject}: source", entry["source"])}
    fields |= {"codes": codes, "scale": entry["scale"], "bias": bias}
    if kind == "linear":
        return Linear(**fields)
    fields |= {key: _pair(subject, key, entry) for key in ("stride", "padding", "dilation") if key in entry}
    if fields.get("dilation") == (1, 1):
        raise ValueError(f"{subject}: dilation must be above 1 where it is there, not [1, 1]")
    return Conv2d(**fields, groups=entry["groups"])


def _codes(name: str, shape: tuple[int, ...], bits: int, tensors: dict[str, np.ndarray]) -> PackedCodes:
    """A layer's codes, packed: `Synaptic.codes` is an array to those who read it."""
    count = math.prod(shape)
    if not 1 <= count <= MAX_CODES:
        raise ValueError(f"layer {name!r}: shape must hold 1..{MAX_CODES} weights, not {shape!r}")
    packed = _take(tensors, f"{name}.codes", np.uint8, (packed_size(count, bits),))
    unused = packed.size * 8 - count * bits
    if int(packed[-1]) >> (8 - unused):
        raise ValueError(f"tensor '{name}.codes': the last {unused} bits must be 0, not {int(packed[-1]):#010b}")
    return PackedCodes(packed, shape, bits)


def _take(tensors: dict[str, np.ndarray], name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Remove a tensor from those that are left, and check it."""
    if name not in tensors:
        raise ValueError(f"tensor {name!r} must be there, not only {brief(sorted(tensors))}")
    tensor = tensors.pop(name)
    if tensor.dtype != dtype or tensor.shape != shape:
        raise ValueError(
            f"tensor {name!r} must be {np.dtype(dtype)} of shape {shape!r}, not {tensor.dtype} of {tensor.shape!r}"
        )
    return tensor


def _expect(name: str, found: np.ndarray, computed: np.ndarray) -> None:
    if not np.array_equal(found, computed):
        raise ValueError(
            f"tensor {name!r} must be as computed from the parameters, {brief(computed.tolist())}, "
            f"not {brief(found.tolist())}"
        )


def _pair(subject: str, key: str, entry: dict[str, Any]) -> tuple[int, int]:
    vertical, horizontal = container.integers(f"{subject}: {key}", entry[key], count=2)
    return vertical, horizontal


def _list(subject: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{subject} must be a list, not {brief(value)}")
    return value


def _texts(subject: str, value: Any) -> tuple[str, ...]:
    return tuple(container.text(subject, entry) for entry in _list(subject, value))
