"""Other designs on the same networks, images and technology file: what each choice of the processor is worth.

All take the same spikes: where a baseline's own code or weights would give others, that is said in docs/explanation/energy.md.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from firstspike.arith import LogWeights, checks, membrane_exponent
from firstspike.compiler.packing import is_zero
from firstspike.processor import cycles, energy, spinalflow
from firstspike.processor.cycles import Counts
from firstspike.processor.energy import Cost
from firstspike.processor.rates import lane_pj, rates, zero_pj
from firstspike.processor.technology import Technology
from firstspike.spec.network import Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.trace import Trace

LINEAR_BITS = 8
"""Bits of a linear weight in the baselines."""

TABLE_BITS = 16
"""Bits of an entry of a layer's kernel or threshold table in the base-e baseline."""


def compare(
    network: Network, trace: Trace, *, processor: ProcessorSpec, technology: Technology, dram: str = "flat-4pj"
) -> dict[str, Cost]:
    """Cost of the processor and of every baseline, by name.

    Raises:
        ValueError: the network does not fit one of them, or the scenario is unknown.
    """
    times = trace.times
    counts = cycles.count(network, times, processor)
    ours = energy.cost(counts, weight_bits=network.weights.bits, technology=technology, dram=dram)
    return {
        "firstspike": ours,
        "linear weights": linear_weights(network, times, processor, technology, dram),
        "base-e tables": base_e_tables(network, times, processor, technology, dram),
        "SpinalFlow": spinal_flow(network, times, spinalflow.SpinalFlow(), technology, dram),
    }


def linear_weights(
    network: Network,
    times: Mapping[str, np.ndarray],
    processor: ProcessorSpec,
    technology: Technology,
    dram: str,
    *,
    bits: int = LINEAR_BITS,
) -> Cost:
    """The same dataflow with linear weights of ``bits`` bits: wider rows (as many in the buffer), a multiplier in every PE.

    Raises:
        ValueError: the network does not fit; or ``bits`` is out of range.
    """
    counts, processor = _with_bits(network, times, processor, bits)
    chosen = replace(
        rates(processor, bits, technology, dram),
        lane_add_pj=lane_pj(technology, technology.baseline.multiply_operation),
        zero_add_pj=zero_pj(technology, technology.baseline.multiply_operation),
    )
    design = "linear weights"
    return energy.price(
        counts.layers,
        chosen,
        images=counts.images,
        batch=processor.images,
        design=design,
        technology=technology.name,
        dram=dram,
    )


def base_e_tables(
    network: Network,
    times: Mapping[str, np.ndarray],
    processor: ProcessorSpec,
    technology: Technology,
    dram: str,
) -> Cost:
    """Linear weights and a kernel in base e with a table per layer (T2FSNN, DAC 2020), on the same dataflow.

    Every spike reads its kernel value from the layer's table; kernel and threshold table of ``T`` entries of 16 bits come
    from DRAM with every layer (the thresholds of our own program are already in its traffic and are not taken off).

    Raises:
        ValueError: the network does not fit.
    """
    counts, processor = _with_bits(network, times, processor, LINEAR_BITS)
    chosen = rates(processor, LINEAR_BITS, technology, dram)
    table = technology.sram.buffer(capacity_kib=network.code.T * TABLE_BITS * 2 / 8192, width_bits=TABLE_BITS)
    chosen = replace(
        chosen,
        lane_add_pj=lane_pj(technology, technology.baseline.table_operation),
        zero_add_pj=zero_pj(technology, technology.baseline.table_operation),
        spike_pj=chosen.spike_pj + table.read_pj,
        leakage_mw=chosen.leakage_mw + table.leakage_mw,
        area_mm2=chosen.area_mm2 + table.area_mm2,
    )
    extra = network.code.T * TABLE_BITS * 2
    names = {layer.name for layer in network.synaptic}
    layers = [
        replace(layer, dram_read_bits=layer.dram_read_bits + extra) if layer.name in names else layer
        for layer in counts.layers
    ]
    design = "base-e tables"
    return energy.price(
        layers,
        chosen,
        images=counts.images,
        batch=processor.images,
        design=design,
        technology=technology.name,
        dram=dram,
    )


def spinal_flow(
    network: Network,
    times: Mapping[str, np.ndarray],
    design: spinalflow.SpinalFlow,
    technology: Technology,
    dram: str,
) -> Cost:
    """SpinalFlow's dataflow and memories (`firstspike.processor.spinalflow`).

    Raises:
        ValueError: the network does not fit.
    """
    counts = spinalflow.count(network, times, design)
    chosen = spinalflow.rates(design, technology, dram)
    return energy.price(counts, chosen, design="SpinalFlow", technology=technology.name, dram=dram)


def _with_bits(
    network: Network, times: Mapping[str, np.ndarray], processor: ProcessorSpec, bits: int
) -> tuple[Counts, ProcessorSpec]:
    """Counts with weight codes of ``bits`` bits on a processor whose weight buffer holds as many rows as before.

    The mapping and the counts ask a network's weights for their bits, number and zeros only, so all others have the least
    magnitude, at the scale whose membranes are coarsest and still hold what a residual adds.
    """
    checks.integer("bits", bits, low=2, high=8)
    weights = LogWeights(bits=bits, levels_per_octave=16)
    zero = weights.zero_level
    octaves = network.code.exponent - membrane_exponent(network.code, weights, 0)
    layers = tuple(
        replace(
            layer,
            codes=np.where(is_zero(layer.codes, network.weights), zero, zero - 1).astype(np.uint8),
            scale=octaves * weights.levels_per_octave,
            bias=np.zeros_like(layer.bias),
        )
        if isinstance(layer, Synaptic)
        else layer
        for layer in network.layers
    )
    wider = replace(network, weights=weights, layers=layers)
    larger = replace(processor, weight_buffer_kib=-(-processor.weight_buffer_kib * bits // network.weights.bits))
    return cycles.count(wider, times, larger), larger
