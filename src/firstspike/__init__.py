"""firstspike: time-to-first-spike networks from conversion-aware training to a processor, bit-exact, with cycles and energy."""

from firstspike import zoo
from firstspike.arith import Code, LogWeights
from firstspike.cat import models
from firstspike.cat.prepare import UnsupportedError, prepare
from firstspike.cat.prepared import Prepared
from firstspike.convert import ConversionError
from firstspike.processor import Cost, Processor, Technology, TechnologyError
from firstspike.spec import FormatError, Network, Trace
from firstspike.spiking import SpikingNetwork, convert, load

__all__ = [
    "Code",
    "ConversionError",
    "Cost",
    "FormatError",
    "LogWeights",
    "Network",
    "Prepared",
    "Processor",
    "SpikingNetwork",
    "Technology",
    "TechnologyError",
    "Trace",
    "UnsupportedError",
    "convert",
    "load",
    "models",
    "prepare",
    "zoo",
]
