"""`from_onnx`: the module computes what ONNX Runtime computes of the file, and `prepare` takes it."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from structures.catalogue import NETWORKS
from torch import nn

import firstspike as fs

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from interop.onnx_graphs import GRAPHS, Builder  # noqa: E402

EXPORTED = (
    "lenet",
    "vgg11",
    "resnet-projected",
    "resnext",
    "googlenet",
    "stochastic-depth",
    "mobilenet",
    "shufflenet",
    "perceptron",
    "audio",
)
"""Of the catalogue of structures: plain, residual, grouped, joined, chosen channels, batch norm without a fold, a softmax."""

AS_THEY_ARE = ("keras_small", "keras_residual", "keras_dense_on_pixels", "zoo_mnist", "zoo_resnet", "zoo_shufflenet")


def run(path: Path, images: np.ndarray) -> np.ndarray:
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def export(net: nn.Module, images: torch.Tensor, path: Path, **options: object) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (images,), str(path), input_names=["image"], **options)
    return path


def ends_with_softmax(path: Path) -> bool:
    import onnx

    return any(node.op_type in ("Softmax", "LogSoftmax") for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_by_pytorch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    images = torch.rand(3, *getattr(net, "shape", (3, 32, 32)))
    path = export(net, images, tmp_path / "net.onnx", dynamo=False, dynamic_axes={"image": {0: "n"}})
    found = fs.from_onnx(path)
    with torch.no_grad():
        wanted, logits = net(images), found(images)
    if ends_with_softmax(path):
        logits = logits.log_softmax(1)
    assert torch.allclose(logits, wanted, atol=1e-5)
    assert fs.prepare(found, example=images).output_shape == wanted.shape[1:]


def test_exported_by_torch_dynamo_and_converted(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    ).eval()
    images = torch.rand(16, 1, 8, 8)
    path = export(net, images, tmp_path / "net.onnx", dynamo=True, dynamic_shapes=({0: "n"},), verbose=False)
    found = fs.from_onnx(path)
    with torch.no_grad():
        assert torch.allclose(found(images), net(images), atol=1e-5)
    cat = fs.prepare(found, example=images)
    fs.calibrate(cat, images)
    assert fs.convert(cat, example=images)(images).shape == (16, 10)  # proves that every spike and logit is equal


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_of_others(name: str, tmp_path: Path) -> None:
    path = GRAPHS[name](tmp_path / "net.onnx")
    found = fs.from_onnx(path)
    shape = next(iter(runtime.InferenceSession(str(path)).get_inputs())).shape
    count = shape[0] if isinstance(shape[0], int) else 2
    images = np.random.default_rng(1).random((count, *shape[1:]), dtype=np.float32)
    wanted = torch.from_numpy(run(path, images))
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy() if name.startswith("keras") else images)
    with torch.no_grad():
        logits = found(x)
    if ends_with_softmax(path):
        logits = logits.softmax(1)
    assert torch.allclose(logits.reshape(wanted.shape), wanted, atol=1e-5)
    if name in AS_THEY_ARE:
        cat = fs.prepare(found, example=x)
        fs.calibrate(cat, x)
        fs.convert(cat, example=x)


def test_what_has_no_counterpart_is_replaced_by_adapt(tmp_path: Path) -> None:
    b = Builder(opset=14, shape=("N", 3, 8, 8))
    x = b.node("Flatten", b.node("GlobalAveragePool", b.node("HardSwish", b.conv("image", 3, 4, 3))))
    found = fs.from_onnx(b.save(tmp_path / "net.onnx", b.node("Gemm", x, b.draw(4, 2), b.draw(2))))
    x = torch.rand(2, 3, 8, 8)
    with pytest.raises(
        fs.UnsupportedError, match=r"HardSwish_1: Hardswish cannot be converted; replace it by nn\.ReLU"
    ):
        fs.prepare(found, example=x)
    adapted, changes = fs.adapt(found, example=x)
    assert [change.before for change in changes] == ["Hardswish"]
    fs.prepare(adapted, example=x)


def broken(path: Path, kind: str, **attributes: object) -> Path:
    b = Builder(opset=13, shape=("N", 3, 8, 8))
    return b.save(path, b.node(kind, b.node("Relu", b.conv("image", 3, 4, 3)), **attributes))


def test_refusals_name_the_node(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(fs.UnsupportedError, match="HardSigmoid_2: the ONNX operator HardSigmoid cannot be converted"):
        fs.from_onnx(broken(path, "HardSigmoid"))
    with pytest.raises(fs.UnsupportedError, match="MaxPool_2: MaxPool must pad alike on both sides"):
        fs.from_onnx(broken(path, "MaxPool", kernel_shape=[2, 2], pads=[0, 0, 1, 1]))
    with pytest.raises(fs.UnsupportedError, match="Transpose_2: Transpose must keep the images' axis first"):
        fs.from_onnx(broken(path, "Transpose", perm=[1, 0, 2, 3]))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fs.from_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match="it must be a valid ONNX file"):
        fs.from_onnx(tmp_path / "text.onnx")
    b = Builder(opset=13, shape=("N", 3, "h", "w"))
    path = b.save(tmp_path / "open.onnx", b.node("GlobalAveragePool", b.conv("image", 3, 4, 3)))
    with pytest.raises(ValueError, match="leaves the size of an image open"):
        fs.from_onnx(path)
    assert fs.from_onnx(path, shape=(3, 8, 8))(torch.rand(2, 3, 8, 8)).shape == (2, 4, 1, 1)
    with pytest.raises(ValueError, match="shape must fit the graph's images"):
        fs.from_onnx(path, shape=(4, 8, 8))


def test_a_missing_library_is_named() -> None:
    program = "import sys; sys.modules['onnx'] = None\nimport firstspike as fs\nfs.from_onnx"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: firstspike.from_onnx needs onnx; install it with: pip install 'firstspike[onnx]'"
    )
