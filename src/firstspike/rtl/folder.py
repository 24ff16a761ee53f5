"""The folder that a Verilog user gets: sources, testbench, memory images, constraints, and a page that explains them."""

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from firstspike.compiler.image import MemoryImage
from firstspike.rtl import emit
from firstspike.rtl.blocks.sram import NAMES, SWITCHED
from firstspike.rtl.parameters import Parameters
from firstspike.spec.processor import ProcessorSpec

MODELS = ("firstspike_clock_gate.v", "firstspike_gated.v")
"""Verilog beside the processor's own: replaceable, like its memories."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpectedRun:
    """What the testbench runs, and what must come of it.

    Attributes:
        image: the program's memory image.
        inputs: the input region of every batch of images, uint8 ``[n, bytes]``.
        logits: expected logits in the order of their region, int64 ``[n, logits]``.
        cycles: expected cycles of every batch, int64 ``[n]``.
    """

    image: MemoryImage
    inputs: np.ndarray
    logits: np.ndarray
    cycles: np.ndarray


def contents(
    parameters: Parameters, job: ExpectedRun, *, initial_values: bool = False, pessimistic: bool = False
) -> dict[str, str]:
    """All files by their names in the folder.

    Args:
        parameters: the processor.
        job: for the testbench.
        initial_values: as in `emit.verilog_files`.
        pessimistic: as in `emit.verilog_files`.

    Raises:
        RuntimeError: Yosys, which writes the Verilog, is not installed.
    """
    sources = emit.verilog_files(parameters, initial_values=initial_values, pessimistic=pessimistic)
    processor = parameters.processor
    word = f"WORD_BITS = {processor.word_bits}"
    sources |= {name: _file(name).replace("WORD_BITS = 64", word) for name in MODELS}
    return {
        "README.md": _readme(parameters),
        "Makefile": _file("Makefile"),
        "firstspike.f": "".join(f"rtl/{name}\n" for name in sources),
        **{f"rtl/{name}": text for name, text in sources.items()},
        "lint/waivers.vlt": _file("waivers.vlt"),
        "syn/firstspike.sdc": _file("firstspike.sdc").replace("@PERIOD@", f"{1000 / processor.clock_mhz:g}"),
        "doc/protocol.json": _file("protocol.json"),
        "sim/testbench.v": _file("testbench.v"),
        "sim/parameters.vh": _parameters(job, processor),
        **_images(job, processor),
    }


def _parameters(job: ExpectedRun, processor: ProcessorSpec) -> str:
    """The testbench's constants."""
    values = {
        "WORD": processor.word_bits,
        "WORDS": job.image.words,
        "BATCHES": len(job.inputs),
        "INPUT": job.image.regions["input"],
        "INPUT_WORDS": job.inputs.shape[1] // job.image.word_bytes,
        "LOGITS": job.image.regions["logits"],
        "LOGITS_WORDS": job.logits.shape[1],
        "LATENCY": processor.dram_latency_cycles,
        "INTERVAL": processor.dram_cycles_per_word,
    }
    lines = [f"localparam {name} = {value};\n" for name, value in values.items()]
    clock = f"localparam real HALF_PERIOD = {500 / processor.clock_mhz:g};  // ns, {processor.clock_mhz:g} MHz\n"
    return f"// {processor.images} image(s) a batch.\n{''.join(lines)}{clock}"


def _images(job: ExpectedRun, processor: ProcessorSpec) -> dict[str, str]:
    """Memory images and expected results as hexadecimal lines."""
    width = job.image.word_bytes
    mask = (1 << processor.word_bits) - 1
    return {
        "sim/dram.hex": _hex(job.image.data, width),
        "sim/inputs.hex": _hex(np.ascontiguousarray(job.inputs).tobytes(), width),
        "sim/logits.hex": "".join(f"{int(value) & mask:0{width * 2}x}\n" for value in job.logits.ravel()),
        "sim/cycles.hex": "".join(f"{int(value):016x}\n" for value in job.cycles),
    }


def memories(parameters: Parameters) -> list[tuple[str, str, int, int]]:
    """Instance path, module, width and depth of every memory."""
    processor, steps = parameters.processor, 2 * parameters.code.T
    row = processor.pes * parameters.weights.bits
    sram, registers = SWITCHED if processor.switched else NAMES
    banks = [f"activations.bank{index}.macro" for index in range(processor.banks)]
    return [
        *(
            (path, sram, processor.word_bits, processor.bank_words)
            for path in (banks if processor.switched else ["activations.macro"])
        ),
        ("membranes.macro", sram, processor.pes * processor.accumulator_bits, processor.membrane_rows),
        ("weights.bank0.macro", sram, row, parameters.weight_rows),
        ("weights.bank1.macro", sram, row, parameters.weight_rows),
        ("fire.table.macro", registers, processor.accumulator_bits, steps),
    ]


def diagrams() -> str:
    """The protocol's timing diagrams as text: a line a signal, a character a cycle, as in WaveDrom."""
    blocks = []
    for diagram in json.loads(_file("protocol.json")):
        names = [lane["name"] for lane in diagram["signal"]]
        width = max(map(len, names))
        lines = []
        for lane in diagram["signal"]:
            data = f"   {' '.join(lane['data'])}" if "data" in lane else ""
            lines.append(f"    {lane['name']:<{width}}  {lane['wave']}{data}")
        blocks.append(diagram["head"]["text"] + "\n\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def _readme(parameters: Parameters) -> str:
    processor = parameters.processor
    ports = dict.fromkeys((NAMES[0], SWITCHED[0]), "one, read or write") | {NAMES[1]: "one read, one write"}
    rows = [
        f"| `{path}` | `{module}` | {width} | {depth} | {width * depth / 8192:g} | {ports[module]} |"
        for path, module, width, depth in memories(parameters)
    ]
    return _file("README.md").format(
        pes=processor.pes,
        word_bits=processor.word_bits,
        clock_mhz=f"{processor.clock_mhz:g}",
        first=processor.dram_latency_cycles + processor.dram_cycles_per_word,
        memories="\n".join(rows),
        diagrams=diagrams(),
    )


def _file(name: str) -> str:
    return files("firstspike.rtl.files").joinpath(name).read_text(encoding="utf-8")


def _hex(data: bytes, width: int) -> str:
    """Little-endian words as hexadecimal lines.

    >>> _hex(bytes([1, 2, 3, 4]), 2).split()
    ['0201', '0403']
    """
    return "".join(f"{data[start : start + width][::-1].hex()}\n" for start in range(0, len(data), width))
