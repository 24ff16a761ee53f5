"""Work shared out to processes and machines: Ray tasks, done again where a node was lost."""

import os
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Generic, TypeVar

from firstspike.extras import needed

Shared = TypeVar("Shared")
Piece = TypeVar("Piece")
Result = TypeVar("Result")

ATTEMPTS = 5
"""How often a piece is handed out before its loss is an error."""


class Cluster(Generic[Shared, Piece, Result]):
    """A function of something shared and a piece of the work, on Ray; use it in a ``with`` block.

    Args:
        shared: what every piece needs; it is sent to each node once.
        function: what a worker does with ``shared`` and a piece.
        workers: processes, where no cluster is joined.
        address: of a cluster to join; None starts one of this machine, which ends with the block.

    Raises:
        ImportError: Ray is not installed (extra "explore").
    """

    def __init__(
        self, shared: Shared, function: Callable[[Shared, Piece], Result], *, workers: int, address: str | None = None
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        with needed("a cluster", "explore"):
            self.ray = import_module("ray")
        self.started = not self.ray.is_initialized()
        if self.started:
            local = (
                {} if address else {"num_cpus": workers, "object_store_memory": 256 << 20, "include_dashboard": False}
            )
            self.ray.init(address=address or "local", log_to_driver=False, logging_level="error", **local)
        self.workers = max(1, int(self.ray.cluster_resources().get("CPU", workers)))
        self.shared = self.ray.put(shared)
        self.task = self.ray.remote(max_retries=0, num_cpus=1)(function)

    def run(self, pieces: Iterable[Piece]) -> Iterator[tuple[int, Result]]:
        """Number and result of each piece, in any order, as they come; twice as many are under way as there are workers.

        Raises:
            RuntimeError: a piece was lost with its node each time.
        """
        pending: dict[Any, tuple[int, Piece, int]] = {}
        for number, piece in enumerate(pieces):
            pending[self.task.remote(self.shared, piece)] = (number, piece, 1)
            while len(pending) >= 2 * self.workers:
                yield from self._first(pending)
        while pending:
            yield from self._first(pending)

    def _first(self, pending: dict[Any, tuple[int, Piece, int]]) -> Iterator[tuple[int, Result]]:
        """Wait for one piece; it comes, or is handed out again."""
        (done, *_), _ = self.ray.wait(list(pending), num_returns=1)
        number, piece, attempt = pending.pop(done)
        try:
            result = self.ray.get(done)
        except self.ray.exceptions.RayTaskError:
            raise  # the work itself is at fault, wherever it runs
        except self.ray.exceptions.RayError as error:
            if attempt == ATTEMPTS:
                raise RuntimeError(
                    f"part {number} of the work was lost with its node {ATTEMPTS} times: {error}"
                ) from None
            pending[self.task.remote(self.shared, piece)] = (number, piece, attempt + 1)
            return
        yield number, result

    def close(self) -> None:
        """Leave the cluster, or end the one that was started."""
        if self.started:
            self.ray.shutdown()

    def __enter__(self) -> "Cluster[Shared, Piece, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
