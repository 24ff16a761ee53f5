"""The cost of one image as numbers that any program can evaluate: sums of spikes, one maximum an operation, sums of events.

What `firstspike.processor.cycles` counts and `firstspike.processor.energy` prices, written out for the playground's page.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from firstspike.processor import energy, planner
from firstspike.processor.cycles import LayerCounts
from firstspike.processor.plan import EVENTS, RESTING, TAKE, Plan
from firstspike.processor.rates import rates
from firstspike.processor.technology import Technology
from firstspike.spec.network import Network
from firstspike.spec.processor import ProcessorSpec

FIXED = ("dram_read_bits", "dram_write_bits")
"""Events that do not depend on spikes; pages of DRAM are counted from them."""

TIMES = ("cycles", "wait_cycles")
"""Events that the schedule gives."""


def formula(network: Network, *, processor: ProcessorSpec, technology: Technology) -> dict[str, Any]:
    """All that the cycles and the energy of one image follow from, ready for JSON.

    Keys: ``layers`` (names), ``sources`` (walks over each map: words, lanes, coverages, parts), ``offsets`` (of the walks),
    ``operations`` (layer, walk or -1, static cycles, cycles of the next fetch, whether it is a transfer), ``first`` (cycles of
    the first fetch), ``take`` (cycles that take an operation), ``events`` (names), ``static`` (``[events][layers]``),
    ``off`` (where memories are switched off: by operation and event of `plan.RESTING`, what each of its
    cycles counts, and what is added), ``dynamic`` (event, layer, walk, 0 for its spikes or 1 for its
    cycles, factor), ``synapses`` (map, layer, of each neuron of the map how many ``nonzero_adds`` its
    spike makes there), ``clock_mhz``, and ``prices``: by DRAM
    scenario and layer, the constant and what each event adds, in µJ as (low, value, high).

    Raises:
        ValueError: the network does not fit the processor.
    """
    single = replace(processor, images=1)
    plan = planner.plan(network, single)
    execute, fetch = plan.base()
    rows, layers = plan.dynamic_rows.tolist(), len(plan.layers)
    dynamic = [
        [*divmod(rows[row], layers), walk, which, int(plan.dynamic[which, row, walk])]
        for which, row, walk in np.argwhere(plan.dynamic).tolist()
    ]
    if any(EVENTS[event] in FIXED for event, *_ in dynamic):
        raise ValueError("formula: DRAM traffic must not depend on spikes, and does")
    static = plan.static.copy()
    if single.switched:  # before the first operation
        static[[EVENTS.index(name) for name in RESTING], 0] += np.array(plan.banks) * (int(fetch[0]) + TAKE)
    return {
        "layers": [name for name, _ in plan.layers],
        "sources": {name: walks.record() for name, walks in plan.sources.items()},
        "offsets": plan.offsets.tolist(),
        "operations": np.stack([plan.layer_of, plan.walk_of, execute, fetch[1:], plan.transfer[:, 0]], axis=1)
        .astype(np.int64)
        .tolist(),
        "first": int(fetch[0]),
        "take": TAKE,
        "events": EVENTS,
        "off": _off(plan),
        "static": static.tolist(),
        "dynamic": dynamic,
        "synapses": [[name, layer, leaving.astype(np.int64).tolist()] for name, layer, leaving in plan.synapses],
        "clock_mhz": processor.clock_mhz,
        "prices": {
            dram: _prices(plan.layers, plan.static, network, single, technology, dram) for dram in technology.dram
        },
    }


def _off(plan: Plan) -> list[list[list[int]]]:
    """By operation and memory, factor of its cycles and constant of the bank-cycles off; may be empty."""
    if not plan.processor.switched:
        return []
    found: list[list[list[int]]] = plan.off().transpose(2, 0, 1).astype(np.int64).tolist()
    return found


def _prices(
    layers: tuple[tuple[str, str], ...],
    static: np.ndarray,
    network: Network,
    processor: ProcessorSpec,
    technology: Technology,
    dram: str,
) -> list[dict[str, Any]]:
    """Of every layer: its energy in µJ is affine in the events that depend on spikes."""
    chosen = rates(processor, network.weights.bits, technology, dram, product_bits=network.product_bits)

    def price(kind: str, events: dict[str, int]) -> np.ndarray:
        counted = {name: np.array([events.get(name, 0)], dtype=np.int64) for name in EVENTS}
        counts = LayerCounts(name="", kind=kind, **counted)
        whole = energy.price([counts], chosen, design="", technology=technology.name, dram=dram).energy
        return np.array([whole.low, whole.value, whole.high])

    by_kind = {}
    for kind in {kind for _, kind in layers}:
        some = {"lane_adds": 2}  # of which some may be products of zeros
        if processor.switched:
            some["cycles"] = 1  # in which memories may be off
        nothing = price(kind, some)
        by_kind[kind] = {
            name: (price(kind, {**some, name: some.get(name, 0) + 1}) - nothing).tolist()
            for name in EVENTS
            if name not in FIXED
        }
    return [
        {
            "constant": price(kind, {name: int(static[EVENTS.index(name), place]) for name in FIXED}).tolist(),
            "events": by_kind[kind],
        }
        for place, (_, kind) in enumerate(layers)
    ]
