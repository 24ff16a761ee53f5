"""Where designs are evaluated: in this process, or on Ray, whose nodes may come and go."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from firstspike.explore.evaluate import Evaluator, Job, Result, evaluate_all
from firstspike.explore.space import Design, require

ATTEMPTS = 5
"""How often a chunk of designs is handed out before its loss is an error."""


class Workers(Protocol):
    """Evaluates numbered designs."""

    def run(self, designs: Mapping[int, Design]) -> Iterator[tuple[int, Result]]:
        """Number and result of each, in any order, as they come."""
        ...


class Local:
    """One design after the other, in this process."""

    def __init__(self, job: Job) -> None:
        self.evaluator = Evaluator(job)

    def run(self, designs: Mapping[int, Design]) -> Iterator[tuple[int, Result]]:
        """Number and result of each, in order, as they come."""
        for number, design in designs.items():
            yield number, self.evaluator.evaluate(design)


class Cluster:
    """Chunks of designs as Ray tasks; a chunk whose node dies is handed out again.

    Args:
        job: what to evaluate; it is sent to each node once.
        workers: processes, where no cluster is joined.
        address: of a cluster; None starts one of this machine, which ends with `close`.
        function: what a worker does with a job and a chunk.
    """

    def __init__(self, job: Job, *, workers: int, address: str | None = None, function: Any = evaluate_all) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        self.ray = require("ray")
        self.started = not self.ray.is_initialized()
        if self.started:
            local = (
                {} if address else {"num_cpus": workers, "object_store_memory": 256 << 20, "include_dashboard": False}
            )
            self.ray.init(address=address or "local", log_to_driver=False, logging_level="error", **local)
        self.workers = max(1, int(self.ray.cluster_resources().get("CPU", workers)))
        self.job = self.ray.put(job)
        self.task = self.ray.remote(max_retries=0, num_cpus=1)(function)

    def run(self, designs: Mapping[int, Design]) -> Iterator[tuple[int, Result]]:
        """Number and result of each, in any order, as they come; chunks of lost nodes are tried again."""
        pending = {self._submit(designs, chunk): (chunk, 1) for chunk in self._chunks(designs)}
        while pending:
            (done, *_), _ = self.ray.wait(list(pending), num_returns=1)
            chunk, attempt = pending.pop(done)
            try:
                results = self.ray.get(done)
            except self.ray.exceptions.RayTaskError:
                raise  # the evaluation itself is at fault, wherever it runs
            except self.ray.exceptions.RayError as error:
                if attempt == ATTEMPTS:
                    raise RuntimeError(f"designs {chunk} were lost with their node {ATTEMPTS} times: {error}") from None
                pending[self._submit(designs, chunk)] = (chunk, attempt + 1)
                continue
            yield from zip(chunk, results, strict=True)

    def _submit(self, designs: Mapping[int, Design], chunk: list[int]) -> Any:
        return self.task.remote(self.job, [designs[number] for number in chunk])

    def _chunks(self, designs: Mapping[int, Design]) -> list[list[int]]:
        """Numbers of designs with the same spikes together, at least two chunks a worker where there are enough."""
        most = -(-len(designs) // (2 * self.workers))
        groups: dict[Any, list[int]] = {}
        for number, design in designs.items():
            shared = tuple(value for key, value in design.items() if key.startswith(("network", "code.", "weights.")))
            groups.setdefault(shared, []).append(number)
        return [numbers[i : i + most] for numbers in groups.values() for i in range(0, len(numbers), most)]

    def close(self) -> None:
        """Leave the cluster, or end the one that was started."""
        if self.started:
            self.ray.shutdown()
