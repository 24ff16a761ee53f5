"""Where designs are evaluated: in this process, or on Ray, whose nodes may come and go."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from firstspike.cluster import Cluster
from firstspike.explore.evaluate import Evaluator, Job, Result, evaluate_all
from firstspike.explore.space import Design


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


class Remote:
    """Chunks of designs on a cluster; a chunk whose node dies is handed out again.

    Args:
        job: what to evaluate; it is sent to each node once.
        workers: processes, where no cluster is joined.
        address: of a cluster; None starts one of this machine, which ends with `close`.
        function: what a worker does with a job and a chunk.
    """

    def __init__(self, job: Job, *, workers: int, address: str | None = None, function: Any = evaluate_all) -> None:
        self.cluster: Cluster[Job, list[Design], list[Result]] = Cluster(
            job, function, workers=workers, address=address
        )

    def run(self, designs: Mapping[int, Design]) -> Iterator[tuple[int, Result]]:
        """Number and result of each, in any order, as they come; chunks of lost nodes are tried again."""
        chunks = self._chunks(designs)
        for number, results in self.cluster.run([designs[place] for place in chunk] for chunk in chunks):
            yield from zip(chunks[number], results, strict=True)

    def _chunks(self, designs: Mapping[int, Design]) -> list[list[int]]:
        """Numbers of designs with the same spikes together, at least two chunks a worker where there are enough."""
        most = -(-len(designs) // (2 * self.cluster.workers))
        groups: dict[Any, list[int]] = {}
        for number, design in designs.items():
            shared = tuple(value for key, value in design.items() if key.startswith(("network", "code.", "weights.")))
            groups.setdefault(shared, []).append(number)
        return [numbers[i : i + most] for numbers in groups.values() for i in range(0, len(numbers), most)]

    def close(self) -> None:
        """Leave the cluster, or end the one that was started."""
        self.cluster.close()
