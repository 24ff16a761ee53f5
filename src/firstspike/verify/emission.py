"""Everything that a Verilog user needs of one network: processor, testbench, memory images, expected results."""

from pathlib import Path

import numpy as np

from firstspike import engine
from firstspike.compiler import mapping
from firstspike.compiler.image import assemble, store_input
from firstspike.processor import cycles
from firstspike.rtl import emit as verilog
from firstspike.rtl import folder
from firstspike.rtl.parameters import Parameters
from firstspike.spec.network import INPUT, Network
from firstspike.spec.processor import ProcessorSpec


def emit(
    network: Network,
    times: np.ndarray,
    processor: ProcessorSpec,
    directory: Path,
    *,
    initial_values: bool = False,
    pessimistic: bool = False,
) -> list[Path]:
    """Write Verilog, testbench and memory images.

    Args:
        network: the integer network.
        times: encoded inputs of the testbench's images, whole batches, uint8 ``[n, *input_shape]``.
        processor: the processor.
        directory: where to write; made if need be.
        initial_values: registers begin with their reset value; without, with whatever the power-up leaves.
        pessimistic: for simulations that must see an X wherever hardware could differ.

    Returns:
        The files written.

    Raises:
        ValueError: the network does not fit the processor, or the last batch is not whole.
        RuntimeError: Yosys, which writes the Verilog, is not installed.
    """
    batches, rest = divmod(len(times), processor.images)
    if rest:
        raise ValueError(f"images of a testbench must be whole batches of {processor.images}, not {len(times)!r}")
    program = mapping.program(network, processor)
    neurons = network.neuron_times(times)
    outputs = {**engine.create(network).layers(times), INPUT: neurons}
    logits = outputs[network.layers[-1].name]
    logits = logits if logits.ndim == 2 else logits.transpose(0, 2, 3, 1).reshape(len(times), -1)
    counts = cycles.count(network, outputs, processor, program)
    job = folder.ExpectedRun(
        image=assemble(network, program, processor),
        inputs=store_input(network, neurons, processor).reshape(batches, -1),
        logits=logits.reshape(batches, -1),
        cycles=counts.cycles,
    )
    parameters = Parameters.of(network, processor)
    files: dict[str, str | bytes] = {}
    files |= folder.contents(parameters, job, initial_values=initial_values, pessimistic=pessimistic)
    verilog.write(directory, files)
    return [directory / name for name in files]
