"""Weight rows that stay in their bank: which operations find theirs there, and how long a bank must stay on for that.

The loader fills one bank while an operation reads the other, so what is fetched goes to the bank that the convolution
before does not read, and what lay there is lost (docs/explanation/processor.md, "Weights that stay").
"""

from collections.abc import Sequence
from dataclasses import replace

from firstspike.spec.program import Convolve, Operation


def resident(work: Sequence[Operation]) -> list[Operation]:
    """Operations with the bank of their rows, and whether these are there already."""
    held: list[tuple[object, ...] | None] = [None, None]
    bank, placed = 1, list[Operation]()
    for operation in work:
        if not isinstance(operation, Convolve):
            placed.append(operation)
            continue
        rows = operation.weight_rows
        kept = rows in held
        bank = held.index(rows) if kept else 1 - bank
        held[bank] = rows
        placed.append(replace(operation, bank=bank, kept=kept))
    return placed


def awake(work: Sequence[Operation]) -> list[Operation]:
    """Operations of `resident` with the banks that are on: from the one that rows are fetched for to the last that reads them."""
    masks = [0] * len(work)
    last = [-1, -1]
    for number, operation in enumerate(work):
        if not isinstance(operation, Convolve):
            continue
        for one in range(last[operation.bank] + 1 if operation.kept else number, number + 1):
            masks[one] |= 1 << operation.bank
        last[operation.bank] = number
    return [replace(operation, weights_awake=mask) for operation, mask in zip(work, masks, strict=True)]
