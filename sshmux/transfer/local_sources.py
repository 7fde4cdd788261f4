"""What is to be sent from here: what it is, how many files, and how large."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import SourceNotFound, TransferError
from ..system.selection import Selection
from .holes import has_holes
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


@dataclass
class Measure:
    """What is to be sent.

    Attributes:
        files: how many files and links there are.
        size: of the files, in bytes.
        holes: whether a file has some.
        chosen: of each source the paths below it ("" for itself), if not all of them go.
    """

    files: int = 0
    size: int = 0
    holes: bool = False
    chosen: dict[str, list[str]] = field(default_factory=dict)


def measure(
    sources: Sequence[Source],
    follow_symlinks: bool | None,
    selection: Selection | None,
    what: str,
) -> Measure:
    """Goes through all of it. Raises `TransferError`, and `OSError` for what cannot be read.

    Without a selection tar goes through it again, and tells what it cannot read.
    """
    found = Measure()
    for source in sources:
        chosen: list[str] = []
        for path, file in _walk(source, follow_symlinks, selection, what):
            if file is not None:
                found.files += 1
                if stat.S_ISREG(file.st_mode):
                    found.size += file.st_size
                    found.holes = found.holes or has_holes(file)
            if selection is not None:
                chosen.append(path)
        found.chosen[source.path] = chosen
    return found


def _walk(
    source: Source, follow_symlinks: bool | None, selection: Selection | None, what: str
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Each path below a source, and what it is, with None for a directory."""
    named = os.stat(source.path, follow_symlinks=follow_symlinks is not False)
    if not stat.S_ISDIR(named.st_mode):
        yield "", named
        return
    follow = follow_symlinks is True
    left = [("", 0)]
    while left:
        path, depth = left.pop()
        if depth >= DEEPEST:
            raise TransferError(f"{what}: more than {DEEPEST} directories in one another")
        yield path, None
        for entry in _entries(os.path.join(source.path, path), strict=selection is not None):
            below, directory = os.path.join(path, entry.name), entry.is_dir(follow_symlinks=follow)
            if selection is not None:
                whole = os.fsencode(os.path.join(source.name, below))
                if not selection.takes(whole, directory=directory):
                    continue
            if directory:
                left.append((below, depth + 1))
            elif entry.is_file(follow_symlinks=follow):
                yield below, entry.stat(follow_symlinks=follow)
            elif entry.is_symlink():
                yield below, entry.stat(follow_symlinks=False)


def _entries(directory: str, *, strict: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        if strict:
            raise
        return []  # tar will tell
