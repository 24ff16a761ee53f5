"""``firstspike export``: a converted network as a file of another tool."""

import argparse
from pathlib import Path

from firstspike import zoo
from firstspike.cli.common import write_json
from firstspike.extras import needed
from firstspike.spec import fingerprint, load
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Write the file."""
    if options.format != "onnx" and (options.quantisers or options.precision != "float64"):
        raise ValueError(f"--precision and --quantisers must go with --format onnx, not {options.format}")
    if options.format != "nir" and options.neurons != "ttfs":
        raise ValueError(f"--neurons must go with --format nir, not {options.format}")
    network = load(zoo.file(options.network))
    if options.format == "onnx":
        with needed("export --format onnx"):
            from firstspike.interop.onnx.write import to_onnx
        to_onnx(network, options.save, precision=options.precision, quantisers=options.quantisers)
        exponent = network.exponent(network.synaptic[-1])
        told = f"ONNX in {options.precision}; integer logits are the graph's times 2^{exponent}"
    else:
        with needed("export --format nir"):
            from firstspike.interop.nir.graph import to_nir
        to_nir(network, options.save, neurons=options.neurons)
        told = "NIR with " + (
            "nodes that fire once" if options.neurons == "ttfs" else "integrate-and-fire nodes and a schedule"
        )
    size = Path(options.save).stat().st_size
    console.print(f"{options.save}: {len(network.layers)} layers, {size:,} bytes, {told}", soft_wrap=True)
    record = {"network": str(options.network), "fingerprint": fingerprint(network), "file": options.save}
    write_json(options.json, record | {"format": options.format, "size_bytes": size})
