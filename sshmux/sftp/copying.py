"""Copies of files and trees: which, where to, in which order. How bytes move is `bulk`'s."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePath
from typing import Literal, Protocol, TypedDict

from ..errors import SFTPBadMessage, SFTPError, SFTPFailure, SFTPNoSuchFile, SFTPOpUnsupported
from .attrs import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SYMLINK,
    FILEXFER_TYPE_UNKNOWN,
    SFTPAttrs,
    SFTPName,
)
from .filesystems import FileSystem, LocalFiles, is_directory
from .globbing import search
from .operations import about
from .paths import SFTPPath, basename

SFTPPaths = SFTPPath | Sequence[SFTPPath]
ProgressHandler = Callable[[bytes, bytes, int, int], object] | None
ErrorHandler = Callable[[Exception], object] | Literal[False] | None

_AT_ONCE = 16  # files


class CopyKeywords(TypedDict, total=False):
    """How to copy, as the caller says it: see `SFTPClient.get`."""

    preserve: bool
    recurse: bool
    follow_symlinks: bool
    sparse: bool
    block_size: int
    max_requests: int
    progress_handler: ProgressHandler
    error_handler: ErrorHandler


@dataclass(frozen=True)
class CopyOptions:
    """How to copy."""

    preserve: bool = False
    recurse: bool = False
    follow_symlinks: bool = False
    sparse: bool = True
    block_size: int = -1
    max_requests: int = -1
    progress_handler: ProgressHandler = None
    error_handler: ErrorHandler = None


class FileCopier(Protocol):
    """Moves the bytes of one file."""

    def __call__(
        self, source: bytes, target: bytes, size: int, progress: Callable[[int], object] | None
    ) -> Awaitable[None]:
        """Moves them."""


@dataclass
class Copy:
    """A copy of files, directories and links from one side to another."""

    source: FileSystem
    target: FileSystem
    move: FileCopier
    options: CopyOptions
    _root: bytes = b""  # what is copied to, as it was said
    _directories: list[tuple[bytes, bytes]] = field(default_factory=list)  # their times come last

    async def run(self, sources: SFTPPaths, target: SFTPPath | None, *, patterns: bool) -> None:
        """Copies. Raises `SFTPError` and `OSError`, unless there is a handler for them.

        Parameters:
            target: a name, or a directory to copy into; None for the working directory.
            patterns: the sources are patterns.
        """
        if isinstance(sources, str | bytes | PurePath):
            sources = [sources]
        to = self.target.encode(b"" if target is None else target)
        self._root = to
        found = unique([name for path in sources for name in await self._found(path, patterns)])
        into = target is None or await is_directory(self.target, to)
        if len(found) > 1 and not into:
            raise SFTPFailure(f"{_shown(to)} must be a directory, to copy several to it")
        try:
            async with asyncio.TaskGroup() as group:
                crew = _WorkerPool(group)
                for name in found:
                    path = _bytes(name)
                    there = posixpath.join(to, basename(path)) if into else to
                    await self._copy(crew, path, there, name.attrs)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from several.exceptions[0].__cause__
        for path, there in reversed(self._directories):
            await self._guarded(self._preserve(path, there, link=False), path, there)

    async def _found(self, path: SFTPPath, patterns: bool) -> list[SFTPName]:
        found: list[SFTPName] = []

        async def look() -> None:
            if not patterns:
                attrs = await self._stat(encoded, self.options.follow_symlinks)
                found.append(SFTPName(encoded, attrs=attrs))
                return
            found.extend([name async for name in search(self.source, self.source.pattern(path))])
            if not found:
                raise SFTPNoSuchFile(f"nothing fits the pattern {_shown(encoded)}")

        encoded = self.source.encode(path)
        await self._guarded(look(), encoded, self._root)
        return found

    async def _stat(self, path: bytes, follow: bool) -> SFTPAttrs:
        return await self.source.stat(path, follow_symlinks=follow)

    async def _copy(self, crew: _WorkerPool, path: bytes, there: bytes, attrs: SFTPAttrs) -> None:
        await self._guarded(self._copy_any(crew, path, there, attrs), path, there)

    async def _guarded(self, work: Awaitable[None], path: bytes, there: bytes) -> None:
        """Does something about a file. What goes wrong names it, and goes to the handler."""
        try:
            await work
        except (SFTPError, OSError) as error:
            if isinstance(error, SFTPError):
                about(error, path, there)
            if not hasattr(error, "srcpath") or error.srcpath is None:
                error.srcpath, error.dstpath = path, there  # type: ignore[union-attr]
                if not self.options.error_handler:
                    raise
                self._handled(error, path, there)
            else:
                raise  # the handler's own, or one that is named already

    def _handled(self, error: Exception, path: bytes, there: bytes) -> None:
        assert self.options.error_handler  # noqa: S101 - looked at by the caller
        try:
            self.options.error_handler(error)
        except (SFTPError, OSError) as own:
            own.srcpath, own.dstpath = path, there  # type: ignore[union-attr]
            raise  # not handed to it once more, for the directory

    async def _copy_any(
        self, crew: _WorkerPool, path: bytes, there: bytes, attrs: SFTPAttrs
    ) -> None:
        if attrs.type == FILEXFER_TYPE_SYMLINK and self.options.follow_symlinks:
            attrs = await self._stat(path, True)
        if attrs.type == FILEXFER_TYPE_DIRECTORY:
            await self._copy_directory(crew, path, there)
        elif attrs.type == FILEXFER_TYPE_SYMLINK:
            await self._copy_link(path, there)
        elif attrs.type in (FILEXFER_TYPE_REGULAR, FILEXFER_TYPE_UNKNOWN):
            await crew.start(
                lambda: self._guarded(self._copy_file(path, there, attrs), path, there)
            )
        else:
            raise SFTPFailure(f"{_shown(path)} is neither a file nor a directory: left out")

    async def _copy_directory(self, crew: _WorkerPool, path: bytes, there: bytes) -> None:
        if not self.options.recurse:
            raise SFTPFailure(f"{_shown(path)} is a directory: use recurse=True")
        if not await is_directory(self.target, there):
            await self.target.mkdir(there)
        if self.options.preserve:
            self._directories.append((path, there))
        for name in await self.source.entries(path):
            below = _bytes(name)
            await self._copy(
                crew, posixpath.join(path, below), posixpath.join(there, below), name.attrs
            )

    async def _copy_file(self, path: bytes, there: bytes, attrs: SFTPAttrs) -> None:
        total = attrs.size or 0
        handler = self.options.progress_handler
        progress = None
        if handler is not None:
            progress = _Progress(handler, path, there, total)
        await self.move(path, there, total, progress)
        if progress is not None and not progress.told:
            progress(0)
        if self.options.preserve:
            await self._preserve(path, there, link=False)

    async def _copy_link(self, path: bytes, there: bytes) -> None:
        leads_to = await self.source.readlink(path)
        if isinstance(self.target, LocalFiles):
            # A link that is copied by itself may lead to its neighbours.
            root = os.path.dirname(there) if there == self._root else self._root
            _check_link(leads_to, there, root)
        await self.target.symlink(leads_to, there)
        if self.options.preserve:
            await self._preserve(path, there, link=True)

    async def _preserve(self, path: bytes, there: bytes, *, link: bool) -> None:
        attrs = await self._stat(path, not link)
        # Linux cannot set the permissions of a link, and nobody asks for them.
        permissions = None if link else attrs.permissions
        kept = SFTPAttrs(permissions=permissions, atime=attrs.atime, mtime=attrs.mtime)
        try:
            await self.target.setstat(there, kept, follow_symlinks=not link)
        except SFTPOpUnsupported:
            if not link:
                raise


class _WorkerPool:
    """Copies files, so many at a time."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Starts, once there is a place."""
        await self._places.acquire()
        self._group.create_task(self._do(work))

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            self._places.release()


@dataclass
class _Progress:
    """Tells the handler about one file."""

    handler: Callable[[bytes, bytes, int, int], object]
    path: bytes
    there: bytes
    total: int
    told: bool = False

    def __call__(self, done: int) -> None:
        self.told = True
        self.handler(self.path, self.there, done, self.total)


def unique(names: Sequence[SFTPName]) -> list[SFTPName]:
    """Each path once: several patterns may fit it."""
    return list({name.filename: name for name in names}.values())


def _check_link(leads_to: bytes, there: bytes, root: bytes) -> None:
    """A link that a server makes here must not lead out of what is being copied to."""
    parent, root = os.path.realpath(os.path.dirname(there) or b"."), os.path.realpath(root or b".")
    end = os.path.normpath(os.path.join(parent, leads_to))
    inside = end == root or end.startswith(root.rstrip(b"/") + b"/")
    if os.path.isabs(leads_to) or not inside or _turns_back(leads_to):
        raise SFTPBadMessage(
            f"{_shown(there)} would be a link to {_shown(leads_to)}, outside of the directory "
            "that is copied to: use follow_symlinks=True to copy what it leads to"
        )


def _turns_back(leads_to: bytes) -> bool:
    """Whether it goes up after it went down: where that ends another link can change."""
    parts = [part for part in leads_to.split(b"/") if part not in (b"", b".")]
    return any(part == b".." != before for before, part in pairwise(parts))


def _bytes(name: SFTPName) -> bytes:
    assert isinstance(name.filename, bytes)  # noqa: S101 - as sides give it
    return name.filename


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
