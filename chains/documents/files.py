"""The files below the paths that are given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from las_langchain.errors import BadRequestError

Identity = tuple[int, int]


def absolute(path: str | Path) -> Path:
    """*path* as it is stored: absolute, without links on the way to it; it need not exist.

    Raises:
        BadRequestError: its links lead to each other.
    """
    try:
        return Path(os.path.realpath(Path(path).expanduser(), strict=False))
    except (OSError, RuntimeError, ValueError) as error:
        raise BadRequestError(f"{path}: {error}", param="paths") from None


def roots_of(paths: Sequence[str | Path]) -> list[Path]:
    """*paths*, absolute, each once.

    Raises:
        BadRequestError: one does not exist.
    """
    roots = {absolute(path): path for path in paths}
    for root, path in roots.items():
        if not root.exists():
            raise BadRequestError(f"{path}: no such file or folder", param="paths")
    return list(roots)


def files_below(root: Path, unreadable: Callable[[str, str], None]) -> Iterator[str]:
    """The paths of all files in the folder *root*, or *root* itself if it is a file.

    Links to folders are followed, each folder is read once. What is hidden is left out, unless it is *root*.

    Args:
        root: an absolute path.
        unreadable: told of a folder that cannot be listed, and why.
    """
    if not root.is_dir():
        yield str(root)
        return
    yield from _below(str(root), unreadable)


def _below(root: str, unreadable: Callable[[str, str], None]) -> Iterator[str]:
    folders, known = [root], set[Identity]()
    while folders:
        folder = folders.pop()
        try:
            state = Path(folder).stat()
            if (state.st_dev, state.st_ino) in known:
                continue
            known.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as listed:
                entries = sorted((entry for entry in listed if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            unreadable(folder, error.strerror or str(error))
            continue
        folders.extend(entry.path for entry in reversed(entries) if _is_folder(entry))
        yield from (entry.path for entry in entries if _is_file(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        # A link to nothing is named as such, when it is read.
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:
        return True


def is_below(path: str, folder: str) -> bool:
    """Whether *path* is *folder* or in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
