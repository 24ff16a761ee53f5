"""What a process design kit gives: where its files are, its layers in GDS, its rules for metal.

The files stay outside the package. For IHP's kit (Apache-2.0): ``git clone https://github.com/IHP-GmbH/IHP-Open-PDK``.
"""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Metal:
    """Rules of a metal in um and um2: least width, spacing and area; wider spacing beside long, wide wires.

    Attributes:
        width, spacing, area: least ones.
        wide, run, wide_spacing: spacing beside wires wider than ``wide`` that run together for more than ``run``.
    """

    width: float
    spacing: float
    area: float
    wide: float
    run: float
    wide_spacing: float


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Rules of a via in um: its side, spacing, and the metal around it on all and on two opposite sides."""

    size: float
    spacing: float
    below: tuple[float, float]
    above: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A design kit.

    Attributes:
        name: as it is spelled on the command line.
        root: folder of the kit.
        technology, cells, gds, liberty, extraction, rules: its files.
        metals: routing layers from the bottom up: GDS layer of each.
        cuts: via layers: GDS layer, the metals below and above.
        texts: GDS datatype of pin names on a metal's layer.
        outline: GDS layer and datatype of the die's outline.
        signals: how many metals from the bottom signals use.
        landings: the LEF's vias from a pin, the preferred one first; long across the pins' metal above.
        vias: the LEF's vias above each metal that signals use, from the second up; wide.
        supplies: names of power and ground in the cells.
        fills: filler cells, the widest first.
    """

    name: str
    root: Path
    technology: Path
    cells: Path
    gds: Path
    liberty: Path
    extraction: Path
    rules: Path
    metals: dict[str, int]
    cuts: dict[str, tuple[int, str, str]]
    texts: int
    outline: tuple[int, int]
    signals: int
    landings: tuple[str, ...]
    vias: tuple[str, ...]
    supplies: tuple[str, str]
    fills: tuple[str, ...]

    def missing(self) -> tuple[Path, ...]:
        """Files that are not there."""
        files = (self.technology, self.cells, self.gds, self.liberty, self.extraction, self.rules)
        return tuple(path for path in files if not path.is_file())

    def metal_rules(self) -> dict[str, Metal]:
        """The kit's own rules by metal."""
        rules = self._rules()
        found = {}
        for name in self.metals:
            key = "M1" if name == "Metal1" else "Mn" if name.startswith("Metal") else "TM1"
            width, spacing = rules[f"{key}_a"], rules[f"{key}_b"]
            found[name] = Metal(
                width=width,
                spacing=spacing,
                area=rules.get(f"{key}_d", 0.0) if key != "TM1" else 0.0,
                wide=rules.get(f"{key}_e_w", 0.0),
                run=rules.get(f"{key}_e_cr", 0.0),
                wide_spacing=rules.get(f"{key}_e", spacing),
            )
        return found

    def cut_rules(self) -> dict[str, Cut]:
        """The kit's own rules by via."""
        rules = self._rules()
        found = {}
        for name in self.cuts:
            if name == "TopVia1":
                metal = (rules["TV1_c"], rules["TV1_c"]), (rules["TV1_d"], rules["TV1_d"])
                key = "TV1"
            else:
                key = "V1" if name == "Via1" else "Vn"
                upper = (rules["Vn_c"], rules["Vn_c1"])
                metal = (rules[f"{key}_c"], rules[f"{key}_c1"]), upper
            found[name] = Cut(size=rules[f"{key}_a"], spacing=rules[f"{key}_b"], below=metal[0], above=metal[1])
        return found

    def _rules(self) -> dict[str, float]:
        document = json.loads(self.rules.read_text(encoding="utf-8"))
        rules = document["drc_rules"].items()
        return {key: float(value) for key, value in rules if isinstance(value, int | float)}


def ihp_sg13g2(root: Path) -> Kit:
    """IHP's 130 nm kit in ``root``, the folder of its checkout.

    Raises:
        FileNotFoundError: files are missing; the text names the folder and how to get it.
    """
    library = root / "ihp-sg13g2" / "libs.ref" / "sg13g2_stdcell"
    tools = root / "ihp-sg13g2" / "libs.tech"
    kit = Kit(
        name="sg13g2",
        root=root,
        technology=library / "lef" / "sg13g2_tech.lef",
        cells=library / "lef" / "sg13g2_stdcell.lef",
        gds=library / "gds" / "sg13g2_stdcell.gds",
        liberty=library / "lib" / "sg13g2_stdcell_typ_1p20V_25C.lib",
        extraction=tools / "librelane" / "openrcx" / "IHP_rcx_patterns.rules",
        rules=tools / "klayout" / "tech" / "drc" / "rule_decks" / "sg13g2_tech_default.json",
        metals={"Metal1": 8, "Metal2": 10, "Metal3": 30, "Metal4": 50, "Metal5": 67, "TopMetal1": 126},
        cuts={
            "Via1": (19, "Metal1", "Metal2"),
            "Via2": (29, "Metal2", "Metal3"),
            "Via3": (49, "Metal3", "Metal4"),
            "Via4": (66, "Metal4", "Metal5"),
            "TopVia1": (125, "Metal5", "TopMetal1"),
        },
        texts=25,
        outline=(189, 0),
        signals=5,
        landings=("Via1_XY", "Via1_YY"),
        vias=("Via2_XX", "Via3_XX", "Via4_XX"),
        supplies=("VDD", "VSS"),
        fills=("sg13g2_fill_8", "sg13g2_fill_4", "sg13g2_fill_2", "sg13g2_fill_1"),
    )
    missing = kit.missing()
    if missing:
        names = ", ".join(path.name for path in missing)
        raise FileNotFoundError(
            f"{root} must hold IHP's open PDK, but {names} is missing: "
            "git clone https://github.com/IHP-GmbH/IHP-Open-PDK"
        )
    return kit
