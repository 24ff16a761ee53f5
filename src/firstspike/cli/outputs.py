"""Where results go: a file that cannot be written is refused before any work is done."""

from pathlib import Path


def check_output(path: str | None, *, made: str | None = None) -> None:
    """Refuse a file that could not be written, before any work is done.

    Args:
        path: the file, or None for none.
        made: a folder that the command makes itself.

    Raises:
        OSError: the file is a folder, or its folder does not exist.
    """
    if path is None:
        return
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{path!r}: it must be a file, not a folder")
    if not target.parent.is_dir() and (made is None or target.parent.resolve() != Path(made).resolve()):
        raise FileNotFoundError(f"{path!r}: its folder must exist")
