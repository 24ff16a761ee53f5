"""Records: what a command found, as JSON with the version that made it; the keys carry units."""

import json
import os
from collections.abc import Mapping
from typing import Any

from firstspike import __version__, files

SCHEMA = 1
"""Version of the records' keys: raised when one changes its name, its unit or its meaning, or goes."""


def text(record: Mapping[str, Any]) -> str:
    """A record as JSON, with the version that made it."""
    head = {"schema": SCHEMA, "firstspike": __version__}
    return json.dumps({**head, **record}, indent=2, allow_nan=False) + "\n"


def write(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Write one record, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    files.write(path, text(record))
