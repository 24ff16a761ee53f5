"""The benchmark of inference: records, and what PyTorch and the int8 runtimes are given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from firstspike import zoo
from firstspike.bench.inference import run
from firstspike.bench.int8 import runtime
from firstspike.bench.twin import Twin, dense_twin
from firstspike.spec import INPUT, Channels, Conv2d, Network

pytest.importorskip("firstspike._native", reason="the extension is not built")


def conv(name: str, source: str, shape: tuple[int, ...], **options: object) -> Conv2d:
    bias = np.zeros(shape[0], dtype=np.int64)
    return Conv2d(name=name, source=source, codes=np.zeros(shape, dtype=np.uint8), scale=0, bias=bias, **options)


def branching() -> Network:
    first = conv("first", INPUT, (4, 2, 3, 3), padding=(1, 1))
    part = conv("part", INPUT, (4, 2, 1, 1), fires=False)
    second = replace(conv("second.x", "first", (4, 4, 3, 3), padding=(1, 1), residuals=("first",)), parts=(part,))
    both = Channels(name="both", source="second.x", others=("first",), channels=(7, -1, 0))
    last = conv("last", "both", (3, 3, 1, 1), fires=False)
    return replace(zoo.find("digits"), input_shape=(2, 5, 5), layers=(first, second, both, last), classes=())


def test_the_twin_branches_as_the_network_does() -> None:
    twin = dense_twin(branching())
    assert isinstance(twin, Twin)
    x = torch.rand(2, 2, 5, 5)
    first, second, part, last = twin.connections
    with torch.inference_mode():
        a = first(x).relu()
        b = (second(a) + part(x) + a).relu()
        c = torch.stack([a[:, 3], torch.zeros(2, 5, 5), b[:, 0]], dim=1)
        assert torch.allclose(twin(x), last(c))


def test_a_chain_is_sequential_and_its_record_is_whole() -> None:
    network = zoo.find("digits")
    assert isinstance(dense_twin(network), nn.Sequential)
    images = np.random.default_rng(0).integers(0, 256, (3, *network.input_shape), dtype=np.uint8)
    record = run(network, batch=3, threads=1, rounds=2, images=images)
    assert record["batch"] == 3
    for name in ("native", "torch_fp32", "torch_bf16"):
        fastest, median = record[f"{name}_fastest_ms_per_image"], record[f"{name}_ms_per_image"]
        assert 0 < fastest <= median <= record[f"{name}_slowest_ms_per_image"]
    assert record["ratio_fp32"] == record["torch_fp32_ms_per_image"] / record["native_ms_per_image"]
    with pytest.raises(ValueError, match="images must hold at least 4 images, not 3"):
        run(network, batch=4, rounds=1, images=images)
    with pytest.raises(ValueError, match="int8 runtime must be one of openvino_int8, onnxruntime_int8, not 'tvm'"):
        run(network, int8=("tvm",))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore::DeprecationWarning")  # PyTorch's own exporter
@pytest.mark.parametrize(
    ("name", "packages"), [("openvino_int8", ("openvino", "nncf")), ("onnxruntime_int8", ("onnxruntime",))]
)
def test_int8_runtimes_run_the_twin(name: str, packages: tuple[str, ...]) -> None:
    for package in packages:
        pytest.importorskip(package)
    twin = dense_twin(zoo.find("digits"))
    images = np.random.default_rng(0).random((4, *zoo.find("digits").input_shape), dtype=np.float32)
    with torch.inference_mode():
        expected = twin(torch.from_numpy(images)).numpy()
    found = runtime(name, twin, images, threads=1)()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()  # 8 bits, not the same numbers
