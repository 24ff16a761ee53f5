"""Liberty files: what area, timing and power need of a cell library (Synopsys Liberty, non-linear delay model)."""

from firstspike.gates.liberty.cells import Arc, Cell, ClockGate, FlipFlop, LookupTable, Pin, Power
from firstspike.gates.liberty.library import Gate, Library, read_text
from firstspike.gates.liberty.parse import LibertyError

__all__ = [
    "Arc",
    "Cell",
    "ClockGate",
    "FlipFlop",
    "Gate",
    "LibertyError",
    "Library",
    "LookupTable",
    "Pin",
    "Power",
    "read_text",
]
