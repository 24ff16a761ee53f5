"""Configuration files made to harm: one line, status 2, little memory, whatever is in them."""

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spec.model_files import small_network

from firstspike.cli import main
from firstspike.messages import LINE
from firstspike.spec import Synaptic, save

pytest.importorskip("yaml", reason="the extra 'explore' is not installed")

ROOT = Path(__file__).parents[2]
SPACE = (ROOT / "examples/explore.yaml").read_text().replace("../demo/", "")
RECIPE = (ROOT / "src/firstspike/recipes/digits.toml").read_text()
TECHNOLOGY = (ROOT / "src/firstspike/processor/technologies/28nm.toml").read_text()
DESIGN = "format = 1\npes = 16\n"

SEARCH = "search: {method: nsga2, trials: 160, population: 40, seed: 0}\n"
CLOCK = "clock_mhz: {unit: MHz, values: [125, 250]}"


def anchors(levels: int) -> str:
    """Each list repeats the one before nine times."""
    lists = [f"&a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(levels)]
    return f"search: [{', '.join(lists)}]\n"


def command(folder: Path, kind: str, text: str) -> list[str]:
    (folder / "digits.safetensors").touch()
    path = folder / {"space": "x.yaml"}.get(kind, "x.toml")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    cost = ["cost", str(folder / "digits.safetensors"), "--data", "digits"]
    return {
        "space": ["explore", str(path), "--out", str(folder / "out")],
        "recipe": ["train", "--recipe", str(path), "--out", str(folder / "out")],
        "technology": [*cost, "--technology", str(path)],
        "design": [*cost, "--processor", str(path)],
    }[kind]


CASES = {
    "anchors": ("space", SPACE.replace(SEARCH, anchors(8)), "values must be written out, not repeated by the alias"),
    "many anchors": ("space", SPACE.replace(SEARCH, anchors(500)), "values must be written out"),
    "merge keys": ("space", SPACE.replace(SEARCH, "a: &a {x: 1}\nsearch: {<<: *a}\n"), "values must be written out"),
    "tiny step": (
        "space",
        SPACE.replace(CLOCK, "clock_mhz: {unit: MHz, low: 1, high: 250, step: 1.0e-320}"),
        "processor.clock_mhz must have at most 1000000 values, not inf",
    ),
    "deep list": ("space", SPACE.replace(SEARCH, "search: " + "[" * 5000 + "]" * 5000), "x.yaml: "),
    "long integer": ("space", SPACE.replace("trials: 160", "trials: " + "9" * 400), "an integer must fit 64 bits"),
    "very long integer": ("space", SPACE.replace("trials: 160", "trials: " + "9" * 5000), "must be YAML"),
    "long in base 16": ("space", SPACE.replace("trials: 160", "trials: 0x" + "f" * 9000), "an integer of 36000 bits"),
    "bad date": ("space", SPACE.replace("trials: 160", "trials: 2001-99-99"), "must be YAML"),
    "empty int": ("space", SPACE.replace("trials: 160", 'trials: !!int ""'), "must be YAML"),
    "odd bool": ("space", SPACE.replace("trials: 160", "trials: !!bool 3"), "must be YAML"),
    "object": ("space", SPACE.replace("trials: 160", "trials: !!python/object/apply:os.getcwd []"), "must be YAML"),
    "escapes": ("space", SPACE.replace("networks", '"\\e[31mnet"'), "\\x1b[31mnet"),
    "unequal keys": ("space", SPACE + "[1]: 2\n", "must be YAML"),
    "long rate": ("recipe", RECIPE.replace("[training]\n", f"[training]\nwarmup = 1{'0' * 400}\n"), "must fit 64 bits"),
    "very long rate": ("recipe", RECIPE.replace("[training]\n", f"[training]\nwarmup = 1{'0' * 9000}\n"), "be TOML"),
    "deep toml": ("recipe", RECIPE + "x = " + "[" * 5000 + "]" * 5000, "TOML of a few levels"),
    "long file": ("recipe", RECIPE + "#" * 200_000, "x.toml: it must hold at most 131072 bytes"),
    "no text": ("recipe", "\udcff", "must be UTF-8 text"),
    "markup": (
        "technology",
        re.sub("^name = .*", 'name = "<script>alert(1)</script>[/bold]"', TECHNOLOGY, flags=re.M),
        "name must be a name of letters, digits",
    ),
    "dram markup": ("technology", TECHNOLOGY.replace("lpddr3", '"[/bold]"'), "dram.[/bold] must be a name of letters"),
    "long design": ("design", DESIGN.replace("16", "1" * 400), "must fit 64 bits"),
    "key escapes": ("design", DESIGN + '"\\u001b]0;x\\u0007" = 1\n', "\\x1b]0;x\\x07"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind, text, expected = CASES[case]
    arguments = command(tmp_path, kind, text)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"firstspike {arguments[0]}: error: ")
    assert expected in line
    assert line.isprintable()
    assert len(line) < LINE + 40
    assert not (tmp_path / "out").exists()


def test_anchors_cost_no_memory(tmp_path: Path) -> None:
    from firstspike.explore import space

    tracemalloc.start()
    try:
        with pytest.raises(space.SpaceError, match="values must be written out"):
            space.parse(CASES["many anchors"][1], name="x.yaml", folder=tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["space", "recipe", "technology", "design"])
@pytest.mark.parametrize("device", ["/dev/zero", "folder"])
def test_only_regular_files(kind: str, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(tmp_path, kind, "")
    (path,) = tmp_path.glob("x.*")
    path.unlink()
    path.symlink_to(device) if device.startswith("/") else path.mkdir()
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "regular file" in line or "no such file" in line or "one of" in line


TEXTS = {"space": SPACE, "recipe": RECIPE, "technology": TECHNOLOGY, "design": DESIGN}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
def test_any_change_of_a_configuration_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    """Words of a good file replaced by others: the readers raise their own error or none."""
    from firstspike.config import ConfigError
    from firstspike.explore import space
    from firstspike.processor import designs, technology
    from firstspike.train.recipe import load_recipe

    kind = data.draw(st.sampled_from(sorted(TEXTS)))
    words = re.split(r"(\s+|[\[\]{},:=\"'])", TEXTS[kind])
    numbers = ["-1", "0", "1e999", "nan", "-inf", "true", "null", "9" * 30, "1e-320"]
    odd = st.sampled_from([*numbers, "[]", "{}", "~", "!!set", "&a", "*a"])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(odd | st.text(max_size=5) | st.sampled_from(words))
    path = tmp_path / ("x.yaml" if kind == "space" else "x.toml")
    path.write_text("".join(words), encoding="utf-8", errors="replace")
    (tmp_path / "digits.safetensors").touch()
    read = {"space": space.load, "recipe": load_recipe, "technology": technology.load, "design": designs.load}[kind]
    try:
        read(path)
    except (ConfigError, FileNotFoundError) as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_names_of_a_network_are_shown_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers, classes and notes of a model file that would colour, clear or retitle a terminal, or end as markup."""
    evil = "\x1b[2J\x1b]0;title\x07[/bold]:warning:\u202e"
    network = small_network()
    names = {layer.name: f"{layer.name}{evil}" for layer in network.layers}
    layers = []
    for layer in network.layers:
        fields = {"name": names[layer.name], "source": names.get(layer.source, layer.source)}
        if isinstance(layer, Synaptic):
            fields["residuals"] = tuple(names.get(name, name) for name in layer.residuals)
        layers.append(replace(layer, **fields))
    path = tmp_path / "net.safetensors"
    save(replace(network, layers=tuple(layers), classes=("a", evil, "c")), path, notes={evil: evil + "\r"})
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.replace("\n", "").isprintable()
    assert "\\x1b[2J\\x1b]0;title\\x07[/bold]:warning:\\u202e" in printed.out
    assert main(["evaluate", str(path), "--data", "digits"]) == 2
    assert capsys.readouterr().err.rstrip("\n").isprintable()
