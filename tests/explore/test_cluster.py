"""On a Ray cluster of two nodes, of which one is killed while it works: no trial lost, none counted twice."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from explore.spaces import TEXT, Pure, small


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_node_loses_nothing(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'explore' is not installed")
    pytest.importorskip("optuna", reason="the extra 'explore' is not installed")
    from ray.cluster_utils import Cluster as Nodes

    from firstspike.explore.executor import Remote
    from firstspike.explore.page import table
    from firstspike.explore.search import search

    space = small(tmp_path, TEXT.replace("nsga2", "grid").replace("population: 8", "population: 24"))
    expected = table(space, search(space, Pure(), storage=tmp_path / "a.db", digest="d"))
    marks = tmp_path / "marks"
    marks.mkdir()

    def work(job: dict[str, Any], designs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        import os
        import time
        import uuid
        from pathlib import Path

        import ray

        results = []
        for design in designs:
            name = "-".join(str(design[key]) for key in ("code.T", "processor.pes", "processor.clock_mhz"))
            node = ray.get_runtime_context().get_node_id()
            (Path(job["marks"]) / f"{name}_{node}_{os.getpid()}_{uuid.uuid4().hex}").touch()
            time.sleep(0.5)
            results.append(job["values"][name])
        return results

    from explore.spaces import value

    values = {
        "-".join(str(design[key]) for key in ("code.T", "processor.pes", "processor.clock_mhz")): value(design)
        for design in space.grid()
    }
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20})
    try:
        second = nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
        nodes.wait_for_nodes()
        ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
        executor = Remote({"marks": str(marks), "values": values}, workers=2, function=work)  # type: ignore[arg-type]

        def kill() -> None:
            while not any(second.node_id in mark.name for mark in marks.iterdir()):
                time.sleep(0.05)
            nodes.remove_node(second, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        found = search(space, executor, storage=tmp_path / "b.db", digest="d")
        killer.join()
        executor.close()
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert table(space, found) == expected
    assert found.trials == 24
    assert found.evaluated == 24
    starts = Counter(mark.name.partition("_")[0] for mark in marks.iterdir())
    assert starts.keys() == values.keys()
    assert starts.total() > 24  # the kill hit a design at work, which ran again
