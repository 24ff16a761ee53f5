"""Bit-exact integer inference: one interface, several engines."""

from firstspike.engine.base import Engine
from firstspike.engine.reference import ReferenceEngine
from firstspike.spec.network import Network

NAMES = ("reference",)
"""Engines that can be asked for by name."""


def create(network: Network, name: str = "reference") -> Engine:
    """An engine for a network.

    Raises:
        ValueError: there is no engine of that name.
    """
    if name == "reference":
        return ReferenceEngine(network)
    raise ValueError(f"engine must be one of {', '.join(NAMES)}, not {name!r}")


__all__ = ["NAMES", "Engine", "ReferenceEngine", "create"]
