"""The processor a user holds: parameters with one more method, which says what running a network on images costs."""

from dataclasses import dataclass
from typing import Any, Protocol

from firstspike.processor import cycles, energy, technology
from firstspike.processor.energy import Cost
from firstspike.processor.technology import Technology
from firstspike.spec.network import INPUT, Network
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.trace import Trace


class Spiking(Protocol):
    """What is asked of a spiking network: its integers, and its trace on images."""

    @property
    def network(self) -> Network:
        """The integer network."""
        ...

    def trace(self, x: Any) -> Trace:
        """Spike times of images ``x``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Processor(ProcessorSpec):
    """The processor of `firstspike.spec.ProcessorSpec`, ready to price a network.

    >>> Processor(pes=64).clock_mhz
    250.0
    """

    def run(self, snn: Spiking, x: Any, *, technology: Technology | None = None, dram: str = "flat-4pj") -> Cost:
        """Cycles, traffic and energy per image of a network on images.

        Args:
            snn: the spiking network, for example from `firstspike.convert` or `firstspike.load`.
            x: images in [0, 1], as ``snn`` takes them.
            technology: energy per event; by default the 28 nm file of the package.
            dram: name of one of the technology's DRAM scenarios.

        Raises:
            TypeError: ``snn`` is no converted network.
            ValueError: the network does not fit the processor, the images break a rule, or the scenario is unknown.
        """
        if not isinstance(getattr(snn, "network", None), Network):
            raise TypeError(f"snn must be a network of firstspike.convert or firstspike.load, not {type(snn).__name__}")
        return self.price(snn.network, snn.trace(x), technology=technology, dram=dram)

    def price(
        self, network: Network, trace: Trace, *, technology: Technology | None = None, dram: str = "flat-4pj"
    ) -> Cost:
        """The same from a trace that is at hand: a pure function of its spike times and the technology.

        Raises:
            ValueError: as `run`.
        """
        chosen = technology if technology is not None else _default()
        chosen.memory(dram)
        times = trace.times
        if not len(times[INPUT]):
            raise ValueError("images must be at least one to be priced, not 0")
        counts = cycles.count(network, times, self)
        return energy.cost(counts, weight_bits=network.weights.bits, technology=chosen, dram=dram)


def _default() -> Technology:
    return technology.default()
