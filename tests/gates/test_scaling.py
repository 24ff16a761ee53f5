"""Scaling between nodes: the paper's other table rows, published figures, identities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike.gates.scaling import NODES, node_of, scaling


@pytest.mark.parametrize(
    ("start", "end", "factor"),
    # other rows of the paper's area table, which the code does not hold; two digits there
    [(130, 90, 0.44), (130, 65, 0.23), (130, 45, 0.16), (130, 32, 0.072), (130, 7, 0.0092), (90, 45, 0.35)]
    + [(65, 20, 0.14), (32, 20, 0.46), (32, 7, 0.13), (20, 14, 0.82), (16, 7, 0.31), (10, 7, 0.58), (7, 45, 17)],
)
def test_area_rows(start: float, end: float, factor: float) -> None:
    """Ratios of the row of 45 nm agree with the paper's other rows to its rounding (130 nm: 5 %)."""
    assert scaling(start, 1.0, to_nm=end, to_voltage=0.9).area == pytest.approx(factor, rel=0.06)


def test_published_points() -> None:
    """28 nm from both sides, computed by hand from the coefficients at 32 and 20 nm."""
    from_45, from_7 = scaling(45, 1.1), scaling(7, 0.7)
    assert from_45.energy == pytest.approx(0.35, rel=0.02)
    assert from_7.energy == pytest.approx(7.6, rel=0.01)
    assert from_45.area == pytest.approx(0.37, rel=0.01)
    assert from_7.area == pytest.approx(6.3, rel=0.02)
    at_32 = 0.8367 * 0.81 - 0.4341 * 0.9 + 0.1701
    at_20 = 0.373 * 0.81 - 0.1582 * 0.9 + 0.04104
    at_130 = 7.171 * 1.44 - 6.709 * 1.2 + 2.904
    assert at_20 / at_130 < scaling(130, 1.2).energy < at_32 / at_130


@given(st.sampled_from(NODES), st.floats(7, 130), st.floats(0.75, 0.95))
def test_identity_and_inverse(start: float, end: float, voltage: float) -> None:
    """To itself 1; there and back 1."""
    there = scaling(start, 0.9, to_nm=end, to_voltage=voltage)
    back = scaling(end, voltage, to_nm=start, to_voltage=0.9)
    for name in ("area", "delay", "energy"):
        assert getattr(there, name) * getattr(back, name) == pytest.approx(1)
        assert getattr(scaling(end, voltage, to_nm=end, to_voltage=voltage), name) == pytest.approx(1)


def test_errors_and_names() -> None:
    """Nodes outside the paper and voltages outside the fit are refused; libraries are known by name."""
    with pytest.raises(ValueError, match=r"node_nm must be in 7\.\.130 nm, not 5"):
        scaling(5, 0.7)
    with pytest.raises(ValueError, match=r"to_nm must be in 7\.\.130 nm, not 180"):
        scaling(45, 1.1, to_nm=180)
    with pytest.raises(ValueError, match="voltage must be inside the fit of 45 nm, not 2"):
        scaling(45, 2.0)
    assert (node_of("asap7sc7p5t_AO"), node_of("sg13g2_typ"), node_of("NangateOpenCellLibrary")) == (7, 130, 45)
    assert node_of("tiny") is None
