"""Energy of a run: events times energy per event, by component and layer (docs/energy.md).

A pure function of event counts and of the technology file: the same input gives the same bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firstspike.arith import checks
from firstspike.processor.cycles import EVENTS, Counts, LayerCounts
from firstspike.processor.interval import ZERO, Interval, total
from firstspike.processor.sram import Buffer
from firstspike.processor.technology import Dram, Technology
from firstspike.spec.processor import Processor

COMPONENTS: Mapping[str, str] = {
    "pe": "processing elements",
    "weight_read": "weight buffer, reads",
    "weight_write": "weight buffer, writes",
    "activation_read": "activation buffer, reads",
    "activation_write": "activation buffer, writes",
    "membrane": "membranes and biases",
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
class Hardware:
    """What a processor's memories and logic cost in a technology, before any event.

    Attributes:
        weight: one bank of the weight buffer; there are two. membrane, activation: the other memories.
        area_mm2: all memories and the processing elements.
        leakage_mw: the same.
    """

    weight: Buffer
    activation: Buffer
    membrane: Buffer
    area_mm2: Interval
    leakage_mw: Interval


def hardware(processor: Processor, weight_bits: int, technology: Technology) -> Hardware:
    """Buffers, area and leakage of a processor whose weight rows hold ``pes`` codes of ``weight_bits`` bits."""
    checks.integer("weight_bits", weight_bits, low=1, high=64)
    sram = technology.sram
    row = processor.pes * processor.accumulator_bits
    weight = sram.buffer(capacity_kib=processor.weight_buffer_kib / 2, width_bits=processor.pes * weight_bits)
    activation = sram.buffer(capacity_kib=processor.activation_buffer_kib, width_bits=processor.word_bits)
    membrane = sram.buffer(capacity_kib=processor.membrane_rows * row / 8192, width_bits=row)
    buffers = (weight, weight, activation, membrane)
    logic = _plain(technology.logic.pe_area).times(processor.pes * 1e-6)
    return Hardware(
        weight=weight,
        activation=activation,
        membrane=membrane,
        area_mm2=total([buffer.area_mm2 for buffer in buffers]) + logic,
        leakage_mw=total([buffer.leakage_mw for buffer in buffers]) + logic.by(technology.logic.leakage),
    )


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

    @property
    def energy(self) -> Interval:
        """Energy of the layer in uJ."""
        return total(list(self.components.values())).times(1e-6)

    @property
    def energy_uj(self) -> float:
        """Energy of the layer in uJ."""
        return self.energy.value

    @property
    def groups(self) -> dict[str, Interval]:
        """Energy of the layer in uJ by group of components."""
        return {group: total([self.components[key] for key in keys]).times(1e-6) for group, keys in GROUPS.items()}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What running images on the processor costs, mean per image.

    Attributes:
        images: number of images.
        processor: the processor.
        technology, dram: names of the technology and of the DRAM scenario.
        layers: by execution, the image's load first.
        area: estimated area of memories and processing elements in mm2.
    """

    images: int
    processor: Processor
    technology: str
    dram: str
    layers: tuple[LayerCost, ...]
    area: Interval

    @property
    def components(self) -> dict[str, Interval]:
        """Energy per image in uJ by component."""
        return {key: total([layer.components[key] for layer in self.layers]).times(1e-6) for key in COMPONENTS}

    @property
    def labels(self) -> dict[str, tuple[str, str]]:
        """Name for readers and group of every component."""
        return {key: (COMPONENTS[key], group) for group, keys in GROUPS.items() for key in keys}

    @property
    def groups(self) -> dict[str, Interval]:
        """Energy per image in uJ by group of components."""
        parts = self.components
        return {group: total([parts[key] for key in keys]) for group, keys in GROUPS.items()}

    @property
    def energy(self) -> Interval:
        """Energy per image in uJ with its bounds."""
        return total(list(self.components.values()))

    @property
    def energy_uj(self) -> float:
        """Energy per image in uJ."""
        return self.energy.value

    @property
    def cycles_per_image(self) -> float:
        """Clock cycles."""
        return self.event("cycles")

    @property
    def latency_us(self) -> float:
        """Time from the start of an image's load to its stored logits, in microseconds."""
        return self.cycles_per_image / self.processor.clock_mhz

    @property
    def frames_per_second(self) -> float:
        """Images per second, one after the other."""
        return 1e6 / self.latency_us

    @property
    def power_mw(self) -> float:
        """Mean power in mW while running, DRAM included."""
        return 1e3 * self.energy_uj / self.latency_us

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
            "technology": self.technology,
            "dram": self.dram,
            "clock_mhz": self.processor.clock_mhz,
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
    """Price the counted events of a run.

    Args:
        counts: events per layer and image.
        weight_bits: bits of a weight code.
        technology: energy per event.
        dram: name of one of the technology's DRAM scenarios.

    Raises:
        ValueError: the scenario is unknown, or nothing was counted.
    """
    memory = technology.memory(dram)
    images = len(counts.cycles)
    if not images:
        raise ValueError("a cost needs at least one image, not 0")
    parts = hardware(counts.processor, weight_bits, technology)
    layers = []
    for layer in counts.layers:
        events = {name: int(getattr(layer, name).sum()) / images for name in EVENTS}
        activations = _activations(layer, memory)
        components = _components(
            layer.kind, events, activations, counts.processor, weight_bits, parts, technology, memory
        )
        layers.append(LayerCost(name=layer.name, kind=layer.kind, events=events, components=components))
    return Cost(
        images=images,
        processor=counts.processor,
        technology=technology.name,
        dram=dram,
        layers=tuple(layers),
        area=parts.area_mm2,
    )


def _activations(layer: LayerCounts, memory: Dram) -> Interval:
    """Pages opened per image: streams are sequential, reads and writes of a layer are one stream each."""

    def pages(size: float) -> float:
        return sum(int((-(-bits // int(size))).sum()) for bits in (layer.dram_read_bits, layer.dram_write_bits))

    images, page = len(layer.cycles), memory.page
    return Interval(low=pages(page.high), value=pages(page.value), high=pages(page.low)).times(1 / images)


def _components(
    kind: str,
    events: Mapping[str, float],
    activations: Interval,
    processor: Processor,
    weight_bits: int,
    parts: Hardware,
    technology: Technology,
    memory: Dram,
) -> dict[str, Interval]:
    """Energy in pJ of one layer and image by component: the equations of docs/energy.md, one a line."""
    logic, pes, word = technology.logic, processor.pes, processor.word_bits
    code_row, membrane_row = pes * weight_bits, pes * processor.accumulator_bits
    nanoseconds = events["cycles"] / processor.clock_mhz * 1e3
    bias = events["bias_read_bits"] + events["bias_write_bits"]
    pooled = events["activation_read_bits"] / 8 if kind == "maxpool2d" else 0.0
    bytes_handled = events["rows"] + events["activation_write_bits"] / 8 + pooled
    ungated = _plain(logic.control_flipflops).by(logic.flipflop_cycle) + _plain(logic.clock_gate_cycle).times(pes)
    energies = {
        "pe": logic.pe_operation.times(events["lane_adds"]),
        "weight_read": parts.weight.read_pj.times(events["weight_read_bits"] / code_row),
        "weight_write": parts.weight.write_pj.times(events["weight_write_bits"] / code_row),
        "activation_read": parts.activation.read_pj.times(events["activation_read_bits"] / word),
        "activation_write": parts.activation.write_pj.times(events["activation_write_bits"] / word),
        "membrane": parts.membrane.read_pj.times(events["membrane_read_bits"] / membrane_row)
        + parts.membrane.write_pj.times(events["membrane_write_bits"] / membrane_row)
        + logic.flipflop_cycle.times(bias),
        "fire": logic.fire_comparison.times(events["threshold_steps"] * pes),
        "encoder": logic.encoder_byte.times(bytes_handled),
        "control": logic.control_cycle.times(events["cycles"]),
        "clock": ungated.times(events["cycles"]),
        "leakage": parts.leakage_mw.times(nanoseconds),  # mW * ns = pJ
        "dram_read": memory.read.times(events["dram_read_bits"]),
        "dram_write": memory.write.times(events["dram_write_bits"]),
        "dram_activate": memory.activate.by(activations).times(1e3),
        "dram_standby": memory.standby.times(nanoseconds),
    }
    assert energies.keys() == COMPONENTS.keys()
    return {key: ZERO + energy for key, energy in energies.items()}


def _plain(interval: Interval) -> Interval:
    """The bounds of a constant without its unit and source."""
    return Interval(low=interval.low, value=interval.value, high=interval.high)
