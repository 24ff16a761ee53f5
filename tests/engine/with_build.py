"""Runs a script or pytest with another build of the extension: with_build.py FOLDER SCRIPT|pytest ARGUMENTS ..."""

import runpy
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from native_smoke import load_extension  # noqa: E402

import firstspike  # noqa: E402

if __name__ == "__main__":
    _, folder, script, *arguments = sys.argv
    load_extension(Path(folder))
    firstspike._native = sys.modules["firstspike._native"]  # type: ignore[attr-defined]
    sys.argv = [script, *arguments]
    if script == "pytest":
        import pytest

        sys.exit(pytest.main(arguments))
    runpy.run_path(script, run_name="__main__")
