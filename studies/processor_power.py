"""Area, timing and power of the whole processor by block, on a real layer of a real image, at gate level.

Number: tables "the processor, block by block" of docs/explanation/synthesis.md.
n: one image, one layer, the cycles printed. With --check the image runs to its logits, which must equal the engine's.
Machine: any; nothing is timed. Versions: of Yosys and OpenSTA, stated in docs/explanation/synthesis.md.
With --alone the layer is cut out of the network and given its real input spikes, so that a deep layer of a large network
is reached in minutes.
Needs: pip install 'firstspike[rtl]', OpenSTA for the slack (apt-get install opensta), a network from `firstspike demo`.

    python -m studies.processor_power demo/digits.safetensors --data digits --layer conv1_2 --pes 16 --liberty FILE ...
    python -m studies.processor_power zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv2_1 --alone --cycles 1500 \
        --pes 128 --liberty FILE ...
"""

import argparse
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from firstspike import records
from firstspike.compiler import mapping
from firstspike.data import load as load_images
from firstspike.gates.budget import Workload, layer_power
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import design, synthesise
from firstspike.processor import technology
from firstspike.rtl.parameters import Parameters
from firstspike.spec import INPUT, Conv2d, Network, ProcessorSpec
from firstspike.spiking import SpikingNetwork, load

Record = dict[str, Any]


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="model file")
    parser.add_argument("--data", default="digits", help="test images (%(default)s)")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--image", type=int, default=0, help="which (%(default)s)")
    parser.add_argument("--layer", required=True, help="layer whose first cycles are priced")
    parser.add_argument("--cycles", type=int, default=3000, help="how many (%(default)s)")
    parser.add_argument("--pes", type=int, default=16, help="processing elements (%(default)s)")
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    parser.add_argument(
        "--alone", action="store_true", help="the layer (a convolution) alone, on its real input spikes"
    )
    parser.add_argument("--check", action="store_true", help="run to the logits and compare them with the engine's")
    parser.add_argument("--json", help="file for the records")
    return parser.parse_args()


def alone(snn: SpikingNetwork, times: np.ndarray, name: str) -> tuple[SpikingNetwork, np.ndarray]:
    """A network of one layer and a read-out of silent weights, and the layer's input spikes."""
    whole = snn.network
    layer = whole.layer(name)
    if not isinstance(layer, Conv2d) or layer.residuals:
        raise SystemExit(f"--alone: layer must be a convolution without residual inputs, not {name!r}")
    inputs = {INPUT: times, **snn.engine.layers(times)}[layer.source]
    silent = np.full((8, layer.outputs, 1, 1), whole.weights.zero_level, dtype=np.uint8)
    readout = Conv2d(name="readout", source=name, codes=silent, scale=0, bias=np.zeros(8, np.int64), fires=False)
    network = Network(
        code=whole.code,
        weights=whole.weights,
        input_shape=inputs.shape[1:],
        layers=(replace(layer, source=INPUT), readout),
        accumulator_bits=whole.accumulator_bits,
    )
    return SpikingNetwork(network), inputs


def print_blocks(area: Record, power: Record) -> None:
    """The table of the logic, block by block."""
    print("| block | area µm² | GE | flip-flops | energy/cycle fJ | of it clock | 28 nm: area µm² | energy/cycle fJ |")
    print("|---|---|---|---|---|---|---|---|")
    areas = {block["name"]: block for block in area["blocks"]}
    factor = area["at_28nm"]["factors"] if area["at_28nm"] else {"area": float("nan"), "energy": float("nan")}
    for block in power["blocks"]:
        size = areas[block["name"]]
        print(
            f"| {block['name']} | {size['area_um2']:.0f} | {size['gate_equivalents']:.0f} | {size['flipflops']} "
            f"| {block['total']:.0f} | {block['clock']:.0f} | {size['area_um2'] * factor['area']:.0f} "
            f"| {block['total'] * factor['energy']:.0f} |"
        )
    total = power["logic_fj_per_cycle"]
    print(
        f"| all logic | {area['area_um2']:.0f} | {area['gate_equivalents']:.0f} | {area['flipflops']} "
        f"| {total['total']:.0f} ({total['low']:.0f}-{total['high']:.0f}) | | {area['area_um2'] * factor['area']:.0f} "
        f"| {total['total'] * factor['energy']:.0f} |\n"
    )


def print_memories(area: Record, power: Record) -> None:
    """The table of the memories."""
    print("| memory | bits x words | area µm² (28 nm) | reads | writes | energy/cycle fJ (28 nm) |")
    print("|---|---|---|---|---|---|")
    for size, access in zip(area["memories"], power["memories"], strict=True):
        low, value, high = access["fj_per_cycle_28nm"]
        print(
            f"| {size['name']} | {size['width']} x {size['depth']} | {size['area_um2'][1]:.0f} "
            f"| {access['reads']} | {access['writes']} | {value:.0f} ({low:.0f}-{high:.0f}) |"
        )


def main() -> None:
    """Synthesise, run at gate level, and print the tables."""
    options = arguments()
    snn, processor = load(options.network), ProcessorSpec(pes=options.pes)
    images = load_images(options.data, split="test", data_root=options.data_root)
    times = snn.encode(images.pixels(options.image, options.image + 1))
    if options.alone:
        snn, times = alone(snn, times, options.layer)
    library, macros = Library(options.liberty), technology.default().sram
    begin = time.perf_counter()
    mapped = synthesise(design("processor", Parameters.of(snn.network, processor)), library, max_fanout=12)
    area = mapped.record(macros=macros)
    print(
        f"synthesised in {time.perf_counter() - begin:.0f} s; slack {area['slack_ns']} ns; at 28 nm {area['at_28nm']}"
    )
    work = Workload(
        network=snn.network,
        program=mapping.program(snn.network, processor),
        processor=processor,
        times=times,
        layer=options.layer,
        cycles=options.cycles,
        to_the_end=options.check,
    )
    begin = time.perf_counter()
    power, run = layer_power(
        mapped,
        library,
        work,
        macros=macros,
        progress=lambda cycle: print(f"\r  cycle {cycle}", end="", file=sys.stderr, flush=True),
    )
    print(f"\n{run.cycles} cycles at gate level and power in {time.perf_counter() - begin:.0f} s")
    if options.check:
        start = len(run.dram) - work.program.regions["logits"] * (processor.word_bits // 8)
        logits = np.frombuffer(run.dram[start:], dtype="<i8")[: len(snn.network.classes) or None]
        wanted = np.asarray(snn.engine.logits(times)).reshape(-1)
        print("logits equal the engine's:", np.array_equal(logits[: len(wanted)], wanted))
    corner = f"{library.name}, {library.voltage} V, {area['clock_ns']} ns"
    print(f"\n{corner}, layer {options.layer}, n = {power['cycles']} cycles\n")
    print_blocks(area, power)
    print_memories(area, power)
    print(f"\nDRAM words in these cycles: {power['dram_words']}")
    if options.json:
        records.write(options.json, {"pes": options.pes, "area": area, "power": power})


if __name__ == "__main__":
    main()
