"""Verilog of the processor, a file a module; it needs no Python."""

from pathlib import Path

from firstspike import files
from firstspike.rtl import verilog
from firstspike.rtl.blocks.lane import Lane
from firstspike.rtl.blocks.processor import ProcessorTop
from firstspike.rtl.blocks.sram import verilog as memories
from firstspike.rtl.parameters import Parameters

TOP = "firstspike"
"""Name of the Verilog top module."""


def verilog_files(
    parameters: Parameters, *, holds: bool = False, initial_values: bool = False, pessimistic: bool = False
) -> dict[str, str]:
    """Verilog by file name: the processor's blocks, one lane, the memories' simulation models.

    Args:
        parameters: what the RTL is generated from.
        holds: with a `Hold` in every stream inside, for simulations that stall them.
        initial_values: registers begin with their reset value; without, with whatever the power-up leaves.
        pessimistic: for simulations that must see an X wherever hardware could differ (`verilog.modules`).

    Raises:
        RuntimeError: Yosys, which writes the Verilog, is not installed.
    """
    models = memories(parameters.processor)
    modules = verilog.modules(
        {TOP: ProcessorTop(parameters, external=True, holds=holds), "firstspike_lane": Lane(parameters)},
        TOP,
        black_boxes="".join(models.values()),
        initial_values=initial_values,
        pessimistic=pessimistic,
    )
    return {f"{name}.v": text for name, text in (modules | models).items()}


def statement_files(parameters: Parameters, *, holds: bool = False) -> dict[str, str]:
    """The same design for coverage (`verilog.statements`); arguments and errors as of `verilog_files`."""
    models = memories(parameters.processor)
    components = {TOP: ProcessorTop(parameters, external=True, holds=holds), "firstspike_lane": Lane(parameters)}
    text = verilog.statements(components, black_boxes="".join(models.values()))
    return {"firstspike.v": text, **{f"{name}.v": model for name, model in models.items()}}


def write(directory: Path, contents: dict[str, str | bytes]) -> None:
    """Write files into a directory, made if need be like the folders in their names, each complete or not at all."""
    for name, content in contents.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, content)
