"""Inference speed of the native engine against PyTorch, int8 runtimes and time-stepped simulators, one table.

    python benchmarks/inference.py --json inference.json                     # random VGG-16, four densities, three batches
    python benchmarks/inference.py --network net.safetensors --json net.json # a trained network, on random images
    python benchmarks/inference.py --network net.safetensors --int8 --data cifar10   # with OpenVINO and ONNX Runtime
    python benchmarks/inference.py --shapes resnet50 --sizes 224 --int8 --batches 1 8     # random codes, the narrow format
    python benchmarks/inference.py --peers --batches 16 --densities 0.3      # with SpikingJelly, snnTorch and sinabs

Number: median milliseconds an image, the fastest and the 99th percentile; engines interleaved, the same threads for all.
n: --rounds after one warm-up round.
Machine, versions: in the record (--json).
Simulators and int8 runtimes need the extra "bench".
"""

import argparse
import os
from pathlib import Path

from firstspike import data, records
from firstspike.bench.inference import run
from firstspike.bench.int8 import RUNTIMES
from firstspike.bench.peers import PEERS
from firstspike.bench.random_vgg import random_vgg
from firstspike.bench.shapes import SHAPES, random_network
from firstspike.spec import load, save


def main() -> None:
    """Measure and print one table, one line a network and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, help="model file; none for random codes")
    parser.add_argument("--densities", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.45])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument(
        "--processor-time", action="store_true", help="of all threads, where others use the machine too"
    )
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--data", help="test images of this data set, by name or path; none for random ones")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--shapes", nargs="+", choices=sorted(SHAPES), default=[], help="in place of --densities")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32], help="rows and columns of the images of --shapes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where the random networks are kept")
    options = parser.parse_args()
    networks: dict[object, Path] = {None: options.network} if options.network else {}
    options.folder.mkdir(parents=True, exist_ok=True)
    for shape in options.shapes:
        for size in options.sizes:
            networks[shape, size] = options.folder / f"random-{shape}-{size}.safetensors"
            if not networks[shape, size].exists():
                save(random_network(shape, size=size), networks[shape, size])
    for density in [] if options.network or options.shapes else options.densities:
        networks[density] = options.folder / f"random-vgg16-{density}.safetensors"
        if not networks[density].exists():
            save(random_vgg(density=density), networks[density])
    measurements = []
    images = None
    if options.data is not None:
        images = data.load(options.data, split="test", data_root=options.data_root).limit(max(options.batches)).images
    others = (*(RUNTIMES if options.int8 else ()), *(PEERS if options.peers else ()))
    for network in networks.values():
        for batch in options.batches:
            r = run(
                load(network),
                batch=batch,
                threads=options.threads,
                rounds=options.rounds,
                peers=tuple(PEERS) if options.peers else (),
                images=images,
                int8=tuple(RUNTIMES) if options.int8 else (),
                processor_time=options.processor_time,
            )
            measurements.append(r | {"network": str(network)})
            print(
                f"{network.stem} density {r['density']:.3f} batch {batch} threads {r['threads']}, "
                "ms/image: median (fastest, 99 %), x native"
            )
            ratios = {"native": "", "torch_fp32": "fp32", "torch_bf16": "bf16"} | {name: name for name in others}
            for name, ratio in ratios.items():
                times = f"{r[f'{name}_ms_per_image']:8.3f} ({r[f'{name}_fastest_ms_per_image']:.3f}, "
                times += f"{r[f'{name}_p99_ms_per_image']:.3f})"
                print(f"  {name:16} {times} {r[f'ratio_{ratio}'] if ratio else 1:.2f}", flush=True)
            if options.json:
                records.write(options.json, {"measurements": measurements})


if __name__ == "__main__":
    main()
