"""Memory that training frees stays with the process, where the C library can be told so."""

import platform
import subprocess
import sys

import pytest

from firstspike.train.memory import keep_freed_memory

ROUNDS, MEGABYTES = 10, 64
PROGRAM = f"""
import resource, sys
import torch
from firstspike.train.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
for _ in range(8):  # what is kept grows to its size
    torch.ones({MEGABYTES} << 18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    torch.ones({MEGABYTES} << 18)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> tuple[str, int]:
    run = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    kept, faults = run.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the switch")
def test_freed_memory_is_used_again() -> None:
    _, usual = page_faults("hand back")
    kept, faults = page_faults("keep")
    assert kept == "True"
    assert usual > 10 * ROUNDS  # every round's pages come from the system, in whatever sizes it hands out
    assert faults < usual / 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
