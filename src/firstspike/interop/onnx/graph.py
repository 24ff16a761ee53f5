"""An ONNX file as a plain list of operators: checked, its constants computed, every value's shape known."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.reference
from onnx import TensorProto, helper, numpy_helper

from firstspike.cat.operations import UnsupportedError
from firstspike.messages import line

BATCH = 1009
"""Images of a graph whose batch has no fixed size: a prime, so that no other extent is taken for it."""

SMALL = 1 << 12
"""Most values of a constant that may decide a shape."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One node of the graph that is not constant.

    Attributes:
        path: its name, or its kind and what it makes.
        kind: ONNX's name of the operator.
        inputs, outputs: names of values; an input that is left out is empty.
        attributes: by name, as Python values and arrays.
        opset: version of ONNX's operators that it is written in.
    """

    path: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network of one input and one output.

    Attributes:
        operators: in order of execution.
        constants: by name.
        shapes: of every value that is not constant, images' axis first.
        input, output: names.
    """

    operators: tuple[Operator, ...]
    constants: Mapping[str, np.ndarray]
    shapes: Mapping[str, Shape]
    input: str
    output: str
    readers: Mapping[str, tuple[Operator, ...]] = field(default_factory=dict)

    def alone(self, name: str) -> bool:
        """Whether a value has one reader, and is not the output."""
        return len(self.readers.get(name, ())) == 1 and name != self.output


def load(path: str | os.PathLike[str], shape: Sequence[int] | None = None) -> Graph:
    """Read a file.

    Args:
        path: of the ONNX file; weights in files beside it are read too.
        shape: of one image, as the graph takes it, where the file leaves it open.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no valid ONNX file, or leaves the size of an image open.
        UnsupportedError: it has several inputs or outputs.
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(f"from_onnx: there is no file {name!r}")
    try:
        onnx.checker.check_model(name)
        model = onnx.inliner.inline_local_functions(onnx.load(name))
    except Exception as error:
        raise ValueError(line(f"{name}: it must be a valid ONNX file ({error})")) from None
    return _Walk(model, name, shape).graph()


class _Walk:
    """Goes through the nodes once: what depends on constants alone is computed, of the rest the shape is inferred."""

    def __init__(self, model: onnx.ModelProto, name: str, shape: Sequence[int] | None) -> None:
        self.model, self.name = model, name
        self.opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
        self.imports = list(model.opset_import)
        self.constants = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
        inputs = [entry for entry in model.graph.input if entry.name not in self.constants]
        outputs = [entry.name for entry in model.graph.output]
        for what, names in (("input", [entry.name for entry in inputs]), ("output", outputs)):
            if len(names) != 1:
                raise UnsupportedError(f"{name}: a network must have one {what}, not {len(names)} ({', '.join(names)})")
        self.input, self.output = inputs[0].name, outputs[0]
        self.types = {self.input: inputs[0].type.tensor_type.elem_type}
        self.shapes: dict[str, Shape] = {self.input: self._image(inputs[0], shape)}

    def _image(self, value: onnx.ValueInfoProto, shape: Sequence[int] | None) -> Shape:
        extents = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        batch, given = (extents[0] if extents else 0) or BATCH, tuple(extents[1:])
        if shape is not None:
            if given and (len(given) != len(shape) or any(a not in (0, b) for a, b in zip(given, shape, strict=True))):
                raise ValueError(f"{self.name}: shape must fit the graph's images, {given!r} (0: any), not {shape!r}")
            given = tuple(int(extent) for extent in shape)
        if not given or 0 in given:
            raise ValueError(
                f"{self.name}: the graph leaves the size of an image open, {given!r}; give from_onnx(path, shape=...)"
            )
        return (batch, *given)

    def graph(self) -> Graph:
        operators = []
        for node in self.model.graph.node:
            if self._constant(node):
                continue
            self._infer(node)
            operators.append(self._operator(node))
        live, needed = [], {self.output}
        for operator in reversed(operators):
            if needed & set(operator.outputs):
                live.append(operator)
                needed |= set(operator.inputs)
        readers: dict[str, list[Operator]] = {}
        for operator in reversed(live):
            for name in operator.inputs:
                readers.setdefault(name, []).append(operator)
        return Graph(
            operators=tuple(reversed(live)),
            constants=self.constants,
            shapes=self.shapes,
            input=self.input,
            output=self.output,
            readers={name: tuple(found) for name, found in readers.items()},
        )

    def _operator(self, node: onnx.NodeProto) -> Operator:
        attributes = {entry.name: _plain(entry) for entry in node.attribute}
        standard = node.domain in ("", "ai.onnx")
        return Operator(
            path=node.name or f"{node.op_type}({node.output[0]})",
            kind=node.op_type if standard else f"{node.domain}.{node.op_type}",
            inputs=tuple(node.input),
            outputs=tuple(name for name in node.output if name),
            attributes=attributes,
            opset=self.opset,
        )

    def _constant(self, node: onnx.NodeProto) -> bool:
        """Compute a node whose result no image changes."""
        if node.op_type == "Shape" and node.input[0] in self.shapes:
            first, last = (_attribute(node, key, default) for key, default in (("start", 0), ("end", None)))
            self.constants[node.output[0]] = np.array(self.shapes[node.input[0]][first:last], dtype=np.int64)
            return True
        if node.op_type == "Size" and node.input[0] in self.shapes:
            self.constants[node.output[0]] = np.array(np.prod(self.shapes[node.input[0]]), dtype=np.int64)
            return True
        if node.op_type.startswith("Random") or any(name and name not in self.constants for name in node.input):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                feeds = {name: self.constants[name] for name in node.input if name}
                results = onnx.reference.ReferenceEvaluator(self._alone(node)).run(None, feeds)
        except Exception as error:
            raise UnsupportedError(line(f"{node.name or node.op_type}: it cannot be computed ({error})")) from None
        self.constants |= dict(zip(node.output, map(np.asarray, results), strict=False))
        return True

    def _alone(self, node: onnx.NodeProto, initializers: Sequence[TensorProto] = ()) -> onnx.ModelProto:
        """A model of one node."""
        values = []
        for name in dict.fromkeys(filter(None, node.input)):
            if name in self.constants:
                array = self.constants[name]
                values.append(
                    helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                )
            else:
                values.append(helper.make_tensor_value_info(name, self.types[name], self.shapes[name]))
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "alone", values, outputs, list(initializers))
        return helper.make_model(graph, opset_imports=self.imports, ir_version=self.model.ir_version)

    def _infer(self, node: onnx.NodeProto) -> None:
        """Find the shapes of what a node makes; a node without one is refused where its shape is asked for."""
        small = {name: self.constants[name] for name in node.input if name in self.constants}
        known = [numpy_helper.from_array(array, name) for name, array in small.items() if array.size <= SMALL]
        if any(name and name not in self.constants and name not in self.shapes for name in node.input):
            return
        try:
            inferred = onnx.shape_inference.infer_shapes(self._alone(node, known), data_prop=True)
        except Exception as error:
            raise UnsupportedError(
                line(f"{node.name or node.op_type}: it does not fit what it reads ({error})")
            ) from None
        for value in inferred.graph.output:
            kind = value.type.tensor_type
            if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
                self.shapes[value.name] = tuple(int(dim.dim_value) for dim in kind.shape.dim)
                self.types[value.name] = kind.elem_type


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((_plain(entry) for entry in node.attribute if entry.name == name), default)


def _plain(attribute: onnx.AttributeProto) -> Any:
    """The value of an attribute: numbers, text, lists of them, arrays."""
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return list(value) if attribute.type in (attribute.INTS, attribute.FLOATS) else value
