"""ResNet-50 and VGG-16 at 224 x 224 on 1 to 64 chips: throughput, latency, energy, traffic between chips. On paper.

Number: curves and tables of docs/explanation/scaling.md.
n: one image of random spikes (seed 0) of the activity stated there; the events are exact counts for these spikes.
Machine: any; nothing is timed. Versions: the firstspike of the checkout, any numpy.
Output: OUT/multichip.csv (one line a network, number of chips and kind of weights; units in
the heads of the columns) and docs/images/multichip.png.

    python -m studies.multichip --out OUT
    python -m studies.multichip --measure zoo/vgg16-cifar10.safetensors --data cifar10     # the activity of a trained network
"""

import argparse
import csv
import io
import platform
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import firstspike as fs
from firstspike import files
from firstspike.data import load as load_images
from firstspike.figures import palette
from firstspike.processor import technology
from firstspike.spec import INPUT, MaxPool2d
from studies.rivals import multichip, shapes
from studies.rivals.multichip import GROUPS, System, Workload

NETWORKS = {"ResNet-50": shapes.resnet50, "VGG-16": shapes.vgg16}
COLOURS = dict(zip(GROUPS, (palette.LIGHT[name] for name in ("g0", "g1", "g2", "g3", "g4", "soft")), strict=True))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for multichip.csv (%(default)s)")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/multichip.png"), help="the plot (%(default)s)")
    parser.add_argument("--chips", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument(
        "--store-kib", type=int, default=2048, help="weight store of a chip, where weights stay (%(default)s)"
    )
    parser.add_argument("--dram", default="flat-4pj", help="DRAM scenario (%(default)s)")
    parser.add_argument("--measure", metavar="NET", help="print the activity of a trained network instead")
    parser.add_argument("--data", default="cifar10", help="its test images (%(default)s)")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--limit", type=int, default=200, help="how many (%(default)s)")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> None:
    """Shares of neurons and words, over all maps of a kind; and the model on one chip beside the cost of these images."""
    snn = fs.load(options.measure)
    images = load_images(options.data, split="test", data_root=options.data_root)
    trace = snn.trace(images.pixels(0, options.limit))
    sums = {kind: np.zeros(4, dtype=np.int64) for kind in ("input", "firing layers", "pooled maps")}
    for name, layer in trace.layers.items():
        if layer.times is not None and layer.kind != "flatten":
            pooled = name != INPUT and isinstance(snn.network.layer(name), MaxPool2d)
            kind = "input" if name == INPUT else "pooled maps" if pooled else "firing layers"
            sums[kind] += shapes.map_totals(layer.times)
    for kind, (spikes, neurons, silent, words) in sums.items():
        print(f"{kind}: density {spikes / neurons:.3f}, silent words {silent / words:.3f}")
    cost = fs.Processor().price(snn.network, trace, dram=options.dram)
    print(f"firstspike cost: {cost.cycles_per_image:,.0f} cycles, {cost.energy_uj:.1f} µJ per image")
    times = trace.times
    for name, activity in (("every map's", shapes.measure(snn.network, times)), ("the three kinds'", None)):
        work = multichip.workload(snn.network, shapes.spikes(snn.network, activity), fs.Processor())
        one = multichip.system(work, 1, technology=technology.default(), dram=options.dram)
        off = [one.period_cycles / cost.cycles_per_image - 1, one.energy.value / cost.energy_uj - 1]
        print(
            f"model, {name} activity: {one.period_cycles:,.0f} cycles ({off[0]:+.1%}), {one.energy.value:.1f} µJ ({off[1]:+.1%})"
        )


def evaluate(work: Workload, options: argparse.Namespace) -> dict[str, list[System]]:
    """Systems with streamed weights, and with resident ones where these fit."""
    constants = technology.default()
    found: dict[str, list[System]] = {"streamed": [], "resident": []}
    for chips in options.chips:
        for weights, store in (("streamed", 0), ("resident", options.store_kib)):
            try:
                system = multichip.system(work, chips, technology=constants, dram=options.dram, store_kib=store)
            except ValueError as error:
                print(f"{chips} chips, {weights}: {error}")
                continue
            found[weights].append(system)
    return found


def draw(results: dict[str, dict[str, list[System]]], options: argparse.Namespace) -> None:
    """One row a network: throughput, latency, energy by group with bounds, traffic."""
    plt.style.use("firstspike.figures.plots")
    figure, rows = plt.subplots(len(results), 4, figsize=(17, 7.6), layout="constrained")
    link = technology.default().link.transfer.value
    for axes, (name, found) in zip(rows, results.items(), strict=True):
        speed, delay, energy, traffic = axes
        for (weights, systems), style in zip(found.items(), ("o-", "s--"), strict=True):
            chips = [system.chips for system in systems]
            speed.plot(chips, [s.frames_per_second for s in systems], style, label=f"weights {weights}")
            delay.plot(chips, [s.latency_us / 1e3 for s in systems], style)
            traffic.plot(chips, [sum(s.link_bits) / 1e6 for s in systems], style, label=f"all links, {weights}")
        streamed = found["streamed"]
        chips = [system.chips for system in streamed]
        speed.plot(chips, [streamed[0].frames_per_second * n for n in chips], ":", color="grey", label="in proportion")
        traffic.plot(chips, [max(s.link_bits, default=0) / 1e6 for s in streamed], "^:", label="busiest link, streamed")
        bars(energy, found, options.chips)
        speed.set_yscale("log", base=2)
        speed.yaxis.set_major_formatter("{x:g}")
        speed.set(title=f"{name}, 224 x 224: throughput", ylabel="images/s")
        delay.set(title="latency of an image", ylabel="ms", ylim=(0, None))
        energy.set(title="energy per image (left: streamed, right: resident)", ylabel="mJ", yscale="linear")
        traffic.set(title="traffic between chips", ylabel="Mbit per image", ylim=(0, None))
        joules = traffic.secondary_yaxis("right", functions=(lambda x: x * link, lambda x: x / link))
        joules.set_ylabel(f"µJ per image at {link:g} pJ/bit")
        for panel in (speed, delay, traffic):
            panel.set_xscale("log", base=2)
            panel.xaxis.set_major_formatter("{x:g}")
            panel.grid(alpha=0.3)
        for panel in axes:
            panel.set_xlabel("chips")
        for panel in (speed, energy, traffic):
            panel.legend(fontsize=8)
    options.plot.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(options.plot) as stream:
        figure.savefig(stream, dpi=110, format="png")


def bars(panel: plt.Axes, found: dict[str, list[System]], counts: list[int]) -> None:
    """Stacked groups, and the total's bounds."""
    places = {chips: index for index, chips in enumerate(counts)}
    for weights, systems in found.items():
        shift = -0.2 if weights == "streamed" else 0.2
        at = [places[min(n for n in counts if n >= s.chips)] + shift for s in systems]
        bottom = np.zeros(len(systems))
        for group in GROUPS:
            height = np.array([s.groups[group].value / 1e3 for s in systems])
            label = group if weights == "streamed" else None
            panel.bar(at, height, 0.36, bottom, color=COLOURS[group], label=label, hatch="" if shift < 0 else "//")
            bottom += height
        low, high = (np.array([getattr(s.energy, bound) / 1e3 for s in systems]) for bound in ("low", "high"))
        panel.errorbar(at, bottom, yerr=(bottom - low, high - bottom), fmt="none", color="black", capsize=2, lw=1)
    panel.set_xticks(range(len(counts)), [str(n) for n in counts])
    panel.grid(axis="y", alpha=0.3)


def main() -> None:
    """Count, deal out, write; or measure a network's activity."""
    options = arguments()
    if options.measure:
        measure(options)
        return
    results: dict[str, dict[str, list[System]]] = {}
    records = []
    for name, shape in NETWORKS.items():
        network = shape()
        work = multichip.workload(network, shapes.spikes(network), fs.Processor())
        whole = {m: 8 * int(np.prod(network.shapes[m])) for m in work.map_bits}
        shorter = sum(bits < whole[m] for m, bits in work.map_bits.items())
        share = sum(work.map_bits.values()) / sum(whole.values())
        print(
            f"{name}: {int(work.counts.cycles[0]):,} cycles, {int(work.counts.total('sops')[0]):,} SOPs on one chip; lists "
            f"are shorter than bytes for {shorter} of {len(whole)} maps: {share:.2f} of the bits"
        )
        results[name] = evaluate(work, options)
        for systems in results[name].values():
            records += [{"network": name, "dram": options.dram, **system.record()} for system in systems]
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "multichip.csv"
    table = io.StringIO()
    writer = csv.DictWriter(table, records[0])
    writer.writeheader()
    writer.writerows(records)
    files.write(path, table.getvalue())
    draw(results, options)
    for row in records:
        print(
            f"| {row['network']} | {row['chips']} | {row['weights']} | {row['frames_per_second']:.1f} | "
            f"{row['latency_us'] / 1e3:.1f} | {row['energy_uj'] / 1e3:.2f} [{row['energy_uj_low'] / 1e3:.2f} .. "
            f"{row['energy_uj_high'] / 1e3:.2f}] | {row['DRAM_uj'] / 1e3:.2f} | {row['leakage_uj'] / 1e3:.2f} | "
            f"{row['link_bits_per_image'] / 1e6:.1f} | {row['busiest_link_bits_per_image'] / 1e6:.1f} | "
            f"{row['link_uj']:.0f} [{row['link_uj_low']:.0f} .. {row['link_uj_high']:.0f}] | {row['area_mm2']:.0f} |"
        )
    print(f"{path} and {options.plot}; Python {platform.python_version()}, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
