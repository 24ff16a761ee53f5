"""Whole networks in RTL: spike for spike the engine's, cycle for cycle the model's."""

from firstspike.verify.run import Record, run
from firstspike.verify.simulator import Simulator, ToolMissing

__all__ = ["Record", "Simulator", "ToolMissing", "run"]
