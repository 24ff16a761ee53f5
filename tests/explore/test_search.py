"""Bookkeeping of trials: none lost, none counted twice, whatever interrupts a search; the same bytes from the same seed."""

from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="the extra 'explore' is not installed")

from hypothesis import given
from hypothesis import strategies as st

from explore.spaces import TEXT, Pure, small, value
from firstspike.explore.page import table
from firstspike.explore.search import front, search

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_an_interrupted_search_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    space = small(tmp_path)
    whole = Pure()
    found = search(space, whole, storage=tmp_path / "a.db", digest="d")
    assert found.trials == 30
    assert len(found.points) + len({*found.refused}) <= 30
    keys = [tuple(point.design.values()) for point in found.points]
    assert len(set(keys)) == len(keys)
    assert all(point.result == value(point.design) for point in found.points)

    seen: list[int] = []
    for most in (3, 5, 1):
        broken = Pure(most)
        with pytest.raises(KeyboardInterrupt):
            search(space, broken, storage=tmp_path / "b.db", digest="d")
        seen += broken.seen
    last = Pure()
    again = search(space, last, storage=tmp_path / "b.db", digest="d")
    assert table(space, again) == table(space, found)
    assert again.trials == 30
    assert again.refused == found.refused

    idle = Pure()
    third = search(space, idle, storage=tmp_path / "b.db", digest="d")
    assert idle.seen == []
    assert third.evaluated == 0
    assert table(space, third) == table(space, found)


def test_a_grid_holds_every_design_once(tmp_path: Path) -> None:
    space = small(tmp_path, TEXT.replace("nsga2", "grid"))
    executor = Pure()
    found = search(space, executor, storage=tmp_path / "g.db", digest="d")
    assert sorted(executor.seen) == list(range(24))
    designs = [point.design for point in found.points]
    assert designs == [design for design in space.grid() if "refused" not in value(design)]
    assert set(found.refused.values()) == {"pes must not be 128 at 100 MHz"}
    assert len(found.refused) == 2


def test_a_storage_of_another_space_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("trials: 30", "trials: 8").replace("nsga2", "random")
    search(small(tmp_path, text), Pure(), storage=tmp_path / "a.db", digest="d")
    with pytest.raises(ValueError, match="must hold the same space, models, images and technology, not others"):
        search(small(tmp_path, text), Pure(), storage=tmp_path / "a.db", digest="other")


def test_a_space_without_a_design_that_works_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("[16, 64, 128]", "[128]").replace("low: 100, high: 250, step: 50", "values: [100]")
    with pytest.raises(ValueError, match="all 4 were refused, one of them because: pes must not be 128 at 100 MHz"):
        search(small(tmp_path, text.replace("30", "4")), Pure(), storage=tmp_path / "a.db", digest="d")


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_front_is_what_no_row_beats(rows: list[tuple[int, int, int]]) -> None:
    def beaten(row: tuple[int, ...]) -> bool:
        return any(other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows)

    assert front(rows) == [not beaten(row) for row in rows]
