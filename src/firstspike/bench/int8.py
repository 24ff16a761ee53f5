"""int8 runtimes on the same network with ReLU: each quantised by its own tool on the same images, at its faster setting."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

CALIBRATION_IMAGES = 64
"""Images a quantiser sees; they set ranges, which no speed depends on."""

TRIALS = 5
"""Calls of each setting of which the fastest decides."""


def runtime(name: str, network: nn.Module, images: np.ndarray, *, threads: int) -> Callable[[], np.ndarray]:
    """A call that runs a batch of images through an int8 runtime, and returns its logits.

    Args:
        name: one of `RUNTIMES`.
        network: with ReLU, in evaluation mode; it takes batches of this size.
        images: the batch, float32 ``[n, *shape]`` in [0, 1].
        threads: threads of the runtime.

    Raises:
        ImportError: the runtime is not installed (extra "bench").
    """
    calls = RUNTIMES[name](network, np.ascontiguousarray(images, dtype=np.float32), threads)
    return calls[0] if len(calls) == 1 else min(calls, key=_fastest)


def _fastest(call: Callable[[], np.ndarray]) -> float:
    seconds = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _openvino(network: nn.Module, images: np.ndarray, threads: int) -> list[Callable[[], np.ndarray]]:
    # https://docs.openvino.ai: basic quantization flow (NNCF), performance hints, asynchronous inference queue
    import nncf
    import openvino

    chosen = images[:CALIBRATION_IMAGES]
    model = openvino.convert_model(network, example_input=torch.from_numpy(images[:1]))
    model.reshape([-1, *images.shape[1:]])
    quantised = nncf.quantize(model, nncf.Dataset([image[None] for image in chosen]), subset_size=len(chosen))
    return [
        _openvino_streams(quantised, images, threads, streams) for streams in sorted({1, min(threads, len(images))})
    ]


def _openvino_streams(model: Any, images: np.ndarray, threads: int, streams: int) -> Callable[[], np.ndarray]:
    """The batch in one request, or cut into as many as there are streams, which run at the same time."""
    import openvino

    core, own = openvino.Core(), model.clone()
    parts = np.array_split(images, streams)
    if len({len(part) for part in parts}) == 1:
        own.reshape([len(parts[0]), *images.shape[1:]])
    options: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
    options |= {"PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT"}
    compiled = core.compile_model(own, "CPU", options)
    requests = [compiled.create_infer_request() for _ in parts]

    def run() -> np.ndarray:
        for request, part in zip(requests, parts, strict=True):
            request.start_async([part])
        for request in requests:
            request.wait()
        return np.concatenate([request.get_output_tensor(0).data for request in requests])

    return run


def _onnxruntime(network: nn.Module, images: np.ndarray, threads: int) -> list[Callable[[], np.ndarray]]:
    # https://onnxruntime.ai/docs: quantize ONNX models, static quantisation in the QDQ format
    import onnxruntime
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter({"x": image[None]} for image in images[:CALIBRATION_IMAGES])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rest, None)

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, quantised = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "ready", "int8"))
        exported = torch.onnx.export(
            network,
            (torch.from_numpy(images[:2]),),
            input_names=["x"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
        assert exported is not None
        exported.save(plain)
        quantization.quant_pre_process(plain, ready)
        quantization.quantize_static(
            ready,
            quantised,
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(quantised, options, providers=["CPUExecutionProvider"])
    return [lambda: session.run(None, {"x": images})[0]]


RUNTIMES: dict[str, Callable[[nn.Module, np.ndarray, int], list[Callable[[], np.ndarray]]]] = {
    "openvino_int8": _openvino,
    "onnxruntime_int8": _onnxruntime,
}
"""Runtimes by name: each gives calls at one or more settings."""
