"""Resident memory of a loaded network and one run of the native engine, over the size of its model file.

    python benchmarks/memory.py --batches 1 32 --rounds 5

Number: growth of the process's resident memory (VmRSS of /proc/self/status) in bytes: after ``fs.load``, after one call on random
images, and the highest on the way (VmHWM). A network of one layer has run before, so that code and threads are there already.
Linux only.
n: --rounds fresh processes each; the median.
Machine, versions: in the record (--json).
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

import firstspike as fs
from firstspike import records
from firstspike.engine.native import NativeEngine
from firstspike.spec import Linear

IMAGES_IN_FLIGHT = 32
"""Of one thread: ``group_images`` in src/native/engine.cpp."""

MODEL = Path(__file__).parents[1] / "zoo" / "vgg16-cifar10.safetensors"


def resident() -> dict[str, int]:
    """VmRSS and VmHWM, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}


def images(shape: tuple[int, ...], batch: int) -> np.ndarray:
    """Random images in [0, 1)."""
    return np.random.default_rng(0).random((batch, *shape), dtype=np.float32)


def measure(path: Path, batch: int, threads: int) -> dict[str, int]:
    """Growth in this process, bytes."""
    silent = np.full((1, 1), 15, dtype=np.uint8)
    layer = Linear(name="out", source="input", codes=silent, scale=0, bias=np.zeros(1, dtype=np.int64), fires=False)
    small = fs.Network(code=fs.Code(), weights=fs.LogWeights(), input_shape=(1,), layers=(layer,))
    fs.SpikingNetwork(small)(images((1,), 64))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts again
    before = resident()["VmRSS"]
    snn = fs.load(path)
    assert isinstance(snn.engine, NativeEngine)
    snn.engine.threads = threads
    loaded = resident()["VmRSS"]
    snn(images(snn.network.input_shape, batch))
    after = resident()
    return {"loaded": loaded - before, "run": after["VmRSS"] - before, "peak": after["VmHWM"] - before}


def in_flight(network: fs.Network, batch: int, threads: int) -> int:
    """Bytes of the images, their spike times, and the largest layer's inputs and outputs of the images in flight."""
    pixels = math.prod(network.input_shape)
    pair = max(
        math.prod(network.shapes[layer.source]) + math.prod(network.shapes[layer.name]) for layer in network.layers
    )
    return batch * pixels * (4 + 1) + min(batch, IMAGES_IN_FLIGHT * threads) * pair


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--network", type=Path, default=MODEL)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures, or - for the standard output in place of the table")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)  # a batch: measure in this process
    options = parser.parse_args()
    if options.once is not None:
        print(json.dumps(measure(options.network, options.once, options.threads)))
        return
    network, size = fs.load(options.network).network, options.network.stat().st_size
    runs = []
    for batch in options.batches:
        command = [sys.executable, __file__, "--network", str(options.network), "--threads", str(options.threads)]
        command += ["--once", str(batch)]
        samples = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(options.rounds)
        ]
        figures = {key: sorted(sample[key] for sample in samples) for key in samples[0]}
        runs.append(
            {"batch": batch, "file": size, "in_flight": in_flight(network, batch, options.threads)}
            | {key: [statistics.median(values), values[0], values[-1]] for key, values in figures.items()}
        )
    record = {
        "network": options.network.name,
        "threads": options.threads,
        "rounds": options.rounds,
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "runs": runs,
    }
    if options.json != "-":
        print(f"{options.network.name}: {size} bytes; median [lowest .. highest] of n = {options.rounds}, x file")
        for run in runs:
            cells = [
                f"{key} {run[key][0] / size:.2f} [{run[key][1] / size:.2f} .. {run[key][2] / size:.2f}]"
                for key in ("loaded", "run", "peak")
            ]
            print(f"batch {run['batch']}: {', '.join(cells)}; activations in flight {run['in_flight'] / size:.2f}")
    if options.json == "-":
        print(records.text(record), end="")
    elif options.json:
        records.write(options.json, record)


if __name__ == "__main__":
    main()
