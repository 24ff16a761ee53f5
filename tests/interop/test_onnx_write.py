"""`to_onnx`: ONNX Runtime evaluates the graph to the integer network's logits, bit for bit, and Netron's checker takes it."""

import json
from pathlib import Path

import numpy as np
import pytest
from engine.networks import networks, pixels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import firstspike as fs
from firstspike.data import load
from firstspike.spec import Network
from firstspike.spiking import SpikingNetwork

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(path: Path, images: np.ndarray) -> np.ndarray:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def exact(network: Network, path: Path, images: np.ndarray) -> None:
    fs.to_onnx(network, path)
    snn = SpikingNetwork(network, engine="reference")
    logits = run(path, images.astype(np.float64))
    assert np.array_equal(np.ldexp(logits, snn.logit_exponent), snn(images))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), network=networks())
def test_double_precision_is_the_integer_network(tmp_path: Path, data: st.DataObject, network: Network) -> None:
    exact(network, tmp_path / "net.onnx", data.draw(pixels(network)))


@pytest.fixture(scope="module")
def digits() -> tuple[SpikingNetwork, np.ndarray]:
    return fs.zoo.load("digits"), load("digits", split="test").pixels()


def test_digits_in_both_precisions(digits: tuple[SpikingNetwork, np.ndarray], tmp_path: Path) -> None:
    snn, images = digits
    path = tmp_path / "net.onnx"
    exact(snn.network, path, images)
    fs.to_onnx(snn, path, precision="float32")
    assert np.array_equal(run(path, images).argmax(axis=1), snn.classify(images))


def test_the_file_is_one_of_standard_operators(digits: tuple[SpikingNetwork, np.ndarray], tmp_path: Path) -> None:
    snn, _ = digits
    for precision in ("float64", "float32"):
        fs.to_onnx(snn, tmp_path / "net.onnx", precision=precision)
        onnx.checker.check_model(str(tmp_path / "net.onnx"), full_check=True)
        model = onnx.load(tmp_path / "net.onnx")
        own = {function.name for function in model.functions}
        for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
            assert node.domain == "" or node.op_type in own
        told = {entry.key: entry.value for entry in model.metadata_props}
        assert int(told["logit_exponent"]) == snn.logit_exponent
        assert json.loads(told["classes"]) == list(snn.network.classes)


def test_qonnx_evaluates_its_quantisers(digits: tuple[SpikingNetwork, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    snn, images = digits
    fs.to_onnx(snn, tmp_path / "net.onnx", precision="float32", quantisers=True)
    model = ModelWrapper(str(tmp_path / "net.onnx"))
    assert {node.op_type for node in model.graph.node} >= {"Quant", "Conv", "GreaterOrEqual"}
    name, output = model.graph.input[0].name, model.graph.output[0].name
    model.set_tensor_shape(name, [8, *snn.network.input_shape])  # qonnx wants to know how many images
    model.set_tensor_shape(output, [8, len(snn.network.classes)])
    model = model.transform(InferShapes())
    found = execute_onnx(model, {name: images[:8].astype(np.float32)})[output]
    fs.to_onnx(snn, tmp_path / "plain.onnx", precision="float32")
    assert np.array_equal(found, run(tmp_path / "plain.onnx", images[:8]))  # no quantiser changes a value


def test_refusals(digits: tuple[SpikingNetwork, np.ndarray], tmp_path: Path) -> None:
    snn, _ = digits
    with pytest.raises(ValueError, match="precision must be one of float64, float32, not 'float16'"):
        fs.to_onnx(snn, tmp_path / "net.onnx", precision="float16")
    with pytest.raises(ValueError, match="quantisers must be written in float32"):
        fs.to_onnx(snn, tmp_path / "net.onnx", quantisers=True)
    with pytest.raises(TypeError, match="to_onnx needs a converted network, not str"):
        fs.to_onnx("digits", tmp_path / "net.onnx")
