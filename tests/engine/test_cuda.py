"""The GPU engine against the reference engine with ``==``: in Triton's interpreter always, on a GPU where there is one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed (extra gpu)"
)

TESTS = Path(__file__).parents[1]
CASES = TESTS / "engine" / "cuda_cases.py"


def _run(*arguments: str, **environment: str) -> str:
    # Triton decides when it is imported whether it interprets: a process of its own keeps that away from other tests
    variables = {**os.environ, **environment, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, str(CASES), *arguments]
    result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


def test_interpreted_kernels_equal_the_reference() -> None:
    assert "equal to the reference" in _run("40", TRITON_INTERPRET="1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_compiled_kernels_equal_the_reference() -> None:
    assert "equal to the reference" in _run("200", TRITON_INTERPRET="0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_error_says_so() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from engine.cuda_cases import fixed\nfrom firstspike.engine import create\ncreate(fixed()[0], 'cuda')"
    )
    variables = {**os.environ, "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", code, str(TESTS)]
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert "engine 'cuda' needs an NVIDIA GPU" in result.stderr
