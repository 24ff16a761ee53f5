"""What running a network costs: mapping to the processor, cycles, memory traffic and energy."""

from firstspike.processor.interval import Interval
from firstspike.processor.technology import Technology, TechnologyError

__all__ = ["Interval", "Technology", "TechnologyError"]
