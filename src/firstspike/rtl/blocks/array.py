"""The array of lanes: broadcast spikes, thresholds and commands; one weight code, membrane and spike time per lane."""

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import Membranes, Registers, SpikeTimes, Sweep, WeightedSpike
from firstspike.rtl.blocks.lane import Lane
from firstspike.rtl.parameters import Parameters


class Array(wiring.Component):
    """``pes`` lanes.

    Ports:
        synapses: a spike and the codes of its weight row.
        sums: what the membranes begin with.
        times: residual spike times, a word of lanes at a time.
        sweep: steps and thresholds.
        registers: all membranes and spike times.
        halve: with `Parameters.channel_shifts`, lanes whose membranes halve in this cycle.

    Args:
        external: lanes are instances of the Verilog module ``firstspike_lane`` (generated once) instead of copies.
    """

    def __init__(self, parameters: Parameters, *, external: bool = False) -> None:
        self.parameters = p = parameters
        self.external = external
        super().__init__(
            {
                "synapses": In(WeightedSpike(p, p.processor.pes)),
                "sums": In(Membranes(p, p.processor.pes)),
                "times": In(SpikeTimes(p)),
                "sweep": In(Sweep(p)),
                "registers": Out(Registers(p)),
                **({"halve": In(p.processor.pes)} if p.channel_shifts else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        m.d.comb += self.sums.membranes.eq(self.registers.membranes)
        for index in range(self.parameters.processor.pes):
            inputs, outputs = self._ports(index)
            if self.external:
                m.submodules[f"lane{index}"] = Instance(
                    "firstspike_lane",
                    i_clk=ClockSignal(),
                    i_rst=ResetSignal(),
                    **{f"i_{'__'.join(path)}": value for path, value in inputs.items()},
                    **{f"o_{'__'.join(path)}": value for path, value in outputs.items()},
                )
                continue
            m.submodules[f"lane{index}"] = lane = Lane(self.parameters)
            m.d.comb += [_member(lane, path).eq(value) for path, value in inputs.items()]
            m.d.comb += [value.eq(_member(lane, path)) for path, value in outputs.items()]
        return m

    def _ports(self, index: int) -> tuple[dict[tuple[str, ...], Value], dict[tuple[str, ...], Value]]:
        """What a lane's members are joined to."""
        p = self.parameters
        bits, accumulator, lanes = p.weights.bits, p.processor.accumulator_bits, p.processor.lanes
        synapses, sums, times, sweep = self.synapses, self.sums, self.times, self.sweep
        word, byte = divmod(index, lanes)
        inputs: dict[tuple[str, ...], Value] = {
            ("synapses", "enable"): synapses.enable,
            ("synapses", "time"): synapses.time,
            ("synapses", "codes"): synapses.codes.word_select(index, bits),
            ("synapses", "fraction"): synapses.fraction,
            **({("synapses", "shift"): synapses.shift} if p.shift_bits else {}),
            ("sums", "load"): sums.load,
            ("sums", "initial"): sums.initial.word_select(index, accumulator),
            ("spike_clear",): times.clear,
            ("spike_load",): times.load & (times.index == word),
            ("spike_data",): times.word.word_select(byte, 8),
            **{("sweep", name): getattr(sweep, name) for name in sweep.signature.members},
            **({("halve",): self.halve[index]} if p.channel_shifts else {}),
        }
        outputs: dict[tuple[str, ...], Value] = {
            ("sums", "membranes"): self.registers.membranes.word_select(index, accumulator),
            ("spike",): self.registers.spikes.word_select(index, 8),
        }
        return inputs, outputs


def _member(lane: Lane, path: tuple[str, ...]) -> Value:
    value = lane
    for name in path:
        value = getattr(value, name)
    return value
