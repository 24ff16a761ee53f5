"""Inference speed: the native engine, the same network in PyTorch, in int8 runtimes and in time-stepped simulators."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from firstspike.bench.int8 import RUNTIMES, runtime
from firstspike.bench.peers import PEERS, peer
from firstspike.bench.random_vgg import densities
from firstspike.bench.twin import dense_twin
from firstspike.engine.images import encode_images, to_float
from firstspike.engine.native import NativeEngine
from firstspike.spec import Network

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
    images: np.ndarray | None = None,
    int8: tuple[str, ...] = (),
    processor_time: bool = False,
) -> Record:
    """Measure one network at one batch size.

    Every round runs each engine once, in turn; the first round is a warm-up. Times are of the whole forward pass: from
    spike times (native) or from a float image in memory (the others) to logits.

    Args:
        network: the integer network, for example `firstspike.bench.random_vgg.random_vgg`'s.
        batch: images of one call.
        threads: threads of the native engine and of the others; None for one per processor.
        rounds: measured rounds.
        path: the native engine's path: "auto", "event" or "dense".
        peers: time-stepped simulators to run too, of `PEERS`; each is an optional dependency (extra "bench").
        steps: time steps of the simulators.
        images: images to run, uint8 or float ``[n, *input_shape]``, n >= batch; None for random ones.
        processor_time: measure the time of the processor, of all threads, in place of the time that passes: on a machine
            that others use, with one thread, it says more.
        int8: int8 runtimes to run too, of `int8.RUNTIMES`; each is an optional dependency (extra "bench").

    Returns:
        Medians over the rounds as images per second, ratios of medians, and the spread (fastest and slowest round, 99th
        percentile) of each in milliseconds per image.

    Raises:
        ValueError: an option is out of range or unknown, or PyTorch's twin lacks a layer of the network.
        ImportError: a peer or a runtime is not installed.
    """
    if rounds < 1 or batch < 1:
        raise ValueError(f"rounds and batch must be at least 1, not {rounds!r} and {batch!r}")
    for kind, names, known in (("peer", peers, tuple(PEERS)), ("int8 runtime", int8, tuple(RUNTIMES))):
        for name in names:
            if name not in known:
                raise ValueError(f"{kind} must be one of {', '.join(known)}, not {name!r}")
    threads = threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    engine = NativeEngine(network, threads=threads, path=path)
    if images is None:
        images = np.random.default_rng(7).random((batch, *network.input_shape), dtype=np.float32)
    images = images[:batch]
    if len(images) != batch:
        raise ValueError(f"images must hold at least {batch} images, not {len(images)}")
    inputs, pixels = encode_images(network, images), to_float(images).astype(np.float32)
    twin = dense_twin(network)
    calls: dict[str, Callable[[], object]] = {"native": lambda: engine.logits(inputs)}
    calls |= {f"torch_{name}": _torch_call(twin, pixels, dtype) for name, dtype in DTYPES.items()}
    calls |= {name: runtime(name, twin, pixels, threads=threads) for name in int8}
    calls |= {name: peer(name, twin, (batch, *network.input_shape), steps) for name in peers}
    milliseconds = interleaved(calls, rounds, batch, time.process_time if processor_time else time.perf_counter)
    share, per_neuron = densities(network, inputs[:16], engine)
    record = _summary(milliseconds, (*int8, *peers))
    record |= {"density": share, "spikes_per_neuron": per_neuron, "threads": threads, "batch": batch, "rounds": rounds}
    record |= {"clock": "processor" if processor_time else "wall"}
    record |= {"path": path, "instructions": engine.instructions, "weight_bytes": engine.weight_bytes}
    record |= {"torch": torch.__version__, "processor": platform.processor() or platform.machine()}
    record |= {package: version(package) for package in (name.removesuffix("_int8") for name in int8)}
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
        record |= {f"{name}_p99_ms_per_image": float(np.percentile(values, 99))}
    return record


REST_SECONDS = 0.05

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def interleaved(
    calls: dict[str, Callable[[], object]],
    rounds: int,
    images: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Milliseconds per image of every call in every round, after one warm-up round.

    Between two calls is a rest: idle threads of one library spin for a while, and would slow the next one down.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(REST_SECONDS)
            start = clock()
            call()
            if turn:
                found[name].append((clock() - start) * 1000 / images)
    return found


def _torch_call(network: nn.Module, pixels: np.ndarray, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    twin, x = deepcopy(network).to(dtype), torch.from_numpy(pixels).to(dtype)
    if x.ndim == 4:
        twin = twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return twin(x)  # type: ignore[no-any-return]

    return call
