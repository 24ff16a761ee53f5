"""What running a network costs: mapping to the processor, cycles, memory traffic and energy."""

from firstspike.processor.energy import COMPONENTS, GROUPS, Cost, LayerCost
from firstspike.processor.run import Processor
from firstspike.processor.technology import Technology, TechnologyError
from firstspike.spec.interval import Interval

__all__ = ["COMPONENTS", "GROUPS", "Cost", "Interval", "LayerCost", "Processor", "Technology", "TechnologyError"]
