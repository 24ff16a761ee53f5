"""Where results go: a file or folder that cannot be written is refused before any work is done."""

from pathlib import Path


def check_outputs(*files: str | None, folder: str | None = None) -> None:
    """Refuse what could not be written, before any work is done.

    Args:
        files: files that will be written; None for none.
        folder: one that the command makes itself, with the folders around it.

    Raises:
        OSError: a file is a folder, or its folder does not exist; or the folder, or one around it, is a file.
    """
    made = None if folder is None else Path(folder)
    for place in () if made is None else (made, *made.parents):
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(f"{str(place)!r}: it must be a folder, not a file")
    for path in files:
        if path is None:
            continue
        target = Path(path)
        if target.is_dir():
            raise IsADirectoryError(f"{path!r}: it must be a file, not a folder")
        if not target.parent.is_dir() and (made is None or target.parent.resolve() != made.resolve()):
            raise FileNotFoundError(f"{path!r}: its folder must exist")
