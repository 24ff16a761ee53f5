"""The one interface of all engines: spike times in, spike times and logits out, bit-exact."""

from typing import Protocol

import numpy as np

from firstspike.spec.network import Network


class Engine(Protocol):
    """Bit-exact inference of one network. Every implementation gives the same bits (docs/reference/numerics.md)."""

    name: str
    network: Network

    def logits(self, times: np.ndarray) -> np.ndarray:
        """Logits, int64 ``[n, *read-out shape]``, of encoded inputs ``times``, uint8 ``[n, *input_shape]``."""
        ...

    def layers(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Output of every layer by name: spike times (uint8 ``[n, *shape]``), int64 logits for the read-out."""
        ...
