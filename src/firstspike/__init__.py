"""firstspike: time-to-first-spike networks from conversion-aware training to a processor, bit-exact, with cycles and energy."""

from firstspike import zoo
from firstspike.arith import Code, LogWeights
from firstspike.convert import ConversionError
from firstspike.processor import Cost, Processor, Technology, TechnologyError
from firstspike.spec import FormatError, Network, Trace
from firstspike.spiking import SpikingNetwork, convert, load
from firstspike.train import models
from firstspike.train.prepare import UnsupportedError, prepare
from firstspike.train.prepared import Prepared

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
