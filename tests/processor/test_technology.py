"""Technology file: every constant has unit, source and bounds; a broken rule is named with its key and value."""

import copy
import json
import math
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from firstspike.processor import technology
from firstspike.processor.sram import SramMacro, SramTable
from firstspike.spec.interval import Interval, total
from studies import technology_constants

TEXT = resources.files("firstspike.processor").joinpath("technologies/28nm.toml").read_text(encoding="utf-8")


def dump(value: dict, path: str = "") -> str:
    """A small TOML writer, enough for these files."""
    lines = [f"{key} = {literal(entry)}" for key, entry in value.items() if not isinstance(entry, dict)]
    for key, entry in value.items():
        if isinstance(entry, dict):
            lines += [f"[{path}{key}]", dump(entry, f"{path}{key}.")]
    return "\n".join(lines)


def literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace('"', "'") + '"'
    if isinstance(value, list):
        return "[" + ", ".join(literal(entry) for entry in value) + "]"
    return repr(value)


@pytest.fixture
def document() -> dict:
    return copy.deepcopy(tomllib.loads(TEXT))


def test_default_constants_carry_unit_source_and_bounds() -> None:
    constants = technology.default().constants()
    units = (technology.LOGIC_UNITS, technology.BASELINE_UNITS, technology.LINK_UNITS)
    units += (technology.DRAM_UNITS, technology.DRAM_UNITS, technology.OPTIONAL_UNITS, technology.SWITCH_UNITS)
    assert len(constants) == sum(map(len, units))
    for key, constant in constants.items():
        assert constant.low <= constant.value <= constant.high, key
        assert constant.source.strip(), key
        assert constant.unit, key
    assert constants["dram.flat-4pj.read"].value == 4.0
    assert constants["dram.lpddr3.standby"].value == 58


def test_measured_constants_follow_from_their_records() -> None:
    """What studies/technology_constants.py works out of the gate-level records stands in the file."""
    measured = technology_constants.constants()
    held = technology.default().constants()
    assert {key for key in held if key.startswith("logic.")} <= set(measured) | {
        "logic.behind_memory",
        "logic.behind_weights",
    }
    for key, figure in measured.items():
        assert (held[key].low, held[key].value, held[key].high) == (figure.low, figure.value, figure.high), key


def test_constants_give_the_measured_energy_back() -> None:
    """Events of the measured cycles times the constants: the energy of all logic of 128 elements, where it was measured."""
    folder = Path(__file__).resolve().parents[2] / "studies" / "records"
    logic = technology.default().logic
    for node, bound, factor in ((130, "low", 0.06986), (7, "high", 7.568)):
        record = json.loads((folder / f"processor-128-{node}.json").read_text())
        if (power := record.get("power")) is None:
            assert node != 130
            continue
        reads = {memory["name"].split(".")[0]: memory["reads"] for memory in power["memories"] if memory["reads"]}
        written = 8 * sum(memory["writes"] for memory in power["memories"] if memory["name"].startswith("activations"))
        cycles, rows, steps = power["cycles"], reads["weights"], reads["fire"]
        price = {name: getattr(constant, bound) for name, constant in vars(logic).items() if constant}
        energy = (
            rows * 128 * (price["pe_operation"] + price["lane_fetch"])
            + steps * 128 * price["fire_comparison"]
            + (rows + written) * price["encoder_byte"]
            + cycles * (price["control_cycle"] + price["clock_cycle"] + 128 * price["lane_cycle"])
        )
        total = power["logic_fj_per_cycle"]
        key = "total" if node == 130 else bound
        assert energy == pytest.approx((total[key] - total["leakage"]) * cycles * factor * 1e-3, rel=0.03), node


def test_minimum_follows_from_its_stated_source() -> None:
    """The scaling factor and the comparisons named in the source, worked out again from the published polynomials."""

    def energy(b2: float, b1: float, b0: float, volt: float) -> float:
        return b2 * volt**2 + b1 * volt + b0

    share = math.log(32 / 28) / math.log(32 / 20)
    at_28 = energy(0.8367, -0.4341, 0.1701, 0.9) ** (1 - share) * energy(0.373, -0.1582, 0.04104, 0.9) ** share
    from_45 = at_28 / energy(1.018, -0.3107, 0.1539, 0.9)
    minimum = technology.default().baseline.minimum
    assert minimum.value == pytest.approx(15 * 0.03 * from_45, rel=0.02)
    assert minimum.high == pytest.approx(15 * 0.1 * from_45, rel=0.02)


def test_file_on_disk_equals_the_default(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert technology.load(path) == technology.default()


def test_dump_of_these_tests_keeps_every_number(document) -> None:
    assert technology.parse(dump(document), "x.toml") == technology.default()


def _set(document: dict, path: str, value: object) -> None:
    *parents, key = path.split("/")
    for parent in parents:
        document = document[int(parent)] if isinstance(document, list) else document[parent]
    if value is None:
        del document[key]
    elif isinstance(document, list):
        document[int(key)] = value
    else:
        document[key] = value


BAD = [
    ("format", 2, r"x\.toml: format must be 1, not 2"),
    ("format", None, r"x\.toml: format is missing"),
    ("name", "", r"x\.toml: name must be a name of letters, digits, spaces and .*, not ''"),
    ("speed", 3, r"x\.toml: speed is not a known key \(value 3\)"),
    ("logic/pe_operation/unit", "nJ", r"logic\.pe_operation\.unit must be 'pJ', not 'nJ'"),
    ("logic/pe_operation/unit", None, r"logic\.pe_operation\.unit is missing"),
    ("logic/pe_operation/source", None, r"logic\.pe_operation\.source is missing"),
    (
        "logic/pe_operation/value",
        -1.0,
        r"pe_operation breaks its rule: value must be finite and not negative, not -1\.0",
    ),
    (
        "logic/pe_operation/low",
        0.6,
        r"breaks its rule: low <= value <= high must hold, not 0\.6 <= 0\.563 <= 1\.18",
    ),
    ("logic/pe_operation/high", 0.01, r"low <= value <= high must hold, not [0-9.]+ <= [0-9.]+ <= 0\.01"),
    ("logic/pe_operation/value", "0.5", r"logic\.pe_operation\.value must be a number, not '0\.5'"),
    ("logic/pe_operation/value", True, r"logic\.pe_operation\.value must be a number, not True"),
    ("logic/pe_operation/note", "x", r"logic\.pe_operation\.note is not a known key \(value 'x'\)"),
    ("logic/pe_operation", 0.5, r"logic\.pe_operation must be a table, not 0\.5"),
    ("logic/wires/low", 0.9, r"logic\.wires must be a factor of 1 at least, not 0\.9"),
    ("logic/turbo", {}, r"logic\.turbo is not a known key"),
    ("logic/leakage", None, r"logic\.leakage is missing"),
    ("dram/flat-4pj/read/unit", "pJ", r"dram\.flat-4pj\.read\.unit must be 'pJ/bit', not 'pJ'"),
    ("dram/lpddr3/page/low", 0, r"dram\.lpddr3\.page must be a whole number of bits, 1 at least, not 0"),
    ("dram/lpddr3/page/low", 1.5, r"dram\.lpddr3\.page must be a whole number of bits, 1 at least, not 1\.5"),
    ("dram/lpddr3/refresh", 1, r"dram\.lpddr3\.refresh is not a known key \(value 1\)"),
    ("dram", {}, r"dram must hold at least one scenario, not \{\}"),
    ("sram/units", ["KiB"], r"sram\.units must be .*, not \['KiB'\]"),
    ("sram/low_factor", 1.5, r"sram\.low_factor must hold 0 <= low_factor <= 1 <= high_factor, not 1\.5 and 2\.0"),
    ("sram/rows", [], r"sram\.rows must be a list of rows, not \[\]"),
    ("sram/rows/0", [2, 32], r"sram\.rows\[0\] must hold the 7 columns .*, not \[2, 32\]"),
    ("sram/rows/1/2", -0.7, r"sram\.rows\[1\]\.read must be finite and above 0, not -0\.7"),
    ("sram/rows/1/6", 0, r"sram\.rows\[1\]\.access must be finite and above 0, not 0"),
    ("sram/low", "none", r"sram\.low must be one of lstp, lstp-hp, lop, hp, not 'none'"),
    ("sram/columns", ["capacity"], r"sram\.columns must be .*'access'\], not \['capacity'\]"),
    ("sram/rows/1/1", 32.0, r"sram\.rows\[1\]\.width must be an int, not 32\.0"),
    ("sram/rows/1/0", 2, r"sram\.rows must name each capacity and width once, not 2 x 32 twice"),
]


@pytest.mark.parametrize(("path", "value", "text"), BAD, ids=[f"{path}={value!r}" for path, value, _ in BAD])
def test_broken_rule_is_named(document, path, value, text) -> None:
    _set(document, path, value)
    with pytest.raises(technology.TechnologyError, match=text):
        technology.parse(dump(document), "x.toml")


def test_a_table_with_low_bounds_of_leakage_of_its_own_can_be_read(document) -> None:
    """As files had it before access times: the same values; the low bound of leakage is the row's."""
    sram = document["sram"]
    del sram["low"]
    sram["columns"], sram["units"] = list(technology.SRAM_COLUMNS), list(technology.SRAM_UNITS)
    sram["rows"] = [[*row[:4], 0.01, *row[4:6]] for row in sram["rows"]]
    old = technology.parse(dump(document), "x.toml").sram.buffer(capacity_kib=32, width_bits=64)
    new = technology.default().sram.buffer(capacity_kib=32, width_bits=64)
    assert old.access_ns is None
    assert old.leakage_mw == Interval(low=0.01, value=new.leakage_mw.value, high=new.leakage_mw.high)
    assert (old.read_pj.value, old.read_pj.low) == (new.read_pj.value, 0.5 * new.read_pj.value)
    sram["rows"][1][4] = 9.0
    with pytest.raises(
        technology.TechnologyError, match=r"sram\.rows\[1\]\.leakage_low must be at most leakage = 0\.122, not 9\.0"
    ):
        technology.parse(dump(document), "x.toml")


@pytest.mark.parametrize(("kib", "width"), [(2, 128), (23, 640), (128, 64), (256, 4096)])
def test_low_bounds_are_one_consistent_set(kib: float, width: int) -> None:
    """Energy, leakage and area at their low bounds are those of low-leakage cells at theirs."""
    whole = technology.default()
    ours, least = (table.buffer(capacity_kib=kib, width_bits=width) for table in (whole.sram, whole.cells["lstp"]))
    for name in ("read_pj", "write_pj", "leakage_mw"):
        assert getattr(ours, name).low == getattr(least, name).low < getattr(ours, name).value
    assert ours.area_mm2.low == min(least.area_mm2.low, ours.area_mm2.value)


def test_no_toml_no_text_no_file(tmp_path) -> None:
    with pytest.raises(technology.TechnologyError, match=r"x\.toml: must be TOML, not this: "):
        technology.parse("format 1", "x.toml")
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(technology.TechnologyError, match=r"bytes\.toml: must be UTF-8 text, not b'\\xff'"):
        technology.load(path)
    with pytest.raises(FileNotFoundError):
        technology.load(tmp_path / "none.toml")


def test_nan_and_infinity_are_refused(document) -> None:
    for literal_value in ("nan", "inf"):
        text = TEXT.replace(f"value = {technology.default().logic.pe_area.value:g}", f"value = {literal_value}")
        assert text != TEXT
        with pytest.raises(technology.TechnologyError, match=r"logic\.pe_area breaks its rule: .* must be finite"):
            technology.parse(text, "x.toml")


def test_unknown_dram_scenario() -> None:
    with pytest.raises(ValueError, match=r"dram must be one of flat-4pj, lpddr3, not 'hbm'"):
        technology.default().memory("hbm")


def test_interval_arithmetic() -> None:
    a, b = Interval(low=1, value=2, high=4), Interval(low=0.5, value=1, high=3)
    assert a.by(b) == Interval(low=0.5, value=2, high=12)
    assert total([a, b, b]) == Interval(low=2, value=4, high=10)
    assert total([]) == Interval(low=0, value=0, high=0)
    with pytest.raises(TypeError, match="low must be a number, not None"):
        Interval(low=None, value=1, high=2)  # type: ignore[arg-type]


def sram(*rows: tuple) -> SramTable:
    names = ("capacity_kib", "width_bits", "read_pj", "write_pj", "leakage_low_mw", "leakage_mw", "area_mm2")
    macros = tuple(SramMacro(**dict(zip(names, row, strict=True))) for row in rows)
    return SramTable(source="test", low_factor=0.5, high_factor=2, macros=macros)


MEMORY = sram(
    (4, 32, 1, 2, 0, 0.1, 0.01),
    (16, 32, 4, 8, 0, 0.4, 0.04),
    (4, 64, 3, 5, 0, 0.2, 0.02),
    (16, 64, 6, 20, 0.1, 0.8, 0.08),
)


def test_tabulated_macro_is_taken_as_it_is() -> None:
    buffer = MEMORY.buffer(capacity_kib=16, width_bits=64)
    assert buffer.read_pj == Interval(low=3, value=6, high=12)
    assert buffer.write_pj == Interval(low=10, value=20, high=40)
    assert buffer.leakage_mw == Interval(low=0.1, value=0.8, high=1.6)


def test_macros_side_by_side_stacked_and_between() -> None:
    assert MEMORY.buffer(capacity_kib=16, width_bits=32).read_pj.value == 4  # the narrowest that is wide enough
    assert MEMORY.buffer(capacity_kib=64, width_bits=256).read_pj.value == 4 * 6  # four side by side, 16 KiB each
    assert MEMORY.buffer(capacity_kib=64, width_bits=256).area_mm2.value == pytest.approx(4 * 0.08)
    deep = MEMORY.buffer(capacity_kib=32, width_bits=64)  # two stacked, one accessed
    assert deep.read_pj.value == 6
    assert deep.leakage_mw.value == pytest.approx(2 * 0.8)
    assert MEMORY.buffer(capacity_kib=8, width_bits=32).read_pj.value == pytest.approx(2)  # geometric middle of 1 and 4
    assert MEMORY.buffer(capacity_kib=1, width_bits=32).read_pj.value == 1  # nothing smaller is known
    # an 8-bit word in a 32-bit macro leaves three quarters unused: 4 KiB of words need 16 KiB
    assert MEMORY.buffer(capacity_kib=4, width_bits=8).read_pj.value == 4


@pytest.mark.parametrize("width", [32, 64, 128, 640])
def test_more_memory_never_costs_less(width: int) -> None:
    """Also beyond the largest macro, where macros are stacked: an explorer would pick the dip."""
    memory = technology.default().sram
    buffers = [memory.buffer(capacity_kib=kib, width_bits=width) for kib in range(1, 700)]
    for name in ("read_pj", "write_pj", "leakage_mw", "area_mm2"):
        values = [getattr(buffer, name).value for buffer in buffers]
        assert values == sorted(values), name


def test_wide_words_cost_five_banks_at_28_nm() -> None:
    """640-bit rows: five 128-bit banks, as CACTI's own 640-bit macro comes out badly."""
    buffer = technology.default().sram.buffer(capacity_kib=40, width_bits=640)
    assert buffer.read_pj.value == pytest.approx(5 * 1.923)
    assert buffer.write_pj.value == pytest.approx(5 * 7.585)


def test_buffer_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a buffer needs a positive capacity and width, not 0 KiB, 32 bits"):
        MEMORY.buffer(capacity_kib=0, width_bits=32)
