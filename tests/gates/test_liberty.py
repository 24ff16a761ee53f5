"""Liberty: every value of a small library by hand, Boolean expressions against an evaluator of their own."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike.gates import boolean
from firstspike.gates.liberty import LibertyError, Library, LookupTable

TINY = Path(__file__).with_name("tiny.lib")
Tree = tuple


@pytest.fixture(scope="module")
def tiny() -> Library:
    return Library([TINY])


def test_library(tiny: Library) -> None:
    """Units, names, the reference gate, the clock gate although its file says not to use it."""
    assert tiny.voltage == 1.0
    assert tiny.time_unit_ns == pytest.approx(1e-3)
    assert tiny.names() == ("INV", "BUF", "NAND2", "NOR2", "DFF", "GATE")
    assert (tiny.nand2.name, tiny.nand2.area) == ("NAND2", 2.0)
    gate = tiny.clock_gate
    assert gate is not None
    assert gate.clock_gate is not None
    assert (gate.name, gate.clock_gate.clock, gate.clock_gate.enable) == ("GATE", "CK", "E")
    assert (gate.clock_gate.output, gate.clock_gate.test) == ("GCK", ("T",))
    assert "INV" in tiny
    assert "AND9" not in tiny


def test_cell_values(tiny: Library) -> None:
    """Area without semicolon, leakage given and averaged over states, capacitance, function, flip-flop."""
    inverter, nand, flipflop = (tiny.cell(name) for name in ("INV", "NAND2", "DFF"))
    assert (inverter.area, inverter.leakage, nand.leakage, flipflop.leakage) == pytest.approx((1, 2, 3, 10))
    assert [pin.name for pin in nand.inputs] == ["A", "B"]
    assert nand.pins["A"].capacitance == pytest.approx(2)
    assert nand.pins["Y"].function == "(A B)'"
    assert flipflop.flipflop is not None
    assert (flipflop.flipflop.state, flipflop.flipflop.clock, flipflop.flipflop.next_state) == ("IQ", "CK", "D")
    assert [power.supply for power in flipflop.pins["CK"].powers] == ["VDD", "VDD", "VSS"]


def test_table_axes(tiny: Library) -> None:
    """The template's variable decides which axis is which: load first in the energy tables, slew first in the others."""
    (power,) = tiny.cell("INV").pins["Y"].powers
    assert power.rise is not None
    corners = [power.rise.at(slew, load) for slew in (10, 100) for load in (0, 10)]
    assert corners == pytest.approx([1, 3, 2, 4])
    (arc,) = tiny.cell("INV").pins["Y"].arcs
    assert arc.rise is not None
    assert [arc.rise.at(slew, load) for slew in (10, 100) for load in (0, 10)] == pytest.approx([10, 20, 20, 30])


def test_interpolation() -> None:
    """Halfway in both directions, below the axis clamped, above it extended."""
    table = LookupTable(slews=(0.0, 10.0), loads=(0.0, 2.0), values=((0.0, 4.0), (10.0, 14.0)))
    assert table.at(5, 1) == pytest.approx(7)
    assert table.at(-5, -5) == pytest.approx(0)
    assert table.at(20, 3) == pytest.approx(26)
    assert LookupTable(slews=(), loads=(), values=((3.0,),)).at(99, 99) == 3


def test_units(tmp_path: Path) -> None:
    """pF, ns and pW become fF, ps and nW; energies are C V^2."""
    text = TINY.read_text().replace("capacitive_load_unit (1, ff)", 'capacitive_load_unit (1, "pf")')
    text = text.replace('time_unit : "1ps"', 'time_unit : "1ns"').replace('"1nW"', '"1pW"')
    (tmp_path / "u.lib").write_text(text)
    cell = Library([tmp_path / "u.lib"]).cell("INV")
    assert cell.pins["A"].capacitance == pytest.approx(1000)
    assert cell.leakage == pytest.approx(0.002)
    (power,) = cell.pins["Y"].powers
    assert power.rise is not None
    assert power.rise.slews == pytest.approx((10_000, 100_000))
    assert power.rise.at(10_000, 0) == pytest.approx(1000)


def test_gzip_and_several_files(tmp_path: Path) -> None:
    """Compressed files read alike, several files are one library."""
    head, cells = TINY.read_text().split("  cell (NAND2)", 1)
    (tmp_path / "a.lib.gz").write_bytes(gzip.compress((head + "}").encode()))
    start = head.index("  cell (INV)")
    (tmp_path / "b.lib").write_text(head[:start] + "  cell (NAND2)" + cells)
    both = Library([tmp_path / "a.lib.gz", tmp_path / "b.lib"])
    assert both.name == "a+b"
    assert both.names() == ("INV", "BUF", "NAND2", "NOR2", "DFF", "GATE")
    assert both.cell("INV").area == 1


def test_errors(tmp_path: Path, tiny: Library) -> None:
    """No file, no library, no units, two voltages, no NAND, no such cell, a table of the wrong size."""

    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    with pytest.raises(LibertyError, match="at least one file, not none"):
        Library([])
    with pytest.raises(LibertyError, match=r"x\.lib: must be a Liberty library, not 'hello'"):
        Library([write("x.lib", "hello")])
    with pytest.raises(LibertyError, match=r"y\.lib: must state its units"):
        Library([write("y.lib", "library (y) { cell (A) { } }")])
    other = write("o.lib", TINY.read_text().replace("nom_voltage : 1.0", "nom_voltage : 2.0"))
    with pytest.raises(LibertyError, match="must have one voltage"):
        Library([TINY, other])
    with pytest.raises(LibertyError, match="must have a two-input NAND"):
        _ = Library([write("n.lib", TINY.read_text().replace("(A B)'", "A B"))]).nand2
    with pytest.raises(LibertyError, match="has no cell 'AND9'"):
        tiny.cell("AND9")
    short = write("s.lib", TINY.read_text().replace('values ("1, 2", "3, 4")', 'values ("1, 2, 3")'))
    with pytest.raises(LibertyError, match=r"s\.lib: table rise_power must hold 4 values, not 3"):
        Library([short]).cell("INV")


trees = st.recursive(
    st.sampled_from("ABC"),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or", "xor"]), inner, inner)
    ),
    max_leaves=8,
)


def _text(tree: str | Tree, style: int) -> str:
    if isinstance(tree, str):
        return tree
    if tree[0] == "not":
        return f"!({_text(tree[1], style)})" if style % 2 else f"({_text(tree[1], style)})'"
    symbol = {"and": ("&", "*", " ")[style % 3], "or": ("|", "+")[style % 2], "xor": "^"}[tree[0]]
    return f"({_text(tree[1], style)}) {symbol} ({_text(tree[2], style)})"


def _value(tree: str | Tree, pins: dict[str, bool]) -> bool:
    if isinstance(tree, str):
        return pins[tree]
    if tree[0] == "not":
        return not _value(tree[1], pins)
    left, right = _value(tree[1], pins), _value(tree[2], pins)
    return {"and": left and right, "or": left or right, "xor": left != right}[tree[0]]


@given(trees, st.integers(0, 5))
def test_expressions(tree: str | Tree, style: int) -> None:
    """All eight input combinations at once equal a plain evaluator, in every spelling."""
    planes = {"A": 0b10101010, "B": 0b11001100, "C": 0b11110000}
    source = boolean.python_source(_text(tree, style), {name: name for name in planes})
    packed = eval(source, {"M": 255, **planes})
    plain = [_value(tree, {name: bool(plane >> row & 1) for name, plane in planes.items()}) for row in range(8)]
    assert [bool(packed >> row & 1) for row in range(8)] == plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A + B & C", 0b11101010),
        ("!A ^ B", 0b10011001),
        ("A & B ^ C", 0b00101000),
        ("A'", 0b01010101),
        ("1", 255),
        ("0", 0),
    ],
)
def test_precedence(text: str, expected: int) -> None:
    """! before ^ before & before +."""
    source = boolean.python_source(text, {name: name for name in "ABC"})
    assert eval(source, {"M": 255, "A": 0b10101010, "B": 0b11001100, "C": 0b11110000}) == expected


@pytest.mark.parametrize("text", ["", "A &", "(A", "A)", "A ? B", "D"])
def test_bad_expressions(text: str) -> None:
    """What is no expression of known pins is refused."""
    with pytest.raises(ValueError, match=r"expression must (be complete|hold names|name pins)"):
        boolean.python_source(text, {"A": "a", "B": "b"})
