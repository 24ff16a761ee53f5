"""Mutated archives, checkpoints and configurations: read, or refused with an error of ours in one line."""

import io
import os
import re
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from soak.campaign import Campaign

EXAMPLES = 20
"""Configurations of a case."""

_state: dict[str, Any] = {}
_ROOT = Path(__file__).parents[2]


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes replaced, taken out or put in."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        where, kind = int(rng.integers(len(data))), rng.random()
        if kind < 0.7:
            data[where] = int(rng.integers(256))
        elif kind < 0.85:
            data[where : where + int(rng.integers(1, 20))] = b""
        else:
            data[where:where] = bytes(rng.integers(0, 256, int(rng.integers(1, 20)), dtype=np.uint8))
        data = data or bytearray(b"\0")
    return bytes(data)


def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="soak-inputs-"))


# ---- archives of images -------------------------------------------------------------------------------------------


def archives_setup() -> None:
    from PIL import Image

    contents = []
    for index, suffix in enumerate(("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")):
        buffer, image = io.BytesIO(), io.BytesIO()
        pixels = np.random.default_rng(index).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image, format=suffix)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if index % 2 else zipfile.ZIP_STORED) as archive:
            for name in (f"cat/1.{suffix.lower()}", f"dog/2.{suffix.lower()}"):
                archive.writestr(name, image.getvalue())
        contents.append(buffer.getvalue())
    _state.update(archives=contents, folder=folder())


def archive(number: int) -> str:
    from firstspike.data import load

    rng = np.random.default_rng(number)
    content = _state["archives"][rng.integers(len(_state["archives"]))]
    path = _state["folder"] / f"{os.getpid()}.zip"
    path.write_bytes(changed(content, rng))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged TIFF
            load(path)
    except (ValueError, FileNotFoundError):
        return "refused"
    return "read"


# ---- checkpoints --------------------------------------------------------------------------------------------------


def checkpoints_setup() -> None:
    import torch

    buffer = io.BytesIO()
    tensors = {f"network.w{i}": torch.randn(3, 4 + i) for i in range(4)}
    torch.save({"state_dict": tensors, "loops": {"fit_loop": {"epoch": 3}}, "recipe": {"training.epochs": 5}}, buffer)
    _state.update(checkpoint=buffer.getvalue(), folder=folder())


def checkpoint(number: int) -> str:
    from firstspike.train.checkpoint import CheckpointError, read_checkpoint

    rng = np.random.default_rng(number)
    path = _state["folder"] / f"{os.getpid()}.ckpt"
    path.write_bytes(changed(_state["checkpoint"], rng))
    try:
        read_checkpoint(path)
    except CheckpointError:
        return "refused"
    return "read"


# ---- configurations -----------------------------------------------------------------------------------------------


def configurations_setup() -> None:
    from firstspike.explore import space  # noqa: F401  before the fork
    from firstspike.train import recipe  # noqa: F401

    package = _ROOT / "src/firstspike"
    texts = {
        "space": (_ROOT / "examples/explore.yaml").read_text().replace("../demo/", ""),
        "recipe": (package / "recipes/digits.toml").read_text(),
        "technology": (package / "processor/technologies/28nm.toml").read_text(),
        "design": "format = 1\npes = 16\nclock_mhz = 100.0\n",
    }
    _state.update(texts=texts, folder=folder())
    (_state["folder"] / "digits.safetensors").touch()


def configuration(number: int) -> str:
    from firstspike.config import ConfigError
    from firstspike.explore import space
    from firstspike.processor import designs, technology
    from firstspike.train.recipe import load_recipe

    readers = {"space": space.load, "recipe": load_recipe, "technology": technology.load, "design": designs.load}
    numbers = [
        "-1",
        "0",
        "1e999",
        "nan",
        "-inf",
        "true",
        "null",
        "9" * 30,
        "9" * 5000,
        "1e-320",
        "0x" + "f" * 5000,
        "2001-99-99",
    ]
    odd = st.sampled_from(
        [*numbers, "[]", "{}", "~", "!!set", "!!int", "&a", "*a", "<<", "[" * 3000, "\x1b[2J", '"', "'''"]
    )

    @seed(number)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(sorted(readers)))
        words = re.split(r"(\s+|[\[\]{},:=\"'])", _state["texts"][kind])
        for _ in range(data.draw(st.integers(1, 5))):
            place = data.draw(st.integers(0, len(words) - 1))
            words[place] = data.draw(odd | st.text(max_size=8) | st.sampled_from(words))
        path = _state["folder"] / f"{os.getpid()}.{'yaml' if kind == 'space' else 'toml'}"
        path.write_text(
            "".join(words), encoding="utf-8", errors="surrogateescape" if data.draw(st.booleans()) else "replace"
        )
        try:
            readers[kind](path)
        except (ConfigError, FileNotFoundError) as error:
            text = str(error)
            if isinstance(error, ConfigError) and (not text.isprintable() or len(text) > 600):
                raise AssertionError("the message is no short printable line") from error

    try:
        check()
    except UnicodeEncodeError:
        return "not written"
    return "read or refused"


CAMPAIGNS = (
    Campaign(name="archives", case=archive, setup=archives_setup),
    Campaign(name="checkpoints", case=checkpoint, setup=checkpoints_setup),
    Campaign(name="configurations", case=configuration, setup=configurations_setup, seconds=60.0),
)
