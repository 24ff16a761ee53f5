"""Min-find merge of sorted spike lists (as in SpinalFlow, ISCA 2020).

Not part of the processor (docs/explanation/processor.md).
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from studies.sorting.spike_list import item


def merged(time_bits: int, index_bits: int, lists: int) -> StructLayout:
    """An item of the merged list: a spike and the list that it comes from, or the end of all lists."""
    source_bits = max(1, (lists - 1).bit_length())
    return StructLayout({"time": time_bits, "index": index_bits, "source": source_bits, "end": 1})


class Merge(wiring.Component):
    """One list out of ``lists`` sorted ones: by time, at the same time the lowest list first; one item a cycle.

    A register holds the head of every list; a tree of comparators finds the least. An item waits until all heads are there.
    The ends of all lists become one end, and the next lists may follow.

    Ports:
        list0, list1, ...: streams of `item`.
        spikes: stream of `merged`.
    """

    def __init__(self, lists: int, time_bits: int, index_bits: int) -> None:
        self.lists = lists
        self.time_bits = time_bits
        self.index_bits = index_bits
        layout = merged(time_bits, index_bits, lists)
        self.heads = [Signal(layout, name=f"head{n}", init={"source": n}) for n in range(lists)]  # proofs look at them
        self.full = Signal(lists)
        entry = In(stream.Signature(item(time_bits, index_bits)))
        super().__init__(
            {
                **{f"list{number}": entry for number in range(lists)},
                "spikes": Out(stream.Signature(merged(time_bits, index_bits, lists))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout = merged(self.time_bits, self.index_bits, self.lists)
        heads, full = self.heads, self.full
        spikes = self.spikes
        m.d.comb += [spikes.valid.eq(full.all()), spikes.payload.eq(self._least(m, layout, heads))]
        for number, head in enumerate(heads):
            entry = getattr(self, f"list{number}")
            chosen = spikes.payload.end | (spikes.payload.source == number)
            m.d.comb += entry.ready.eq(~full[number] | (spikes.valid & spikes.ready & chosen))
            with m.If(entry.ready):
                m.d.sync += full[number].eq(entry.valid)
                with m.If(entry.valid):
                    m.d.sync += [
                        getattr(head, name).eq(getattr(entry.payload, name)) for name in ("time", "index", "end")
                    ]
        return m

    @staticmethod
    def _least(m: Module, layout: StructLayout, heads: list[View]) -> View:
        """The earliest head, an end being the latest, the lowest list at the same time: a tree of comparators."""
        while len(heads) > 1:
            winners = []
            for left, right in zip(heads[::2], heads[1::2], strict=False):
                winner = Signal(layout)
                with m.If(Cat(right.time, right.end) < Cat(left.time, left.end)):
                    m.d.comb += winner.eq(right)
                with m.Else():
                    m.d.comb += winner.eq(left)
                winners.append(winner)
            heads = winners + heads[len(heads) & ~1 :]
        return heads[0]
