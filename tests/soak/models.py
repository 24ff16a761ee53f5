"""Mutated model files: refused with an error of ours, or the native engine equals the reference."""

import hashlib
import json
import os
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from engine.networks import networks as any_network
from hypothesis import HealthCheck, Phase, given, seed, settings
from spec.model_files import forge, parts, small_network

from firstspike.arith import Code, LogWeights
from firstspike.engine.reference import ReferenceEngine
from firstspike.spec import INPUT, Channels, Conv2d, Flatten, FormatError, Linear, MaxPool2d, Network, load, save
from firstspike.spec.network import Layer, Synaptic
from soak.campaign import Campaign

NEWER = 60
"""Networks drawn for good files of any version: planes, several sources, rearranged channels."""

MAX_REFERENCE = 1 << 22
"""Products up to which the reference, which is slow on purpose, runs too."""

ODD: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    7,
    8,
    255,
    256,
    4096,
    65535,
    65536,
    1 << 20,
    1 << 28,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    10**19,
    "",
    "input",
    "a",
    "\u001b[2J",
    "x" * 1000,
    [],
    {},
    [0],
    [1, 1],
    [65536, 65536],
    [[1]],
]

_state: dict[str, Any] = {}


def random_network(rng: np.random.Generator) -> Network:
    """A few layers of any kind on a small input."""
    bits, per_octave = ((2, 1), (4, 1), (5, 2), (5, 1), (6, 4), (7, 4), (8, 8))[rng.integers(7)]
    weights = LogWeights(bits=bits, levels_per_octave=per_octave)
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    shapes: dict[str, tuple[int, ...]] = {INPUT: shape}
    layers: list[Layer] = []

    def synapses(name: str, source: str, dimensions: tuple[int, ...], **options: Any) -> dict[str, Any]:
        codes = rng.integers(0, 1 << weights.bits, dimensions, dtype=np.uint8)
        bias = rng.integers(-(1 << 16), 1 << 20, dimensions[0])
        return {
            "name": name,
            "source": source,
            "codes": codes,
            "scale": int(rng.integers(-2, 3)),
            "bias": bias,
            **options,
        }

    last = INPUT
    for index in range(int(rng.integers(1, 5))):
        name, (channels, height, width) = f"l{index}", shapes[last]
        kernel = (int(rng.integers(1, min(4, height) + 1)), int(rng.integers(1, min(4, width) + 1)))
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        padding = (int(rng.integers(0, kernel[0])), int(rng.integers(0, kernel[1])))
        kind = rng.random()
        if kind < 0.15:
            same = [other for other in shapes if shapes[other][1:] == (height, width)]
            others = tuple(str(other) for other in rng.choice(same, rng.integers(3)))
            total = sum(shapes[other][0] for other in (last, *others))
            chosen = tuple(rng.integers(-1, total, rng.integers(1, 6)).tolist())
            layer: Layer = Channels(name=name, source=last, others=others, channels=chosen)
        elif kind < 0.4:
            layer = MaxPool2d(name=name, source=last, kernel=kernel, stride=stride, padding=padding)
        else:
            groups = channels if rng.random() < 0.3 else 1
            outputs = groups * int(rng.integers(1, 6))
            window = {"stride": stride, "padding": padding, "groups": groups}
            layer = Conv2d(**synapses(name, last, (outputs, channels // groups, *kernel), **window))
        layers.append(layer)
        shapes[name] = layer.joined_shape(shapes) if isinstance(layer, Channels) else layer.output_shape(shapes[last])
        last = name
    layers.append(Flatten(name="flat", source=last))
    volume = int(np.prod(shapes[last]))
    layers.append(Linear(**synapses("out", "flat", (int(rng.integers(1, 12)), volume), fires=False)))
    return Network(code=Code(), weights=weights, input_shape=shape, layers=tuple(layers), accumulator_bits=48)


def random_networks(count: int) -> list[Network]:
    """Networks of all layer kinds, input codes and weight formats, as the engine's tests draw them."""
    found: list[Network] = []

    @seed(0)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(any_network())
    def collect(network: Network) -> None:
        found.append(network)

    collect()
    return found


def setup() -> None:
    """Good files of both versions to start from; the engine is imported before any child is forked."""
    import firstspike.engine.native

    assert firstspike.engine.native
    folder = Path(tempfile.mkdtemp(prefix="soak-models-"))
    rng = np.random.default_rng(0)
    networks = [small_network(), *(random_network(rng) for _ in range(30)), *random_networks(NEWER)]
    _state["bases"] = []
    for network in networks:
        save(network, folder / "base", notes={"made": "for soak"})
        description, tensors, _ = parts(folder / "base")
        _state["bases"].append(((folder / "base").read_bytes(), description, tensors))
    _state["folder"] = folder


def bases() -> list[tuple[bytes, Any, dict[str, np.ndarray]]]:
    """The files to start from: content, description and tensors."""
    return list(_state["bases"])


def case(seed: int) -> str:
    rng = np.random.default_rng(seed)
    content, description, tensors = _state["bases"][rng.integers(len(_state["bases"]))]
    path: Path = _state["folder"] / f"case{os.getpid()}"
    kind = rng.random()
    if kind < 0.35:
        path.write_bytes(_bytes_changed(content, rng))
    else:
        description, tensors = deepcopy(description), {name: tensor.copy() for name, tensor in tensors.items()}
        for _ in range(int(rng.integers(1, 4))):
            _weights_changed(tensors, rng) if kind > 0.85 else _change(description, tensors, rng)
        try:
            forge(path, description, tensors)
        except (ValueError, TypeError, OverflowError, KeyError):  # the writer refuses what no file can hold
            return "not written"
    try:
        network = load(path)
    except FormatError as error:
        text = str(error)
        assert text.isprintable() and len(text) <= 600, text
        return "refused"
    return _compared(network, rng)


def _bytes_changed(content: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        where, kind = int(rng.integers(len(data))), rng.random()
        if kind < 0.5:
            data[where] = int(rng.integers(256))
        elif kind < 0.7:
            data[where : where + int(rng.integers(1, 40))] = b""
        elif kind < 0.9:
            data[where:where] = bytes(rng.integers(0, 256, int(rng.integers(1, 40)), dtype=np.uint8))
        else:
            del data[where:]
        data = data or bytearray(b"\0")
    return _with_checksum(bytes(data)) if rng.random() < 0.5 else bytes(data)


def _with_checksum(data: bytes) -> bytes:
    """The file with the checksum that its content has, where there is a header to put it in."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        metadata = header["__metadata__"]
        digest = hashlib.sha256((metadata["firstspike"] + metadata.get("notes", "")).encode())
        for name in sorted(set(header) - {"__metadata__"}):
            start, end = header[name]["data_offsets"]
            digest.update(data[8 + length + start : 8 + length + end])
        return data.replace(metadata["sha256"].encode(), digest.hexdigest().encode())
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return data


def _weights_changed(tensors: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Other codes and biases, which most networks may have."""
    name = str(rng.choice([name for name in sorted(tensors) if name.endswith((".codes", ".bias"))]))
    flat = tensors[name].reshape(-1)
    high = 256 if flat.dtype == np.uint8 else 1 << int(rng.integers(1, 40))
    flat[: max(1, flat.size - 1)] = rng.integers(
        0, high, max(1, flat.size - 1)
    )  # the last byte ends in bits that are 0


def _change(description: Any, tensors: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    if rng.random() < 0.3:
        name = str(rng.choice(sorted(tensors)))
        tensor = tensors[name]
        kind = rng.integers(4)
        if kind == 0 and tensor.size:
            tensor.reshape(-1)[rng.integers(tensor.size)] = (
                rng.integers(0, 256)
                if tensor.dtype == np.uint8
                else rng.choice([0, -1, 1, (1 << 62), -(1 << 62), 1 << 31, 1 << 45])
            )
        elif kind == 1:
            tensors[name] = tensor[: rng.integers(tensor.size + 1)]
        elif kind == 2 and len(tensors) > 1:
            del tensors[name]
        else:
            tensors[f"{name}x"] = tensor
        return
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, entry in items:
            places.append((value, key))
            walk(entry)

    walk(description)
    holder, key = places[rng.integers(len(places))]
    old = holder[key]
    kind = rng.random()
    if kind < 0.5 and type(old) is int:
        holder[key] = old + int(rng.choice([-2, -1, 1, 2])) if rng.random() < 0.5 else int(rng.integers(0, 300))
    elif kind < 0.9:
        holder[key] = deepcopy(ODD[rng.integers(len(ODD))])
    elif isinstance(holder, dict):
        del holder[key]
    else:
        holder.insert(key, deepcopy(holder[rng.integers(len(holder))]))


def _compared(network: Network, rng: np.random.Generator) -> str:
    from firstspike.engine.native import NativeEngine

    times = rng.integers(0, 2 * network.code.T, (2, *network.input_shape)).astype(np.uint8)
    path = str(rng.choice(["auto", "event", "dense"]))
    found = NativeEngine(network, threads=1, path=path).logits(times)
    if _products(network) > MAX_REFERENCE:
        return "ran, native only"
    assert np.array_equal(found, ReferenceEngine(network).logits(times)), "the native engine differs from the reference"
    return "ran, equal"


def _products(network: Network) -> int:
    def windows(layer: Synaptic) -> int:
        return int(np.prod(network.shapes[layer.name][1:]))

    products = sum(part.weight_count * windows(layer) for layer in network.synaptic for part in layer.connections)
    return products + sum(int(np.prod(shape)) for shape in network.shapes.values())


CAMPAIGN = Campaign(name="models", case=case, setup=setup)
