"""What the blocks say to each other; every interface is seen from the block that asks or gives.

The DRAM's port is in `memory_port`, the memories' ports are in `sram`.
"""

from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, Signature

from firstspike.rtl.blocks.descriptor import layout
from firstspike.rtl.parameters import Parameters
from firstspike.spec.layers import MAX_SHIFT
from firstspike.spec.processor import ProcessorSpec


def operation(processor: ProcessorSpec) -> StructLayout:
    """Loader to executor: the descriptor, and which registers hold its payload; the same number of the weights' bank, unless
    the descriptor names it."""
    return StructLayout({"descriptor": layout(processor), "slot": 1})


WINDOW_FIELDS = (
    *("kernel_height", "kernel_width", "words"),
    *("in_height", "in_width", "in_pixel", "in_row", "position_rows"),
)
"""Descriptor fields that a `WindowWalk` carries on."""


class Payload(Signature):
    """Loader to whoever keeps a part of an operation's payload.

    Members:
        clear: a new payload begins.
        fill: slot that it goes to; the running operation uses the other one.
        push: ``word`` is the next word of this part.
        word: data.
    """

    def __init__(self, word_bits: int) -> None:
        super().__init__({"clear": Out(1), "fill": Out(1), "push": Out(1), "word": Out(word_bits)})


class WeightPayload(Signature):
    """Loader to weight buffer: a `Payload`, and with packed rows how to unpack it.

    Members:
        clear ... word: as in `Payload`.
        bitmap: every group of lanes begins with a bitmap.
        last_group: number of the last group of a row that is stored.
    """

    def __init__(self, processor: ProcessorSpec) -> None:
        members = {"clear": Out(1), "fill": Out(1), "push": Out(1), "word": Out(processor.word_bits)}
        if processor.packed_rows:
            groups = -(-processor.pes // processor.word_bits)
            members |= {"bitmap": Out(1), "last_group": Out(range(max(2, groups)))}
        super().__init__(members)


class WeightRows(Signature):
    """Unpacker to the banks: rows of weight codes.

    Members:
        fill: bank that the row goes to.
        push: ``codes`` is the next row.
        codes: lane ``i`` in bits ``i*B_w ..``.
    """

    def __init__(self, parameters: Parameters) -> None:
        codes = parameters.processor.pes * parameters.weights.bits
        super().__init__({"fill": Out(1), "push": Out(1), "codes": Out(codes)})


class WindowWalk(Signature):
    """Executor to walker: one window of an operation.

    Members:
        start: begin; the other members hold until ``done``.
        pool: every word costs one cycle, no spikes are delivered.
        address: first word of the first position.
        y, x: row and column of the first position in the stored map; outside is silence.
        kernel_height ... position_rows: descriptor fields.
        done: (back) the last word leaves in this cycle.
    """

    def __init__(self, address_bits: int, row_bits: int) -> None:
        fields = dict.fromkeys(WINDOW_FIELDS, 16)
        fields |= {"in_pixel": address_bits, "in_row": address_bits, "position_rows": row_bits}
        super().__init__(
            {
                "start": Out(1),
                "pool": Out(1),
                "address": Out(address_bits),
                "y": Out(Shape(20, signed=True)),
                "x": Out(Shape(20, signed=True)),
                **{name: Out(bits) for name, bits in fields.items()},
                "done": In(1),
            }
        )


class Words(Signature):
    """Walker to pool unit: the words of a window.

    Members:
        clear: a window begins.
        valid: ``word`` is at the word stage for the last cycle.
        word: a word of the map.
    """

    def __init__(self, word_bits: int) -> None:
        super().__init__({"clear": Out(1), "valid": Out(1), "word": Out(word_bits)})


def spikes(time_bits: int, row_bits: int) -> stream.Signature:
    """Walker to weight buffer: a stream of spikes, each a ``time`` and its weight ``row``."""
    return stream.Signature(StructLayout({"time": time_bits, "row": row_bits}))


class WeightChoice(Signature):
    """Executor to weight buffer, stable during an operation.

    Members:
        slot: bank of the operation's rows.
        fraction: ``r`` of the layer's scale.
        shift: left shift of a product of level 0 with a spike of octave 0, if it is not wired.
    """

    def __init__(self, parameters: Parameters) -> None:
        super().__init__({"slot": Out(1), "fraction": Out(parameters.fraction_bits), **_shift(parameters)})


class WeightedSpike(Signature):
    """Weight buffer to lanes: a spike and its weight codes, together in one cycle.

    Members:
        enable: there is one in this cycle.
        time: its spike time.
        codes: lane ``i`` in bits ``i*B_w ..``.
        fraction: ``r`` of the layer's scale.
        shift: left shift of a product of level 0 with a spike of octave 0, if it is not wired.
    """

    def __init__(self, parameters: Parameters, lanes: int) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "time": Out(parameters.time_bits),
                "codes": Out(lanes * parameters.weights.bits),
                "fraction": Out(parameters.fraction_bits),
                **_shift(parameters),
            }
        )


class SumsControl(Signature):
    """Executor to partial sums: what the membranes begin with, and the membrane memory.

    Members:
        slot: bias registers of the operation.
        first: begin with the bias; otherwise with what was read from the membrane memory.
        load: the membranes begin in this cycle.
        enable, write, address: access to the membrane memory; a read comes one cycle before ``load``.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                "slot": Out(1),
                "first": Out(1),
                "load": Out(1),
                "enable": Out(1),
                "write": Out(1),
                "address": Out(address_bits),
            }
        )


class Membranes(Signature):
    """Partial sums to lanes.

    Members:
        load: ``membranes <= initial``.
        initial: lane ``i`` in bits ``i*A ..``.
        membranes: (back) the registers, likewise.
    """

    def __init__(self, parameters: Parameters, lanes: int) -> None:
        width = lanes * parameters.processor.accumulator_bits
        super().__init__({"load": Out(1), "initial": Out(width), "membranes": In(width)})


class SpikeTimes(Signature):
    """Executor to lanes: the spike time registers.

    Members:
        clear: all are silent.
        load: those of word ``index`` take ``word``.
        index: a word of neighbouring lanes.
        word: spike times, lowest lane first.
    """

    def __init__(self, parameters: Parameters) -> None:
        processor = parameters.processor
        words = range(max(2, processor.pes // processor.lanes))
        super().__init__({"clear": Out(1), "load": Out(1), "index": Out(words), "word": Out(processor.word_bits)})


class SweepControl(Signature):
    """Executor to fire unit: go through all steps of the window.

    Members:
        slot: thresholds of the operation.
        start: the cycle before the first step is read.
        add: this sweep adds a residual; from ``start`` on.
        compare: this sweep fires; from ``start`` on.
        done: (back) last cycle of the sweep.
    """

    def __init__(self) -> None:
        super().__init__({"slot": Out(1), "start": Out(1), "add": Out(1), "compare": Out(1), "done": In(1)})


class Settle(Signature):
    """Executor to fire unit: membranes halve as often as their channels' shifts say, before they fire.

    Members:
        active: in this cycle.
        step: how many such cycles were before in this window.
        needed: (back) bit ``s``: some channel of the operation has a shift above ``s``.
    """

    def __init__(self) -> None:
        super().__init__({"active": Out(1), "step": Out(range(MAX_SHIFT + 1)), "needed": In(MAX_SHIFT + 1)})


class Sweep(Signature):
    """Fire unit to lanes: one step of a sweep.

    Members:
        step: ``t``.
        theta: ``Theta[t]``.
        add: lanes whose register holds ``t`` add ``theta``.
        compare: silent lanes whose membrane reaches ``theta`` take ``t``.
        following: with `Parameters.long_wires`, the step of the next cycle.
    """

    def __init__(self, parameters: Parameters) -> None:
        accumulator = Shape(parameters.processor.accumulator_bits, signed=True)
        following = {"following": Out(8)} if parameters.long_wires else {}
        super().__init__({"step": Out(8), "theta": Out(accumulator), "add": Out(1), "compare": Out(1), **following})


class Registers(Signature):
    """Lanes to encoder: what a tile's window came to.

    Members:
        membranes: lane ``i`` in bits ``i*A ..``.
        spikes: spike times, lane ``i`` in byte ``i``.
    """

    def __init__(self, parameters: Parameters) -> None:
        processor = parameters.processor
        super().__init__(
            {"membranes": Out(processor.pes * processor.accumulator_bits), "spikes": Out(processor.pes * 8)}
        )


class ResultWord(Signature):
    """Executor to encoder: which word is written.

    Members:
        pool: the pool unit's word.
        fires: spike times, not logits.
        index: number of the word.
        word: (back) the word, in the same cycle.
    """

    def __init__(self, parameters: Parameters) -> None:
        processor = parameters.processor
        super().__init__(
            {"pool": Out(1), "fires": Out(1), "index": Out(range(processor.pes)), "word": In(processor.word_bits)}
        )


class TransferControl(Signature):
    """Executor to transfer unit: a LOAD or a STORE.

    Members:
        start: begin in the next cycle; the other members hold from then until ``done``.
        store: from the activation buffer to DRAM; otherwise the other way.
        address: first word in the activation buffer.
        dram_address, words: the burst.
        done: (back) last cycle.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                "start": Out(1),
                "store": Out(1),
                "address": Out(address_bits),
                "dram_address": Out(32),
                "words": Out(24),
                "done": In(1),
            }
        )


def _shift(parameters: Parameters) -> dict[str, Any]:
    return {"shift": Out(parameters.shift_bits)} if parameters.shift_bits else {}
