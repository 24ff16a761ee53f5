"""firstspike: time-to-first-spike networks from conversion-aware training to a processor, bit-exact, with cycles and energy.

A name of the public API loads what it needs when it is first used: what runs, prices or simulates a network loads no
PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from firstspike.extras import needed

if TYPE_CHECKING:
    from firstspike import zoo
    from firstspike.arith import Code, LogWeights
    from firstspike.cat import models
    from firstspike.cat.adapt import adapt
    from firstspike.cat.calibrate import calibrate
    from firstspike.cat.prepare import UnsupportedError, prepare
    from firstspike.cat.prepared import Prepared
    from firstspike.cat.prune import prune
    from firstspike.conversion import ConversionError
    from firstspike.converter import convert
    from firstspike.interop.module import to_torch
    from firstspike.interop.nir.graph import from_nir, to_nir
    from firstspike.interop.onnx.read import from_onnx
    from firstspike.interop.onnx.write import to_onnx
    from firstspike.player import playground
    from firstspike.processor import Cost, Processor, Technology, TechnologyError
    from firstspike.reporter import Report, ReportOptions, report
    from firstspike.spec import FormatError, Network, Trace
    from firstspike.spiking import SpikingNetwork, load

__version__ = "0.1.0"
"""The only place that states it; the build reads it here."""

__all__ = [
    "Code",
    "ConversionError",
    "Cost",
    "FormatError",
    "LogWeights",
    "Network",
    "Prepared",
    "Processor",
    "Report",
    "ReportOptions",
    "SpikingNetwork",
    "Technology",
    "TechnologyError",
    "Trace",
    "UnsupportedError",
    "__version__",
    "adapt",
    "calibrate",
    "convert",
    "from_nir",
    "from_onnx",
    "load",
    "models",
    "playground",
    "prepare",
    "prune",
    "report",
    "to_nir",
    "to_onnx",
    "to_torch",
    "zoo",
]

_PLACES = {
    "Code": "firstspike.arith",
    "ConversionError": "firstspike.conversion",
    "Cost": "firstspike.processor",
    "FormatError": "firstspike.spec",
    "LogWeights": "firstspike.arith",
    "Network": "firstspike.spec",
    "Prepared": "firstspike.cat.prepared",
    "Processor": "firstspike.processor",
    "Report": "firstspike.reporter",
    "ReportOptions": "firstspike.reporter",
    "SpikingNetwork": "firstspike.spiking",
    "Technology": "firstspike.processor",
    "TechnologyError": "firstspike.processor",
    "Trace": "firstspike.spec",
    "UnsupportedError": "firstspike.cat.prepare",
    "adapt": "firstspike.cat.adapt",
    "calibrate": "firstspike.cat.calibrate",
    "convert": "firstspike.converter",
    "from_nir": "firstspike.interop.nir.graph",
    "from_onnx": "firstspike.interop.onnx.read",
    "load": "firstspike.spiking",
    "models": "firstspike.cat",
    "playground": "firstspike.player",
    "prepare": "firstspike.cat.prepare",
    "prune": "firstspike.cat.prune",
    "report": "firstspike.reporter",
    "to_nir": "firstspike.interop.nir.graph",
    "to_onnx": "firstspike.interop.onnx.write",
    "to_torch": "firstspike.interop.module",
    "zoo": "firstspike",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    """A public name, loaded when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needed(f"firstspike.{name}"):
        place = _PLACES[name]
        module = name in ("models", "zoo")
        value = import_module(f"{place}.{name}") if module else getattr(import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
