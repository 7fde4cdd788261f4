"""What is in a directory of the remote, and what a server may say of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from ..errors import SFTPBadMessage, SFTPEOFError
from .attrs import SFTPName
from .operations import Operations, names_of

MOST_ENTRIES = 1_000_000  # of one directory
_MOST_BYTES = 256 * 1024 * 1024  # of what is told of them
_PAIR = 64  # bytes that a pair of extended attributes takes in memory, at least

_AHEAD = 4  # requests for entries under way
_MOST_EMPTY = 16  # answers without an entry, one after the other


async def scan(server: Operations, path: bytes) -> AsyncGenerator[SFTPName, None]:
    """The entries of a directory, as they come; `.` and `..` with them.

    A name that comes once more as the same kind is passed over: file systems tell some twice while
    a directory changes (man 3 readdir; a sftp-server was seen to do so here). Raises
    `SFTPBadMessage` for a name that no file can have, or that comes as another kind, and for a
    listing without an end.
    """
    handle = await server.opendir(path)
    pending: deque[Any] = deque()
    seen: dict[bytes, int] = {}
    empty = told = 0
    try:
        pending.extend(server.readdir(handle) for _ in range(_AHEAD))
        while True:
            try:
                names = names_of(await pending.popleft())
            except SFTPEOFError:
                return
            pending.append(server.readdir(handle))
            before = len(seen)
            for name in names:
                told += _size(name)
                if _is_new(name, seen):
                    yield name
            empty = 0 if len(seen) > before else empty + 1
            if empty > _MOST_EMPTY or len(seen) > MOST_ENTRIES or told > _MOST_BYTES:
                raise SFTPBadMessage(
                    f"the server's list of a directory does not end: {len(seen)} entries so far, "
                    f"of {told} bytes"
                )
    finally:
        for future in pending:
            future.cancel()
        server.drop(handle)


def _size(entry: SFTPName) -> int:
    pairs = entry.attrs.extended
    extended = sum(_PAIR + len(name) + len(value) for name, value in pairs) if pairs else 0
    return len(entry.filename) + len(entry.longname) + extended


def _is_new(entry: SFTPName, seen: dict[bytes, int]) -> bool:
    """A name with a slash would lead out of a directory; one that was a link before, through it."""
    name, kind = entry.filename, entry.attrs.type
    assert isinstance(name, bytes)  # noqa: S101 - as it came
    if not name or b"/" in name or b"\0" in name:
        raise SFTPBadMessage(f"the server has a file named {name[:300]!r}, as none can be")
    known = len(seen)
    if seen.setdefault(name, kind) != kind:
        raise SFTPBadMessage(
            f"the server lists the file {name[:300]!r} twice in one directory, as two kinds"
        )
    return len(seen) > known


async def entries(server: Operations, path: bytes) -> list[SFTPName]:
    """What is in a directory, `.` and `..` left out, and without the long names."""
    found = []
    async for name in scan(server, path):
        if name.filename not in (b".", b".."):
            name.longname = b""
            found.append(name)
    return found
