"""The array of lanes: broadcast spikes, thresholds and commands; one weight code, bias and spike time per lane."""

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Mux, ResetSignal, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.lane import Lane
from firstspike.rtl.parameters import Parameters


class Array(wiring.Component):
    """``pes`` lanes.

    Ports:
        enable, time, row: a spike and its weight row (lane ``i`` in bits ``i*B_w ..``), one cycle together.
        fraction: ``r`` of the layer's scale.
        load, initial: set all membranes (lane ``i`` in bits ``i*A ..``).
        spike_clear; spike_load (one bit per word of lanes), spike_data: spike time registers, a word at a time.
        step, theta, add, compare: broadcast to all lanes, as in `Lane`.
        membranes, spikes: all registers.

    Args:
        external: lanes are instances of the Verilog module ``firstspike_lane`` (generated once) instead of copies.
    """

    def __init__(self, parameters: Parameters, *, external: bool = False) -> None:
        self.parameters = p = parameters
        self.external = external
        processor = p.processor
        super().__init__(
            {
                "enable": In(1),
                "time": In(p.time_bits),
                "row": In(processor.pes * p.weights.bits),
                "fraction": In(p.fraction_bits),
                "load": In(1),
                "initial": In(processor.pes * processor.accumulator_bits),
                "spike_clear": In(1),
                "spike_load": In(processor.pes // processor.lanes),
                "spike_data": In(processor.word_bits),
                "step": In(8),
                "theta": In(Shape(processor.accumulator_bits, signed=True)),
                "add": In(1),
                "compare": In(1),
                "membranes": Out(processor.pes * processor.accumulator_bits),
                "spikes": Out(processor.pes * 8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        bits, accumulator, lanes = p.weights.bits, p.processor.accumulator_bits, p.processor.lanes
        for index in range(p.processor.pes):
            inputs = {
                "enable": self.enable,
                "time": self.time,
                "code": self.row[index * bits : (index + 1) * bits],
                "fraction": self.fraction,
                "load": self.load,
                "initial": self.initial[index * accumulator : (index + 1) * accumulator],
                "spike_clear": self.spike_clear,
                "spike_load": self.spike_load[index // lanes],
                "spike_data": self.spike_data.word_select(index % lanes, 8),
                "step": self.step,
                "theta": self.theta,
                "add": self.add,
                "compare": self.compare,
            }
            outputs = {
                "membrane": self.membranes[index * accumulator : (index + 1) * accumulator],
                "spike": self.spikes.word_select(index, 8),
            }
            if self.external:
                m.submodules[f"lane{index}"] = Instance(
                    "firstspike_lane",
                    i_clk=ClockSignal(),
                    i_rst=ResetSignal(),
                    **{f"i_{name}": value for name, value in inputs.items()},
                    **{f"o_{name}": value for name, value in outputs.items()},
                )
                continue
            m.submodules[f"lane{index}"] = lane = Lane(p)
            m.d.comb += [getattr(lane, name).eq(value) for name, value in inputs.items()]
            m.d.comb += [value.eq(getattr(lane, name)) for name, value in outputs.items()]
        return m


class BiasRegisters(wiring.Component):
    """Biases of the running and of the next tile: two shift registers filled word by word from DRAM, first word lowest.

    Ports:
        shift, word, fill: push a word into register ``fill``.
        select: register at ``biases``.
        biases: lane ``i`` in bits ``i*A ..``.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        processor = parameters.processor
        super().__init__(
            {
                "shift": In(1),
                "fill": In(1),
                "word": In(processor.word_bits),
                "select": In(1),
                "biases": Out(processor.pes * processor.accumulator_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        processor = self.parameters.processor
        width = processor.bias_words * processor.word_bits
        registers = [Signal(width, name=f"bias{slot}", reset_less=True) for slot in (0, 1)]
        for slot, register in enumerate(registers):
            with m.If(self.shift & (self.fill == slot)):
                m.d.sync += register.eq(Cat(register[processor.word_bits :], self.word))
        m.d.comb += self.biases.eq(Mux(self.select, registers[1], registers[0]))
        return m
