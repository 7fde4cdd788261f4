"""Where a copy comes from, on either side, with the same names: files here, or on the remote."""

from __future__ import annotations

import os
import posixpath
from functools import partial
from typing import Protocol

from .attrs import SFTPAttrs, SFTPName
from .globbing import escape
from .listing import entries
from .local_file import files
from .operations import Operations
from .paths import Paths, SFTPPath


class FileSystem(Protocol):
    """Where files are."""

    def encode(self, path: SFTPPath) -> bytes:
        """A path as it is used there."""

    def pattern(self, path: SFTPPath) -> bytes:
        """The same of a pattern, which the working directory is none of."""

    async def stat(self, path: bytes, *, follow_symlinks: bool = True) -> SFTPAttrs:
        """What a file is."""

    async def entries(self, path: bytes) -> list[SFTPName]:
        """What is in a directory, `.` and `..` left out."""

    async def readlink(self, path: bytes) -> bytes:
        """Where a link leads."""

    async def realpath(self, path: bytes) -> bytes:
        """The absolute path, without links."""


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

    async def entries(self, path: bytes) -> list[SFTPName]:
        """What is in a directory."""
        return await files.run(partial(_entries_here, path))

    async def readlink(self, path: bytes) -> bytes:
        """Where a link leads."""
        return await files.run(partial(os.readlink, path))

    async def realpath(self, path: bytes) -> bytes:
        """The absolute path, without links."""
        return await files.run(partial(os.path.realpath, path))


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

    async def entries(self, path: bytes) -> list[SFTPName]:
        """What is in a directory."""
        return await entries(self.server, path)

    async def readlink(self, path: bytes) -> bytes:
        """Where a link leads."""
        return await self.server.readlink(path)

    async def realpath(self, path: bytes) -> bytes:
        """The absolute path, without links."""
        return await self.server.realpath(path)


def parent(path: bytes) -> bytes:
    """The directory that a path is in."""
    return posixpath.dirname(path.rstrip(b"/")) or b"."
