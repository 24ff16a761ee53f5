"""A process for the tests: cells of tests/gates/tiny.lib with bare pins, tracks and rules like a 130 nm process."""

import json
from pathlib import Path

from firstspike.gates.layout.pdk import Kit

HEIGHT, SITE = 3.78, 0.48
WIDTHS = {"INV": 3, "NAND2": 4, "BUF": 4, "DFF": 10, "FILL1": 1, "FILL2": 2}
PINS = {
    "INV": {"A": 1, "Y": 2},
    "BUF": {"A": 1, "Y": 3},
    "NAND2": {"A": 1, "B": 2, "Y": 3},
    "DFF": {"CK": 2, "D": 4, "Q": 8},
    "FILL1": {},
    "FILL2": {},
}
"""Column of each pin: a bar of 0.3 um around the track, from 1.2 to 2.6 um."""

METALS = {"Metal1": 8, "Metal2": 10, "Metal3": 30, "Metal4": 50, "TopMetal1": 126}
CUTS = {
    "Via1": (19, "Metal1", "Metal2"),
    "Via2": (29, "Metal2", "Metal3"),
    "Via3": (49, "Metal3", "Metal4"),
    "TopVia1": (125, "Metal4", "TopMetal1"),
}
RULES = {
    "M1_a": 0.16,
    "M1_b": 0.18,
    "M1_d": 0.09,
    "Mn_a": 0.2,
    "Mn_b": 0.21,
    "Mn_d": 0.144,
    "M1_e": 0.22,
    "M1_e_w": 0.3,
    "M1_e_cr": 1.0,
    "Mn_e": 0.24,
    "Mn_e_w": 0.39,
    "Mn_e_cr": 1.0,
    "V1_a": 0.19,
    "V1_b": 0.22,
    "V1_c": 0.01,
    "V1_c1": 0.05,
    "Vn_a": 0.19,
    "Vn_b": 0.22,
    "Vn_c": 0.005,
    "Vn_c1": 0.05,
    "TV1_a": 0.42,
    "TV1_b": 0.42,
    "TV1_c": 0.1,
    "TV1_d": 0.42,
    "TM1_a": 1.64,
    "TM1_b": 1.64,
    "none": "No value",
}
SIDES = ((0.21, 0.10, 0.02), (0.42, 0.0, 0.08), (2.52, 0.0, 0.04))
"""Distance in um, coupling and fringe of a side in fF a um."""


def write(folder: Path) -> Kit:
    """The kit's files in a folder."""
    (folder / "tech.lef").write_text(_technology())
    (folder / "cells.lef").write_text(_cells())
    (folder / "rules.json").write_text(json.dumps({"drc_rules": RULES}))
    (folder / "wires.rules").write_text(_extraction())
    _gds(folder / "cells.gds")
    return Kit(
        name="tiny",
        root=folder,
        technology=folder / "tech.lef",
        cells=folder / "cells.lef",
        gds=folder / "cells.gds",
        liberty=Path(__file__).parents[1] / "tiny.lib",
        extraction=folder / "wires.rules",
        rules=folder / "rules.json",
        metals=METALS,
        cuts=CUTS,
        texts=25,
        outline=(189, 0),
        signals=4,
        landings=("Via1_XY", "Via1_YY"),
        vias=("Via2_XX", "Via3_XX"),
        supplies=("VDD", "VSS"),
        fills=("FILL2", "FILL1"),
    )


def _technology() -> str:
    lines = []
    for number, name in enumerate(list(METALS)[:4]):
        lying = number % 2 == 0
        lines += [
            f"LAYER {name}",
            "  TYPE ROUTING ;",
            f"  DIRECTION {'HORIZONTAL' if lying else 'VERTICAL'} ;",
            f"  PITCH {0.42 if lying else 0.48} ;",
            f"  WIDTH {0.16 if number == 0 else 0.2} ;",
            "  SPACINGTABLE PARALLELRUNLENGTH 0.0 1.0 WIDTH 0.0 0.21 0.21 WIDTH 0.39 0.21 0.24 ;",
            "  AREA 0.144 ;",
            "  RESISTANCE RPERSQ 0.1 ;",
            "  CAPACITANCE CPERSQDIST 2.0E-05 ;",
            "  EDGECAPACITANCE 4.0E-05 ;",
            f"END {name}",
        ]
    flat, tall = "0.145 0.1", "0.1 0.145"
    for via, below, cut, above, shapes in (
        ("Via1_XY", "Metal1", "Via1", "Metal2", ("0.145 0.105", tall)),
        ("Via1_YY", "Metal1", "Via1", "Metal2", ("0.105 0.145", tall)),
        ("Via2_XX", "Metal2", "Via2", "Metal3", (flat, flat)),
        ("Via3_XX", "Metal3", "Via3", "Metal4", (flat, flat)),
    ):
        lines += [f"Via {via} DEFAULT", "  RESISTANCE 20 ;"]
        for layer, half in ((below, shapes[0]), (cut, "0.095 0.095"), (above, shapes[1])):
            x, y = half.split()
            lines += [f"  LAYER {layer} ;", f"    RECT -{x} -{y} {x} {y} ;"]
        lines.append(f"END {via}")
    return "\n".join([*lines, "END LIBRARY", ""])


def rects(name: str) -> dict[str, list[tuple[float, float, float, float]]]:
    """Metal1 of a cell by pin."""
    width = WIDTHS[name] * SITE
    bars = {pin: [(column * SITE - 0.15, 1.2, column * SITE + 0.15, 2.6)] for pin, column in PINS[name].items()}
    return bars | {"VDD": [(0.0, 3.56, width, 4.0)], "VSS": [(0.0, -0.22, width, 0.22)]}


def _cells() -> str:
    lines = []
    for name, sites in WIDTHS.items():
        lines += [f"MACRO {name}", "  CLASS CORE ;", f"  SIZE {sites * SITE:.2f} BY {HEIGHT} ;"]
        for pin, shapes in rects(name).items():
            use = {"VDD": "POWER", "VSS": "GROUND"}.get(pin, "SIGNAL")
            lines += [f"  PIN {pin}", f"    USE {use} ;", "    PORT", "      LAYER Metal1 ;"]
            lines += [f"        RECT {' '.join(f'{v:.3f}' for v in rect)} ;" for rect in shapes]
            lines += ["    END", f"  END {pin}"]
        lines.append(f"END {name}")
    return "\n".join([*lines, "END LIBRARY", ""])


def _extraction() -> str:
    lines = []
    for number in range(1, 5):
        lines += [f"Metal {number} OVER 0", f"DIST count {len(SIDES)} width 0.2"]
        lines += [f"{at} {c * 1e-3} {f * 1e-3} 0.0001" for at, c, f in SIDES]
        lines += ["END DIST", ""]
    return "\n".join(lines)


def _gds(path: Path) -> None:
    import klayout.db as db

    layout = db.Layout()
    layout.dbu = 0.001
    for name, sites in WIDTHS.items():
        cell = layout.create_cell(name)
        outline = db.Box(0, 0, round(sites * SITE * 1000), round(HEIGHT * 1000))
        cell.shapes(layout.layer(189, 4)).insert(outline)
        for shapes in rects(name).values():
            for rect in shapes:
                cell.shapes(layout.layer(8, 0)).insert(db.Box(*(round(v * 1000) for v in rect)))
    layout.write(str(path))
