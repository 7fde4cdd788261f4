"""The messages of SFTP version 3, purely: what is sent, and what the answers say.

draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL, section 4, for its extensions.

A message is `u32 length | u8 kind | u32 request number | body`; INIT and VERSION have a version
in place of the number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..errors import (
    SFTPBadMessage,
    SFTPConnectionLost,
    SFTPEOFError,
    SFTPError,
    SFTPFailure,
    SFTPNoConnection,
    SFTPNoSpaceOnFilesystem,
    SFTPNoSuchFile,
    SFTPOpUnsupported,
    SFTPPermissionDenied,
)
from .fields import Malformed, Unpacker, string
from .paths import shown
from .statuses import FX_NO_SPACE_ON_FILESYSTEM, LATER

VERSION = 3

# Kinds of messages
INIT, HELLO = 1, 2
OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
LSTAT, FSTAT, SETSTAT, FSETSTAT = 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 11, 12, 13, 14, 15
REALPATH, STAT, RENAME, READLINK, SYMLINK = 16, 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

# How a file is opened: asyncssh's names
FXF_READ, FXF_WRITE, FXF_APPEND = 0x01, 0x02, 0x04
FXF_CREAT, FXF_TRUNC, FXF_EXCL = 0x08, 0x10, 0x20
FXR_OVERWRITE = 0x01  # of `rename`

OK = 0
MAX_PACKET = 256 * 1024  # bytes, as OpenSSH's (sftp-common.h: SFTP_MAX_MSG_LENGTH)
_HEADER = struct.Struct(">IBI")
_HEAD = struct.Struct(">BI")
_LENGTH = struct.Struct(">I")
_WORDS = 2000  # bytes of what a server says of an error

_ERRORS: dict[int, Callable[[str, str], SFTPError]] = {
    **{kind.code: kind for kind in LATER},
    FX_NO_SPACE_ON_FILESYSTEM: SFTPNoSpaceOnFilesystem,
    SFTPEOFError.code: SFTPEOFError,
    SFTPNoSuchFile.code: SFTPNoSuchFile,
    SFTPPermissionDenied.code: SFTPPermissionDenied,
    SFTPFailure.code: SFTPFailure,
    SFTPBadMessage.code: SFTPBadMessage,
    SFTPNoConnection.code: SFTPNoConnection,
    SFTPConnectionLost.code: SFTPConnectionLost,
    SFTPOpUnsupported.code: SFTPOpUnsupported,
}


def packet(kind: int, number: int, body: bytes, more: int = 0) -> bytes:
    """A message; `more` bytes of its body are sent after it."""
    return _HEADER.pack(5 + len(body) + more, kind, number) + body


def greeting() -> bytes:
    """What a client says first."""
    return packet(INIT, VERSION, b"")


class Frames:
    """Cuts what arrives into messages: kind, number and body each.

    A body is a memoryview into what arrived, or the whole of a message whose pieces had to be
    joined.
    """

    __slots__ = ("_pieces", "_size", "_started", "_wanted")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted = 0
        self._started = False

    def feed(self, data: bytes) -> list[tuple[int, int, memoryview]]:
        """The messages that are complete with this piece. Raises `Malformed`."""
        if self._pieces:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        view, at, end = memoryview(data), 0, len(data)
        frames = []
        self._wanted = 4
        while end - at >= 4:
            size = _LENGTH.unpack_from(data, at)[0]
            if not 5 <= size <= MAX_PACKET:
                raise Malformed(self._odd(data[at : at + 80]))
            if end - at < 4 + size:
                self._wanted = 4 + size
                break
            self._started = True
            frames.append((*_HEAD.unpack_from(data, at + 4), view[at + 9 : at + 4 + size]))
            at += 4 + size
        if at < end:
            self._pieces, self._size = [data[at:]], end - at
        return frames

    def _odd(self, start: bytes) -> str:
        if self._started:
            return f"a message cannot begin with {start[:4]!r}"
        return f"it begins with {start!r}"


def extensions(body: memoryview) -> dict[bytes, bytes]:
    """Those that a server says it has, with their versions. Raises `Malformed`."""
    data, found = Unpacker(body), {}
    while data.left:
        name = data.string()
        found[name] = data.string()
    return found


def error_of(body: memoryview) -> SFTPError | None:
    """What a STATUS means; None for OK. Raises `Malformed`."""
    data = Unpacker(body)
    code = data.u32()
    if code == OK:
        return None
    # Version 3 has the two strings, old servers leave them out.
    reason = shown(data.string()[:_WORDS]) if data.left else ""
    lang = shown(data.string()[:_WORDS]) if data.left else ""
    make = _ERRORS.get(code)
    reason = reason or f"status {code}"
    return SFTPError(reason, lang, code=code) if make is None else make(reason, lang)


def extended(name: bytes, body: bytes) -> bytes:
    """The body of an EXTENDED request."""
    return string(name) + body
