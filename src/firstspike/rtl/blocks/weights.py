"""Weight row buffer: two banks, one read by the array while the loader fills the other."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from firstspike.rtl.blocks.interfaces import WeightChoice, WeightedSpike, WeightPayload, spikes
from firstspike.rtl.blocks.sram import Sram
from firstspike.rtl.blocks.unpacker import Unpacker
from firstspike.rtl.parameters import Parameters


class WeightBuffer(wiring.Component):
    """Two single-port banks of weight rows; DRAM words are gathered to rows on the way in.

    Ports:
        payload: rows from the loader, from row 0 on; a row is written with its last word.
        control: bank that is read, never the one being filled.
        spikes: each reads its row; one is taken every cycle.
        synapses: the spike and its row, one cycle later; the row is held.
        taken, needed: where memories are switched off, an operation is taken, and the banks that it
            or a later one reads without another payload, a bit for each. A bank is on from the request of its
            payload until the operation behind the last one that reads it is taken.
    """

    def __init__(self, parameters: Parameters, *, external: bool = False) -> None:
        self.parameters = p = parameters
        self.external = external
        self.address_bits = max(1, (p.weight_rows - 1).bit_length())
        super().__init__(
            {
                "payload": In(WeightPayload(p.processor)),
                "control": In(WeightChoice(p)),
                "spikes": In(spikes(p.time_bits, self.address_bits)),
                "synapses": Out(WeightedSpike(p, p.processor.pes)),
                **({"taken": In(1), "needed": In(2)} if p.processor.switched else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        p = self.parameters
        payload, control, spike, synapses = self.payload, self.control, self.spikes, self.synapses
        wake = p.processor.wake_cycles if p.processor.switched else None
        row_bits = p.processor.pes * p.weights.bits
        banks = [Sram(row_bits, p.weight_rows, external=self.external, wake=wake) for _ in (0, 1)]
        if p.processor.switched:
            self._switch(m, banks)
        m.submodules.bank0, m.submodules.bank1 = banks
        complete, fill, row = self._unpacked(m) if p.processor.packed_rows else self._gathered(m)
        if p.long_wires and not p.processor.packed_rows:
            # A cycle later, where packed rows come two later: no spike asks for the row so early.
            made = complete, fill, row
            complete, fill, row = late = tuple(Signal(value.shape(), name=f"late{i}") for i, value in enumerate(made))
            m.d.sync += [register.eq(value) for register, value in zip(late, made, strict=True)]
        fill_row = Signal(self.address_bits)
        with m.If(complete):
            m.d.sync += fill_row.eq(fill_row + 1)
        with m.If(payload.clear):
            m.d.sync += fill_row.eq(0)

        for slot, bank in enumerate(banks):
            write = complete & (fill == slot)
            m.d.comb += [
                bank.port.write.eq(write),
                bank.port.enable.eq(write | (spike.valid & (control.slot == slot))),
                bank.port.address.eq(Mux(write, fill_row, spike.payload.row)),
                bank.port.write_data.eq(row),
            ]
        chosen = Signal()
        m.d.sync += synapses.enable.eq(spike.valid)
        with m.If(spike.valid):
            m.d.sync += [chosen.eq(control.slot), synapses.time.eq(spike.payload.time)]
        m.d.comb += [
            spike.ready.eq(1),
            synapses.codes.eq(Mux(chosen, banks[1].port.read_data, banks[0].port.read_data)),
            synapses.fraction.eq(control.fraction),
            *([synapses.shift.eq(control.shift)] if p.shift_bits else []),
        ]
        return m

    def _switch(self, m: Module, banks: list[Sram]) -> None:
        """A bank goes on when its payload is asked for, and off when no operation reads it any more."""
        on = Signal(2)
        with m.If(self.taken):
            m.d.sync += on.eq(self.needed)
        with m.If(self.payload.clear):
            m.d.sync += on.bit_select(self.payload.fill, 1).eq(1)
        m.d.comb += [bank.on.eq(on[slot]) for slot, bank in enumerate(banks)]

    def _gathered(self, m: Module) -> tuple[Value, Value, Value]:
        """A row that is complete in this cycle, its bank and its codes: words one behind the other."""
        payload, words, width = self.payload, self.parameters.row_words, self.parameters.processor.word_bits
        gathered = Signal((words - 1) * width, reset_less=True)
        index = Signal(range(max(2, words)))
        complete = Signal()
        m.d.comb += complete.eq(payload.push & (index == words - 1))
        with m.If(payload.push):
            m.d.sync += index.eq(Mux(complete, 0, index + 1))
            if words > 1:
                m.d.sync += gathered.eq(Cat(gathered, payload.word)[width:])
        with m.If(payload.clear):
            m.d.sync += index.eq(0)
        return complete, payload.fill, Cat(gathered, payload.word)

    def _unpacked(self, m: Module) -> tuple[Value, Value, Value]:
        """The same, from packed rows."""
        m.submodules.unpacker = unpacker = Unpacker(self.parameters)
        connect(m, flipped(self.payload), unpacker.payload)
        return unpacker.rows.push, unpacker.rows.fill, unpacker.rows.codes
