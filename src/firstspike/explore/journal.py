"""The journal of a search: Optuna's log in one file, one change a line, kept by one process at a time."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firstspike import files
from firstspike.explore.space import require
from firstspike.messages import brief

_BEGIN = b'{"op_code":'


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Optuna's storage in a file, made where it is missing; for the time of the block no other process can open it.

    A last line that was cut, by a full disk or a kill, is dropped with a warning: nobody was told of that change.

    Raises:
        OSError: the file cannot be read or written, or another process has it open.
        ValueError: it is no journal.
    """
    optuna = require("optuna")
    backend = optuna.storages.journal.JournalFileBackend

    class Backend(backend):  # type: ignore[misc,valid-type]
        """Its errors name the file."""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            try:
                super().append_logs(logs)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error

    path.touch()
    with files.locked(path):
        _repair(path)
        try:
            storage = optuna.storages.JournalStorage(Backend(str(path.resolve()), lock_obj=_Locked()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # lines of JSON that Optuna never wrote
            raise ValueError(f"storage {path}: it must be a journal of Optuna; name another file") from error
        yield storage


class _Locked:
    """In place of Optuna's lock, which a killed process leaves behind: the file is locked already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _repair(path: Path) -> None:
    with open(path, "r+b") as stream:
        end, whole = 0, True
        for number, line in enumerate(stream, start=1):
            if not whole:
                raise ValueError(
                    f"storage {path}: line {number - 1} must be a change of Optuna's journal; name another file"
                )
            whole = line.endswith(b"\n") and _is_change(line)
            end += len(line) if whole else 0
        if not whole:
            if end == 0 and line[: len(_BEGIN)] != _BEGIN[: len(line)]:
                raise ValueError(
                    f"storage {path}: it must be a journal of Optuna, not {brief(line[:40])}; name another file"
                )
            warnings.warn(f"storage {path}: its last line was cut, and is dropped", stacklevel=4)
            stream.truncate(end)


def _is_change(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
