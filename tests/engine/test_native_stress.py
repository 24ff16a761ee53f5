"""Nothing ends the process: allocations that fail, little memory, Ctrl+C, forks (native_stress.py, each in its own process)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("firstspike._native", reason="the extension is not built")

HERE = Path(__file__).parent


def stress(name: str, **environment: str) -> str:
    """What a check prints; it fails if the process ends in any way but well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "native_stress.py"), name],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{name}: {done.returncode}\n{done.stdout}{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("c++") is None, reason="needs Linux and a C++ compiler")
def test_every_allocation_fails_once(tmp_path: Path) -> None:
    library = tmp_path / "faults.so"
    command = ["c++", "-std=c++17", "-O1", "-shared", "-fPIC", str(HERE / "faults.cpp"), "-o", str(library)]
    subprocess.run(command, check=True)
    stress("faults", LD_PRELOAD=str(library))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit of the address space")
def test_little_memory() -> None:
    stress("memory", MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_="65536")  # what is freed is not held back


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_memory_in_flight() -> None:
    stress("in_flight")


def test_interrupts_end_long_calls() -> None:
    stress("interrupts")


def test_forks_while_threads_are_in_the_engine() -> None:
    stress("forks")


def test_a_fork_in_a_signal_handler() -> None:
    stress("fork_in_handler")
