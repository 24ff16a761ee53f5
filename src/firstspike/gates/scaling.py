"""Area, delay and energy between technology nodes: Stillmaker and Baas, Integration 58 (2017), 74-81.

The paper fits SPICE results of predictive models from 180 to 7 nm: area factors (its table of areas), delay of a
fan-out-of-4 inverter ``a3 V^3 + a2 V^2 + a1 V + a0`` and its energy ``b2 V^2 + b1 V + b0``, both relative, high-performance
devices where the paper has two kinds. doi:10.1016/j.vlsi.2017.02.002. It has no 28 nm column: 28 nm is interpolated in
log space between 32 and 20 nm (ours). The coefficients were compared with two public programs that carry them (nodeScale
of UCLA NanoCAD, MIT; the scaling tables of CiMLoop).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

NODE_NM = 28.0
"""The node that results are quoted at."""

NODE_VOLTAGE = 0.9
"""Its supply in V."""

AREA = {130: 6.4, 90: 2.8, 65: 1.5, 45: 1.0, 32: 0.46, 20: 0.21, 16: 0.19, 14: 0.17, 10: 0.10, 7: 0.059}
"""Area relative to 45 nm."""

DELAY = {
    130: (-76.65, 334.9, -493.4, 275.8),
    90: (-60.34, 262.5, -384.2, 210.9),
    65: (-53.3, 230.4, -333.9, 178.6),
    45: (-501.6, 1567.0, -1619.0, 566.1),
    32: (-1047.0, 2982.0, -2797.0, 873.5),
    20: (0.0, 34.63, -66.37, 41.15),
    16: (0.0, 24.8, -47.52, 28.87),
    14: (-40.66, 109.2, -100.6, 35.92),
    10: (-34.95, 93.65, -85.99, 30.4),
    7: (-28.58, 76.6, -70.26, 24.69),
}
"""``a3, a2, a1, a0``."""

ENERGY = {
    130: (7.171, -6.709, 2.904),
    90: (4.762, -4.781, 2.092),
    65: (3.755, -4.398, 1.975),
    45: (1.018, -0.3107, 0.1539),
    32: (0.8367, -0.4341, 0.1701),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
"""``b2, b1, b0``."""

NODES = tuple(sorted(AREA, reverse=True))


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Factors from one node and voltage to another: multiply area, delay and energy by them."""

    area: float
    delay: float
    energy: float


def scaling(node_nm: float, voltage: float, *, to_nm: float = NODE_NM, to_voltage: float = NODE_VOLTAGE) -> Scaling:
    """Factors from ``node_nm`` at ``voltage`` to ``to_nm`` at ``to_voltage``.

    Raises:
        ValueError: a node is outside 7..130 nm, or a voltage is outside the fit (its delay or energy is not positive).

    >>> s = scaling(7, 0.7)
    >>> round(s.area, 2), round(s.energy, 2), round(s.delay, 2)
    (6.24, 7.57, 2.67)
    """
    for subject, node in (("node_nm", node_nm), ("to_nm", to_nm)):
        if not NODES[-1] <= node <= NODES[0]:
            raise ValueError(f"{subject} must be in {NODES[-1]}..{NODES[0]} nm, not {node!r}")
    return Scaling(
        area=_between(AREA, to_nm) / _between(AREA, node_nm),
        delay=_fit(DELAY, to_nm, to_voltage) / _fit(DELAY, node_nm, voltage),
        energy=_fit(ENERGY, to_nm, to_voltage) / _fit(ENERGY, node_nm, voltage),
    )


def node_of(library: str) -> float | None:
    """Node of a library known by its file name, in nm; None for an unknown one.

    >>> node_of("asap7sc7p5t_SEQ_RVT_TT"), node_of("sg13g2_typ_1p20V_25C"), node_of("mine")
    (7.0, 130.0, None)
    """
    known = {"asap7": 7.0, "sg13g2": 130.0, "sky130": 130.0, "nangate": 45.0, "freepdk45": 45.0, "gscl45": 45.0}
    return next((node for prefix, node in known.items() if library.lower().startswith(prefix)), None)


def _fit(table: Mapping[int, tuple[float, ...]], node: float, voltage: float) -> float:
    values: dict[int, float] = {}
    for at in _neighbours(node):
        value = 0.0
        for coefficient in table[at]:
            value = value * voltage + coefficient
        if value <= 0:
            raise ValueError(f"voltage must be inside the fit of {at} nm, not {voltage!r}")
        values[at] = value
    return _between(values, node)


def _neighbours(node: float) -> tuple[int, int]:
    return min(n for n in NODES if n >= node), max(n for n in NODES if n <= node)


def _between(values: Mapping[int, float], node: float) -> float:
    """Linear in the logarithms of node and value."""
    above, below = _neighbours(node)
    if above == below:
        return values[above]
    weight = math.log(above / node) / math.log(above / below)
    return math.exp((1 - weight) * math.log(values[above]) + weight * math.log(values[below]))
