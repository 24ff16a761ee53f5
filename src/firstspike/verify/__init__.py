"""Whole networks in RTL: spike for spike the engine's, cycle for cycle the model's."""

from firstspike.verify.emission import emit
from firstspike.verify.run import Record, run
from firstspike.verify.simulator import Simulator, Stalls, ToolMissing

__all__ = ["Record", "Simulator", "Stalls", "ToolMissing", "emit", "run"]
