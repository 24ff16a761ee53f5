"""`to_nir` and `from_nir`: a converted network as a NIR graph with nodes that fire once, and back, bit for bit.

Weights and biases are real numbers, float64, exactly those of the network. What a graph cannot say (number format, scales,
the order of sources) stands in the graph's metadata; from both the same network comes back, with the same fingerprint.
"""

import io
import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import h5py
import nir
import numpy as np

from firstspike import files
from firstspike.arith import Code, LogWeights, decode_weights, kernel, membrane_exponent
from firstspike.interop.nir.nodes import PROPOSED, TTFS, BitPlanes, Channels, MaxPool2d, PixelShuffle
from firstspike.interop.nir.schedule import integrate_and_fire
from firstspike.messages import brief, line
from firstspike.spec import network as spec
from firstspike.spec.network import INPUT, Network, Synaptic
from firstspike.spiking import SpikingNetwork

VERSION = 1
"""Of the metadata."""

KEY = "firstspike"
"""Of the graph's metadata: a JSON text."""


def to_nir(
    snn: SpikingNetwork | Network,
    path: str | os.PathLike[str] | None = None,
    *,
    neurons: Literal["ttfs", "if"] = "ttfs",
) -> nir.NIRGraph:
    """A network as a NIR graph with the proposed nodes (`firstspike.interop.nir.nodes`), also written to a file.

    Its nodes: an input, what encodes it, for every layer its connections (Conv2d, Affine), whose sums meet in a TTFS node,
    MaxPool2d, Flatten and Channels, an output that receives the logits.

    Args:
        snn: the converted network.
        path: of a file (HDF5), written whole or not at all; None for none.
        neurons: "ttfs" for the proposed nodes, which `from_nir` reads back; "if" for integrate-and-fire nodes that others know,
            with the schedule of the windows (`firstspike.interop.nir.schedule`).

    Raises:
        TypeError: ``snn`` is no network.
        ValueError: there are no such neurons.
        OSError: the file cannot be written.
    """
    network = snn.network if isinstance(snn, SpikingNetwork) else snn
    if not isinstance(network, Network):
        raise TypeError(f"to_nir needs a converted network, not {type(snn).__name__}")
    if neurons not in ("ttfs", "if"):
        raise ValueError(f"neurons must be 'ttfs' or 'if', not {neurons!r}")
    graph = _Writer(network).graph() if neurons == "ttfs" else integrate_and_fire(network)
    if path is not None:
        write(graph, path)
    return graph


def write(graph: nir.NIRGraph, path: str | os.PathLike[str]) -> None:
    """Write a graph as a file of NIR's format, whole or not at all."""
    content = io.BytesIO()  # the library reads what it has written, too
    nir.write(content, graph)
    files.write(path, content.getbuffer())


def from_nir(source: str | os.PathLike[str] | nir.NIRGraph, *, engine: str | None = None) -> SpikingNetwork:
    """The network of a graph that `to_nir` made, or of its file.

    Every number of the graph counts: a weight that is no level, or a bias that is not on the layer's grid, is refused.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no NIR file, or says no network of this package; the text names the node and the rule.
    """
    name = "graph" if isinstance(source, nir.NIRGraph) else os.fspath(source)
    if not isinstance(source, nir.NIRGraph) and not Path(source).is_file():
        raise FileNotFoundError(f"from_nir: there is no file {name!r}")
    try:
        graph = source if isinstance(source, nir.NIRGraph) else read(source)
        return SpikingNetwork(_Reader(graph).network(), engine=engine)
    except (KeyError, TypeError, ValueError, OSError, AssertionError) as error:
        raise ValueError(line(f"{name}: it must be a NIR graph as to_nir writes it ({brief_error(error)})")) from None


def brief_error(error: BaseException) -> str:
    """What is wrong, in a line."""
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__


def read(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """A file's graph, the proposed nodes included, which ``nir.read`` does not know."""
    with h5py.File(path, "r") as file:
        found = nir.serialization.hdf2dict(file["node"])
    if found.get("type") != "NIRGraph":
        raise ValueError(f"its node must be a NIRGraph, not {brief(found.get('type'))}")
    nodes = {}
    for name, node in found["nodes"].items():
        kind = node["type"]
        if kind in PROPOSED:
            fields = {key: value for key, value in node.items() if key != "type"}
            nodes[name] = PROPOSED[kind](**fields)
        else:
            nodes[name] = nir.dict2NIRNode(node)
    edges = [(_text(one), _text(two)) for one, two in found["edges"]]
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=found.get("metadata", {}))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


class _Writer:
    """Adds nodes; ``ends`` names for every map the node that gives it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.ends: dict[str, str] = {}
        self.layers: list[dict[str, Any]] = []
        self.codes: dict[str, np.ndarray] = {}

    def graph(self) -> nir.NIRGraph:
        network = self.network
        shape = np.array(network.input_shape)
        first = self._add(INPUT, nir.Input(input_type={"input": shape}))
        encoder = BitPlanes(shape=shape) if network.code.planes else TTFS(kernel=kernel(network.code), shape=shape)
        self.ends[INPUT] = self._add("encoded", encoder, first)
        for layer in network.layers:
            self._layer(layer)
        metadata: dict[str, Any] = {KEY: json.dumps(self._description())}
        if self.codes:
            metadata["codes"] = self.codes
        return nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=metadata)

    def _description(self) -> dict[str, Any]:
        network = self.network
        code, weights = network.code, network.weights
        return {
            "version": VERSION,
            "code": {"T": code.T, "tau": code.tau, "mantissa_bits": code.mantissa_bits, "input": code.input},
            "weights": {
                "bits": weights.bits,
                "levels_per_octave": weights.levels_per_octave,
                "mantissa_bits": weights.mantissa_bits,
            },
            "accumulator_bits": network.accumulator_bits,
            "classes": list(network.classes),
            "heads": [list(head) for head in network.heads],
            "layers": self.layers,
        }

    def _add(self, name: str, node: nir.NIRNode, *sources: str) -> str:
        """Add a node under a name that a file can hold, and edges to it."""
        base = re.sub(r"[^\w-]", "_", name) or "layer"
        name, count = base, 1
        while name in self.nodes:
            count += 1
            name = f"{base}_{count}"
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def _layer(self, layer: spec.Layer) -> None:
        shapes, entry = self.network.shapes, {"name": layer.name}
        sources = [self.ends[name] for name in layer.inputs]
        if isinstance(layer, Synaptic):
            self._synaptic(layer)
            return
        if isinstance(layer, spec.Flatten):
            shape = np.array(shapes[layer.source])
            node: nir.NIRNode = nir.Flatten(input_type={"input": shape}, start_dim=0, end_dim=-1)
        elif isinstance(layer, spec.MaxPool2d):
            node = MaxPool2d(
                kernel_size=np.array(layer.kernel),
                stride=np.array(layer.stride),
                padding=np.array(layer.padding),
                input_shape=np.array(shapes[layer.source]),
            )
        elif isinstance(layer, spec.PixelShuffle):
            node = PixelShuffle(factor=np.array(layer.factor), input_shape=np.array(shapes[layer.source]))
        else:
            assert isinstance(layer, spec.Channels)
            names = "\n".join(sources)
            node = Channels(sources=names, channels=np.array(layer.channels), shape=np.array(shapes[layer.name]))
        self.ends[layer.name] = self._add(layer.name, node, *dict.fromkeys(sources))
        self.layers.append(entry | {"node": self.ends[layer.name], "sources": list(layer.inputs)})

    def _synaptic(self, layer: Synaptic) -> None:
        network, name = self.network, layer.name
        connections, ends = [], []
        for connection in layer.connections:
            real = network.real_bias(layer) if connection is layer else np.zeros(layer.outputs)
            weight = network.real_weights(layer, connection)
            node = self._add(connection.name, self._weights(connection, weight, real), self.ends[connection.source])
            self._keep_codes(connection, node)
            ends.append(node)
            connections.append(
                {"name": connection.name, "node": node, "source": connection.source, "scale": connection.scale}
            )
        ends += [self.ends[other] for other in layer.residuals]
        shape = np.array(network.shapes[name])
        if layer.fires:
            neurons = self._add(f"{name}_spikes", TTFS(kernel=kernel(network.code), shape=shape), *ends)
        else:
            neurons = self._add("output", nir.Output(output_type={"output": shape}), *ends)
        self.ends[name] = neurons
        entry = {"name": name, "node": neurons, "connections": connections, "residuals": list(layer.residuals)}
        self.layers.append(entry | ({"shifts": list(layer.shifts)} if any(layer.shifts) else {}))

    def _weights(self, connection: Synaptic, weight: np.ndarray, bias: np.ndarray) -> nir.NIRNode:
        if not isinstance(connection, spec.Conv2d):
            return nir.Affine(weight=weight, bias=bias)
        shape = self.network.shapes[connection.source]
        node = nir.Conv2d(
            input_shape=(shape[1], shape[2]),
            weight=weight,
            stride=connection.stride,
            padding=connection.padding,
            dilation=connection.dilation,
            groups=connection.groups,
            bias=bias,
        )
        node.input_type = {"input": np.array(shape)}  # NIR itself leaves groups and rectangular kernels out
        node.output_type = {"output": np.array(connection.output_shape(shape))}
        return node

    def _keep_codes(self, connection: Synaptic, node: str) -> None:
        """Keep codes that their values alone do not say: two levels of one value, a zero with a sign."""
        weights, scale = self.network.weights, connection.scale
        if not np.array_equal(
            _codes(decode_weights(connection.codes, weights, scale), weights, scale), connection.codes
        ):
            self.codes[node] = connection.codes


class _Reader:
    """Builds the network again, and checks every number of the graph on the way."""

    def __init__(self, graph: nir.NIRGraph) -> None:
        self.nodes, self.edges = graph.nodes, set(graph.edges)
        described = graph.metadata[KEY]
        self.description = json.loads(_text(described))
        if self.description["version"] != VERSION:
            raise ValueError(f"version of its metadata must be {VERSION}, not {brief(self.description['version'])}")
        self.codes = graph.metadata.get("codes", {})
        self.code, self.weights = Code(**self.description["code"]), LogWeights(**self.description["weights"])
        self.ends: dict[str, str] = {}
        self.used: set[tuple[str, str]] = set()

    def network(self) -> Network:
        (first,) = [name for name, node in self.nodes.items() if isinstance(node, nir.Input)]
        encoders = [two for one, two in self.edges if one == first]
        if len(encoders) != 1 or not isinstance(self.nodes[encoders[0]], BitPlanes if self.code.planes else TTFS):
            raise ValueError("its input must be read by one node that encodes it")
        self._edges(encoders[0], [first])
        self._kernel(encoders[0])
        self.ends[INPUT] = encoders[0]
        layers = tuple(self._layer(entry) for entry in self.description["layers"])
        if self.used != self.edges or len({*self.ends.values(), first}) > len(self.nodes):
            raise ValueError(f"its edges must be those of the layers, not also {brief(sorted(self.edges - self.used))}")
        return Network(
            code=self.code,
            weights=self.weights,
            input_shape=tuple(int(extent) for extent in self.nodes[first].input_type["input"]),
            layers=layers,
            accumulator_bits=self.description["accumulator_bits"],
            classes=tuple(self.description["classes"]),
            heads=tuple((str(name), int(size)) for name, size in self.description["heads"]),
        )

    def _edges(self, node: str, sources: list[str]) -> None:
        expected = {(source, node) for source in sources}
        if {edge for edge in self.edges if edge[1] == node} != expected:
            raise ValueError(f"node {node!r} must read {sources!r}")
        self.used |= expected

    def _kernel(self, name: str) -> None:
        node = self.nodes[name]
        if isinstance(node, TTFS) and not np.array_equal(node.kernel, kernel(self.code)):
            raise ValueError(f"node {name!r}: kernel must be that of {self.code}, not {brief(node.kernel.tolist())}")

    def _layer(self, entry: dict[str, Any]) -> spec.Layer:
        name, node = entry["name"], self.nodes[entry["node"]]
        self.ends[name] = entry["node"]
        if "connections" in entry:
            return self._synaptic(entry)
        sources = entry["sources"]
        self._edges(entry["node"], [self.ends[source] for source in sources])
        if isinstance(node, nir.Flatten):
            return spec.Flatten(name=name, source=sources[0])
        if isinstance(node, MaxPool2d):
            kernel_size, stride, padding = (_pair(value) for value in (node.kernel_size, node.stride, node.padding))
            return spec.MaxPool2d(name=name, source=sources[0], kernel=kernel_size, stride=stride, padding=padding)
        if isinstance(node, Channels):
            channels = tuple(int(channel) for channel in node.channels)
            return spec.Channels(name=name, source=sources[0], others=tuple(sources[1:]), channels=channels)
        if isinstance(node, PixelShuffle):
            return spec.PixelShuffle(name=name, source=sources[0], factor=_pair(node.factor))
        raise ValueError(f"node {entry['node']!r} must be one that a layer has, not {type(node).__name__}")

    def _synaptic(self, entry: dict[str, Any]) -> spec.Layer:
        own, *parts = entry["connections"]
        fires = isinstance(self.nodes[entry["node"]], TTFS)
        self._kernel(entry["node"])
        ends = [one["node"] for one in entry["connections"]] + [self.ends[name] for name in entry["residuals"]]
        self._edges(entry["node"], ends)
        shifts = tuple(entry.get("shifts", ()))
        built = tuple(self._connection(part, shifts, fires=False) for part in parts)
        alone = self._connection(own, shifts, fires=fires)
        residuals = tuple(entry["residuals"])
        layer = self._connection(own, shifts, fires=fires, residuals=residuals, parts=built, shifts=shifts)
        exponent = self._exponent(alone, built) + layer.channel_shifts
        for one, part in zip(entry["connections"], (layer, *built), strict=True):
            scaled = np.ldexp(self.nodes[one["node"]].bias, exponent)
            if not np.array_equal(scaled, np.round(scaled)) or (part is not layer and scaled.any()):
                raise ValueError(
                    f"node {one['node']!r}: bias must be on the grid 2^-{exponent.max()}, in the first source alone"
                )
            if part is layer:
                layer.bias[:] = scaled.astype(np.int64)
        return layer

    def _exponent(self, alone: Synaptic, parts: tuple[Synaptic, ...]) -> int:
        """``G`` of a layer, before the network is there."""
        planes = self.code.planes
        reads = {source for source in self.ends if planes and self._passes_input(source)}
        return max(
            membrane_exponent(self.code, self.weights, one.scale, planes=one.source in reads) for one in (alone, *parts)
        )

    def _passes_input(self, name: str) -> bool:
        """Whether a map is the input or its flattening."""
        while name != INPUT:
            entry = next(entry for entry in self.description["layers"] if entry["name"] == name)
            if not isinstance(self.nodes[entry["node"]], nir.Flatten):
                return False
            name = entry["sources"][0]
        return True

    def _connection(self, one: dict[str, Any], finer: tuple[int, ...], **fields: Any) -> Synaptic:
        """A connection of a layer whose output channels have the shifts ``finer``, or none."""
        node = self.nodes[one["node"]]
        self._edges(one["node"], [self.ends[one["source"]]])
        weight = np.asarray(node.weight)
        if len(finer) not in (0, len(weight)):
            raise ValueError(
                f"node {one['node']!r}: shifts must be one for each of {len(weight)} outputs, not {len(finer)}"
            )
        if finer:
            weight = np.ldexp(weight, np.array(finer).reshape(-1, *[1] * (weight.ndim - 1)))
        codes = _codes(weight, self.weights, one["scale"], name=one["node"])
        kept = self.codes.get(one["node"])
        if kept is not None:
            if not np.array_equal(decode_weights(kept, self.weights, one["scale"]), weight):
                raise ValueError(f"node {one['node']!r}: its codes must stand for its weights")
            codes = kept
        bias = np.zeros(len(codes), dtype=np.int64)
        fields |= {"name": one["name"], "source": one["source"], "codes": codes, "scale": one["scale"], "bias": bias}
        if isinstance(node, nir.Affine):
            return spec.Linear(**fields)
        if not isinstance(node, nir.Conv2d):
            raise ValueError(f"node {one['node']!r} must be Conv2d or Affine, not {type(node).__name__}")
        fields |= {key: _pair(getattr(node, key)) for key in ("stride", "padding", "dilation")}
        return spec.Conv2d(**fields, groups=int(node.groups))


def _codes(values: np.ndarray, weights: LogWeights, scale: int, *, name: str = "") -> np.ndarray:
    """Codes of real weights: of several that stand for one value the first; refuses a value that none stands for."""
    table = decode_weights(np.arange(1 << weights.bits, dtype=np.uint8), weights, scale)
    known, first = np.unique(table, return_index=True)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    if not np.array_equal(known[place], values):
        raise ValueError(f"node {name!r}: weights must be levels of scale {scale}")
    return first[place].astype(np.uint8)


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = (int(extent) for extent in np.asarray(value).reshape(-1))
    return rows, columns
