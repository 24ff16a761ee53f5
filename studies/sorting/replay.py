"""Energy of a block on real traffic: its ports recorded in simulation, replayed on its netlist, and priced."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator, SimulatorContext
from jaxtyping import UInt64

from firstspike.gates import activity, power
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import Synthesis, component, synthesise

RESET = 2
"""Cycles of reset before a recording is replayed; they are not priced."""

Tick = Callable[[], Awaitable[None]]
Bench = Callable[[SimulatorContext, Tick], Awaitable[None]]
"""Drives a block; every cycle ends with ``await tick()``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Values of a block's ports in every cycle of a simulation.

    Attributes:
        inputs, outputs: by port name, one entry a cycle.
        cycles: number of cycles.
    """

    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    cycles: int


def record(block: wiring.Component, bench: Bench) -> Recording:
    """Simulate a block and note its ports at the end of every cycle."""
    inputs: dict[str, tuple[Value, list[int]]] = {}
    outputs: dict[str, tuple[Value, list[int]]] = {}
    for path, member, value in block.signature.flatten(block):
        ports = inputs if member.flow is In else outputs
        ports["__".join(str(part) for part in path)] = (Value.cast(value), [])

    async def run(ctx: SimulatorContext) -> None:
        async def tick() -> None:
            for value, seen in (*inputs.values(), *outputs.values()):
                seen.append(ctx.get(value))
            await ctx.tick()

        await bench(ctx, tick)

    simulator = Simulator(block)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    given = {name: seen for name, (_, seen) in inputs.items()}
    return Recording(
        inputs=given,
        outputs={name: seen for name, (_, seen) in outputs.items()},
        cycles=len(next(iter(given.values()))),
    )


def price(
    block: wiring.Component, name: str, recording: Recording, library: Library, *, clock_ns: float = 4.0
) -> tuple[Synthesis, dict[str, float]]:
    """Map a block, replay a recording on its netlist, and integrate: ``low``, ``total`` and ``high`` in fJ for all cycles.

    Raises:
        RuntimeError: a tool is missing, or an output of the netlist differs from the recording while its stream is valid.
    """
    synthesis = synthesise(component(block, name), library, clock_ns=clock_ns)
    planes = {
        port: _bits([0] * RESET + values, len(synthesis.netlist.inputs[port]))
        for port, values in recording.inputs.items()
        if port in synthesis.netlist.inputs
    }
    planes["rst"] = _bits([1] * RESET + [0] * recording.cycles, 1)
    waves = activity.simulate(synthesis.netlist, library, planes, streams=1)
    for port, values in recording.outputs.items():
        nets = synthesis.netlist.outputs[port]
        seen = np.stack([waves.value(net)[RESET:] & 1 for net in nets], axis=1)
        valid = port.replace("__payload", "__valid")
        meant = np.array(recording.outputs[valid]) == 1 if valid != port else np.ones(recording.cycles, dtype=bool)
        if not np.array_equal(seen[meant], _bits(values, len(nets))[meant]):
            raise RuntimeError(f"netlist of {name!r} must drive port {port!r} as the simulation does, but does not")
    energy = power.integrate(synthesis.netlist, library, waves, clock_ns=clock_ns, warmup=RESET).per_cycle_fj()
    return synthesis, {bound: energy[bound] * recording.cycles for bound in ("low", "total", "high")}


def _bits(values: list[int], width: int) -> UInt64[np.ndarray, "cycles bits"]:
    """Bit planes of one stream."""
    return np.array([[value >> bit & 1 for bit in range(width)] for value in values], dtype=np.uint64)
