"""Spaces are read with their units, and refused with key, rule and value."""

import sys
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="the extra 'explore' is not installed")

from explore.spaces import TEXT, small
from firstspike.explore import space
from firstspike.explore.space import SpaceError, unit
from firstspike.spec.processor import ProcessorSpec


def test_a_space_holds_what_its_file_says(tmp_path: Path) -> None:
    found = small(tmp_path)
    values = {p.key: (p.unit, p.values) for p in found.parameters}
    assert values == {
        "network": ("", ("net.safetensors",)),
        "code.T": ("steps", (8, 24)),
        "processor.pes": ("pes", (16, 64, 128)),
        "processor.clock_mhz": ("MHz", (100.0, 150.0, 200.0, 250.0)),
    }
    assert found.size == 24 == len(found.grid()) == len({tuple(design.values()) for design in found.grid()})


def test_every_field_of_the_processor_can_vary(tmp_path: Path) -> None:
    for field in fields(ProcessorSpec):
        named = "" if isinstance(field.default, bool) else f"unit: {unit(field.name)}, "  # a switch has no unit
        text = f"processor: {{{field.name}: {{{named}values: [{field.default}]}}}}\nobjectives"
        head, _, tail = TEXT.partition("processor:")
        found = small(tmp_path, head + text + tail.partition("objectives")[2])
        assert f"processor.{field.name}" in {p.key for p in found.parameters}


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("format: 1", "format: 2", "format must be 1, not 2"),
        (
            "format: 1",
            "format: 1\ncolour: red",
            "colour is not a known key \\(value 'red'\\); known are format, networks",
        ),
        ("[net.safetensors]", "[other.safetensors]", "networks must hold model files.*not 'other.safetensors'"),
        ("[net.safetensors]", "[]", "networks must be a list of names, not empty, not \\[\\]"),
        (
            "{unit: steps, values: [8, 24]}",
            "{unit: steps, values: []}",
            "code.T.values must be a list that is not empty",
        ),
        ("{unit: steps, values: [8, 24]}", "{values: [8, 24]}", "code.T must have the unit 'steps', not none"),
        ("{unit: steps, values: [8, 24]}", "24", "code.T must be a table with its unit \\(steps\\) and values, not 24"),
        ("{unit: steps, values", "{unit: ns, values", "code.T.unit must be 'steps', not 'ns'"),
        ("[8, 24]", "[8, 8]", "code.T.values must differ"),
        ("[8, 24]", "[8, 300]", "code.T must be from 1 to 255, not 300"),
        ("[8, 24]", "[8, yes]", "code.T must be of type int, not True"),
        ("[16, 64, 128]", "[-16]", "processor.pes must be finite and not negative, not -16"),
        ("[16, 64, 128]", "[0]", "processor.pes must be above 0, not 0"),
        ("low: 100, high: 250", "low: 100, high: .inf", "processor.clock_mhz.high must be finite"),
        ("low: 100, high: 250", "low: 250, high: 100", "processor.clock_mhz must have low < high"),
        ("  pes:", "  lanes:", "processor.lanes is not a known key .*; known are pes"),
        ("[accuracy, energy_uj]", "[beauty]", "objectives must be among accuracy, energy_uj.*not 'beauty'"),
        ("[accuracy, energy_uj]", "[]", "objectives must be a list of names, not empty"),
        ("accuracy_images: 40", "accuracy_images: 201", "data.accuracy_images must be in 1..200, not 201"),
        (", cost_images: 5", "", "data.cost_images is missing"),
        ("nsga2", "luck", "search.method must be one of nsga2, random, grid, not 'luck'"),
        ("trials: 30", "trials: 0", "search.trials must be in 1..10000000, not 0"),
        ("objectives:", "dram: [none]\nobjectives:", "dram must be among flat-4pj, lpddr3, not 'none'"),
        ("objectives:", "data: {}\nobjectives:", "key 'data' must be given once, not twice"),
        ("format: 1", "format: !!python/object:os.system 1", "must be YAML, not this"),
        ("method: nsga2", "method: grid", None),
    ],
)
def test_what_breaks_a_rule_is_refused(tmp_path: Path, old: str, new: str, rule: str | None) -> None:
    assert old in TEXT
    if rule is None:
        small(tmp_path, TEXT.replace(old, new))
        return
    with pytest.raises(SpaceError, match=f"^space.yaml: .*{rule}"):
        small(tmp_path, TEXT.replace(old, new))


def test_a_grid_must_be_finite(tmp_path: Path) -> None:
    text = TEXT.replace(", step: 50", "").replace("nsga2", "grid")
    with pytest.raises(
        SpaceError, match=r"search\.method grid needs 1 to 1000000 designs, not 'continuous parameters'"
    ):
        small(tmp_path, text)


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        ImportError, match=r"^explore needs optuna; install it with: pip install 'firstspike\[explore\]'$"
    ):
        space.require("optuna")
