"""What an SFTP server can be asked for, one function each. Paths and handles are bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import (
    SFTPBadMessage,
    SFTPConnectionLost,
    SFTPError,
    SFTPFailure,
    SFTPNoConnection,
    SFTPNoSpaceOnFilesystem,
)
from ..errors import SFTPOpUnsupported as Unsupported
from .attrs import SFTPAttrs, SFTPLimits, SFTPName, SFTPVFSAttrs, decode_names
from .channel import Channel, Reply, expect
from .fields import Malformed, Unpacker, string, u32, u64
from .messages import (
    ATTRS,
    CLOSE,
    DATA,
    EXTENDED,
    EXTENDED_REPLY,
    FSETSTAT,
    FSTAT,
    HANDLE,
    LSTAT,
    MAX_PACKET,
    MKDIR,
    NAME,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    STATUS,
    SYMLINK,
    WRITE,
    extended,
)
from .paths import shown

# OpenSSH's extensions (PROTOCOL, section 4), with the versions that are known here
POSIX_RENAME = b"posix-rename@openssh.com", b"1"
STATVFS = b"statvfs@openssh.com", b"2"
FSTATVFS = b"fstatvfs@openssh.com", b"2"
HARDLINK = b"hardlink@openssh.com", b"1"
FSYNC = b"fsync@openssh.com", b"1"
LSETSTAT = b"lsetstat@openssh.com", b"1"
LIMITS = b"limits@openssh.com", b"1"
EXPAND_PATH = b"expand-path@openssh.com", b"1"
COPY_DATA = b"copy-data", b"1"

T = TypeVar("T")

_LEAST = 32 * 1024  # bytes of data in one request that every server takes
_LEAST_PACKET = 34000  # bytes of a message that every server takes (the draft, section 3)
_AROUND = 9  # bytes of a message before its body
_MOST = MAX_PACKET - 1024  # that one message holds, whatever a server says
_LONGEST_HANDLE = 256  # bytes (the draft, section 6.3)


class Operations:
    """The server, as it can be asked.

    Parameters:
        extensions: those it says it has.

    Attributes:
        limits: the server's, once it has told them: before it answers anything that was asked
            after `ask_limits`. Until then, what every server takes.
    """

    def __init__(self, channel: Channel, extensions: dict[bytes, bytes]) -> None:
        self.channel = channel
        self.extensions = extensions
        self.limits = SFTPLimits(0, _LEAST, _LEAST, 0)

    def has(self, extension: tuple[bytes, bytes]) -> bool:
        """Whether the server has an extension, in the version that is known here."""
        name, version = extension
        return self.extensions.get(name) == version

    # Files

    async def open(self, path: bytes, flags: int, attrs: SFTPAttrs) -> bytes:
        """Opens a file: its handle."""
        return await self._opened(OPEN, string(path) + u32(flags) + attrs.encode(), path)

    async def close(self, handle: bytes) -> None:
        """Closes a file or directory."""
        await self._ask(CLOSE, string(handle))

    def closing(self, handle: bytes) -> asyncio.Future[Reply]:
        """Closes it as soon as what was asked of it before is done: the answer is a status."""
        return self.channel.send(CLOSE, string(handle))

    def drop(self, handle: bytes) -> None:
        """Closes what is of no interest any more: nobody waits for that, nor for an error."""
        with contextlib.suppress(SFTPError):  # the session is over
            self.channel.send(CLOSE, string(handle))

    def read(self, handle: bytes, offset: int, size: int) -> asyncio.Future[Reply]:
        """Asks for data: see `data_of`."""
        return self.channel.send(READ, string(handle) + u64(offset) + u32(size))

    def write(self, handle: bytes, offset: int, data: bytes | memoryview) -> asyncio.Future[Reply]:
        """Sends data: the answer is a status."""
        return self.channel.send(WRITE, string(handle) + u64(offset) + u32(len(data)), data)

    async def fstat(self, handle: bytes) -> SFTPAttrs:
        """What an open file is."""
        return _decoded(SFTPAttrs.decode, await self._ask(FSTAT, string(handle), (ATTRS,)))

    async def fsetstat(self, handle: bytes, attrs: SFTPAttrs) -> None:
        """Changes it."""
        await self._ask(FSETSTAT, string(handle) + attrs.encode())

    async def fstatvfs(self, handle: bytes) -> SFTPVFSAttrs:
        """The file system that it is on."""
        return _decoded(
            SFTPVFSAttrs.decode, await self._extended(FSTATVFS, string(handle), (EXTENDED_REPLY,))
        )

    async def fsync(self, handle: bytes) -> None:
        """Sees to it that what was written is on the disk."""
        await self._extended(FSYNC, string(handle))

    async def copy_data(self, source: bytes, at: int, length: int, target: bytes, to: int) -> None:
        """Copies from one open file to another, on the remote. A length of 0: up to the end."""
        body = string(source) + u64(at) + u64(length) + string(target) + u64(to)
        await self._extended(COPY_DATA, body)

    # Directories

    async def opendir(self, path: bytes) -> bytes:
        """Opens a directory: its handle."""
        return await self._opened(OPENDIR, string(path), path)

    def readdir(self, handle: bytes) -> asyncio.Future[Reply]:
        """Asks for some more of its entries: see `names_of`."""
        return self.channel.send(READDIR, string(handle))

    async def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        """Makes a directory."""
        await self._ask(MKDIR, string(path) + attrs.encode(), (), path)

    async def rmdir(self, path: bytes) -> None:
        """Removes an empty one."""
        await self._ask(RMDIR, string(path), (), path)

    # Names

    async def stat(self, path: bytes, *, follow_symlinks: bool = True) -> SFTPAttrs:
        """What a file is."""
        kind = STAT if follow_symlinks else LSTAT
        return _decoded(SFTPAttrs.decode, await self._ask(kind, string(path), (ATTRS,), path))

    async def setstat(self, path: bytes, attrs: SFTPAttrs, *, follow_symlinks: bool = True) -> None:
        """Changes it."""
        body = string(path) + attrs.encode()
        if follow_symlinks:
            await self._ask(SETSTAT, body, (), path)
        else:
            await self._extended(LSETSTAT, body, (), path)

    async def statvfs(self, path: bytes) -> SFTPVFSAttrs:
        """The file system that it is on."""
        return _decoded(
            SFTPVFSAttrs.decode,
            await self._extended(STATVFS, string(path), (EXTENDED_REPLY,), path),
        )

    async def remove(self, path: bytes) -> None:
        """Removes a file."""
        await self._ask(REMOVE, string(path), (), path)

    async def rename(self, old: bytes, new: bytes) -> None:
        """Renames, unless the new name is taken."""
        await self._ask(RENAME, string(old) + string(new), (), old, new)

    async def posix_rename(self, old: bytes, new: bytes) -> None:
        """Renames; what had the new name is gone."""
        await self._extended(POSIX_RENAME, string(old) + string(new), (), old, new)

    async def link(self, old: bytes, new: bytes) -> None:
        """Gives a file one more name."""
        await self._extended(HARDLINK, string(old) + string(new), (), old, new)

    async def symlink(self, target: bytes, path: bytes) -> None:
        """Makes a symbolic link at `path`."""
        # OpenSSH's order, as all servers and clients have it, not the draft's (PROTOCOL, 4.1).
        await self._ask(SYMLINK, string(target) + string(path), (), path)

    async def readlink(self, path: bytes) -> bytes:
        """Where a symbolic link leads."""
        return _one_name(await self._ask(READLINK, string(path), (NAME,), path))

    async def realpath(self, path: bytes) -> bytes:
        """The absolute path, without links."""
        return _one_name(await self._ask(REALPATH, string(path), (NAME,), path))

    async def expand_path(self, path: bytes) -> bytes:
        """The same, of a path that may begin with `~` or `~user`."""
        return _one_name(await self._extended(EXPAND_PATH, string(path), (NAME,), path))

    def ask_limits(self) -> None:
        """Asks the server for its limits, if it has any, which saves a round trip: see `limits`."""
        if self.has(LIMITS):
            asked = self.channel.send(EXTENDED, extended(LIMITS[0], b""))
            asked.add_done_callback(self._learn_limits)

    def _learn_limits(self, asked: asyncio.Future[Reply]) -> None:
        if asked.cancelled() or asked.exception() is not None:
            return  # the session is over, and what it is used for tells why
        try:
            told = _decoded(SFTPLimits.decode, expect(asked.result(), (EXTENDED_REPLY,)))
        except SFTPBadMessage as error:
            self.channel.refuse(error)
            return
        except SFTPError:
            return  # it has none after all
        self.limits = SFTPLimits(
            told.max_packet_len,
            min(told.max_read_len or _LEAST, _MOST),
            min(told.max_write_len or _LEAST, _MOST),
            told.max_open_handles,
        )

    async def why_not_written(
        self, error: SFTPError, look: Callable[[], Awaitable[SFTPVFSAttrs]]
    ) -> SFTPError:
        """A better word for a failed write, if the file system turns out to be full."""
        if isinstance(error, SFTPFailure) and self.has(FSTATVFS):
            try:
                full = (await look()).bavail == 0
            except SFTPError:
                return error
            if full:
                return SFTPNoSpaceOnFilesystem("no space left on the remote file system")
        return error

    # How it is asked

    async def _opened(self, kind: int, body: bytes, path: bytes) -> bytes:
        """A handle. One that nobody waits for any more is closed as soon as it is there."""
        asked = self.channel.send(kind, self._fitting(body))
        try:
            reply = await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._unwanted)
            raise
        try:
            return _handle(reply)
        except SFTPError as error:
            raise about(error, path) from None

    def _unwanted(self, asked: asyncio.Future[Reply]) -> None:
        if not asked.cancelled() and asked.exception() is None:
            with contextlib.suppress(SFTPError):  # there is none, or the session is over
                self.drop(_handle(asked.result()))

    async def _ask(
        self, kind: int, body: bytes, kinds: Sequence[int] = (), *paths: bytes
    ) -> Unpacker:
        reply = await self.channel.send(kind, self._fitting(body))
        try:
            return expect(reply, kinds or (STATUS,))
        except SFTPError as error:
            raise about(error, *paths) from None

    def _fitting(self, body: bytes) -> bytes:
        """A request that the server will take: OpenSSH's ends at one that is too long."""
        most = (self.limits.max_packet_len or _LEAST_PACKET) - _AROUND
        if len(body) > most:
            raise SFTPBadMessage(
                f"a path is too long: {len(body)} bytes, where {most} are the most"
            )
        return body

    async def _extended(
        self,
        extension: tuple[bytes, bytes],
        body: bytes,
        kinds: Sequence[int] = (),
        *paths: bytes,
    ) -> Unpacker:
        if not self.has(extension):
            name = extension[0].decode()
            raise Unsupported(f"this server cannot do that: it lacks the SFTP extension {name}")
        return await self._ask(EXTENDED, extended(extension[0], body), kinds, *paths)


def _handle(reply: Reply) -> bytes:
    handle = _decoded(Unpacker.string, expect(reply, (HANDLE,)))
    if len(handle) > _LONGEST_HANDLE:
        raise SFTPBadMessage(f"the server's name for an open file has {len(handle)} bytes")
    return handle


def data_of(reply: Reply) -> memoryview | bytes:
    """The data that a read answers with. Raises `SFTPEOFError` at the end, or another."""
    return _decoded(Unpacker.view, expect(reply, (DATA,)))


def names_of(reply: Reply) -> list[SFTPName]:
    """The entries that a readdir answers with. Raises `SFTPEOFError` at the end, or another."""
    return _decoded(decode_names, expect(reply, (NAME,)))


def _one_name(body: Unpacker) -> bytes:
    names = _decoded(decode_names, body)
    if len(names) != 1:
        raise SFTPBadMessage(f"the server answers with {len(names)} names where one belongs")
    name = names[0].filename
    assert isinstance(name, bytes)  # noqa: S101 - as it came
    if not name or b"\0" in name:
        raise SFTPBadMessage(f"the server answers with the path {name[:300]!r}, as none can be")
    return name


def _decoded(how: Callable[[Unpacker], T], body: Unpacker) -> T:
    try:
        return how(body)
    except Malformed as error:
        raise SFTPBadMessage(f"the server's answer makes no sense: {error}") from None


def about(error: SFTPError, *paths: bytes) -> SFTPError:
    """The error, with the names of what it is about, if it lacks them."""
    if paths and not error._named and not isinstance(error, SFTPConnectionLost | SFTPNoConnection):
        names = " -> ".join(map(shown, paths))
        error.args = (f"{error}: {names}",)
        error._named = True
    return error


@contextlib.contextmanager
def concerning(path: bytes) -> Iterator[None]:
    """What goes wrong in the block is about a file."""
    try:
        yield
    except SFTPError as error:
        raise about(error, path) from None
