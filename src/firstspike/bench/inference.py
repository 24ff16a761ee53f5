"""Inference speed: the native engine, the same network in PyTorch, and time-stepped simulators, interleaved in one run."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from firstspike.bench.peers import PEERS, peer
from firstspike.bench.random_vgg import densities, random_images
from firstspike.engine.native import NativeEngine
from firstspike.spec import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network, Synaptic

Record = dict[str, Any]


def run(
    network: Network,
    *,
    batch: int = 32,
    threads: int | None = None,
    rounds: int = 7,
    path: str = "auto",
    peers: tuple[str, ...] = (),
    steps: int = 24,
    times: np.ndarray | None = None,
) -> Record:
    """Measure one network at one batch size.

    Every round runs each engine once, in turn; the first round is a warm-up. Times are of the whole forward pass: from
    spike times (native) or from a float image in memory (PyTorch) to logits.

    Args:
        network: the integer network, for example `firstspike.bench.random_vgg.random_vgg`'s.
        batch: images of one call.
        threads: threads of the native engine and of PyTorch; None for one per processor.
        rounds: measured rounds.
        path: the native engine's path: "auto", "event" or "dense".
        peers: time-stepped simulators to run too, of `PEERS`; each is an optional dependency (extra "bench").
        steps: time steps of the simulators.
        times: encoded images to run (uint8 ``[n, *input_shape]``, n >= batch); None for random images.

    Returns:
        Medians over the rounds as images per second, ratios of medians, and the spread (fastest and slowest round) of
        each in milliseconds per image.

    Raises:
        ValueError: an option is out of range, a peer is unknown, or the network has a layer PyTorch's twin lacks.
        ImportError: a peer is not installed.
    """
    if rounds < 1 or batch < 1:
        raise ValueError(f"rounds and batch must be at least 1, not {rounds!r} and {batch!r}")
    for name in peers:
        if name not in PEERS:
            raise ValueError(f"peer must be one of {', '.join(PEERS)}, not {name!r}")
    threads = threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    engine = NativeEngine(network, threads=threads, path=path)
    if times is None:
        times = random_images(batch, network.input_shape, seed=7, code=network.code)
    inputs = np.ascontiguousarray(times[:batch])
    if len(inputs) != batch:
        raise ValueError(f"times must hold at least {batch} images, not {len(inputs)}")
    calls: dict[str, Callable[[], object]] = {"native": lambda: engine.logits(inputs)}
    calls |= {f"torch_{name}": _torch_call(network, batch, dtype) for name, dtype in DTYPES.items()}
    calls |= {name: peer(name, dense_twin(network), (batch, *network.input_shape), steps) for name in peers}
    milliseconds = interleaved(calls, rounds, batch)
    share, per_neuron = densities(network, inputs[:16], engine)
    record = _summary(milliseconds, peers)
    record |= {"density": share, "spikes_per_neuron": per_neuron, "threads": threads, "batch": batch, "rounds": rounds}
    record |= {"path": path, "instructions": engine.instructions, "weight_bytes": engine.weight_bytes}
    record |= {"torch": torch.__version__, "processor": platform.processor() or platform.machine()}
    return record


def _summary(milliseconds: dict[str, list[float]], peers: tuple[str, ...]) -> Record:
    """Medians, their ratios to the native engine's, and the spread of every call."""
    median = {name: statistics.median(values) for name, values in milliseconds.items()}
    record: Record = {f"{name}_images_per_second": 1000 / value for name, value in median.items()}
    record |= {
        "ratio_fp32": median["torch_fp32"] / median["native"],
        "ratio_bf16": median["torch_bf16"] / median["native"],
    }
    record |= {f"ratio_{name}": median[name] / median["native"] for name in peers}
    for name, values in milliseconds.items():
        record |= {f"{name}_ms_per_image": median[name]}
        record |= {f"{name}_fastest_ms_per_image": min(values), f"{name}_slowest_ms_per_image": max(values)}
    return record


REST_SECONDS = 0.05

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def interleaved(calls: dict[str, Callable[[], object]], rounds: int, images: int) -> dict[str, list[float]]:
    """Milliseconds per image of every call in every round, after one warm-up round.

    Between two calls is a rest: idle threads of one library spin for a while, and would slow the next one down.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(REST_SECONDS)
            start = time.perf_counter()
            call()
            if turn:
                found[name].append((time.perf_counter() - start) * 1000 / images)
    return found


def dense_twin(network: Network) -> nn.Sequential:
    """The same layers with ReLU in PyTorch, with random weights: a chain of convolutions, poolings and linear layers.

    Raises:
        ValueError: the network branches.
    """
    layers: list[nn.Module] = []
    previous = INPUT
    for layer in network.layers:
        if layer.inputs != (previous,):
            raise ValueError(f"layer {layer.name!r}: a benchmarked network must be a chain, not read {layer.inputs!r}")
        previous = layer.name
        if isinstance(layer, MaxPool2d):
            layers.append(nn.MaxPool2d(layer.kernel, layer.stride, layer.padding))
        elif isinstance(layer, Flatten):
            layers.append(nn.Flatten())
        elif isinstance(layer, Conv2d):
            kernel = (layer.weight_shape[2], layer.weight_shape[3])
            inputs = layer.weight_shape[1] * layer.groups
            layers.append(
                nn.Conv2d(inputs, layer.outputs, kernel, layer.stride, layer.padding, layer.dilation, layer.groups)
            )
        else:
            assert isinstance(layer, Linear)
            layers.append(nn.Linear(layer.weight_shape[1], layer.outputs))
        if isinstance(layer, Synaptic) and layer.fires:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers).eval()


def _torch_call(network: Network, batch: int, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    twin = dense_twin(network).to(dtype)
    x = torch.rand(batch, *network.input_shape).to(dtype)
    if x.ndim == 4:
        twin = twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return twin(x)  # type: ignore[no-any-return]

    return call
