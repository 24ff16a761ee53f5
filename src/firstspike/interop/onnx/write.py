"""`to_onnx`: a converted network as an ONNX graph of standard operators that any runtime evaluates.

Values are real numbers: a spike at time ``t`` is its kernel value, silence is 0, a weight is its level, a membrane is in
units of the firing level. All of them are dyadic and short, so a graph in float64 computes the integer network itself.
"""

import json
import os
from typing import Any, Literal

import numpy as np
import onnx
import onnx.inliner
from onnx import NodeProto, TensorProto, helper, numpy_helper

import firstspike
from firstspike import files
from firstspike.arith import kernel, pixel_boundaries
from firstspike.interop.onnx import functions, quant
from firstspike.spec.network import (
    INPUT,
    Channels,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Network,
    PixelShuffle,
    Synaptic,
)
from firstspike.spiking import SpikingNetwork

Precision = Literal["float64", "float32"]

TYPES: dict[str, tuple[type[np.floating[Any]], int]] = {
    "float64": (np.float64, TensorProto.DOUBLE),
    "float32": (np.float32, TensorProto.FLOAT),
}


def to_onnx(
    snn: SpikingNetwork | Network,
    path: str | os.PathLike[str],
    *,
    precision: Precision = "float64",
    quantisers: bool = False,
) -> None:
    """Write a network as an ONNX graph: images ``[n, *input_shape]`` in [0, 1] in, logits ``[n, classes]`` out.

    In float64 the logits are exactly those of the integer network: ``snn(x) == numpy.ldexp(logits, exponent)``, with
    ``logit_exponent`` of the file's metadata. In float32 sums are rounded where they need more than 24 bits, which can move a
    spike: classes are the same but for near ties (docs/how-to/onnx.md has figures).

    Args:
        snn: the converted network.
        path: the file, written whole or not at all.
        precision: "float64" or "float32". ONNX Runtime has no convolution in float64, so that one is written as a gathering
            and a product of matrices; in float32 it is a Conv.
        quantisers: mark weights, biases and activations by QONNX's ``Quant`` (only in float32): the grids and bits on which
            they lie. ONNX Runtime does not run these nodes; qonnx does. The step from a membrane to a spike is not uniform, so
            no ``Quant`` expresses it: it stays comparisons.

    Raises:
        TypeError: ``snn`` is no network.
        ValueError: there is no such precision, or float32 cannot hold a weight or bias.
        OSError: the file cannot be written.
    """
    network = snn.network if isinstance(snn, SpikingNetwork) else snn
    if not isinstance(network, Network):
        raise TypeError(f"to_onnx needs a converted network, not {type(snn).__name__}")
    if precision not in TYPES:
        raise ValueError(f"precision must be one of {', '.join(TYPES)}, not {precision!r}")
    if quantisers and precision != "float32":
        raise ValueError(f"quantisers must be written in float32, since QONNX computes in it, not {precision!r}")
    model = _Writer(network, precision, quantisers=quantisers).model()
    files.write(path, model.SerializeToString())


class _Writer:
    """Writes node after node; a map's name is that of its layer."""

    def __init__(self, network: Network, precision: Precision, *, quantisers: bool) -> None:
        self.network, self.precision, self.quantisers = network, precision, quantisers
        self.dtype, self.type = TYPES[precision]
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.mark = "/"  # between a layer's name and what belongs to it: no layer's name holds it
        while any(self.mark in name for name in (*network.shapes, *(one.name for one in network.connections))):
            self.mark += "/"
        self.image = f"{self.mark}image"

    def model(self) -> onnx.ModelProto:
        network = self.network
        self._node("Planes" if network.code.planes else "FirstSpike", [self.image], INPUT, domain=functions.DOMAIN)
        if self.quantisers:
            self._quantised(INPUT, quant.activations(network, INPUT))
        for layer in network.layers:
            self._layer(layer)
        last = network.layers[-1].name
        output = f"{last}{self.mark}logits"
        self._node("Flatten", [last], output, axis=1)
        count = int(np.prod(network.shapes[last]))
        image = helper.make_tensor_value_info(self.image, self.type, ["n", *network.input_shape])
        logits = helper.make_tensor_value_info(output, self.type, ["n", count])
        weights = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "firstspike", [image], [logits], weights)
        imports = functions.opsets() + ([helper.make_opsetid(quant.DOMAIN, 1)] if self.quantisers else [])
        model = helper.make_model(
            graph,
            opset_imports=imports,
            functions=self._functions(),
            ir_version=functions.IR_VERSION,
            producer_name="firstspike",
            producer_version=firstspike.__version__,
        )
        helper.set_model_props(model, self._metadata())
        if self.quantisers:  # qonnx knows no functions of a model
            return onnx.inliner.inline_local_functions(model)
        return model

    def _metadata(self) -> dict[str, str]:
        network = self.network
        code, weights = network.code, network.weights
        return {
            "logit_exponent": str(network.exponent(network.synaptic[-1])),
            "classes": json.dumps(network.classes),
            "heads": json.dumps(network.heads),
            "code": json.dumps(
                {"T": code.T, "tau": code.tau, "mantissa_bits": code.mantissa_bits, "input": code.input}
            ),
            "weights": json.dumps(
                {
                    "bits": weights.bits,
                    "levels_per_octave": weights.levels_per_octave,
                    "mantissa_bits": weights.mantissa_bits,
                }
            ),
            "latency_steps": str(network.latency_steps),
        }

    def _functions(self) -> list[onnx.FunctionProto]:
        code = self.network.code
        rising = kernel(code)[::-1].astype(self.dtype)
        spike = (
            "A neuron that fires once: the kernel value of its first spike, the largest that is at most u; 0 for none."
        )
        made = [functions.search("FirstSpike", rising, np.concatenate([[0], rising]).astype(self.dtype), spike)]
        if code.planes:
            pixels = (np.arange(256) / 256).astype(self.dtype)
            text = "Eight binary planes of a pixel: p / 256 of p, the integer nearest to 255 u."
            made.append(functions.search("Planes", pixel_boundaries(self.dtype), pixels, text))
        if any(node.op_type == "Convolve" for node in self.nodes):
            made.append(functions.convolve())
        return made

    # Nodes

    def _node(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def _constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = array
        return name

    def _weight(self, name: str, array: np.ndarray, grid: quant.Grid) -> str:
        """A weight or bias in the graph's type, marked with its grid if so wanted."""
        with np.errstate(over="ignore", under="ignore"):
            cast = array.astype(self.dtype)
        if not np.isfinite(cast).all() or ((cast == 0) != (array == 0)).any():
            raise ValueError(f"{name!r} must fit {self.precision}, not reach beyond it; write the graph in float64")
        self._constant(name, cast)
        return self._quantised(name, grid) if self.quantisers else name

    def _quantised(self, name: str, grid: quant.Grid) -> str:
        """A value behind its ``Quant``; of a map the name stays that of the layer."""
        made = name in self.constants
        inside = name if made else f"{name}{self.mark}spikes"
        if not made:
            self.nodes[-1].output[0] = inside
        output = f"{name}{self.mark}quantised" if made else name
        constants = [self._constant(f"{name}{self.mark}{key}", value) for key, value in grid.tables().items()]
        return self._node("Quant", [inside, *constants], output, domain=quant.DOMAIN, **grid.attributes())

    def _layer(self, layer: Layer) -> None:
        if isinstance(layer, Flatten):
            self._node("Flatten", [layer.source], layer.name, axis=1)
        elif isinstance(layer, MaxPool2d):
            sizes: dict[str, Any] = {
                "kernel_shape": layer.kernel,
                "strides": layer.stride,
                "pads": (*layer.padding, *layer.padding),
            }
            self._node("MaxPool", [layer.source], layer.name, **sizes)
        elif isinstance(layer, Channels):
            self._channels(layer)
        elif isinstance(layer, PixelShuffle):
            self._shuffle(layer)
        else:
            assert isinstance(layer, Synaptic)
            self._synaptic(layer)

    def _shuffle(self, layer: PixelShuffle) -> None:
        (down, across), name = layer.factor, layer.name
        (_, height, width), shape = self.network.shapes[layer.source], self.network.shapes[name]
        split = np.array([0, shape[0], down, across, height, width], dtype=np.int64)  # 0: as many images as come
        apart = self._node(
            "Reshape", [layer.source, self._constant(f"{name}{self.mark}split", split)], f"{name}{self.mark}apart"
        )
        turned = self._node("Transpose", [apart], f"{name}{self.mark}turned", perm=(0, 1, 4, 2, 5, 3))
        whole = self._constant(f"{name}{self.mark}whole", np.array([0, *shape], dtype=np.int64))
        self._node("Reshape", [turned, whole], name)

    def _channels(self, layer: Channels) -> None:
        joined, name = layer.source, layer.name
        if layer.others:
            joined = self._node("Concat", list(layer.inputs), f"{name}{self.mark}joined", axis=1)
        shapes = [self.network.shapes[source] for source in layer.inputs]
        total = sum(shape[0] for shape in shapes)
        if -1 in layer.channels:
            pads = np.zeros((2, len(shapes[0]) + 1), dtype=np.int64)
            pads[1, 1] = 1
            joined = self._node(
                "Pad", [joined, self._constant(f"{name}{self.mark}pads", pads.reshape(-1))], f"{name}{self.mark}silence"
            )
        index = np.array([total if channel < 0 else channel for channel in layer.channels], dtype=np.int64)
        self._node("Gather", [joined, self._constant(f"{name}{self.mark}channels", index)], name, axis=1)

    def _synaptic(self, layer: Synaptic) -> None:
        network, name = self.network, layer.name
        sums = [self._connection(layer, connection) for connection in layer.connections]
        pixels = len(network.shapes[name]) - 1
        bias = network.real_bias(layer).reshape(-1, *[1] * pixels)
        terms = [*sums, self._weight(f"{name}{self.mark}bias", bias, quant.bias(network, layer)), *layer.residuals]
        u = terms[0]
        for place, term in enumerate(terms[1:], 1):
            last = place == len(terms) - 1 and not layer.fires
            u = self._node("Add", [u, term], name if last else f"{name}{self.mark}u{place}")
        if layer.fires:
            self._node("FirstSpike", [u], name, domain=functions.DOMAIN)
            if self.quantisers:
                self._quantised(name, quant.activations(network, name))

    def _connection(self, layer: Synaptic, connection: Synaptic) -> str:
        """The sum of the products of one connection."""
        network, name, source = self.network, connection.name, connection.source
        grid = quant.weights(network, layer, connection)
        real = network.real_weights(layer, connection)
        output = f"{name}{self.mark}sums"
        if isinstance(connection, Linear):
            return self._node("MatMul", [source, self._weight(f"{name}{self.mark}weight", real.T, grid)], output)
        assert isinstance(connection, Conv2d)
        if self.precision == "float32":
            sizes: dict[str, Any] = {"strides": connection.stride, "pads": (*connection.padding, *connection.padding)}
            sizes["dilations"] = connection.dilation
            weight = self._weight(f"{name}{self.mark}weight", real, grid)
            return self._node("Conv", [source, weight], output, group=connection.groups, **sizes)
        groups = connection.groups
        weight = self._weight(f"{name}{self.mark}weight", real.reshape(groups, len(real) // groups, -1), grid)
        tables = _gathering(connection, network.shapes[source])
        constants = [
            self._constant(f"{name}{self.mark}{key}", np.array(table, dtype=np.int64)) for key, table in tables.items()
        ]
        return self._node("Convolve", [source, weight, *constants], output, domain=functions.DOMAIN)


def _gathering(connection: Conv2d, shape: tuple[int, ...]) -> dict[str, Any]:
    """The tables of `firstspike.interop.onnx.functions.convolve` for a convolution that reads maps of a shape."""
    (top, left), (down, across) = connection.padding, connection.stride
    kernel_rows, kernel_columns = connection.weight_shape[2:]
    height, width = shape[1] + 2 * top, shape[2] + 2 * left
    channels, rows, columns = connection.output_shape(shape)
    tap_row, tap_column, row, column = np.ix_(
        np.arange(kernel_rows) * connection.dilation[0],
        np.arange(kernel_columns) * connection.dilation[1],
        np.arange(rows) * down,
        np.arange(columns) * across,
    )
    index = (tap_row + row) * width + tap_column + column
    fan_in = connection.weight_shape[1] * kernel_rows * kernel_columns
    return {
        "pads": [0, 0, top, left, 0, 0, top, left],
        "pixels": [0, shape[0], height * width],
        "index": index.reshape(-1),
        "columns": [0, connection.groups, fan_in, rows * columns],
        "out": [0, channels, rows, columns],
    }
