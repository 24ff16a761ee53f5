"""The whole processor: loader and executor around walker, weight buffer, array, fire unit and memories."""

from amaranth.hdl import Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from firstspike.rtl.blocks.array import Array
from firstspike.rtl.blocks.buffer_switch import BufferSwitch
from firstspike.rtl.blocks.executor import Executor
from firstspike.rtl.blocks.fire import Encoder, FireUnit
from firstspike.rtl.blocks.hold import Hold
from firstspike.rtl.blocks.loader import Loader
from firstspike.rtl.blocks.memory_port import MemoryPort, PortSwitch
from firstspike.rtl.blocks.pool import PoolUnit
from firstspike.rtl.blocks.sram import Banks, Sram
from firstspike.rtl.blocks.sums import PartialSums
from firstspike.rtl.blocks.transfer import TransferUnit
from firstspike.rtl.blocks.walker import Walker
from firstspike.rtl.blocks.weights import WeightBuffer
from firstspike.rtl.parameters import Parameters
from firstspike.spec.program import CONVOLVE

HOLDS = ("operation", "spikes")
"""The streams between blocks, beside those of the DRAM port: loader to executor, walker to weight buffer."""


class ProcessorTop(wiring.Component):
    """Runs the program at DRAM word 0 once per ``start``.

    Ports:
        start: begin an image (while idle). done: the program's HALT was reached, for one cycle.
        operation: for one cycle, the executor takes an operation (for tracing; includes the HALT).
        dram: the DRAM port.
        hold: with ``holds``, a bit for each stream inside (`HOLDS`): it is held back in this cycle.

    Args:
        external: memories and lanes are instances of Verilog modules (for emission) instead of Amaranth ones.
        holds: put a `Hold` into every stream between blocks; for simulations only.
    """

    def __init__(self, parameters: Parameters, *, external: bool = False, holds: bool = False) -> None:
        self.parameters = parameters
        self.external = external
        self.holds = holds
        super().__init__(
            {
                "start": In(1),
                **({"hold": In(len(HOLDS))} if holds else {}),
                "done": Out(1),
                "operation": Out(1),
                "dram": Out(MemoryPort(parameters.processor.word_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        p, processor, external = self.parameters, self.parameters.processor, self.external
        word_bits = processor.word_bits
        membrane_bits = processor.pes * processor.accumulator_bits
        wake = processor.wake_cycles if processor.switched else None
        if wake is None:
            activations = Sram(word_bits, processor.activation_words, external=external)
        else:
            sizes = word_bits, processor.activation_words
            activations = Banks(*sizes, banks=processor.banks, wake=wake, external=external)
        membranes = Sram(membrane_bits, processor.membrane_rows, external=external, wake=wake)
        weights = WeightBuffer(p, external=external)
        widths = activations.address_bits, weights.address_bits, membranes.address_bits
        m.submodules.activations, m.submodules.membranes, m.submodules.weights = activations, membranes, weights
        m.submodules.loader = loader = Loader(p)
        m.submodules.executor = executor = Executor(p, *widths)
        m.submodules.walker = walker = Walker(p, activations.address_bits, weights.address_bits)
        m.submodules.biases = biases = PartialSums(p, membranes.address_bits)
        m.submodules.array = array = Array(p, external=external)
        m.submodules.fire = fire = FireUnit(p, external=external)
        m.submodules.encoder = encoder = Encoder(p)
        m.submodules.pool = pool = PoolUnit(p)
        m.submodules.transfer = transfer = TransferUnit(p, activations.address_bits)
        m.submodules.dram_switch = dram = PortSwitch(word_bits)
        m.submodules.buffer_switch = buffer = BufferSwitch(
            word_bits, activations.address_bits, late_writes=p.long_wires
        )

        # Operations, and their payloads into the slot that the executor does not use.
        operation, spikes = self._held(m, loader.operation, walker.spikes)
        connect(m, operation, executor.operation)
        connect(m, loader.weights, weights.payload)
        connect(m, loader.biases, biases.payload)
        connect(m, loader.thresholds, fire.payload)
        # A window: activation buffer, walker, weight row, array; or pool unit.
        connect(m, executor.window, walker.window)
        connect(m, executor.weights, weights.control)
        connect(m, executor.sums, biases.control)
        connect(m, spikes, weights.spikes)
        connect(m, weights.synapses, array.synapses)
        connect(m, biases.memory, membranes.port)
        connect(m, biases.lanes, array.sums)
        connect(m, walker.words, pool.words)
        # Its end: residual and thresholds, then words back to the activation buffer.
        connect(m, executor.times, array.times)
        connect(m, executor.sweep, fire.control)
        connect(m, fire.sweep, array.sweep)
        connect(m, array.registers, encoder.registers)
        connect(m, executor.result, encoder.result)
        # Memories that several blocks use.
        connect(m, executor.transfer, transfer.control)
        connect(m, loader.dram, dram.loader)
        connect(m, transfer.dram, dram.transfer)
        connect(m, dram.dram, flipped(self.dram))
        connect(m, walker.buffer, buffer.walker)
        connect(m, executor.buffer, buffer.executor)
        connect(m, transfer.buffer, buffer.transfer)
        connect(m, buffer.memory, activations.port)
        if p.channel_shifts:
            connect(m, executor.settle, fire.settle)
            m.d.comb += array.halve.eq(fire.halve)
        if processor.switched:
            taken = executor.operation.payload
            m.d.comb += [
                activations.on.eq(executor.awake[: processor.banks]),
                membranes.on.eq(executor.awake[processor.banks]),
                weights.taken.eq(self.operation),
            ]
            needed = Mux(taken.descriptor.kind == CONVOLVE, 1 << taken.slot, 0)
            m.d.comb += weights.needed.eq(taken.descriptor.weights_awake if processor.resident_weights else needed)
        m.d.comb += [
            loader.start.eq(self.start),
            loader.released.eq(executor.transfer.done),
            dram.transferring.eq(transfer.active),
            buffer.transferring.eq(transfer.active),
            encoder.earliest.eq(pool.earliest),
            self.operation.eq(executor.operation.valid & executor.operation.ready),
            self.done.eq(executor.halted),
        ]
        return m

    def _held(self, m: Module, *streams: stream.Interface) -> list[stream.Interface]:
        """The streams as their consumers see them."""
        if not self.holds:
            return list(streams)
        held = []
        for index, (name, source) in enumerate(zip(HOLDS, streams, strict=True)):
            m.submodules[f"hold_{name}"] = hold = Hold(source.payload.shape())
            connect(m, source, hold.source)
            m.d.comb += hold.hold.eq(self.hold[index])
            held.append(hold.target)
        return held
