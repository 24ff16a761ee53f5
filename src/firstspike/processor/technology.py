"""Energy per event, leakage and area of a technology: a TOML file, every constant with unit, source and bounds."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from firstspike import config
from firstspike.config import ConfigError, Keys
from firstspike.figures import Table, numbers
from firstspike.messages import brief
from firstspike.processor.sram import SramMacro, SramTable
from firstspike.spec.interval import Interval, plain

Kind = TypeVar("Kind")

FORMAT = 1
"""Version of the file layout."""

LOGIC_UNITS = MappingProxyType(
    {
        "pe_operation": "pJ",
        "lane_fetch": "pJ",
        "fire_comparison": "pJ",
        "encoder_byte": "pJ",
        "control_cycle": "pJ",
        "clock_cycle": "pJ",
        "lane_cycle": "pJ",
        "pe_area": "um2",
        "control_area": "um2",
        "leakage": "mW/mm2",
    }
)
"""Constants of the logic and the unit each must have."""

OPTIONAL_UNITS = MappingProxyType(
    {
        "wires": "1",
        "zero_operation": "pJ",
        "product_bit": "1/bit",
        "membrane_bit": "1/bit",
        "product_area": "1/bit",
        "membrane_area": "1/bit",
        "unpack_bit": "pJ/bit",
        "unpacker_area": "um2",
        "behind_memory": "ns",
        "behind_weights": "ns",
    }
)
"""Constants of the logic that a file may leave out, and the unit each must have."""

SWITCH_UNITS = MappingProxyType({"leakage": "%", "area": "%", "wake": "pJ/KiB"})
"""Constants of memories that are switched off and the unit each must have."""

BASELINE_UNITS = MappingProxyType(
    {
        "add_operation": "pJ",
        "multiply_operation": "pJ",
        "table_operation": "pJ",
        "dense_operation": "pJ",
        "dense_area": "um2",
        "minimum": "pJ",
    }
)
"""Constants of the designs to compare with and the unit each must have."""

LINK_UNITS = MappingProxyType({"transfer": "pJ/bit"})
"""Constants of the link between chips and the unit each must have."""

DRAM_UNITS = MappingProxyType(
    {"read": "pJ/bit", "write": "pJ/bit", "activate": "nJ", "page": "bit", "standby": "mW"},
)
"""Constants of a DRAM scenario and the unit each must have."""

SRAM_COLUMNS = ("capacity", "width", "read", "write", "leakage_low", "leakage", "area")
SRAM_UNITS = ("KiB", "bit", "pJ", "pJ", "mW", "mW", "mm2")
"""Columns of the macro table of a file that has low bounds of leakage and no access times."""

CELLS_COLUMNS = ("capacity", "width", "read", "write", "leakage", "area", "access")
CELLS_UNITS = ("KiB", "bit", "pJ", "pJ", "mW", "mm2", "ns")
"""Columns of the macro tables of others."""


class TechnologyError(ConfigError):
    """A technology file breaks a rule; the text names file, key, rule and value."""


@dataclass(frozen=True, kw_only=True)
class Constant(Interval):
    """A figure with its unit and where it comes from."""

    unit: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Logic:
    """Constants of the logic; units in `LOGIC_UNITS`.

    Attributes:
        pe_operation: energy of one product added to one membrane in one lane, flip-flops and their clock included.
        lane_fetch: energy of the row register and the broadcast for it, per lane.
        fire_comparison: energy of one comparison of a membrane with a threshold.
        encoder_byte: energy of one spike time picked from a word, compared in a pooling window or written.
        control_cycle: energy of walker, executor, loader and top per cycle, but their clock pins.
        clock_cycle: energy of their clock pins and gates per cycle.
        lane_cycle: energy per cycle and lane, working or not: closed gates, bias register, what grows with the lanes.
        pe_area: area of logic that each lane adds.
        control_area: area of logic that does not grow with the lanes.
        leakage: leakage power per area of logic.
        wires: what the energy of a lane's gates is multiplied by to have its wires in it (`Technology.wired`); None: the
            constants have them, or nothing is known of them.
        zero_operation: energy of a weight of zero that comes to a lane; None: what `pe_operation` is.
        product_bit, membrane_bit: what a bit of the product, and of the membrane, is of `pe_operation`, between formats
            (`rates.narrowed`); None: nothing. product_area, membrane_area: the same of `pe_area`.
        unpack_bit: energy of a bit of packed weight rows, from the DRAM port to the row's register.
        unpacker_area: area of the unpacker per lane.
        behind_memory: delay of the logic between the data of the activation buffer and the next register.
        behind_weights: the same of a weight bank; None: as `behind_memory`.
    """

    pe_operation: Constant
    lane_fetch: Constant
    fire_comparison: Constant
    encoder_byte: Constant
    control_cycle: Constant
    clock_cycle: Constant
    lane_cycle: Constant
    pe_area: Constant
    control_area: Constant
    leakage: Constant
    wires: Constant | None = None
    zero_operation: Constant | None = None
    product_bit: Constant | None = None
    membrane_bit: Constant | None = None
    product_area: Constant | None = None
    membrane_area: Constant | None = None
    unpack_bit: Constant | None = None
    unpacker_area: Constant | None = None
    behind_memory: Constant | None = None
    behind_weights: Constant | None = None


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Constants of memories that can be switched off; units in `SWITCH_UNITS`.

    Attributes:
        leakage: what one that is off leaks of what it leaks when it is on.
        area: what its switches add to its area.
        wake: energy of switching it on.
    """

    leakage: Constant
    area: Constant
    wake: Constant


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Constants of the designs to compare with (`firstspike.processor.baselines`); units in `BASELINE_UNITS`.

    The operations are gates alone, as `Logic.pe_operation` is, and priced with the same wires (`Technology.wired`).

    Attributes:
        add_operation: energy of adding one weight to one membrane.
        multiply_operation: energy of a product of linear weight and kernel value, added to one membrane.
        table_operation: the same with a kernel value of 16 bits from a layer's own table.
        dense_operation: energy of a product of two 8-bit numbers added to a sum.
        dense_area: area of one such multiplier with its accumulator.
        minimum: energy of finding the smallest of 16 spike times.
    """

    add_operation: Constant
    multiply_operation: Constant
    table_operation: Constant
    dense_operation: Constant
    dense_area: Constant
    minimum: Constant


@dataclass(frozen=True, kw_only=True)
class Link:
    """Constants of the link between two chips (`studies.rivals.multichip`); units in `LINK_UNITS`.

    Attributes:
        transfer: energy of one bit sent and received.
    """

    transfer: Constant


@dataclass(frozen=True, kw_only=True)
class Dram:
    """One scenario of the external memory; units in `DRAM_UNITS`.

    Attributes:
        description: one line for reports.
        read, write: energy per bit.
        activate: energy of opening and closing one page.
        page: bits of a page.
        standby: power for as long as the processor runs.
    """

    description: str
    read: Constant
    write: Constant
    activate: Constant
    page: Constant
    standby: Constant


@dataclass(frozen=True, kw_only=True)
class Technology:
    """All constants of one technology file.

    Attributes:
        name, description: for reports.
        logic: see `Logic`. baseline: see `Baseline`. link: see `Link`.
        sram: the macro table.
        dram: scenarios by name.
        cells: macro tables of one cell family each, by name: dynamic energy, leakage and access time that belong together.
        switches: see `Switches`; None: no memory can be switched off.
    """

    name: str
    description: str
    logic: Logic
    baseline: Baseline
    link: Link
    sram: SramTable
    dram: Mapping[str, Dram]
    cells: Mapping[str, SramTable] = field(default_factory=dict)
    switches: Switches | None = None

    def of_cells(self, name: str) -> "Technology":
        """The technology with memories of one cell family.

        Raises:
            ValueError: the technology has none of that name.
        """
        if name not in self.cells:
            raise ValueError(f"cells must be one of {', '.join(self.cells) or 'none'}, not {brief(name)}")
        return replace(self, sram=self.cells[name])

    def __repr__(self) -> str:
        return (
            f"Technology({brief(self.name)}, {len(self.constants())} constants, {len(self.sram.macros)} SRAM macros, "
            f"DRAM {', '.join(self.dram)})"
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def summary(self) -> Table:
        """Every constant with its bounds, unit and source."""
        records = [
            {"key": key, "unit": one.unit, "low": one.low, "value": one.value, "high": one.high, "source": one.source}
            for key, one in self.constants().items()
        ]
        rows = [
            (key, one.unit, *(numbers.significant(value, 4) for value in (one.low, one.value, one.high)))
            for key, one in self.constants().items()
        ]
        heads = ("constant", "unit", "low", "value", "high")
        return Table(title=repr(self), heads=heads, rows=rows, words=2, records=records)

    def memory(self, name: str) -> Dram:
        """The DRAM scenario of that name.

        Raises:
            ValueError: the technology has none of that name.
        """
        if name not in self.dram:
            raise ValueError(f"dram must be one of {', '.join(self.dram)}, not {brief(name)}")
        return self.dram[name]

    def wired(self, gates: Interval) -> Interval:
        """Energy of a lane with its wires, from that of its gates.

        >>> technology = default()
        >>> gates = Interval(low=1, value=1, high=1)
        >>> technology.wired(gates).value == technology.logic.wires.value > 1
        True
        """
        return plain(gates) if self.logic.wires is None else gates.by(self.logic.wires)

    def constants(self) -> dict[str, Constant]:
        """Every constant but those of the SRAM table, by its key in the file, in order."""
        found = {f"logic.{key}": getattr(self.logic, key) for key in LOGIC_UNITS}
        given = {f"logic.{key}": getattr(self.logic, key) for key in OPTIONAL_UNITS}
        found |= {key: constant for key, constant in given.items() if constant is not None}
        found |= {f"baseline.{key}": getattr(self.baseline, key) for key in BASELINE_UNITS}
        found |= {f"link.{key}": getattr(self.link, key) for key in LINK_UNITS}
        if self.switches is not None:
            found |= {f"switches.{key}": getattr(self.switches, key) for key in SWITCH_UNITS}
        for name, dram in self.dram.items():
            found |= {f"dram.{name}.{key}": getattr(dram, key) for key in DRAM_UNITS}
        return found


def default() -> Technology:
    """The technology that comes with the package: 28 nm.

    >>> technology = default()
    >>> technology.name, technology.logic.pe_operation.unit, sorted(technology.dram)
    ('28nm', 'pJ', ['flat-4pj', 'lpddr3'])
    """
    text = resources.files("firstspike.processor").joinpath("technologies/28nm.toml").read_text(encoding="utf-8")
    return parse(text, "28nm.toml")


def load(path: str | Path) -> Technology:
    """Read and check a technology file.

    Raises:
        TechnologyError: the file breaks a rule; the text names it, the key, the rule and the value.
        OSError: the file cannot be read.
    """
    return parse(config.read_text(path, error=TechnologyError), Path(path).name)


def parse(text: str, name: str) -> Technology:
    """Check the text of a technology file called ``name``.

    Raises:
        TechnologyError: as `load`.
    """
    root = config.parse(text, name, error=TechnologyError)
    root.version(FORMAT)
    scenarios = root.table("dram")
    if not scenarios.names():
        raise root.broken("dram", "must hold at least one scenario, not {}")
    cells = _cells(root)
    technology = Technology(
        name=_name(root, "name", root.take("name", str)),
        description=_text(root, "description"),
        logic=_constants(root.table("logic"), Logic, LOGIC_UNITS, optional=OPTIONAL_UNITS),
        baseline=_constants(root.table("baseline"), Baseline, BASELINE_UNITS),
        link=_constants(root.table("link"), Link, LINK_UNITS),
        sram=_sram(root.table("sram"), cells),
        cells=cells,
        switches=_constants(root.table("switches"), Switches, SWITCH_UNITS) if "switches" in root else None,
        dram=MappingProxyType({_name(scenarios, key, key): _dram(scenarios.table(key)) for key in scenarios.names()}),
    )
    root.close()
    return technology


def _name(table: Keys, key: str, name: str) -> str:
    if not re.fullmatch(r"\w[\w .+-]{0,63}", name):
        raise table.broken(key, f"must be a name of letters, digits, spaces and . + - _, not {brief(name)}")
    return name


def _text(table: Keys, key: str) -> str:
    value: str = table.take(key, str)
    if not value.strip():
        raise table.broken(key, f"must be a text that says something, not {brief(value)}")
    return value


def _constant(table: Keys, key: str, unit: str) -> Constant:
    entry = table.table(key)
    given = _text(entry, "unit")
    if given != unit:
        raise entry.broken("unit", f"must be {unit!r}, not {brief(given)}")
    numbers = {name: entry.take(name, int | float) for name in ("low", "value", "high")}
    source = _text(entry, "source")
    entry.close()
    try:
        constant = Constant(**numbers, unit=unit, source=source)
    except ValueError as error:
        raise table.broken(key, f"breaks its rule: {error}") from None
    if unit == "1" and constant.low < 1:
        raise table.broken(key, f"must be a factor of 1 at least, not {constant.low!r}")
    if unit == "bit":
        for number in numbers.values():
            if number < 1 or number != int(number):
                raise table.broken(key, f"must be a whole number of bits, 1 at least, not {number!r}")
    return constant


def _constants(
    table: Keys, kind: type[Kind], units: Mapping[str, str], *, optional: Mapping[str, str] = MappingProxyType({})
) -> Kind:
    """A dataclass of constants, one for each unit, from a table that holds nothing else."""
    given = {**units, **{key: unit for key, unit in optional.items() if key in table}}
    made = kind(**{key: _constant(table, key, unit) for key, unit in given.items()})
    table.close()
    return made


def _dram(table: Keys) -> Dram:
    dram = Dram(
        description=_text(table, "description"),
        **{key: _constant(table, key, unit) for key, unit in DRAM_UNITS.items()},
    )
    table.close()
    return dram


def _cells(root: Keys) -> Mapping[str, SramTable]:
    if "cells" not in root:
        return MappingProxyType({})
    families = root.table("cells")
    return MappingProxyType({_name(families, name, name): _family(families.table(name)) for name in families.names()})


def _family(table: Keys) -> SramTable:
    """Macros of one cell family."""
    return _table(table, (_FAMILY,))


def _sram(table: Keys, cells: Mapping[str, SramTable]) -> SramTable:
    """The macro table; its low bounds are another's if it names one."""
    name = table.take("low", str) if "low" in table else None
    made = _table(table, (_FAMILY, _BOUNDED))
    if name is None:
        return made
    if name not in cells:
        raise table.broken("low", f"must be one of {', '.join(cells) or 'none'}, not {brief(name)}")
    return replace(made, least=cells[name])


def _table(table: Keys, layouts: tuple["_Layout", ...]) -> SramTable:
    given = table.take("columns")
    layout = next((one for one in layouts if given == list(one.columns)), layouts[0])
    columns, read = layout.columns, layout.read
    if given != list(columns):
        raise table.broken("columns", f"must be {list(columns)!r}, not {brief(given)}")
    units = table.take("units")
    if units != list(layout.units):
        raise table.broken("units", f"must be {list(layout.units)!r}, not {brief(units)}")
    low, high = table.take("low_factor", int | float), table.take("high_factor", int | float)
    if not 0 <= low <= 1 <= high < float("inf"):
        raise table.broken("low_factor", f"must hold 0 <= low_factor <= 1 <= high_factor, not {low!r} and {high!r}")
    rows = table.take("rows")
    if not isinstance(rows, list) or not rows:
        raise table.broken("rows", f"must be a list of rows, not {brief(rows)}")
    macros = tuple(
        read(table, f"rows[{index}]", _row(table, f"rows[{index}]", row, columns), low)
        for index, row in enumerate(rows)
    )
    for macro in macros:
        twins = [m for m in macros if (m.width_bits, m.capacity_kib) == (macro.width_bits, macro.capacity_kib)]
        if len(twins) > 1:
            raise table.broken(
                "rows",
                f"must name each capacity and width once, not {macro.capacity_kib!r} x {macro.width_bits!r} twice",
            )
    sram = SramTable(source=_text(table, "source"), low_factor=low, high_factor=high, macros=macros)
    table.close()
    return sram


def _row(table: Keys, key: str, row: object, columns: tuple[str, ...]) -> list[float]:
    if not isinstance(row, list) or len(row) != len(columns):
        raise table.broken(key, f"must hold the {len(columns)} columns {', '.join(columns)}, not {brief(row)}")
    for column, value in zip(columns, row, strict=True):
        positive = column != "leakage_low" and (column != "leakage" or columns is SRAM_COLUMNS)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise table.broken(f"{key}.{column}", f"must be a number, not {brief(value)}")
        if not (value > 0 if positive else value >= 0) or value == float("inf"):
            raise table.broken(
                f"{key}.{column}", f"must be finite and {'above' if positive else 'at least'} 0, not {brief(value)}"
            )
    if not isinstance(row[1], int):
        raise table.broken(f"{key}.width", f"must be an int, not {row[1]!r}")
    return row


def _macro(table: Keys, key: str, row: list[float], low_factor: float) -> SramMacro:
    if row[4] > row[5]:
        raise table.broken(f"{key}.leakage_low", f"must be at most leakage = {row[5]!r}, not {row[4]!r}")
    capacity, width, read, write, leakage_low, leakage, area = row
    return SramMacro(
        capacity_kib=capacity,
        width_bits=int(width),
        read_pj=read,
        write_pj=write,
        leakage_low_mw=leakage_low,
        leakage_mw=leakage,
        area_mm2=area,
    )


def _family_macro(table: Keys, key: str, row: list[float], low_factor: float) -> SramMacro:
    """Leakage has the bounds of the energies."""
    capacity, width, read, write, leakage, area, access = row
    return SramMacro(
        capacity_kib=capacity,
        width_bits=int(width),
        read_pj=read,
        write_pj=write,
        leakage_low_mw=leakage * low_factor,
        leakage_mw=leakage,
        area_mm2=area,
        access_ns=access,
    )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How the rows of a macro table are read."""

    columns: tuple[str, ...]
    units: tuple[str, ...]
    read: Callable[[Keys, str, list[float], float], SramMacro]


_FAMILY = _Layout(columns=CELLS_COLUMNS, units=CELLS_UNITS, read=_family_macro)
_BOUNDED = _Layout(columns=SRAM_COLUMNS, units=SRAM_UNITS, read=_macro)
