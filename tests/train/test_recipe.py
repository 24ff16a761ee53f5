"""Recipes: every key checked when read, the stage of every epoch, what comes with the package."""

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from firstspike.arith import Code, LogWeights
from firstspike.train.recipe import (
    NetworkRecipe,
    Recipe,
    StagesRecipe,
    TrainingRecipe,
    find_recipe,
    load_recipe,
    recipe_names,
)

WHOLE = """
[data]
name = "digits"
validation = 100
pad = 1
flip = false
cutout = 2
cutmix = 0.25
size = 16
limit = 50

[network]
plan = "small"
width = 2
weight_scale = "channel"
hidden = [64, 32]
widths = [16, 16, 32, 32]
dropout = 0.1
model = ""
weights = ""
mean = []
std = []

[training]
epochs = 3
batch_size = 16
learning_rate = 1
warmup = 0.5
final = 0.01
quantised_rate = 0.5
momentum = 0.8
weight_decay = 1e-3
label_smoothing = 0.1
seed = 5
order = 1
frozen = 2
precision = "bf16-mixed"

[code]
T = 16
tau = 2
mantissa_bits = 4
input = "planes"

[weights]
bits = 4
levels_per_octave = 1
mantissa_bits = 3

[stages]
clip = 0
input = 1
ttfs = 1
quantised = 2

[sparsity]
weight = 0.1
target = 0.2
gain = 0.3
limit = 4

[averaging]
start = 1
every = 7
rate = 0.25

[distillation]
weight = 0.5
temperature = 4
relations = 0.5
start = 1

[pruning]
target = 0.5
scope = "layer"
skip = 2
start = 1
end = 2
every = 10
hold = false
"""


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def test_every_key_is_read(tmp_path: Path) -> None:
    recipe = read(tmp_path, WHOLE)
    assert recipe.code == Code(T=16, tau=2, mantissa_bits=4, input="planes")
    assert recipe.weights == LogWeights(bits=4, levels_per_octave=1, mantissa_bits=3)
    assert recipe.network == NetworkRecipe(
        plan="small", width=2.0, widths=(16, 16, 32, 32), hidden=(64, 32), dropout=0.1, weight_scale="channel"
    )
    assert isinstance(recipe.network.width, float)
    assert isinstance(recipe.training.learning_rate, float)
    assert recipe.training.precision == "bf16-mixed"
    values = recipe.values()
    assert values["data.cutmix"] == 0.25
    assert values["data.size"] == 16
    assert values["data.limit"] == 50
    assert values["network.hidden"] == [64, 32]
    assert values["sparsity.limit"] == 4.0
    assert len(values) == sum(bool(re.match(r"\w+ = ", line)) for line in WHOLE.splitlines())


def test_short_recipes_have_defaults(tmp_path: Path) -> None:
    recipe = read(tmp_path, '[data]\nname = "digits"\n[training]\nepochs = 2\n')
    assert recipe.code == Code()
    assert recipe.weights == LogWeights()
    assert recipe.stages.at(1) == "clip"
    with pytest.raises(FrozenInstanceError):
        recipe.training.epochs = 3  # type: ignore[misc]


MINIMAL = '[data]\nname = "digits"\n[training]\nepochs = 2\n'
BAD = {
    "no TOML": ("[data", "must be TOML, not this: Expected"),
    "no text": (b"\xff\xfe".decode("latin-1") + "[data]\n", "Invalid"),
    "unknown table": (
        MINIMAL + "[optimiser]\nx = 1\n",
        r"optimiser is not a known key \(.*\); known are data, training",
    ),
    "unknown key": (MINIMAL + "lr = 1\n", r"training.lr is not a known key \(value 1\); known are epochs, batch_size"),
    "missing table": ('[data]\nname = "digits"\n', "training is missing"),
    "missing key": ('[data]\nname = "digits"\n[training]\nbatch_size = 4\n', "training.epochs is missing"),
    "no table": ('data = "digits"\n[training]\nepochs = 2\n', "data must be a table, not 'digits'"),
    "text for int": (MINIMAL + 'batch_size = "4"\n', "training.batch_size must be an int, not '4'"),
    "float for int": (MINIMAL + "batch_size = 4.5\n", "training.batch_size must be an int, not 4.5"),
    "bool for int": (MINIMAL + "seed = true\n", "training.seed must be an int, not True"),
    "bool for float": (MINIMAL + "learning_rate = true\n", "training.learning_rate must be a number, not True"),
    "int for text": ("[data]\nname = 3\n[training]\nepochs = 2\n", "data.name must be text, not 3"),
    "int for bool": (
        '[data]\nname = "digits"\nflip = 1\n[training]\nepochs = 2\n',
        "data.flip must be true or false, not 1",
    ),
    "cutmix": (
        '[data]\nname = "digits"\ncutmix = 1.5\n[training]\nepochs = 2\n',
        r"data.cutmix must be in \[0, 1\], not 1.5",
    ),
    "late stage": (MINIMAL + "[stages]\nttfs = 3\n", r"stages.ttfs must begin within training's 2 epochs, 0..2, not 3"),
    "no epochs": ('[data]\nname = "digits"\n[training]\nepochs = 0\n', r"training.epochs must be in 1..\d+, not 0"),
    "no batch": (MINIMAL + "batch_size = 0\n", "training.batch_size must be in 1"),
    "seed": (MINIMAL + "seed = -1\n", "training.seed must be in 0"),
    "order": (MINIMAL + "order = 1025\n", "training.order must be in 0..1024, not 1025"),
    "frozen": (MINIMAL + "frozen = -1\n", "training.frozen must be in 0..1024, not -1"),
    "learning rate": (MINIMAL + "learning_rate = 0\n", "training.learning_rate must be positive and finite, not 0.0"),
    "learning rate, nan": (
        MINIMAL + "learning_rate = nan\n",
        "training.learning_rate must be positive and finite, not nan",
    ),
    "warmup": (MINIMAL + "warmup = 1.5\n", r"training.warmup must be in \[0, 1\], not 1.5"),
    "smoothing": (MINIMAL + "label_smoothing = -0.1\n", r"training.label_smoothing must be in \[0, 1\], not -0.1"),
    "momentum": (MINIMAL + "momentum = 1\n", r"training.momentum must be in \[0, 1\), not 1.0"),
    "decay": (MINIMAL + "weight_decay = inf\n", "training.weight_decay must be at least 0 and finite, not inf"),
    "precision": (
        MINIMAL + 'precision = "16-mixed"\n',
        "training.precision must be '32-true' or 'bf16-mixed', not '16-mixed'",
    ),
    "plan": (
        MINIMAL + '[network]\nplan = "vgg99"\n',
        "network.plan must be one of vgg16, small, not 'vgg99'",
    ),
    "width": (MINIMAL + "[network]\nwidth = 0\n", r"network.width must be in \(0, 16\], not 0.0"),
    "hidden": (MINIMAL + "[network]\nhidden = 64\n", "network.hidden must be a list, each an int, not 64"),
    "hidden, text": (
        MINIMAL + '[network]\nhidden = ["a"]\n',
        r"network.hidden must be a list, each an int, not \['a'\]",
    ),
    "hidden, zero": (MINIMAL + "[network]\nhidden = [0]\n", "network.hidden must be in 1..65536, not 0"),
    "weight scale": (
        MINIMAL + '[network]\nweight_scale = "channels"\n',
        "network.weight_scale must be 'layer' or 'channel', not 'channels'",
    ),
    "dropout": (MINIMAL + "[network]\ndropout = 1\n", r"network.dropout must be in \[0, 1\), not 1.0"),
    "code": (MINIMAL + "[code]\ntau = 3\n", "Code.tau must be a power of two, not 3"),
    "weights": (MINIMAL + "[weights]\nbits = 9\n", r"LogWeights.bits must be in 2..8, not 9"),
    "order of stages": (
        MINIMAL + "[stages]\nttfs = 3\nquantised = 2\n",
        r"stages must begin in the order relu, clip, .* not at epochs \[0, 3, 2\]",
    ),
    "stage as text": (MINIMAL + '[stages]\nquantised = "last"\n', "stages.quantised must be an int, not 'last'"),
    "stage before 0": (MINIMAL + "[stages]\nclip = -1\n", r"stages.clip must be in 0..\d+, not -1"),
    "averaging to nowhere": (
        MINIMAL + "[averaging]\nstart = 1\n",
        r"averaging.start must be an epoch before stage 'quantised' \(None\), .* not 1",
    ),
    "averaging too late": (
        MINIMAL + "[stages]\nquantised = 1\n[averaging]\nstart = 1\n",
        r"averaging.start must be an epoch before stage 'quantised' \(1\), .* not 1",
    ),
    "averaging, start": (MINIMAL + "[averaging]\nstart = -1\n", r"averaging.start must be in 0..\d+, not -1"),
    "averaging, every": (MINIMAL + "[averaging]\nevery = 0\n", r"averaging.every must be in 1..\d+, not 0"),
    "averaging, rate": (MINIMAL + "[averaging]\nrate = 0\n", r"averaging.rate must be in \(0, 1\], not 0.0"),
    "distillation": (MINIMAL + "[distillation]\nweight = 1.5\n", r"distillation.weight must be in \[0, 1\], not 1.5"),
    "temperature": (
        MINIMAL + "[distillation]\ntemperature = 0\n",
        "distillation.temperature must be positive and finite, not 0",
    ),
    "temperature, nan": (
        MINIMAL + "[distillation]\ntemperature = nan\n",
        "distillation.temperature must be positive .* not nan",
    ),
    "sparsity": (MINIMAL + "[sparsity]\nweight = -1\n", "sparsity.weight must be at least 0 and finite, not -1.0"),
}


@pytest.mark.parametrize("label", BAD)
def test_bad_recipes_name_file_and_key(label: str, tmp_path: Path) -> None:
    text, message = BAD[label]
    with pytest.raises(ValueError, match=message) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith("recipe.toml: ")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"recipe.toml: must be UTF-8 text, not b'.xff'"):
        load_recipe(tmp_path / "recipe.toml")


def test_a_recipe_states_what_differs_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "below.toml").write_text(MINIMAL + "seed = 4\n[network]\nhidden = [8, 8]\n", encoding="utf-8")
    text = 'base = "below.toml"\n[training]\nepochs = 5\n[network]\nhidden = [16]\n[sparsity]\nweight = 1\n'
    own = read(tmp_path, text)
    assert (own.training.epochs, own.training.seed) == (5, 4)
    assert (own.network.hidden, own.sparsity.weight, own.data.name) == ((16,), 1.0, "digits")
    named = read(tmp_path, 'base = "digits"\n[training]\nseed = 7\n')
    digits = find_recipe("digits").values()
    assert named.values() == {**digits, "training.seed": 7}


def test_bases_lie_on_one_another_but_in_no_circle(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = "digits"\n[training]\nseed = 7\n', encoding="utf-8")
    assert read(tmp_path, 'base = "a.toml"\n[training]\norder = 1\n').training.stream == 7 + (1 << 32)
    (tmp_path / "a.toml").write_text('base = "recipe.toml"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"^a.toml: base must not lead back to recipe.toml, not 'recipe.toml'"):
        read(tmp_path, 'base = "a.toml"\n')
    with pytest.raises(ValueError, match=r"^recipe.toml: base must be one of digits, .* or a TOML file .* not 'digit'"):
        read(tmp_path, 'base = "digit"\n')
    with pytest.raises(ValueError, match=r"^recipe.toml: base must be text, not 3"):
        read(tmp_path, "base = 3\n")


BLOCK = r"^## (\S+)\n.*?```toml\n(.*?)```"


def test_recipes_of_the_log_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "log" / "2026-11-30-recipes.md").read_text(encoding="utf-8")
    found = {name: read(tmp_path, text) for name, text in re.findall(BLOCK, page, re.DOTALL | re.MULTILINE)}
    assert len(found) == 13
    assert found["vgg16-cifar10-cycle"].training.learning_rate == 0.03
    assert not set(found) & set(recipe_names())


def test_recipes_of_the_package(tmp_path: Path) -> None:
    assert set(recipe_names()) >= {"digits", "vgg16-cifar10"}
    for name in recipe_names():
        recipe = find_recipe(name)
        last = recipe.stages.at(recipe.training.epochs - 1)
        merged = recipe.averaging.start is not None  # by `firstspike merge`
        assert last == "quantised" or merged, name  # else it could not be converted
    assert find_recipe("vgg16-cifar10").code == Code(T=24, tau=4, mantissa_bits=5)
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    assert find_recipe(str(path)).training.epochs == 2
    with pytest.raises(FileNotFoundError, match=r"recipe must be one of .*digits.* or a TOML file, not 'digit'"):
        find_recipe("digit")
    with pytest.raises(FileNotFoundError, match=r"recipe '.*none\.toml': there is no such file"):
        load_recipe(tmp_path / "none.toml")


def test_stage_of_every_epoch() -> None:
    stages = StagesRecipe(clip=1, input=2, ttfs=2, quantised=5)
    assert [stages.at(epoch) for epoch in range(7)] == [
        "relu",
        "clip",
        "ttfs",
        "ttfs",
        "ttfs",
        "quantised",
        "quantised",
    ]
    assert StagesRecipe(clip=None, quantised=0).at(0) == "quantised"
    assert StagesRecipe(clip=None).at(99) == "relu"


def test_values_are_checked_in_python_too() -> None:
    with pytest.raises(TypeError, match=r"network.hidden must be a tuple of widths, not \[64\]"):
        NetworkRecipe(hidden=[64])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"training.epochs must be an int, not 2.0"):
        TrainingRecipe(epochs=2.0)  # type: ignore[arg-type]
