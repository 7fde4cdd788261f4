"""Which files are meant, and whether they go one by one or as a stream."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..errors import ConfigError, Error, SourceNotFound, TransferError
from ..session.execution import Scope
from ..session.link import Link
from . import scripts, trees
from .files import TransferOptions, get_file, put_file, threads
from .remote import Remote

AnyPath = str | bytes | os.PathLike[str]
Paths = AnyPath | Sequence[AnyPath]


@dataclass(frozen=True)
class TransferResult:
    """What was moved.

    Attributes:
        moved: the sources, as they were named; a pattern's, one by one.
        files: how many files, those in directories included.
        bytes: of their contents.
        seconds: that it took.
    """

    moved: tuple[str, ...]
    files: int
    bytes: int
    seconds: float


def _listed(paths: Paths) -> list[str]:
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
    named = [os.fsdecode(path) for path in several]
    if not named or not all(named) or any("\0" in name for name in named):
        raise ConfigError(f"paths {paths!r}: give the name of a file or directory, or several")
    return named


async def put(
    link: Link, scope: Scope, local: Paths, remote: AnyPath, options: TransferOptions
) -> TransferResult:
    """See `Connection.put`."""
    begun, named = time.monotonic(), _listed(local)
    target = scripts.remote_path(remote)
    found, single = await threads.run(partial(_found_here, named, target))
    try:
        if single:
            size = await put_file(Remote(link, scope), found[0], target, options)
            return TransferResult((found[0],), 1, size, time.monotonic() - begun)
        files, size = await trees.put_trees(Remote(link, scope), found, target, _many(options))
    except Error as error:
        _tell(error, found)
        raise
    return TransferResult(tuple(found), files, size, time.monotonic() - begun)


async def get(
    link: Link, scope: Scope, remote: Paths, local: AnyPath, options: TransferOptions
) -> TransferResult:
    """See `Connection.get`."""
    begun, named = time.monotonic(), [scripts.remote_path(name) for name in _listed(remote)]
    target, there = os.fsdecode(local), Remote(link, scope)
    found: list[tuple[str, str]] = [("f", named[0])]
    if options.recurse or len(named) > 1 or any(map(glob.has_magic, named)):
        found = await trees.look(there, named, target)
    names = [name for _, name in found]
    if options.parents:
        await threads.run(partial(os.makedirs, os.path.dirname(target) or ".", exist_ok=True))
    try:
        if len(found) == 1 and found[0][0] == "f":
            place = _place_here(target, names[0])
            size = await get_file(there, names[0], place, options)
            return TransferResult((names[0],), 1, size, time.monotonic() - begun)
        files, size = await trees.get_trees(there, names, target, _many(options))
    except Error as error:
        _tell(error, names)
        raise
    return TransferResult(tuple(names), files, size, time.monotonic() - begun)


def _many(options: TransferOptions) -> TransferOptions:
    """What is for single files cannot be had for streams."""
    if options.resume or options.verify or not options.atomic:
        raise ConfigError("resume=, verify= and atomic= are for one file at a time")
    return replace(options)


def _found_here(named: list[str], target: str) -> tuple[list[str], bool]:
    """What is meant, and whether it is a single file."""
    found: list[str] = []
    for name in named:
        fitting = [name] if os.path.lexists(name) else sorted(glob.glob(name, recursive=True))
        if not fitting:
            error = SourceNotFound(f"{name} to {target}: there is no such file here")
            error.not_moved = tuple(named)
            raise error
        found += fitting
    return found, len(found) == 1 and not os.path.isdir(found[0])


def _place_here(target: str, source: str) -> str:
    if os.path.isdir(target):
        return os.path.join(target, os.path.basename(source.rstrip("/")))
    if target.endswith("/"):
        raise SourceNotFound(f"{source} to {target}: there is no such directory here")
    return target


def _tell(error: Error, sources: Sequence[str]) -> None:
    if isinstance(error, TransferError) and not error.moved:
        error.not_moved = error.not_moved or tuple(sources)
