"""Bit-exact integer inference: one interface, several engines."""

import warnings

import numpy as np

from firstspike import arith, names
from firstspike.arith import Code
from firstspike.engine.base import Engine
from firstspike.engine.reference import ReferenceEngine
from firstspike.spec.network import Network

NAMES = names.ENGINES
"""Engines that can be asked for by name."""


def create(network: Network, name: str | None = None, *, threads: int | None = None, owned: bool = False) -> Engine:
    """An engine for a network.

    Args:
        network: the network to run.
        name: one of `NAMES`; None for "native" where it is built, else for "reference" with a warning.
        threads: threads of the native engine; None for one per processor.
        owned: nobody else holds ``network``, so that the engine may take over where its codes are kept.

    Raises:
        ValueError: there is no engine of that name.
        ImportError: the engine asked for by name is not built or its library is not installed.
    """
    if name == "reference":
        return ReferenceEngine(network)
    if name == "cuda":
        from firstspike.engine.cuda import CudaEngine

        return CudaEngine(network)
    if name not in (None, "native"):
        raise ValueError(f"engine must be one of {', '.join(NAMES)}, not {name!r}{names.meant(name, NAMES)}")
    try:
        from firstspike.engine.native import NativeEngine
    except ImportError as error:
        if name == "native":
            raise ImportError(f"engine 'native' needs the compiled extension: {error}") from error
        warnings.warn(
            "the native engine is not built (no C++ compiler at installation): the reference engine runs instead, with the "
            "same results but much slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return ReferenceEngine(network)
    return NativeEngine(network, threads=threads, owned=owned)


def encode(values: np.ndarray, code: Code) -> np.ndarray:
    """Stored input of real values: compiled where that is built and the type fits.

    First spike times, as `firstspike.arith.encode`; or planes, as `firstspike.arith.encode_planes`, if the code says so.

    >>> encode(np.array([2.0, 1.0, 0.84375, 0.8437, 0.0185, 0.0, np.nan]), Code()).tolist()
    [0, 0, 1, 2, 255, 255, 255]
    """
    if values.dtype in (np.float32, np.float64):
        try:
            from firstspike.engine.native import encode as native_encode
        except ImportError:
            pass
        else:
            return native_encode(values, code)
    return arith.encode_planes(values) if code.planes else arith.encode(values, code)


__all__ = ["NAMES", "Engine", "ReferenceEngine", "create", "encode"]
