"""The whole processor: loader and executor around walker, weight buffer, array, fire unit and memories."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from firstspike.rtl.blocks.array import Array, BiasRegisters
from firstspike.rtl.blocks.executor import Executor
from firstspike.rtl.blocks.fire import Encoder, FireUnit
from firstspike.rtl.blocks.hold import Hold
from firstspike.rtl.blocks.loader import Loader
from firstspike.rtl.blocks.memory_port import MemoryPort
from firstspike.rtl.blocks.pool import PoolUnit
from firstspike.rtl.blocks.sram import Sram
from firstspike.rtl.blocks.walker import Walker
from firstspike.rtl.blocks.weights import WeightBuffer
from firstspike.rtl.parameters import Parameters
from firstspike.spec.program import CONVOLVE, POOL

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
        m = Module()
        p, processor, external = self.parameters, self.parameters.processor, self.external
        m.submodules.activations = activations = Sram(
            processor.word_bits, processor.activation_words, external=external
        )
        m.submodules.membranes = membranes = Sram(
            processor.pes * processor.accumulator_bits, processor.membrane_rows, external=external
        )
        m.submodules.weights = weights = WeightBuffer(p, external=external)
        m.submodules.biases = biases = BiasRegisters(p)
        m.submodules.fire = fire = FireUnit(p, external=external)
        m.submodules.encoder = encoder = Encoder(p)
        m.submodules.pool = pool = PoolUnit(p)
        m.submodules.array = array = Array(p, external=external)
        m.submodules.walker = walker = Walker(p, activations.address_bits, weights.address_bits)
        m.submodules.loader = loader = Loader(p)
        m.submodules.executor = executor = Executor(p, activations.address_bits, membranes.address_bits)

        operation, spikes = self._held(m, loader.operation, walker.spikes)
        connect(m, operation, executor.operation)
        d = executor.descriptor
        m.d.comb += [
            loader.start.eq(self.start),
            loader.released.eq(executor.released),
            self.operation.eq(executor.operation.valid & executor.operation.ready),
            self.done.eq(executor.halted),
        ]
        self._dram(m, loader, executor)

        # Payload of the next operation into the slot that the executor does not use.
        m.d.comb += [
            weights.clear.eq(loader.clear),
            weights.push.eq(loader.weight),
            weights.fill.eq(loader.fill),
            weights.word.eq(loader.word),
            biases.shift.eq(loader.bias),
            biases.fill.eq(loader.fill),
            biases.word.eq(loader.word),
            fire.clear.eq(loader.clear),
            fire.write.eq(loader.theta),
            fire.fill.eq(loader.fill),
            fire.word.eq(loader.word),
        ]

        # A window: activation buffer -> walker -> weight row -> array, or -> pool unit.
        m.d.comb += [
            walker.start.eq(executor.window),
            walker.pool.eq(d.kind == POOL),
            walker.address.eq(executor.address),
            walker.y.eq(executor.y),
            walker.x.eq(executor.x),
            *(
                getattr(walker, name).eq(getattr(d, name))
                for name in (
                    "kernel_height",
                    "kernel_width",
                    "words",
                    "in_height",
                    "in_width",
                    "in_pixel",
                    "in_row",
                    "position_rows",
                )
            ),
            walker.read_data.eq(activations.read_data),
            executor.walked.eq(walker.done),
            pool.clear.eq(executor.window),
            pool.valid.eq(walker.word_valid),
            pool.word.eq(walker.word),
            spikes.ready.eq(1),
            weights.read.eq(spikes.valid),
            weights.read_row.eq(spikes.payload.row),
            weights.select.eq(executor.slot),
        ]
        m.d.sync += array.enable.eq(spikes.valid)
        with m.If(spikes.valid):
            m.d.sync += array.time.eq(spikes.payload.time)
        m.d.comb += [
            array.row.eq(weights.row),
            array.fraction.eq(d.scale_fraction),
            array.load.eq(executor.first_cycle & (d.kind == CONVOLVE)),
            array.initial.eq(Mux(d.first, biases.biases, membranes.read_data)),
            biases.select.eq(executor.slot),
            membranes.enable.eq(executor.membrane_enable),
            membranes.write.eq(executor.membrane_write),
            membranes.address.eq(executor.membrane_address),
            membranes.write_data.eq(array.membranes),
        ]

        # The end of a window: residual and thresholds, then words back to the activation buffer.
        m.d.comb += [
            fire.start.eq(executor.fire_start),
            fire.select.eq(executor.slot),
            executor.fire_done.eq(fire.done),
            array.step.eq(fire.step),
            array.theta.eq(fire.theta),
            array.add.eq(executor.adding & fire.active),
            array.compare.eq(executor.comparing & fire.active),
            array.spike_clear.eq(executor.spike_clear),
            array.spike_load.eq(executor.residual_load << executor.residual_word),
            array.spike_data.eq(activations.read_data),
            encoder.index.eq(executor.write_index),
            encoder.fires.eq(d.fires),
            encoder.spikes.eq(array.spikes),
            encoder.membranes.eq(array.membranes),
        ]
        result = Signal(processor.word_bits)
        m.d.comb += [
            result.eq(Mux(d.kind == POOL, pool.earliest, encoder.word)),
            activations.enable.eq(walker.read | executor.buffer),
            activations.write.eq(executor.buffer & executor.buffer_write),
            activations.address.eq(Mux(executor.buffer, executor.buffer_address, walker.read_address)),
            activations.write_data.eq(Mux(executor.transfer, self.dram.read.payload, result)),
            executor.buffer_data.eq(activations.read_data),
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

    def _dram(self, m: Module, loader: Loader, executor: Executor) -> None:
        """The port belongs to the executor during a transfer, else to the loader; they never overlap."""
        dram = self.dram
        with m.If(executor.transfer):
            m.d.comb += [
                dram.request.valid.eq(executor.request.valid),
                dram.request.payload.eq(executor.request.payload),
                executor.request.ready.eq(dram.request.ready),
                executor.read.valid.eq(dram.read.valid),
                dram.read.ready.eq(executor.read.ready),
                dram.write.valid.eq(executor.write.valid),
                executor.write.ready.eq(dram.write.ready),
            ]
        with m.Else():
            m.d.comb += [
                dram.request.valid.eq(loader.request.valid),
                dram.request.payload.eq(loader.request.payload),
                loader.request.ready.eq(dram.request.ready),
                loader.read.valid.eq(dram.read.valid),
                dram.read.ready.eq(loader.read.ready),
            ]
        m.d.comb += [
            loader.read.payload.eq(dram.read.payload),
            executor.read.payload.eq(dram.read.payload),
            dram.write.payload.eq(executor.write.payload),
        ]
