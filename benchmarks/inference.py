"""Inference speed of the native engine against PyTorch (float32 and bfloat16) and time-stepped simulators, one table.

    python benchmarks/inference.py --json inference.json                     # random VGG-16, four densities, three batches
    python benchmarks/inference.py --network net.safetensors --json net.json # a trained network, on random images
    python benchmarks/inference.py --peers --batches 16 --densities 0.3      # with SpikingJelly, snnTorch and sinabs

Number: median images per second, engines interleaved, the same threads for all.
n: --rounds after one warm-up round.
Machine, versions: in the record (--json).
The simulators need the extra "bench".
"""

import argparse
import os
from pathlib import Path

from firstspike import records
from firstspike.bench.inference import run
from firstspike.bench.peers import PEERS
from firstspike.bench.random_vgg import random_vgg
from firstspike.spec import load, save


def main() -> None:
    """Measure and print one table, one line a network and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", help="model file; none for random codes")
    parser.add_argument("--densities", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.45])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where the random networks are kept")
    options = parser.parse_args()
    networks = {None: options.network} if options.network else {}
    options.folder.mkdir(parents=True, exist_ok=True)
    for density in [] if options.network else options.densities:
        networks[density] = options.folder / f"random-vgg16-{density}.safetensors"
        if not networks[density].exists():
            save(random_vgg(density=density), networks[density])
    measurements = []
    print("density batch | native  float32 bfloat16 ms/image (fastest..slowest of native) | x float32  x bfloat16")
    for network in networks.values():
        for batch in options.batches:
            peers = tuple(PEERS) if options.peers else ()
            r = run(load(network), batch=batch, threads=options.threads, rounds=options.rounds, peers=peers)
            measurements.append(r | {"network": str(network)})
            print(
                f"{r['density']:7.3f} {batch:5d} | {r['native_ms_per_image']:.3f} {r['torch_fp32_ms_per_image']:.3f} "
                f"{r['torch_bf16_ms_per_image']:.3f} ({r['native_fastest_ms_per_image']:.3f}.."
                f"{r['native_slowest_ms_per_image']:.3f}) | {r['ratio_fp32']:.2f} {r['ratio_bf16']:.2f} "
                + " ".join(f"{name} {r[f'{name}_ms_per_image']:.1f} ms/image" for name in peers),
                flush=True,
            )
            if options.json:
                records.write(options.json, {"measurements": measurements})


if __name__ == "__main__":
    main()
