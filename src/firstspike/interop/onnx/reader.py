"""What is known while a graph is read: the module so far, and for every value what computes it and how its axes lie."""

import keyword
import re
from dataclasses import dataclass

import numpy as np
from torch import fx, nn

from firstspike.cat.operations import UnsupportedError
from firstspike.interop.onnx.graph import Graph, Operator
from firstspike.interop.onnx.layers import Pads


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value of the graph.

    Attributes:
        node: what computes it here.
        shape: of what is computed here, without the images' axis.
        axes: axis ``i`` of the graph's value is axis ``axes[i]`` here.
        order: of a flattened map: feature ``i`` of the graph is feature ``order[i]`` here; None: the same.
        pads: zeros that the graph has put around it, and that its reader is to put.
        positive: whether nothing is below 0.
    """

    node: fx.Node
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    order: np.ndarray | None = None
    pads: Pads | None = None
    positive: bool = False


class Reader:
    """The module in the making.

    Attributes:
        found: the graph.
        root: holds the modules.
        fx: calls them.
        values: of the graph, by name.
    """

    def __init__(self, found: Graph) -> None:
        self.found, self.root, self.fx = found, nn.Module(), fx.Graph()
        self.values: dict[str, Value] = {}
        self.names: set[str] = set()
        self.batch = found.shapes[found.input][0]
        self._input()

    def _input(self) -> None:
        name, shape = self.found.input, self.found.shapes[self.found.input]
        node = self.fx.placeholder("x")
        axes = tuple(range(len(shape)))
        if len(shape) > 2 and self._channels_last(name, (0, len(shape) - 1, *range(1, len(shape) - 1))):
            axes = (0, *range(2, len(shape)), 1)  # channels last: images are given channels first all the same
        mine = [0] * len(shape)
        for theirs, axis in enumerate(axes):
            mine[axis] = shape[theirs]
        self.values[name] = Value(node=node, shape=tuple(mine[1:]), axes=axes)

    def _channels_last(self, name: str, permutation: tuple[int, ...]) -> bool:
        """Whether all that reads a value puts its channels first, at once or behind what changes no axis."""
        readers = self.found.readers.get(name, ())
        same = ("Pad", "Sub", "Add", "Mul", "Div", "Identity", "Cast")
        return bool(readers) and all(
            tuple(reader.attributes.get("perm", ())) == permutation
            or (reader.kind in same and self._channels_last(reader.outputs[0], permutation))
            for reader in readers
        )

    def value(self, operator: Operator, *, place: int = 0, padded: bool = False) -> Value:
        """The image that an operator reads; only a ``padded`` reader takes one with zeros to put around it."""
        name = operator.inputs[place]
        if name not in self.values:
            what = "a constant" if name in self.found.constants else "what cannot be read"
            raise UnsupportedError(f"{operator.path}: {operator.kind} must read an image, not {what}")
        value = self.values[name]
        if value.pads is not None and not padded:
            raise UnsupportedError(f"{operator.path}: {operator.kind} must not read what a Pad makes; pad in a Conv")
        return value

    def map(self, operator: Operator, *, padded: bool = False) -> Value:
        """What it reads, with the channels first, as ONNX's own layers want it."""
        value = self.value(operator, padded=padded)
        if not first(value):
            raise UnsupportedError(
                f"{operator.path}: {operator.kind} must read a map channels first, not axes {value.axes!r}"
            )
        return value

    def constant(self, operator: Operator, place: int) -> np.ndarray | None:
        """The constant that an operator reads; None where it is left out."""
        if place >= len(operator.inputs) or not operator.inputs[place]:
            return None
        name = operator.inputs[place]
        if name not in self.found.constants:
            raise UnsupportedError(f"{operator.path}: {operator.kind} must have constant weights, not {name!r}")
        return self.found.constants[name]

    def shape(self, operator: Operator) -> tuple[int, ...]:
        """The shape in the graph of what an operator makes."""
        name = operator.outputs[0]
        if name not in self.found.shapes:
            raise UnsupportedError(f"{operator.path}: the shape of what {operator.kind} makes must be known")
        shape = self.found.shapes[name]
        if not shape or shape[0] != self.batch:
            raise UnsupportedError(
                f"{operator.path}: {operator.kind} must keep the images' axis first, not make {shape!r}"
            )
        return shape

    def call(self, operator: Operator, module: nn.Module, *values: fx.Node) -> fx.Node:
        """Add a module under a name like the operator's, and call it."""
        name = self._name(operator)
        self.root.add_module(name, module)
        return self.fx.call_module(name, values)

    def _name(self, operator: Operator) -> str:
        weights = [name for name in operator.inputs if name in self.found.constants and name.endswith(".weight")]
        name = weights[0].removesuffix(".weight") if weights else operator.path
        name = re.sub(rf"[/_.]*{operator.kind}$", "", name, flags=re.I) or operator.kind.lower()
        name = re.sub(r"\W+", "_", name).strip("_") or operator.kind.lower()
        taken = keyword.iskeyword(name) or name[0].isdigit() or (hasattr(self.root, name) and name not in self.names)
        name = f"layer_{name}" if taken else name
        base, count = name, 1
        while name in self.names:
            count += 1
            name = f"{base}_{count}"
        self.names.add(name)
        return name

    def ends(self, operator: Operator) -> bool:
        """Whether nothing but another shape follows."""
        name = operator.outputs[0]
        while name != self.found.output and self.found.alone(name):
            (reader,) = self.found.readers[name]
            if reader.kind not in ("Squeeze", "Reshape", "Flatten", "Identity"):
                return False
            name = reader.outputs[0]
        return name == self.found.output

    def made(self, operator: Operator, module: nn.Module, value: Value) -> Value:
        """What a module makes of a value, channels first."""
        shape = self.shape(operator)
        return Value(node=self.call(operator, module, value.node), shape=shape[1:], axes=tuple(range(len(shape))))

    def module(self) -> fx.GraphModule:
        """The module, once all operators are read."""
        value = self.values[self.found.output]
        pixels = value.shape[1:]
        if (
            value.order is not None
            or value.pads is not None
            or (not first(value) and any(extent > 1 for extent in pixels))
        ):
            raise UnsupportedError(
                f"{self.found.output}: the output must be logits, not a map that is channels last or padded"
            )
        self.fx.output(value.node)
        self.fx.lint()
        return fx.GraphModule(self.root, self.fx, class_name="OnnxNetwork").eval()


def first(value: Value) -> bool:
    """Whether the graph's axes lie as they do here."""
    return value.axes == tuple(range(len(value.axes)))
