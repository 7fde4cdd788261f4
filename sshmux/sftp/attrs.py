"""What SFTP says of files, in asyncssh's records, and how it is written on the wire.

draft-ietf-secsh-filexfer-02, section 5; OpenSSH's PROTOCOL, section 4.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass, field
from math import floor
from os import stat_result

from .fields import Malformed, Unpacker, string, u32, u64

# Kinds of files: asyncssh's names (in version 3 they follow from the permissions)
FILEXFER_TYPE_REGULAR = 1
FILEXFER_TYPE_DIRECTORY = 2
FILEXFER_TYPE_SYMLINK = 3
FILEXFER_TYPE_SPECIAL = 4
FILEXFER_TYPE_UNKNOWN = 5
FILEXFER_TYPE_SOCKET = 6
FILEXFER_TYPE_CHAR_DEVICE = 7
FILEXFER_TYPE_BLOCK_DEVICE = 8
FILEXFER_TYPE_FIFO = 9

_TYPES = {
    stat.S_IFREG: FILEXFER_TYPE_REGULAR,
    stat.S_IFDIR: FILEXFER_TYPE_DIRECTORY,
    stat.S_IFLNK: FILEXFER_TYPE_SYMLINK,
    stat.S_IFSOCK: FILEXFER_TYPE_SOCKET,
    stat.S_IFCHR: FILEXFER_TYPE_CHAR_DEVICE,
    stat.S_IFBLK: FILEXFER_TYPE_BLOCK_DEVICE,
    stat.S_IFIFO: FILEXFER_TYPE_FIFO,
}

_SIZE, _OWNERS, _PERMISSIONS, _TIMES, _EXTENDED = 0x1, 0x2, 0x4, 0x8, 0x80000000
_STAT = struct.Struct(">IQIIIII")  # what OpenSSH's server answers to every stat
_ELEVEN, _FOUR = struct.Struct(">11Q"), struct.Struct(">4Q")
_ALL = _SIZE | _OWNERS | _PERMISSIONS | _TIMES
_LONGEST = 2**63 - 1  # bytes: no system has a longer file, and none can be asked for one


@dataclass(slots=True)
class SFTPAttrs:
    """The attributes of a file. None: not told, or not to be set.

    Attributes:
        type: one of the FILEXFER_TYPE_ constants.
        size: in bytes.
        uid, gid: numbers on the remote.
        permissions: as `st_mode`, kind of file included.
        atime, mtime: seconds since 1970, whole ones: the protocol has no finer ones.
        extended: pairs of a name and a value.
    """

    type: int = FILEXFER_TYPE_UNKNOWN
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    permissions: int | None = None
    atime: float | None = None
    mtime: float | None = None
    extended: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def from_local(cls, result: stat_result) -> SFTPAttrs:
        """Those of a file here."""
        mode = result.st_mode
        return cls(
            *(_type_of(mode), result.st_size, result.st_uid, result.st_gid, mode),
            *(result.st_atime, result.st_mtime),
        )

    @property
    def atime_ns(self) -> int | None:
        """`atime` in nanoseconds."""
        return None if self.atime is None else int(self.atime * 1e9)

    @property
    def mtime_ns(self) -> int | None:
        """`mtime` in nanoseconds."""
        return None if self.mtime is None else int(self.mtime * 1e9)

    def encode(self) -> bytes:
        """As it is sent. Owners and times go in pairs; half of a pair is no use.

        Raises `ValueError` for half of a pair, and for numbers that the protocol does not have.
        """
        parts = {
            _SIZE: b"" if self.size is None else u64(self.size),
            _OWNERS: _pair("uid and gid", self.uid, self.gid),
            _PERMISSIONS: b"" if self.permissions is None else u32(self.permissions),
            _TIMES: _pair("atime and mtime", self.atime, self.mtime),
            _EXTENDED: _extended(self.extended),
        }
        return u32(sum(flag for flag, part in parts.items() if part)) + b"".join(parts.values())

    @classmethod
    def decode(cls, data: Unpacker) -> SFTPAttrs:
        """As it came. Raises `Malformed`."""
        if data.left >= _STAT.size and data.peek_u32() == _ALL:
            _, size, uid, gid, mode, atime, mtime = data.unpack(_STAT)
            return cls(_type_of(mode), _checked(size), uid, gid, mode, atime, mtime)
        flags = data.u32()
        attrs = cls()
        if flags & _SIZE:
            attrs.size = _checked(data.u64())
        if flags & _OWNERS:
            attrs.uid, attrs.gid = data.u32(), data.u32()
        if flags & _PERMISSIONS:
            attrs.permissions = data.u32()
            attrs.type = _type_of(attrs.permissions)
        if flags & _TIMES:
            attrs.atime, attrs.mtime = data.u32(), data.u32()
        if flags & _EXTENDED:
            attrs.extended = tuple(
                (data.string(), data.string()) for _ in range(data.count(least=8))
            )
        return attrs


def _pair(what: str, first: float | None, second: float | None) -> bytes:
    if first is None and second is None:
        return b""
    if first is None or second is None:
        raise ValueError(f"SFTP sets {what} together: give both")
    return u32(floor(first)) + u32(floor(second))


def _extended(pairs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if not pairs:
        return b""
    return u32(len(pairs)) + b"".join(string(part) for pair in pairs for part in pair)


def _checked(size: int) -> int:
    if size > _LONGEST:
        raise Malformed(f"a file of {size} bytes")
    return size


def _type_of(mode: int) -> int:
    kind = stat.S_IFMT(mode)
    return _TYPES.get(kind, FILEXFER_TYPE_SPECIAL if kind else FILEXFER_TYPE_UNKNOWN)


@dataclass(slots=True)
class SFTPName:
    """An entry of a directory.

    Attributes:
        filename: without its directory; bytes if the directory was named in bytes.
        longname: as `ls -l` shows it on the remote.
        attrs: its `SFTPAttrs`, of a symlink its own.
    """

    filename: str | bytes = ""
    longname: str | bytes = ""
    attrs: SFTPAttrs = field(default_factory=SFTPAttrs)


def decode_names(data: Unpacker) -> list[SFTPName]:
    """The body of a NAME reply; file names in bytes. Raises `Malformed`."""
    return [
        SFTPName(data.string(), data.string(), SFTPAttrs.decode(data))
        for _ in range(data.count(least=12))
    ]


@dataclass(frozen=True, slots=True)
class SFTPVFSAttrs:
    """A remote file system, as `os.statvfs` would tell (PROTOCOL, section 4.4).

    Attributes:
        bsize, frsize: sizes of a block, in bytes; the counts of blocks are of `frsize`.
        blocks, bfree, bavail: blocks in all, free, and free for others than root.
        files, ffree, favail: the same of inodes.
        fsid: its number.
        flags: 1 read-only, 2 no setuid.
        namemax: the longest file name, in bytes.
    """

    bsize: int = 0
    frsize: int = 0
    blocks: int = 0
    bfree: int = 0
    bavail: int = 0
    files: int = 0
    ffree: int = 0
    favail: int = 0
    fsid: int = 0
    flags: int = 0
    namemax: int = 0

    @classmethod
    def decode(cls, data: Unpacker) -> SFTPVFSAttrs:
        """As it came. Raises `Malformed`."""
        return cls(*data.unpack(_ELEVEN))


@dataclass(frozen=True, slots=True)
class SFTPLimits:
    """The largest that the server takes (PROTOCOL, section 4.8), in bytes; 0: it did not say.

    Attributes:
        max_packet_len: a whole message.
        max_read_len, max_write_len: the data of one request.
        max_open_handles: a number of files.
    """

    max_packet_len: int = 0
    max_read_len: int = 0
    max_write_len: int = 0
    max_open_handles: int = 0

    @classmethod
    def decode(cls, data: Unpacker) -> SFTPLimits:
        """As it came. Raises `Malformed`."""
        return cls(*data.unpack(_FOUR))
