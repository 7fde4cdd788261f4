"""What is to be sent from here: what it is, how many files, and how large."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence

from ..errors import SourceNotFound, TransferError
from .scripts import DEEPEST
from .sources import (
    DIRECTORY,
    DIRECTORY_LINK,
    FILE,
    FILE_LINK,
    LINK,
    NOTHING,
    OTHER,
    Source,
)


def find(named: Sequence[str], target: str) -> list[Source]:
    """What is meant, patterns expanded. Raises `SourceNotFound`."""
    found: list[Source] = []
    for name in named:
        fitting = [name] if os.path.lexists(name) else sorted(glob.glob(name, recursive=True))
        if not fitting:
            error = SourceNotFound(f"{name} to {target}: there is no such file here")
            error.not_moved = tuple(named)
            raise error
        found += [Source(_kind(path), path) for path in fitting]
    return list(dict.fromkeys(found))


def _kind(path: str) -> str:
    try:
        linked = os.path.islink(path.rstrip("/") or path)
        mode = os.stat(path).st_mode
    except OSError:
        return LINK if os.path.islink(path) else NOTHING
    if stat.S_ISDIR(mode):
        return DIRECTORY_LINK if linked else DIRECTORY
    if stat.S_ISREG(mode):
        return FILE_LINK if linked else FILE
    return OTHER


def measure(
    sources: Sequence[Source], follow_symlinks: bool | None, shown: str, target: str
) -> tuple[int, int]:
    """How many files and links there are, and the bytes of the files."""
    files = size = 0
    for source in sources:
        named = follow_symlinks is not False
        found = os.stat(source.path, follow_symlinks=named)
        if not stat.S_ISDIR(found.st_mode):
            files += 1
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
            continue
        left = [(source.path, 0)]
        while left:
            directory, depth = left.pop()
            if depth >= DEEPEST:
                raise TransferError(
                    f"{shown} to {target}: more than {DEEPEST} directories in one another"
                )
            for entry in _entries(directory):
                follow = follow_symlinks is True
                if entry.is_dir(follow_symlinks=follow):
                    left.append((entry.path, depth + 1))
                elif entry.is_file(follow_symlinks=follow):
                    files += 1
                    size += entry.stat(follow_symlinks=follow).st_size
                elif entry.is_symlink():
                    files += 1
    return files, size


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []  # tar will tell
