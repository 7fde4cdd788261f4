"""Which files are meant, and whether they go one by one or as a stream."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..errors import ConfigError, Error, SourceNotFound, TransferError
from ..session.execution import Scope
from ..session.link import Link
from . import local_sources, scripts, streamed_get, streamed_put, trees
from .files import here, threads
from .helpers import Helpers
from .lanes import lanes
from .options import TransferOptions
from .patterns import has_magic, last_name
from .remote import Remote
from .sources import (
    FILE,
    FILE_LINK,
    Source,
    check_names,
    check_sources,
    kept_links,
    selected,
)

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
    check_names(named)
    return named


async def put(
    link: Link,
    scope: Scope,
    local: Paths,
    remote: AnyPath,
    options: TransferOptions,
    helpers: Helpers | None = None,
) -> TransferResult:
    """See `Connection.put`."""
    begun, named = time.monotonic(), _listed(local)
    target, there = scripts.remote_path(remote), Remote(link, scope)
    found = await threads.run(partial(local_sources.find, named, target))
    try:
        sources = _movable(found, target, options)
        if _is_single(found, options):
            async with lanes(there, helpers, options.streams) as ways:
                size = await streamed_put.put_file(ways, found[0].path, target, options)
            return _result(found, 1, size, begun)
        _check_many(options)
        files, size = await trees.put_trees(there, sources, target, options, many=len(found) > 1)
    except Error as error:
        _tell(error, found)
        raise
    return _result(sources, files, size, begun)


async def get(
    link: Link,
    scope: Scope,
    remote: Paths,
    local: AnyPath,
    options: TransferOptions,
    helpers: Helpers | None = None,
) -> TransferResult:
    """See `Connection.get`."""
    begun, named = time.monotonic(), [scripts.remote_path(name) for name in _listed(remote)]
    target, there = os.fsdecode(local), Remote(link, scope)
    found = [Source(FILE, named[0])]
    if _must_look(named, options):
        found = await trees.look(there, named, target)
    if options.parents:
        try:
            await threads.run(partial(os.makedirs, os.path.dirname(target) or ".", exist_ok=True))
        except OSError as error:
            raise here(error, ", ".join(named), target) from error
    try:
        sources = _movable(found, target, options)
        if _is_single(found, options):
            place = _place_here(target, found[0].path)
            async with lanes(there, helpers, options.streams) as ways:
                size = await streamed_get.get_file(ways, found[0].path, place, options)
            return _result(found, 1, size, begun)
        _check_many(options)
        files, size = await trees.get_trees(there, sources, target, options, many=len(found) > 1)
    except Error as error:
        _tell(error, found)
        raise
    return _result(sources, files, size, begun)


def _must_look(named: Sequence[str], options: TransferOptions) -> bool:
    """Whether it can be anything but one file, whose own session tells what it is."""
    many = len(named) > 1 or any(map(has_magic, named))
    return many or options.recurse or options.follow_symlinks is False


def _movable(found: list[Source], target: str, options: TransferOptions) -> list[Source]:
    sources = selected(kept_links(found, options.follow_symlinks), options.selection, target)
    check_sources(sources, target, recurse=options.recurse)
    return sources


def _is_single(found: Sequence[Source], options: TransferOptions) -> bool:
    """Whether it is one file, by its content."""
    if len(found) != 1:
        return False
    followed = found[0].kind == FILE_LINK and options.follow_symlinks is not False
    return found[0].kind == FILE or followed


def _check_many(options: TransferOptions) -> None:
    """What is for single files cannot be had for streams."""
    if options.resume or options.verify or not options.atomic:
        raise ConfigError("resume=, verify= and atomic= are for one file at a time")


def _result(found: Sequence[Source], files: int, size: int, begun: float) -> TransferResult:
    moved = tuple(source.path for source in found)
    return TransferResult(moved, files, size, time.monotonic() - begun)


def _place_here(target: str, source: str) -> str:
    """The whole name of a file here: of a link that is named, of what it leads to."""
    if os.path.isdir(target):
        return os.path.join(target, last_name(source))
    if target.endswith("/"):
        raise SourceNotFound(f"{source} to {target}: there is no such directory here")
    return os.path.realpath(target) if os.path.islink(target) else target


def _tell(error: Error, sources: Sequence[Source]) -> None:
    if isinstance(error, TransferError) and not error.moved:
        error.not_moved = error.not_moved or tuple(source.path for source in sources)
