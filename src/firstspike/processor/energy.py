"""Energy of a run: events times energy per event, by component and layer (docs/explanation/energy.md).

A pure function of event counts and of the technology file: the same input gives the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from firstspike.figures import Figure, bars, numbers
from firstspike.figures.table import frame
from firstspike.messages import brief
from firstspike.processor.cycles import Counts, LayerCounts
from firstspike.processor.plan import EVENTS
from firstspike.processor.rates import Rates, rates
from firstspike.processor.technology import Dram, Technology
from firstspike.spec.interval import Interval, total

if TYPE_CHECKING:
    from pandas import DataFrame

COMPONENTS: Mapping[str, str] = {
    "pe": "processing elements",
    "weight_read": "weight buffer, reads",
    "weight_write": "weight buffer, unpacking and writes",
    "activation_read": "activation buffer, reads",
    "activation_write": "activation buffer, writes",
    "membrane": "membranes",
    "fire": "threshold comparisons",
    "encoder": "spike selection, encoding",
    "control": "control",
    "clock": "clock",
    "leakage": "leakage",
    "dram_read": "DRAM reads",
    "dram_write": "DRAM writes",
    "dram_activate": "DRAM activations",
    "dram_standby": "DRAM standby",
}
"""Components by key, in the order of every table, with their names for readers."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "compute": ("pe", "fire", "encoder"),
    "SRAM": ("weight_read", "weight_write", "activation_read", "activation_write", "membrane"),
    "control and clock": ("control", "clock"),
    "leakage": ("leakage",),
    "DRAM": ("dram_read", "dram_write", "dram_activate", "dram_standby"),
}
"""Components that plots take together."""


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one layer (or ``"input"``, the image's load) costs, mean per image.

    Attributes:
        name, kind: as in the counts.
        events: every count of `firstspike.processor.cycles.EVENTS`.
        components: energy in pJ by component.
    """

    name: str
    kind: str
    events: Mapping[str, float]
    components: Mapping[str, Interval]

    def __repr__(self) -> str:
        sops, cycles = numbers.count(self.events["sops"]), numbers.count(self.events["cycles"])
        return f"LayerCost({brief(self.name, 40)}, {self.kind}, {numbers.energy(self.energy_uj)}, {sops} SOPs, {cycles} cycles)"

    @property
    def energy(self) -> Interval:
        """Energy of the layer in µJ."""
        return total(list(self.components.values())).times(1e-6)

    @property
    def energy_uj(self) -> float:
        """Energy of the layer in µJ."""
        return self.energy.value

    @property
    def groups(self) -> dict[str, Interval]:
        """Energy of the layer in µJ by group of components."""
        return {group: total([self.components[key] for key in keys]).times(1e-6) for group, keys in GROUPS.items()}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What running images on the processor costs, mean per image.

    Attributes:
        images: number of images.
        batches: number of runs, each with one batch of them.
        latency_cycles: of a whole batch, from the start of its first image's load to its stored logits (mean over the whole
            batches; of the one batch there is where the images do not fill one).
        design: name of what was priced.
        clock_mhz: its clock frequency in MHz.
        technology, dram: names of the technology and of the DRAM scenario.
        layers: by execution, the image's load first.
        area: area of memories and logic in mm².
    """

    images: int
    batches: int
    latency_cycles: float
    design: str
    clock_mhz: float
    technology: str
    dram: str
    layers: tuple[LayerCost, ...]
    area: Interval

    def __repr__(self) -> str:
        energy = self.energy
        return (
            f"Cost({numbers.energy(energy.value)} an image ({numbers.energy(energy.low)} to {numbers.energy(energy.high)}), "
            f"{numbers.count(self.cycles_per_image)} cycles at {self.clock_mhz:g} MHz, "
            f"{numbers.significant(self.area.value)} mm², DRAM {self.dram}, {self.images} images)"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.breakdown()._repr_html_()}"

    def breakdown(self, by: Literal["component", "layer"] = "component") -> Figure:
        """Energy per image by component with its bounds, or by layer.

        Raises:
            ValueError: ``by`` is neither.
        """
        draw = {"component": bars.component_bars, "layer": bars.layer_bars}.get(by)
        if draw is None:
            raise ValueError(f"by must be component or layer, not {by!r}")
        return Figure(title=f"Energy per image by {by}", svg=draw(self))

    def to_frame(self) -> "DataFrame":
        """`layer_records` as a pandas table.

        Raises:
            ImportError: pandas is not installed.
        """
        return frame(self.layer_records())

    @property
    def components(self) -> dict[str, Interval]:
        """Energy per image in µJ by component."""
        return {key: total([layer.components[key] for layer in self.layers]).times(1e-6) for key in COMPONENTS}

    @property
    def labels(self) -> dict[str, tuple[str, str]]:
        """Name for readers and group of every component."""
        return {key: (COMPONENTS[key], group) for group, keys in GROUPS.items() for key in keys}

    @property
    def groups(self) -> dict[str, Interval]:
        """Energy per image in µJ by group of components."""
        parts = self.components
        return {group: total([parts[key] for key in keys]) for group, keys in GROUPS.items()}

    @property
    def energy(self) -> Interval:
        """Energy per image in µJ with its bounds."""
        return total(list(self.components.values()))

    @property
    def energy_uj(self) -> float:
        """Energy per image in µJ."""
        return self.energy.value

    @property
    def cycles_per_image(self) -> float:
        """Clock cycles."""
        return self.event("cycles")

    @property
    def latency_us(self) -> float:
        """Time from the start of the first image's load to the stored logits of its whole batch, in microseconds."""
        return self.latency_cycles / self.clock_mhz

    @property
    def frames_per_second(self) -> float:
        """Images per second, one batch after the other."""
        return 1e6 * self.clock_mhz / self.cycles_per_image

    @property
    def power_mw(self) -> float:
        """Mean power in mW while running, DRAM included."""
        return 1e-3 * self.energy_uj * self.frames_per_second

    @property
    def sops_per_image(self) -> float:
        """Synaptic operations, zero weights included."""
        return self.event("sops")

    @property
    def pj_per_sop(self) -> float:
        """Energy per synaptic operation in pJ, DRAM included; 0 where nothing spiked."""
        return 1e6 * self.energy_uj / self.sops_per_image if self.sops_per_image else 0.0

    @property
    def dram_bits(self) -> float:
        """Bits read from and written to DRAM per image."""
        return self.event("dram_read_bits") + self.event("dram_write_bits")

    def event(self, name: str) -> float:
        """A count of `firstspike.processor.cycles.EVENTS`, mean per image.

        Raises:
            ValueError: there is no such count.
        """
        if name not in EVENTS:
            raise ValueError(f"event must be one of {', '.join(EVENTS)}, not {name!r}")
        return sum(layer.events[name] for layer in self.layers)

    def record(self) -> dict[str, Any]:
        """Totals as a flat dictionary whose keys carry units, ready for JSON."""
        energy = self.energy
        record: dict[str, Any] = {
            "images": self.images,
            "batches": self.batches,
            "design": self.design,
            "technology": self.technology,
            "dram": self.dram,
            "clock_mhz": self.clock_mhz,
            "cycles_per_image": self.cycles_per_image,
            "latency_us": self.latency_us,
            "frames_per_second": self.frames_per_second,
            "energy_uj_per_image": energy.value,
            "energy_uj_per_image_low": energy.low,
            "energy_uj_per_image_high": energy.high,
            "power_mw": self.power_mw,
            "sops_per_image": self.sops_per_image,
            "pj_per_sop": self.pj_per_sop,
            "dram_bits_per_image": self.dram_bits,
            "area_mm2": self.area.value,
            "area_mm2_low": self.area.low,
            "area_mm2_high": self.area.high,
        }
        return record | {f"{key}_uj_per_image": part.value for key, part in self.components.items()}

    def layer_records(self) -> list[dict[str, Any]]:
        """One flat dictionary a layer whose keys carry units."""
        rows: list[dict[str, Any]] = []
        for layer in self.layers:
            energy = layer.energy
            row: dict[str, Any] = {"name": layer.name, "kind": layer.kind} | dict(layer.events)
            row |= {"energy_uj": energy.value, "energy_uj_low": energy.low, "energy_uj_high": energy.high}
            rows.append(row | {f"{key}_uj": part.value * 1e-6 for key, part in layer.components.items()})
        return rows


def cost(counts: Counts, *, weight_bits: int, technology: Technology, dram: str = "flat-4pj") -> Cost:
    """Price the counted events of a run on the processor.

    Args:
        counts: events per layer and image.
        weight_bits: bits of a weight code.
        technology: energy per event.
        dram: name of one of the technology's DRAM scenarios.

    Raises:
        ValueError: the scenario is unknown, or nothing was counted.
    """
    chosen = rates(counts.processor, weight_bits, technology, dram, product_bits=counts.product_bits)
    return price(
        counts.layers,
        chosen,
        images=counts.images,
        batch=counts.processor.images,
        design="firstspike",
        technology=technology.name,
        dram=dram,
    )


def price(
    layers: Sequence[LayerCounts],
    chosen: Rates,
    *,
    images: int | None = None,
    batch: int = 1,
    design: str,
    technology: str,
    dram: str,
) -> Cost:
    """Price counted events at given rates.

    Args:
        layers: the events of every run.
        chosen: the rates.
        images: how many images the runs had; None: one each.
        batch: how many a run has that is whole; the last may have fewer.
        design: a name for the result, as are the next two.
        technology: name of the technology file.
        dram: name of its DRAM scenario.

    Raises:
        ValueError: nothing was counted.
    """
    batches = len(layers[0].cycles)
    images = batches if images is None else images
    if not images:
        raise ValueError("a cost needs at least one image, not 0")
    priced = []
    for layer in layers:
        events = {name: int(getattr(layer, name).sum()) / images for name in EVENTS}
        components = _components(layer.kind, events, _activations(layer, chosen.dram, images), chosen)
        priced.append(LayerCost(name=layer.name, kind=layer.kind, events=events, components=components))
    whole = max(1, images // batch)
    return Cost(
        images=images,
        batches=batches,
        latency_cycles=sum(int(layer.cycles[:whole].sum()) for layer in layers) / whole,
        design=design,
        clock_mhz=chosen.clock_mhz,
        technology=technology,
        dram=dram,
        layers=tuple(priced),
        area=chosen.area_mm2,
    )


def _activations(layer: LayerCounts, memory: Dram, images: int) -> Interval:
    """Pages opened per image: streams are sequential, reads and writes of a layer in a run are one stream each."""

    def pages(size: float) -> float:
        return sum(int((-(-bits // int(size))).sum()) for bits in (layer.dram_read_bits, layer.dram_write_bits))

    page = memory.page
    return Interval(low=pages(page.high), value=pages(page.value), high=pages(page.low)).times(1 / images)


def _switched(events: Mapping[str, float], chosen: Rates) -> list[Interval]:
    """What memories leak that are switched off at times, and what switching them on takes, in pJ."""
    parts = [chosen.wake_bit_pj.times(events["woken_bits"])] if chosen.switched else []
    for memory in chosen.switched:
        off = events[memory.event]
        on = memory.banks * events["cycles"] - off
        parts += [
            rate.times(cycles / chosen.clock_mhz * 1e3) for rate, cycles in ((memory.on_mw, on), (memory.off_mw, off))
        ]
    return parts


def _components(kind: str, events: Mapping[str, float], activations: Interval, chosen: Rates) -> dict[str, Interval]:
    """Energy in pJ of one layer and image by component: the equations of docs/explanation/energy.md, one a line."""
    nanoseconds = events["cycles"] / chosen.clock_mhz * 1e3  # mW * ns = pJ
    pooled = events["activation_read_bits"] / 8 if kind == "maxpool2d" else 0.0
    handled = events["activation_write_bits"] / 8 + pooled
    energies = {
        "pe": chosen.lane_add_pj.times(events["nonzero_adds"])
        + chosen.zero_add_pj.times(events["lane_adds"] - events["nonzero_adds"]),
        "weight_read": chosen.weight_read_pj.times(events["weight_read_bits"]),
        "weight_write": chosen.weight_write_pj.times(events["weight_write_bits"])
        + chosen.unpack_bit_pj.times(events["unpacked_bits"]),
        "activation_read": chosen.activation_read_pj.times(events["activation_read_bits"]),
        "activation_write": chosen.activation_write_pj.times(events["activation_write_bits"]),
        "membrane": chosen.membrane_read_pj.times(events["membrane_read_bits"])
        + chosen.membrane_write_pj.times(events["membrane_write_bits"]),
        "fire": chosen.threshold_step_pj.times(events["threshold_steps"]),
        "encoder": chosen.spike_pj.times(events["rows"]) + chosen.byte_pj.times(handled),
        "control": chosen.control_pj.times(events["cycles"]),
        "clock": chosen.clock_pj.times(events["cycles"]),
        "leakage": total([chosen.leakage_mw.times(nanoseconds), *_switched(events, chosen)]),
        "dram_read": chosen.dram.read.times(events["dram_read_bits"]),
        "dram_write": chosen.dram.write.times(events["dram_write_bits"]),
        "dram_activate": chosen.dram.activate.by(activations).times(1e3),
        "dram_standby": chosen.dram.standby.times(nanoseconds),
    }
    assert energies.keys() == COMPONENTS.keys()
    return energies
