"""Which memories are on in each operation, of a processor that switches off those that hold nothing.

Weight banks are not said here: the hardware knows when a payload comes and its operation is over.
"""

from collections.abc import Sequence
from dataclasses import replace

from firstspike.compiler.stages import Stage, region
from firstspike.compiler.storage import Map, origins
from firstspike.spec.network import Network
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve, Load, Operation, Pool, Store

_Span = tuple[int, int, int, int]
"""First and last operation in which words of the buffer hold something; first word, one after the last."""


def awake(network: Network, processor: ProcessorSpec, stage: Stage, work: Sequence[Operation]) -> list[Operation]:
    """A stage's operations, each with the memories that are on in it.

    A bank of the activation buffer is on from the operation that first writes a map in it to the last
    that reads one; the membrane memory in operations that begin or end with partial sums. No map
    outlives its stage.

    Args:
        network: whose maps.
        processor: one that switches memories off.
        stage: the layers, and where their maps lie.
        work: the stage's operations (`stages.operations`).
    """
    sums = [isinstance(one, Convolve) and not (one.first and one.last) for one in work]
    masks = [on << processor.banks for on in sums]
    for first, last, begin, end in (*_maps(network, stage, work), *_strips(stage, work)):
        banks = range(begin // processor.bank_words, (end - 1) // processor.bank_words + 1)
        for number in range(first, last + 1):
            masks[number] |= sum(1 << bank for bank in banks)
    return [replace(operation, awake=mask) for operation, mask in zip(work, masks, strict=True)]


def _maps(network: Network, stage: Stage, work: Sequence[Operation]) -> list[_Span]:
    """Life of every map that is kept on chip; a strip that a pooling layer reads at once lives while both run."""
    alias, spans = origins(network), []
    for name, m in stage.layout.maps.items():
        if alias[name] != name or m.region is not None:
            continue
        readers = {layer.name for layer in network.layers if name in {alias[source] for source in layer.inputs}}
        uses = [number for number, one in enumerate(work) if one.layer in readers or _holds(one, name, m)]
        spans.append((uses[0], uses[-1], m.address, m.address + m.size))
    return spans


def _holds(operation: Operation, name: str, m: Map) -> bool:
    """Whether an operation writes a map, or sends it to DRAM."""
    if isinstance(operation, Load):
        return operation.region == region(name) and operation.address == m.address
    return operation.layer == name and (isinstance(operation, Pool | Store) or operation.last)


def _strips(stage: Stage, work: Sequence[Operation]) -> list[_Span]:
    """Strips of maps in DRAM: on while their layer runs, or both that are fused."""
    spans = []
    for name in stage.layout.strips:
        layers = (name, stage.layout.fused.get(name))
        numbers = [number for number, operation in enumerate(work) if operation.layer in layers]
        moved = [one for one in work if one.layer in layers and isinstance(one, Load | Store)]
        spans += [(numbers[0], numbers[-1], one.address, one.address + one.words) for one in moved]
    return spans
