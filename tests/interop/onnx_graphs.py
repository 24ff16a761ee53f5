"""ONNX graphs as others write them, with random weights: of tf2onnx (channels last), and the model zoo's structures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int | str, ...]


class Builder:
    """A graph under construction; every method returns the name of what its node makes."""

    def __init__(self, *, opset: int, shape: Shape) -> None:
        self.opset, self.shape = opset, shape
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def draw(self, *shape: int) -> str:
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        return self.constant(self.random.normal(size=shape) / np.sqrt(fan))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.several(kind, 1, *inputs, **attributes)[0]

    def several(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{place}" for place in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{len(self.nodes)}", **attributes))
        return names

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int, *, bias: bool = True, group: int = 1, **more: Any
    ) -> str:
        weight = self.draw(outputs, inputs // group, kernel, kernel)
        return self.node("Conv", x, weight, *([self.draw(outputs)] if bias else []), group=group, **more)

    def norm(self, x: str, channels: int) -> str:
        scale, variance = (self.constant(self.random.uniform(0.5, 1.5, channels)) for _ in range(2))
        return self.node(
            "BatchNormalization", x, scale, self.draw(channels), self.draw(channels), variance, epsilon=1e-3
        )

    def reshape(self, x: str, *shape: int) -> str:
        if self.opset < 5:
            return self.node("Reshape", x, shape=list(shape))
        return self.node("Reshape", x, self.integers(*shape))

    def save(self, path: Path, output: str) -> Path:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, self.shape)
        inputs = [image]
        if self.opset < 9:  # every weight is an input, too
            inputs += [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in self.weights]
        graph = helper.make_graph(self.nodes, "net", inputs, [onnx.ValueInfoProto(name=output)], self.weights)
        version = 3 if self.opset < 9 else 8
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=version)
        model.graph.output[0].CopyFrom(onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0])
        onnx.save(model, path)
        return path


# ---- tf2onnx: channels last between transposes --------------------------------------------------------------------

FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def keras_small(path: Path) -> Path:
    """Conv with bias added behind, max pooling, flattening channels last, Dense as MatMul and Add, softmax."""
    b = Builder(opset=13, shape=("n", 8, 8, 3))
    x = b.node("Transpose", "image", perm=FIRST)
    x = b.node("Conv", x, b.draw(6, 3, 3, 3), pads=[1, 1, 1, 1])
    x = b.node("Add", x, b.constant(b.random.normal(size=(1, 6, 1, 1))))
    x = b.node("MaxPool", b.node("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    x = b.reshape(b.node("Transpose", x, perm=LAST), -1, 96)
    x = b.node("Relu", b.node("Add", b.node("MatMul", x, b.draw(96, 12)), b.draw(12)))
    x = b.node("Add", b.node("MatMul", x, b.draw(12, 5)), b.draw(5))
    return b.save(path, b.node("Softmax", x))


def keras_residual(path: Path) -> Path:
    """Zeros around an image by Pad, "same" padding with a stride, batch norm, a sum channels last, a mean over the image."""
    b = Builder(opset=13, shape=("unk__6", 15, 15, 3))
    x = b.node("Pad", "image", b.integers(0, 3, 3, 0, 0, 3, 3, 0), b.constant(0.0))
    x = b.node("Relu", b.norm(b.conv(b.node("Transpose", x, perm=FIRST), 3, 8, 7, strides=[2, 2]), 8))
    x = b.node("Pad", x, b.integers(0, 0, 1, 1, 0, 0, 1, 1))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    one = b.node("Transpose", b.norm(b.conv(x, 8, 8, 3, auto_pad="SAME_UPPER"), 8), perm=LAST)
    x = b.node("Relu", b.node("Add", one, b.node("Transpose", x, perm=LAST)))
    x = b.node("Pad", b.node("Transpose", x, perm=FIRST), b.integers(0, 0, 0, 0, 0, 0, 1, 1))
    x = b.node("Relu", b.conv(x, 8, 10, 3, strides=[2, 2]))
    x = b.node("ReduceMean", b.node("Transpose", x, perm=LAST), axes=[1, 2], keepdims=0)
    x = b.node("Add", b.node("MatMul", x, b.draw(10, 4)), b.draw(4))
    return b.save(path, b.node("Softmax", x))


def keras_mobile(path: Path) -> Path:
    """Depthwise and pointwise convolutions, ReLU6 as Clip, "same" padding of an even image with a stride, Squeeze."""
    b = Builder(opset=18, shape=(1, 16, 16, 3))
    x = b.conv(b.node("Transpose", "image", perm=FIRST), 3, 8, 3, bias=False, strides=[2, 2], auto_pad="SAME_UPPER")
    limits = b.constant(0.0), b.constant(6.0)
    x = b.node("Clip", b.norm(x, 8), *limits)
    x = b.norm(b.conv(x, 8, 8, 3, bias=False, group=8, strides=[2, 2], pads=[0, 0, 1, 1]), 8)
    x = b.node("Clip", x, *limits)
    x = b.node("Clip", b.norm(b.conv(x, 8, 16, 1, bias=False), 16), *limits)
    x = b.node("ReduceMean", x, b.integers(2, 3), keepdims=1)
    x = b.conv(b.node("Dropout", x), 16, 7, 1)
    return b.save(path, b.node("Squeeze", x, b.integers(2, 3)))


def keras_dense_on_pixels(path: Path) -> Path:
    """A Dense layer over the channels of every pixel, joined maps channels last, both flattened and joined again."""
    b = Builder(opset=15, shape=("n", 6, 6, 2))
    x = b.node("Transpose", "image", perm=FIRST)
    x = b.node("Transpose", b.node("Relu", b.conv(x, 2, 4, 3)), perm=LAST)
    one = b.node("Relu", b.node("Add", b.node("MatMul", x, b.draw(4, 6)), b.draw(6)))
    x = b.node("Concat", one, x, axis=3)
    x = b.node("Concat", b.node("Flatten", x), b.node("Flatten", one), axis=1)
    return b.save(path, b.node("Gemm", x, b.draw(3, 4 * 4 * 16), b.draw(3), transB=1))


# ---- the ONNX model zoo's structures ------------------------------------------------------------------------------


def zoo_mnist(path: Path) -> Path:
    """CNTK's: opset 8, one image at a time, weights of two parts that Reshape makes, biases added to maps."""
    b = Builder(opset=8, shape=(1, 1, 28, 28))
    x = b.node("Conv", "image", b.draw(8, 1, 5, 5), auto_pad="SAME_UPPER", strides=[1, 1], dilations=[1, 1], group=1)
    x = b.node("Relu", b.node("Add", x, b.constant(b.random.normal(size=(8, 1, 1)))))
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="NOTSET", pads=[0, 0, 0, 0])
    x = b.node("Conv", x, b.draw(16, 8, 5, 5), auto_pad="SAME_UPPER")
    x = b.node("Relu", b.node("Add", x, b.constant(b.random.normal(size=(16, 1, 1)))))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[3, 3])
    weight = b.reshape(b.draw(16, 4, 4, 10), 256, 10)
    return b.save(path, b.node("Add", b.node("MatMul", b.reshape(x, 1, 256), weight), b.draw(1, 10)))


def zoo_resnet(path: Path) -> Path:
    """ResNet-18 v1 in MXNet's style: opset 7, projection shortcuts, a pool over the image, Gemm."""
    b = Builder(opset=7, shape=("N", 3, 32, 32))
    x = b.node("Relu", b.norm(b.conv("image", 3, 8, 7, bias=False, strides=[2, 2], pads=[3] * 4), 8))
    x, inputs = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 8
    for outputs, stride in ((8, 1), (16, 2)):
        y = b.norm(b.conv(x, inputs, outputs, 3, bias=False, strides=[stride] * 2, pads=[1] * 4), outputs)
        y = b.norm(b.conv(b.node("Relu", y), outputs, outputs, 3, bias=False, pads=[1] * 4), outputs)
        if stride == 2:
            x = b.norm(b.conv(x, inputs, outputs, 1, bias=False, strides=[2, 2]), outputs)
        x, inputs = b.node("Relu", b.node("Add", y, x)), outputs
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    return b.save(path, b.node("Gemm", x, b.draw(6, 16), b.draw(6), transB=1))


def zoo_squeezenet(path: Path) -> Path:
    """SqueezeNet 1.0: fire modules with Concat, Dropout, a convolution as classifier, softmax over a map."""
    b = Builder(opset=9, shape=("N", 3, 31, 31))
    x = b.node("Relu", b.conv("image", 3, 8, 7, strides=[2, 2]))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    squeezed = b.node("Relu", b.conv(x, 8, 4, 1))
    x = b.node(
        "Concat",
        b.node("Relu", b.conv(squeezed, 4, 6, 1)),
        b.node("Relu", b.conv(squeezed, 4, 6, 3, pads=[1] * 4)),
        axis=1,
    )
    x = b.node("Relu", b.conv(b.node("Dropout", x, ratio=0.5), 12, 5, 1))
    return b.save(path, b.node("Flatten", b.node("GlobalAveragePool", x)))


def zoo_alexnet(path: Path) -> Path:
    """Caffe's: LRN, grouped convolutions, Dropout with two outputs, Gemm behind Reshape."""
    b = Builder(opset=9, shape=(1, 3, 35, 35))
    x = b.node(
        "LRN", b.node("Relu", b.conv("image", 3, 8, 11, strides=[4, 4])), size=5, alpha=1e-4, beta=0.75, bias=1.0
    )
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = b.node("Relu", b.conv(x, 8, 8, 5, group=2, pads=[2] * 4))
    x = b.node("Relu", b.node("Gemm", b.reshape(x, 1, -1), b.draw(9, 72), b.draw(9), transB=1, alpha=0.5, beta=2.0))
    x = b.several("Dropout", 2, x)[0]
    return b.save(path, b.node("Softmax", b.node("Gemm", x, b.draw(9, 4), b.draw(4)), axis=1))


def zoo_shufflenet(path: Path) -> Path:
    """ShuffleNet: grouped 1x1 convolutions with a shuffle of channels between, Split and Slice of channels."""
    b = Builder(opset=13, shape=("N", 4, 12, 12))
    x = b.node("Relu", b.conv("image", 4, 12, 1, group=2))
    x = b.reshape(b.node("Transpose", b.reshape(x, -1, 2, 6, 12, 12), perm=[0, 2, 1, 3, 4]), -1, 12, 12, 12)
    x = b.node("Relu", b.conv(x, 12, 12, 3, group=12, pads=[1] * 4))
    one, two = b.several("Split", 2, x, b.integers(5, 7), axis=1)
    two = b.node("Slice", two, b.integers(1), b.integers(6), b.integers(1), b.integers(1))
    every = b.node("Slice", two, b.integers(0, 0), b.integers(12, 12), b.integers(2, 3), b.integers(2, 2))
    x = b.node("Relu", b.conv(b.node("Concat", one, two, axis=1), 10, 5, 3, strides=[2, 2], pads=[1, 1, 0, 0]))
    x = b.node("Add", x, every)
    x = b.node("AveragePool", x, kernel_shape=[6, 6])
    shape = b.node(
        "Concat",
        b.node("Unsqueeze", b.node("Gather", b.node("Shape", x), b.integers(0), axis=0), b.integers(0)),
        b.constant([[-1]], np.int64),
        axis=1,
    )
    return b.save(
        path, b.node("Gemm", b.node("Reshape", x, b.node("Squeeze", shape, b.integers(0))), b.draw(5, 3), b.draw(3))
    )


def zoo_gates(path: Path) -> Path:
    """EfficientNet's: x * sigmoid(x), factors and summands of channels that no layer takes in."""
    b = Builder(opset=13, shape=("N", 3, 8, 8))
    x = b.node("Div", b.node("Sub", "image", b.constant([[[0.4]], [[0.5]], [[0.3]]])), b.constant(0.25))
    x = b.node("Mul", b.conv(x, 3, 6, 3), b.constant(b.random.normal(size=(6, 1, 1))))
    x = b.node("Mul", x, b.node("Sigmoid", x))
    x = b.node("Relu", b.node("Sub", b.constant(1.5), b.conv(x, 6, 6, 3)))
    x = b.node("ReduceMean", x, axes=[-1, -2], keepdims=0)
    return b.save(path, b.node("Gemm", x, b.draw(6, 3), b.draw(3)))


GRAPHS: dict[str, Callable[[Path], Path]] = {
    make.__name__: make
    for make in (
        keras_small,
        keras_residual,
        keras_mobile,
        keras_dense_on_pixels,
        zoo_mnist,
        zoo_resnet,
        zoo_squeezenet,
        zoo_alexnet,
        zoo_shufflenet,
        zoo_gates,
    )
}
