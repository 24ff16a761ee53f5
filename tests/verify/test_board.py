"""A simulated board behind the host's own client: before synthesis through a pseudo-terminal, and as a netlist."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rtl.vgg import random_vgg

from firstspike.compiler import mapping
from firstspike.compiler.image import assemble
from firstspike.rtl.fpga.system import SystemParameters
from firstspike.rtl.parameters import Parameters
from firstspike.spec import Network, ProcessorSpec
from firstspike.spiking import SpikingNetwork
from firstspike.verify import ToolMissing, board, fpga

pytest.importorskip("amaranth_boards")
pytest.importorskip("serial")

PROCESSOR = ProcessorSpec(
    pes=4,
    word_bits=32,
    clock_mhz=80,
    activation_buffer_kib=4,
    weight_buffer_kib=2,
    membrane_rows=16,
    dram_latency_cycles=8,
    dram_cycles_per_word=2,
)
BAUD = 20_000_000
"""Four cycles a bit: quick in simulation."""


def _network() -> Network:
    return random_vgg((8, "M", 8, "M"), (1, 8, 8))


def _system(network: Network) -> SystemParameters:
    return SystemParameters(parameters=Parameters.of(network, PROCESSOR).on_fpga(), baud=BAUD)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulation before synthesis."""
    try:
        return fpga.simulate(_system(_network()), tmp_path_factory.mktemp("board"))
    except ToolMissing as error:
        pytest.skip(str(error))


@contextmanager
def _terminal(program: Path, divider: int) -> Iterator[str]:
    """The board behind a pseudo-terminal; its path."""
    ours, theirs = os.openpty()
    path = os.ttyname(theirs)
    subprocess.run(["stty", "-F", path, "raw", "-echo"], check=True)
    process = subprocess.Popen([program, str(divider)], stdin=ours, stdout=ours, stderr=subprocess.PIPE)
    try:
        yield path
    finally:
        process.terminate()
        process.communicate()
        os.close(ours)
        os.close(theirs)


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(1).random((count, 1, 8, 8))


def test_network_through_a_terminal(program: Path) -> None:
    """Load, check, run: pyserial and the simulated board's serial line between host and processor; all logits equal."""
    network = _network()
    snn = SpikingNetwork(network)
    with _terminal(program, 4) as path:
        line = board.open_line(path, baud=115_200, timeout=300)
        record = board.run(network, snn.encode(_images(3)), np.zeros(3, dtype=np.int64), PROCESSOR, line)
    assert record.images == 3 and record.differences == []
    assert all(cycles > 1000 for cycles in record.cycles)


def test_a_wrong_network_is_refused(program: Path) -> None:
    """A build for other formats is recognised before anything is loaded."""
    other = replace(PROCESSOR, membrane_rows=32)
    line = fpga.SimulatedBoard(program, 4)
    times = SpikingNetwork(_network()).encode(_images(1))
    with pytest.raises(board.BoardError, match="bitstream must be built for this network"):
        board.run(_network(), times, np.zeros(1, dtype=np.int64), other, line)
    line.close()


def test_a_long_run_is_waited_for(program: Path) -> None:
    """The simulation waits for its input 20,000 cycles after the last news, but never while the processor runs."""
    network = random_vgg((24, 24, "M", 24, "M"), (1, 16, 16))
    times = SpikingNetwork(network).encode(np.random.default_rng(1).random((1, 1, 16, 16)))
    image = assemble(network, mapping.program(network, PROCESSOR), PROCESSOR)
    line = fpga.SimulatedBoard(program, 4, timeout=100, image=image.data)
    record = board.run(network, times, np.zeros(1, dtype=np.int64), PROCESSOR, line, loaded=True)
    line.close()
    assert record.images == 1 and record.differences == []
    assert record.cycles[0] > 20_000


@pytest.mark.slow
def test_netlist(tmp_path: Path) -> None:
    """The netlist of the ECP5's cells: SDRAM filled beforehand, images and logits over the serial line, all logits equal."""
    network = _network()
    times = SpikingNetwork(network).encode(_images(3))
    record = fpga.run_netlist(network, times, np.zeros(3, dtype=np.int64), _system(network), tmp_path)
    assert record.images == 3 and record.differences == []
