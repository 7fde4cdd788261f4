"""The two sides of a copy, with the same names: files here, and files on the remote."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ..errors import SFTPBadMessage, SFTPEOFError
from ..system.tasks import run_to_end
from .attrs import FILEXFER_TYPE_DIRECTORY, SFTPAttrs, SFTPName
from .bulk import files
from .globbing import escape
from .operations import Operations, names_of
from .paths import Paths, SFTPPath

_AHEAD = 4  # requests for entries of a directory under way


class FileSystem(Protocol):
    """Where files are."""

    def encode(self, path: SFTPPath) -> bytes:
        """A path as it is used there."""

    def pattern(self, path: SFTPPath) -> bytes:
        """The same of a pattern, which the working directory is none of."""

    async def stat(self, path: bytes, *, follow_symlinks: bool = True) -> SFTPAttrs:
        """What a file is."""

    async def setstat(self, path: bytes, attrs: SFTPAttrs, *, follow_symlinks: bool = True) -> None:
        """Sets its permissions and times."""

    async def entries(self, path: bytes) -> list[SFTPName]:
        """What is in a directory, `.` and `..` left out."""

    async def mkdir(self, path: bytes) -> None:
        """Makes a directory."""

    async def readlink(self, path: bytes) -> bytes:
        """Where a link leads."""

    async def symlink(self, target: bytes, path: bytes) -> None:
        """Makes a link."""


async def is_directory(side: FileSystem, path: bytes) -> bool:
    """Whether it is one, or leads to one."""
    try:
        return (await side.stat(path)).type == FILEXFER_TYPE_DIRECTORY
    except FileNotFoundError:
        return False


class LocalFiles:
    """Files of this machine. What may block is done in a thread."""

    def encode(self, path: SFTPPath) -> bytes:
        """A path in bytes."""
        return os.fsencode(path)

    def pattern(self, path: SFTPPath) -> bytes:
        """A pattern in bytes."""
        return os.fsencode(path)

    async def stat(self, path: bytes, *, follow_symlinks: bool = True) -> SFTPAttrs:
        """What a file is."""
        found = await files.run(partial(os.stat, path, follow_symlinks=follow_symlinks))
        return SFTPAttrs.from_local(found)

    async def setstat(self, path: bytes, attrs: SFTPAttrs, *, follow_symlinks: bool = True) -> None:
        """Sets its permissions and times."""
        await files.run(partial(_set_here, path, attrs, follow_symlinks))

    async def entries(self, path: bytes) -> list[SFTPName]:
        """What is in a directory."""
        return await files.run(partial(_entries_here, path))

    async def mkdir(self, path: bytes) -> None:
        """Makes a directory."""
        await files.run(partial(os.mkdir, path))

    async def readlink(self, path: bytes) -> bytes:
        """Where a link leads."""
        return await files.run(partial(os.readlink, path))

    async def symlink(self, target: bytes, path: bytes) -> None:
        """Makes a link."""
        await files.run(partial(os.symlink, target, path))


def _set_here(path: bytes, attrs: SFTPAttrs, follow: bool) -> None:
    if attrs.permissions is not None and (follow or os.chmod in os.supports_follow_symlinks):
        os.chmod(path, stat.S_IMODE(attrs.permissions), follow_symlinks=follow)
    if attrs.atime is not None and attrs.mtime is not None:
        os.utime(path, (attrs.atime, attrs.mtime), follow_symlinks=follow)


def _entries_here(path: bytes) -> list[SFTPName]:
    with os.scandir(path) as found:
        return [
            SFTPName(
                os.fsencode(entry.name),
                attrs=SFTPAttrs.from_local(entry.stat(follow_symlinks=False)),
            )
            for entry in found
        ]


class RemoteFiles:
    """Files of a server."""

    def __init__(self, server: Operations, paths: Paths) -> None:
        self.server = server
        self._paths = paths

    def encode(self, path: SFTPPath) -> bytes:
        """A path in bytes, from the working directory."""
        return self._paths.compose(path)

    def pattern(self, path: SFTPPath) -> bytes:
        """A pattern in bytes, from the working directory."""
        return self._paths.compose(path, escape(self._paths.compose(b"")))

    async def stat(self, path: bytes, *, follow_symlinks: bool = True) -> SFTPAttrs:
        """What a file is."""
        return await self.server.stat(path, follow_symlinks=follow_symlinks)

    async def setstat(self, path: bytes, attrs: SFTPAttrs, *, follow_symlinks: bool = True) -> None:
        """Sets its permissions and times."""
        # Files may have times that the protocol does not have: the nearest that it has.
        kept = replace(attrs, atime=_time(attrs.atime), mtime=_time(attrs.mtime))
        await self.server.setstat(path, kept, follow_symlinks=follow_symlinks)

    async def entries(self, path: bytes) -> list[SFTPName]:
        """What is in a directory."""
        found = []
        async with contextlib.aclosing(scan(self.server, path)) as names:
            async for name in names:
                if name.filename in (b".", b".."):
                    continue
                # A name with a slash would lead out of the directory that is written to.
                if b"/" in name.filename or not name.filename:
                    raise SFTPBadMessage(f"the server has a file named {name.filename!r}")
                found.append(name)
        return found

    async def mkdir(self, path: bytes) -> None:
        """Makes a directory."""
        await self.server.mkdir(path, SFTPAttrs())

    async def readlink(self, path: bytes) -> bytes:
        """Where a link leads."""
        return await self.server.readlink(path)

    async def symlink(self, target: bytes, path: bytes) -> None:
        """Makes a link."""
        await self.server.symlink(target, path)


def _time(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0), 2**32 - 1)


async def scan(server: Operations, path: bytes) -> AsyncGenerator[SFTPName, None]:
    """The entries of a directory, as they come; `.` and `..` with them."""
    handle = await server.opendir(path)
    pending: list[Any] = []
    try:
        pending = [server.readdir(handle) for _ in range(_AHEAD)]
        while True:
            try:
                names = names_of(await pending.pop(0))
            except SFTPEOFError:
                return
            pending.append(server.readdir(handle))
            for name in names:
                yield name
    finally:
        for future in pending:
            future.cancel()
        await run_to_end(partial(close_quietly, server, handle))


async def close_quietly(server: Operations, handle: bytes) -> None:
    """Closes what is not of interest any more; an error is not, either."""
    with contextlib.suppress(Exception):
        await server.close(handle)
