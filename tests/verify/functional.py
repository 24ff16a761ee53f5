"""Proofs that blocks compute what naive models say: pool unit, weight buffer, loader, walker.

Where a model would have to hold a whole memory or a whole window, it watches one place of it that the solver chooses
once: what holds for that place holds for all.
"""

from amaranth.hdl import Assert, Assume, Cat, Fragment, Module, Mux, Signal, Value

from firstspike.arith import NO_SPIKE
from firstspike.rtl.blocks.descriptor import LAYOUT
from firstspike.rtl.blocks.interfaces import WINDOW_FIELDS
from firstspike.rtl.blocks.loader import Loader
from firstspike.rtl.blocks.pool import PoolUnit
from firstspike.rtl.blocks.walker import Walker
from firstspike.rtl.blocks.weights import WeightBuffer
from firstspike.rtl.parameters import Parameters
from firstspike.spec.program import CONVOLVE, HALT, LOAD, STORE, descriptor_words

from .formal import Property


class FewRows(Parameters):
    """Parameters of a weight buffer of two rows a bank: proofs look at both."""

    @property
    def weight_rows(self) -> int:
        """Two."""
        return 2


def few_rows(parameters: Parameters) -> FewRows:
    """The parameters with two rows a bank."""
    return FewRows(processor=parameters.processor, code=parameters.code, weights=parameters.weights)


class PoolTakesTheEarliest(Property):
    """A lane's byte is at most ``b`` exactly if a word since the window's start had one at most ``b``, for every ``b``."""

    def build(self) -> Module:
        m = self.module()
        m.submodules.pool = pool = PoolUnit(self.parameters)
        for name in ("clear", "valid", "word"):
            port = getattr(pool.words, name)
            m.d.comb += port.eq(self.free(port.shape(), f"free_{name}"))
        lane = self.constant(m, range(self.parameters.processor.lanes), "lane")
        bound = self.constant(m, 8, "bound")
        begun, reached = Signal(), Signal()
        with m.If(pool.words.clear):
            m.d.sync += [begun.eq(1), reached.eq(0)]
        with m.Elif(pool.words.valid & (pool.words.word.word_select(lane, 8) <= bound)):
            m.d.sync += reached.eq(1)
        reaches = pool.earliest.word_select(lane, 8) <= bound
        m.d.comb += Assert(~begun | (reaches == (reached | (bound == NO_SPIKE))))
        return m


class WeightsComeAsTheyWent(Property):
    """A row read from a bank is the words that were pushed for it since the last clear, first word lowest."""

    def build(self) -> Module:
        m = self.module()
        p = few_rows(self.parameters)
        m.submodules.weights = weights = WeightBuffer(p)
        payload, spikes = weights.payload, weights.spikes
        for port, name in (
            *((getattr(payload, name), name) for name in ("clear", "fill", "push", "word")),
            (weights.control.slot, "slot"),
            (spikes.valid, "valid"),
            (spikes.payload.as_value(), "spike"),
        ):
            m.d.comb += port.eq(self.free(len(port), f"free_{name}"))
        row, bank = self.constant(m, 1, "row"), self.constant(m, 1, "bank")
        pushed = Signal(8)
        kept = [Signal(p.processor.word_bits, name=f"kept{index}") for index in range(p.row_words)]
        whole = Signal()
        for index, word in enumerate(kept):
            with m.If(payload.push & (payload.fill == bank) & (pushed == row * p.row_words + index)):
                m.d.sync += [word.eq(payload.word), whole.eq(index == p.row_words - 1)]
        m.d.sync += pushed.eq(Mux(payload.clear, 0, pushed + payload.push))
        filling, known = Signal(), Signal()
        m.d.sync += [filling.eq(payload.fill), known.eq(1)]
        hit = spikes.valid & (weights.control.slot == bank) & (spikes.payload.row == row)
        reads, was, time = Signal(), Signal(), Signal(p.time_bits)
        m.d.sync += [reads.eq(hit & whole), was.eq(spikes.valid), time.eq(spikes.payload.time)]
        m.d.comb += [
            Assume(~(payload.push & payload.clear)),
            Assume(pushed < 2 * p.row_words),
            Assume(~known | payload.clear | (payload.fill == filling)),  # a payload goes to one slot
            Assume(~spikes.valid | (weights.control.slot != payload.fill)),
            Assert(weights.synapses.enable == was),
            Assert(~was | (weights.synapses.time == time)),
            Assert(~reads | (weights.synapses.codes == Cat(*kept)[: len(weights.synapses.codes)])),
        ]
        return m


class LoaderDeliversThePayload(Property):
    """Descriptors from word 0 on, in order and whole; payloads to their parts by count, into alternating slots.

    The model knows what has passed the ports: bursts that were asked for, words of the burst that were given, and one
    bit of the descriptor, which the loader must hold as it came until the operation is taken.
    """

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self.words = descriptor_words(parameters.processor)
        names = ("running", "bursting", "whole", "paid", "moving", "slot", "kept")
        self.running, self.bursting, self.whole, self.paid, self.moving, self.slot, self.kept = (
            Signal(name=name) for name in names
        )
        self.count, self.place = Signal(24), Signal(32)

    def build(self) -> Module:
        m = self.module()
        loader = Loader(self.parameters)
        m.submodules.loader = Fragment.get(loader, None)  # now it has registers and states to look at
        request, read, operation = loader.dram.request, loader.dram.read, loader.operation
        for port, name in (
            (loader.start, "start"),
            (loader.released, "released"),
            (request.ready, "request_ready"),
            (read.valid, "read_valid"),
            (read.payload, "read_payload"),
            (operation.ready, "operation_ready"),
        ):
            m.d.comb += port.eq(self.free(len(port), f"free_{name}"))
        descriptor = operation.payload.descriptor
        payload, offers = Signal(), Signal()
        m.d.comb += [
            payload.eq(self.whole & ~self.paid & (descriptor.kind == CONVOLVE)),
            offers.eq(self.whole & ~payload),
        ]
        asked, given = request.valid & request.ready, read.valid & read.ready
        self._follow(m, loader, payload, given)
        self._watch(m, loader, given)
        self._relate(m, loader, payload)
        m.d.comb += [
            Assume(~given | self.bursting),
            Assume(~payload | (descriptor.dram_words >= 1)),
            Assert(request.valid == (self.running & ~self.bursting & ~offers & ~self.moving)),
            Assert(~asked | (request.payload.address == Mux(payload, descriptor.dram_address, self.place))),
            Assert(~asked | (request.payload.words == Mux(payload, descriptor.dram_words, self.words))),
            Assert(~asked | ~request.payload.write),
            Assert(operation.valid == offers),
            Assert(~offers | (operation.payload.slot == self.slot)),
        ]
        first, second = descriptor.bias_words, descriptor.bias_words + descriptor.theta_words
        for part, chosen in (
            (loader.biases, self.count < first),
            (loader.thresholds, (self.count >= first) & (self.count < second)),
            (loader.weights, self.count >= second),
        ):
            m.d.comb += [
                Assert(part.push == (given & payload & chosen)),
                Assert(~part.push | ((part.word == read.payload) & (part.fill == self.slot))),
                Assert(~(asked & payload) | part.clear),
            ]
        return m

    def _watch(self, m: Module, loader: Loader, given: Value) -> None:
        """One bit of the descriptor is what came: also while words move through the register."""
        word, register = loader.dram.read.payload, loader.registers.register
        number, bit = self.constant(m, range(self.words), "number"), self.constant(m, range(len(word)), "bit")
        m.d.comb += Assume((number < self.words) & (Cat(bit, number) < LAYOUT.size))
        with m.If(given & ~self.whole & (self.count == number)):
            m.d.sync += self.kept.eq(word.bit_select(bit, 1))
        for count in range(1, self.words):
            shifted = number + self.words - count
            m.d.comb += Assert(
                ~(self.bursting & ~self.whole & (self.count == count) & (number < count))
                | (register.bit_select(Cat(bit, shifted), 1) == self.kept)
            )
        descriptor = loader.operation.payload.descriptor.as_value()
        m.d.comb += Assert(~self.whole | (descriptor.bit_select(Cat(bit, number), 1) == self.kept))

    def _relate(self, m: Module, loader: Loader, payload: Value) -> None:
        """What induction needs: how the loader's states and registers stand to the model."""
        ongoing, registers, running = loader.states.ongoing, loader.registers, self.running
        limit = Mux(payload, loader.operation.payload.descriptor.dram_words, self.words)
        m.d.comb += [
            Assert(ongoing("IDLE") == ~running),
            Assert(ongoing("TRANSFER") == (running & self.moving)),
            Assert(ongoing("ASK_DESCRIPTOR") == (running & ~self.bursting & ~self.whole & ~self.moving)),
            Assert(ongoing("ASK_PAYLOAD") == (running & ~self.bursting & payload)),
            Assert(ongoing("DESCRIPTOR") == (running & self.bursting & ~self.whole)),
            Assert(ongoing("PAYLOAD") == (running & self.bursting & payload)),
            Assert(~self.bursting | ((registers.counter == self.count + 1) & (self.count < limit))),
            Assert(~running | (registers.program == self.place)),
            Assert(registers.fill == self.slot),
            Assert(running | ~(self.bursting | self.whole | self.moving)),
            Assert(~self.moving | ~(self.bursting | self.whole)),
            Assert(self.whole | ~self.paid),
            Assert(~(self.bursting & loader.operation.valid)),
        ]

    def _follow(self, m: Module, loader: Loader, payload: Value, given: Value) -> None:
        """What the model knows, from cycle to cycle."""
        operation, descriptor = loader.operation, loader.operation.payload.descriptor
        with m.If(loader.start & ~self.running):
            m.d.sync += [self.running.eq(1), self.place.eq(0)]
        with m.If(loader.dram.request.valid & loader.dram.request.ready):
            m.d.sync += [self.bursting.eq(1), self.count.eq(0)]
        with m.If(given):
            m.d.sync += self.count.eq(self.count + 1)
            with m.If(self.count == Mux(payload, descriptor.dram_words, self.words) - 1):
                m.d.sync += [self.bursting.eq(0), self.whole.eq(1), self.paid.eq(payload)]
                with m.If(~payload):
                    m.d.sync += self.place.eq(self.place + self.words)
        with m.If(operation.valid & operation.ready):
            m.d.sync += [
                self.whole.eq(0),
                self.paid.eq(0),
                self.slot.eq(self.slot ^ (descriptor.kind == CONVOLVE)),
                self.moving.eq((descriptor.kind == LOAD) | (descriptor.kind == STORE)),
                self.running.eq(descriptor.kind != HALT),
            ]
        with m.If(self.moving & loader.released):
            m.d.sync += self.moving.eq(0)


class WalkerWalksTheWindow(Property):
    """Of every byte of a window: a spike with its time and row, once, if it is in the map and not silent; else none.

    The solver chooses the window (up to 2 x 2 positions of up to 2 words), the byte that is watched, and what lies in
    memory. Rows rise, so that nothing comes twice; when all is done, what had to come has come.
    """

    def build(self) -> Module:
        m = self.module()
        lanes = self.parameters.processor.lanes
        m.submodules.walker = walker = Walker(self.parameters, 6, 6)
        window, spike = walker.window, walker.spikes
        for name in ("pool", "address", "y", "x", *WINDOW_FIELDS):
            port = getattr(window, name)
            m.d.comb += port.eq(self.constant(m, port.shape(), f"free_{name}"))
        begun = Signal()
        m.d.sync += begun.eq(1)
        m.d.comb += [window.start.eq(~begun), spike.ready.eq(self.free(1, "free_ready"))]
        for name, most in (("kernel_height", 2), ("kernel_width", 2), ("words", 2)):
            m.d.comb += Assume((getattr(window, name) >= 1) & (getattr(window, name) <= most))
        m.d.comb += Assume(window.position_rows == window.words * lanes)
        down, right, word, lane = (self.constant(m, 1, name) for name in ("down", "right", "word", "lane_low"))
        lane = Cat(lane, self.constant(m, range(lanes // 2), "lane_high"))
        m.d.comb += Assume((down < window.kernel_height) & (right < window.kernel_width) & (word < window.words))
        inside = self._within(window.y + down, window.in_height) & self._within(window.x + right, window.in_width)
        place = Signal(6)
        row = Signal(6)
        m.d.comb += [
            place.eq(window.address + Mux(down, window.in_row, 0) + Mux(right, window.in_pixel, 0) + word),
            row.eq((Mux(down, window.kernel_width, 0) + right) * window.position_rows + word * lanes + lane),
        ]
        self._memory(m, walker, place, lane)
        value = self.constants["value"]
        due = Signal(init=1)
        before, some = Signal(6), Signal()
        taken = spike.valid & spike.ready
        with m.If(taken):
            m.d.sync += [before.eq(spike.payload.row), some.eq(1)]
            m.d.comb += [
                Assert(~some | (spike.payload.row > before)),
                Assert(spike.payload.row < window.kernel_height * window.kernel_width * window.position_rows),
                Assert(~window.pool),
            ]
            with m.If(spike.payload.row == row):
                m.d.sync += due.eq(0)
                m.d.comb += Assert(inside & (value != NO_SPIKE) & (spike.payload.time == value))
        ended = Signal()
        with m.If(window.done):
            m.d.sync += ended.eq(1)
            comes = taken & (spike.payload.row == row)
            m.d.comb += Assert(window.pool | ~inside | (value == NO_SPIKE) | ~due | comes)
        m.d.comb += [Assert(~ended | ~(spike.valid | window.done | walker.words.valid))]
        return m

    @staticmethod
    def _within(place: Value, size: Value) -> Value:
        return (place >= 0) & (place < size)

    def _memory(self, m: Module, walker: Walker, place: Value, lane: Value) -> None:
        """The buffer: free words, held between reads; the watched byte has one value."""
        buffer, value = walker.buffer, self.constant(m, 8, "value")
        data = self.free(len(buffer.data), "free_data")
        held, address, was_read, known = Signal.like(buffer.data), Signal(6), Signal(), Signal()
        m.d.sync += [held.eq(buffer.data), was_read.eq(buffer.enable)]
        with m.If(buffer.enable):
            m.d.sync += [address.eq(buffer.address), known.eq(1)]
        m.d.comb += [
            buffer.data.eq(data),
            Assume(was_read | (data == held)),
            Assume(~known | (address != place) | (data.word_select(lane, 8) == value)),
            Assume((value < self.parameters.code.T) | (value == NO_SPIKE)),
        ]
