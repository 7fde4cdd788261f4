"""Where a copy goes, on either side: a directory, and what is made below it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from ..errors import (
    SFTPError,
    SFTPFailure,
    SFTPNoSuchFile,
    SFTPOpUnsupported,
    SFTPPermissionDenied,
)
from ..system.links import stays_inside
from .attrs import (
    FILEXFER_TYPE_BLOCK_DEVICE,
    FILEXFER_TYPE_CHAR_DEVICE,
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_FIFO,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SOCKET,
    FILEXFER_TYPE_SYMLINK,
    SFTPAttrs,
)
from .bulk import RemoteFile
from .listing import entries
from .local_file import LocalFile, files, take
from .local_tree import LocalTree, open_named
from .messages import FXF_CREAT, FXF_EXCL, FXF_TRUNC, FXF_WRITE
from .operations import Operations
from .paths import Paths, SFTPPath

_SPECIAL = (FILEXFER_TYPE_FIFO, FILEXFER_TYPE_SOCKET, FILEXFER_TYPE_BLOCK_DEVICE)
_DEFAULT = 0o666  # permissions of a file whose own are not known
_OPEN = FXF_WRITE | FXF_CREAT
_OWNERS = 0o700  # what the owner of a directory needs to fill it


class Target(Protocol):
    """A directory that is copied to. Paths below it are relative, in bytes."""

    def encode(self, path: SFTPPath) -> bytes:
        """A path of the caller's, as it is used there."""

    async def begin(self, to: bytes) -> bool:
        """Says what is copied to: a directory that is there, or (False) a name for what comes.

        To be called once, before all others.
        """

    def shown(self, path: bytes) -> bytes:
        """The path as the caller sees it."""

    async def open(self, path: bytes, source: SFTPAttrs) -> Any:
        """Opens a file to be written from its start, as that side has it.

        Parameters:
            source: what is copied. A file that may be that itself, seen from the other side, is not
                emptied: a home that both machines share, or one machine.
        """

    async def make_directory(self, path: bytes, mode: int | None) -> int | None:
        """Makes a directory. The permissions of one that was there and could not be filled."""

    async def leads_out(self, path: bytes, root: bytes, links: Mapping[bytes, bytes]) -> bool:
        """Whether a link, which is among `links`, may lead out of what is copied."""

    async def make_link(self, path: bytes, leads_to: bytes) -> None:
        """Makes a link, in place of a link or file that is there."""

    async def keep(self, path: bytes, attrs: SFTPAttrs, *, link: bool) -> None:
        """Sets permissions and times."""

    async def end(self) -> None:
        """Lets go of it."""


@dataclass
class LocalTarget:
    """A directory of this machine. What may block is done in a thread.

    Parameters:
        follow: a link that the caller names as the file to be written is followed.
    """

    follow: bool
    _tree: LocalTree | None = None
    _to: bytes = b""
    _base: bytes = b""
    _exact: bytes | None = None  # the name that the caller gave

    def encode(self, path: SFTPPath) -> bytes:
        """A path in bytes."""
        return os.fsencode(path)

    async def begin(self, to: bytes) -> bool:
        """Opens the directory."""
        self._to = self._base = to
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._tree = await _opened(to)
            return True
        name = to.rstrip(b"/")
        self._base, self._exact = posixpath.dirname(name), posixpath.basename(name)
        self._tree = await _opened(self._base)
        return False

    @property
    def tree(self) -> LocalTree:
        """The files below it."""
        assert self._tree is not None  # noqa: S101 - it has begun
        return self._tree

    def shown(self, path: bytes) -> bytes:
        """The path as the caller sees it."""
        return self._to if path == self._exact else posixpath.join(self._base, path)

    async def open(self, path: bytes, source: SFTPAttrs) -> LocalFile:
        """Opens a file to be written from its start."""
        mode = _DEFAULT if source.permissions is None else source.permissions
        exact = path == self._exact
        if exact and self._to.endswith(b"/"):
            raise SFTPFailure("there is no such directory")

        def opened() -> LocalFile:
            if exact and self.follow:
                file = LocalFile(open_named(self._to, mode), self._to)
            else:
                file = LocalFile(self.tree.open(path, mode, device=exact), self.shown(path))
            file.empty = not may_be_one(source, SFTPAttrs(size=file.size, mtime=file.mtime))
            if file.empty:
                file.clear_now()
            return file

        return await take(opened, LocalFile.close_now)

    async def make_directory(self, path: bytes, mode: int | None) -> int | None:
        """Makes a directory."""
        mode = 0o777 if mode is None else mode
        return await files.run(partial(self.tree.make_directory, path, mode))

    async def leads_out(self, path: bytes, root: bytes, links: Mapping[bytes, bytes]) -> bool:
        """Whether a link may lead out of what is copied."""

        def is_link(at: bytes) -> bool:
            found = self.tree.look(at)
            return found is not None and stat.S_ISLNK(found.st_mode)

        return not await files.run(partial(stays_inside, path, links[path], root, links, is_link))

    async def make_link(self, path: bytes, leads_to: bytes) -> None:
        """Makes a link."""
        await files.run(partial(self.tree.make_link, path, leads_to))

    async def keep(self, path: bytes, attrs: SFTPAttrs, *, link: bool) -> None:
        """Sets permissions and times."""
        times = None
        if attrs.atime is not None and attrs.mtime is not None:
            times = attrs.atime, attrs.mtime
        mode = None if link else attrs.permissions
        await files.run(partial(self.tree.keep, path, mode, times))

    async def end(self) -> None:
        """Closes the directory."""
        if self._tree is not None:
            self._tree.close()
            self._tree = None


async def _opened(directory: bytes) -> LocalTree:
    return await take(partial(LocalTree, directory), LocalTree.close)


class RemoteTarget:
    """A directory of a server. Its links are its own affair, but for those inside of trees."""

    def __init__(self, server: Operations, paths: Paths) -> None:
        self._server = server
        self._paths = paths
        self._base = self._to = b""
        self._exact: bytes | None = None
        self._links: set[bytes] = set()  # that were there before
        self._special: set[bytes] = set()  # what is neither file, directory nor link

    def encode(self, path: SFTPPath) -> bytes:
        """A path in bytes, from the working directory."""
        return self._paths.compose(path)

    async def begin(self, to: bytes) -> bool:
        """Looks at it."""
        self._to = self._base = to
        found = None
        with contextlib.suppress(SFTPNoSuchFile):
            found = (await self._server.stat(to or b".")).type
        if found == FILEXFER_TYPE_DIRECTORY:
            return True
        name = to.rstrip(b"/")
        self._base, self._exact = posixpath.dirname(name), posixpath.basename(name)
        if found in _SPECIAL:
            self._special.add(self._exact)
        return False

    def shown(self, path: bytes) -> bytes:
        """The path as the caller sees it, and the server."""
        return self._to if path == self._exact else posixpath.join(self._base, path)

    async def open(self, path: bytes, source: SFTPAttrs) -> RemoteFile:
        """Opens a file to be written from its start.

        A link that a tree has in its place is replaced, and so is a file that is not to be written.
        """
        there = self.shown(path)
        if path in self._special:  # opening a FIFO would wait for its reader
            raise SFTPFailure("a device, FIFO or socket is not written to")
        mode = source.permissions
        attrs = SFTPAttrs(permissions=None if mode is None else mode & 0o777)
        if path in self._links:
            return await self._open_anew(there, attrs)
        try:
            return await self._open_that_there(there, attrs, source)
        except SFTPPermissionDenied:
            found = None
            with contextlib.suppress(SFTPNoSuchFile, SFTPPermissionDenied):
                found = (await self._server.stat(there, follow_symlinks=False)).type
            if found != FILEXFER_TYPE_REGULAR:
                raise
            return await self._open_anew(there, attrs)

    async def _open_anew(self, there: bytes, attrs: SFTPAttrs) -> RemoteFile:
        """Opens a new one in place of what is there."""
        await self._server.remove(there)
        return RemoteFile(await self._server.open(there, _OPEN | FXF_EXCL, attrs), there)

    async def _open_that_there(
        self, there: bytes, attrs: SFTPAttrs, source: SFTPAttrs
    ) -> RemoteFile:
        """Opens it, and empties it unless it may be the source; a new one in one round trip."""
        # What is there is asked before it is opened, and in the same round trip.
        looking, opening = self._server.stat(there), self._server.open(there, _OPEN, attrs)
        found, handle = await asyncio.gather(looking, opening, return_exceptions=True)
        if isinstance(handle, BaseException):
            raise handle
        if isinstance(found, SFTPNoSuchFile):
            return RemoteFile(handle, there)
        if isinstance(found, SFTPAttrs):
            if may_be_one(source, found):
                return RemoteFile(handle, there, empty=False)
            if found.size == 0:
                return RemoteFile(handle, there)
        try:
            await self._server.fsetstat(handle, SFTPAttrs(size=0))
        except SFTPError:  # it may know no sizes that are set
            self._server.drop(handle)
            handle = await self._server.open(there, _OPEN | FXF_TRUNC, attrs)
        except BaseException:
            self._server.drop(handle)
            raise
        return RemoteFile(handle, there)

    async def make_directory(self, path: bytes, mode: int | None) -> int | None:
        """Makes a directory; looks at one that is there."""
        there = self.shown(path)
        attrs = SFTPAttrs() if mode is None else SFTPAttrs(permissions=(mode & 0o777) | _OWNERS)
        try:
            await self._server.mkdir(there, attrs)
        except (SFTPFailure, SFTPPermissionDenied) as error:
            try:
                found = await self._server.stat(there)
            except SFTPNoSuchFile:
                raise error from None
            if found.type != FILEXFER_TYPE_DIRECTORY:
                raise error from None
            return await self._merge(path, there, found.permissions)
        return None

    async def _merge(self, path: bytes, there: bytes, mode: int | None) -> int | None:
        for name in await entries(self._server, there):
            assert isinstance(name.filename, bytes)  # noqa: S101 - as it came
            there_is = posixpath.join(path, name.filename)
            if name.attrs.type == FILEXFER_TYPE_SYMLINK:
                self._links.add(there_is)
            elif name.attrs.type in (*_SPECIAL, FILEXFER_TYPE_CHAR_DEVICE):
                self._special.add(there_is)
        if mode is None or mode & _OWNERS == _OWNERS:
            return None
        try:
            await self._server.setstat(there, SFTPAttrs(permissions=(mode & 0o7777) | _OWNERS))
        except SFTPPermissionDenied:
            return None  # it is somebody else's
        return mode & 0o7777

    async def leads_out(self, path: bytes, root: bytes, links: Mapping[bytes, bytes]) -> bool:
        """A link there is what it is here."""
        return False

    async def make_link(self, path: bytes, leads_to: bytes) -> None:
        """Makes a link."""
        there = self.shown(path)
        try:
            await self._server.symlink(leads_to, there)
        except SFTPFailure:
            kind = (await self._server.stat(there, follow_symlinks=False)).type
            if kind == FILEXFER_TYPE_SYMLINK and await self._server.readlink(there) == leads_to:
                return
            if kind not in (FILEXFER_TYPE_SYMLINK, FILEXFER_TYPE_REGULAR):
                raise
            await self._server.remove(there)
            await self._server.symlink(leads_to, there)

    async def keep(self, path: bytes, attrs: SFTPAttrs, *, link: bool) -> None:
        """Sets permissions and times: the nearest that the protocol has."""
        mode = None if link else attrs.permissions
        kept = replace(attrs, permissions=mode, atime=_time(attrs.atime), mtime=_time(attrs.mtime))
        try:
            await self._server.setstat(self.shown(path), kept, follow_symlinks=not link)
        except SFTPOpUnsupported:
            if not link:
                raise

    async def end(self) -> None:
        """There is nothing to let go of."""


def may_be_one(one: SFTPAttrs, other: SFTPAttrs) -> bool:
    """Whether two files may be one and the same, seen from two machines, and have content.

    Neither device nor inode are told by SFTP. Two files that only look so lose nothing: of the same
    size, one is written over the other.
    """
    if not one.size or one.size != other.size or one.mtime is None or other.mtime is None:
        return False
    return int(one.mtime) == int(other.mtime)


def _time(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0), 2**32 - 1)
