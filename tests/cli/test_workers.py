"""Images shared out to processes and machines: the same numbers, also where a node is killed at work."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstspike import zoo
from firstspike.cli import workers
from firstspike.cli.main import main
from firstspike.cluster import Cluster
from firstspike.data import load
from firstspike.spec.trace import Sums, join

IMAGES = 120


def parts() -> list[workers.Part]:
    images = load("digits", split="test").limit(IMAGES)
    return [(images.pixels(i, i + 20), np.asarray(images.labels[i : i + 20])) for i in range(0, IMAGES, 20)]


def test_parts_add_up_to_the_whole() -> None:
    network = zoo.find("digits")
    job = workers.Job(key="a", network=network, engine="reference")
    traces = [workers.trace(job, part) for part in parts()]
    whole = (np.concatenate([pixels for pixels, _ in parts()]), np.concatenate([labels for _, labels in parts()]))
    expected = workers.trace(job, whole)
    assert np.array_equal(join(traces).logits, expected.logits)
    total = workers.sums(job, parts()[0])
    for part in parts()[1:]:
        total = total + workers.sums(job, part)
    assert total == Sums.of(expected, whole[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", ["evaluate", "cost"])
def test_workers_change_no_number(command: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'explore' is not installed")
    records = []
    for count in ("1", "2"):
        path = tmp_path / f"{count}.json"
        words = [
            command,
            "digits",
            "--data",
            "digits",
            "--limit",
            str(IMAGES),
            "--workers",
            count,
            "--json",
            str(path),
        ]
        assert main(words) == 0
        record = json.loads(path.read_text())
        record.pop("images_per_second", None)
        records.append(record)
    assert records[0] == records[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_node_loses_no_image(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'explore' is not installed")
    from ray.cluster_utils import Cluster as Nodes

    def work(job: tuple[str, str, workers.Job], part: workers.Part) -> Sums:
        import uuid
        from pathlib import Path

        import ray

        from firstspike.cli import workers

        node = ray.get_runtime_context().get_node_id()
        (Path(job[0]) / f"{node}_{uuid.uuid4().hex}").touch()
        time.sleep(60 if node == job[1] else 0.5)  # until it is killed; so that it gets work too
        return workers.sums(job[2], part)

    job = workers.Job(key="b", network=zoo.find("digits"), engine="reference")
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20})
    found: dict[int, Any] = {}
    try:
        second = nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
        nodes.wait_for_nodes()
        ray.init(address=nodes.address, log_to_driver=False, logging_level="error")

        def kill() -> None:
            while not any(mark.name.startswith(second.node_id) for mark in tmp_path.iterdir()):
                time.sleep(0.05)
            nodes.remove_node(second, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        with Cluster((str(tmp_path), second.node_id, job), work, workers=2) as cluster:
            found = dict(cluster.run(parts()))
        killer.join()
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert len(list(tmp_path.iterdir())) > len(found) == len(parts())  # the kill hit a part at work, which ran again
    assert [found[number] for number in range(len(found))] == [workers.sums(job, part) for part in parts()]
