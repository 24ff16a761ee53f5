"""`to_nir` and `from_nir`: the same network comes back, bit for bit; what is not it is refused by the node's name."""

from pathlib import Path

import numpy as np
import pytest
from engine.networks import networks
from hypothesis import HealthCheck, given, settings

import firstspike as fs
from firstspike.spec import Network, fingerprint

nir = pytest.importorskip("nir")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(network=networks())
def test_round_trip(tmp_path: Path, network: Network) -> None:
    path = tmp_path / "net.nir"
    graph = fs.to_nir(network, path)
    assert fingerprint(fs.from_nir(graph, engine="reference").network) == fingerprint(network)
    assert fingerprint(fs.from_nir(path, engine="reference").network) == fingerprint(network)


def test_a_network_of_the_zoo(tmp_path: Path) -> None:
    network = fs.zoo.load("digits").network
    fs.to_nir(network, tmp_path / "net.nir")
    assert fingerprint(fs.from_nir(tmp_path / "net.nir").network) == fingerprint(network)


@pytest.fixture
def graph() -> "nir.NIRGraph":
    return fs.to_nir(fs.zoo.load("digits"))


def first(graph: "nir.NIRGraph", kind: str) -> str:
    return next(name for name, node in graph.nodes.items() if type(node).__name__ == kind)


def test_what_is_no_such_network_is_refused(graph: "nir.NIRGraph", tmp_path: Path) -> None:
    name = first(graph, "Conv2d")
    graph.nodes[name].weight.flat[0] += 1e-3
    with pytest.raises(ValueError, match=f"node '{name}': weights must be levels of scale"):
        fs.from_nir(graph)
    graph.nodes[name].weight.flat[0] -= 1e-3
    graph.nodes[name].weight = np.round(graph.nodes[name].weight * 2**40) / 2**40
    graph.nodes[name].bias[0] += 2.0**-40
    with pytest.raises(ValueError, match=f"node '{name}': bias must be on the grid"):
        fs.from_nir(graph)
    graph.nodes[name].bias[0] -= 2.0**-40
    graph.edges.append((name, name))
    with pytest.raises(ValueError, match=f"node '{name}' must read"):
        fs.from_nir(graph)
    graph.edges.pop()
    spikes = first(graph, "TTFS")
    graph.nodes[spikes].kernel[1] = 0.85
    with pytest.raises(ValueError, match=f"node '{spikes}': kernel must be that of Code"):
        fs.from_nir(graph)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fs.from_nir(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("no graph")
    with pytest.raises(ValueError, match="it must be a NIR graph as to_nir writes it"):
        fs.from_nir(tmp_path / "text.nir")
    nir.write(tmp_path / "other.nir", nir.NIRGraph.from_list(nir.Affine(weight=np.eye(2), bias=np.zeros(2))))
    with pytest.raises(ValueError, match="'firstspike' is missing"):
        fs.from_nir(tmp_path / "other.nir")
