"""What callers say of owners, times and modes, as attributes; purely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ..checks import check_int
from ..errors import SFTPOpUnsupported
from .attrs import SFTPAttrs
from .messages import FXF_APPEND, FXF_CREAT, FXF_EXCL, FXF_READ, FXF_TRUNC, FXF_WRITE

_MODES = {
    "r": FXF_READ,
    "w": FXF_WRITE | FXF_CREAT | FXF_TRUNC,
    "a": FXF_WRITE | FXF_CREAT | FXF_APPEND,
    "x": FXF_WRITE | FXF_CREAT | FXF_EXCL,
}
_KINDS = ("", "b", "t")


def told_attrs(attrs: object) -> SFTPAttrs:
    """The attributes that a caller gave. Raises `TypeError`."""
    if not isinstance(attrs, SFTPAttrs):
        raise TypeError(f"attrs={attrs!r}: give an SFTPAttrs")
    return attrs


def flags_of(mode: str) -> tuple[int, bool]:
    """The flags for a mode of `open`, and whether it is for bytes. Raises `ValueError`."""
    # In any order, as Python takes them.
    ways = [letter for letter in mode if letter in _MODES]
    rest = "".join(letter for letter in mode if letter not in _MODES)
    if len(ways) != 1 or rest.count("+") > 1 or rest.replace("+", "") not in _KINDS:
        raise ValueError(f"mode {mode!r}: use 'r', 'w', 'a' or 'x', and '+', and 'b' or 't'")
    flags = _MODES[ways[0]]
    if "+" in rest:
        flags |= FXF_READ | FXF_WRITE
    return flags, "b" in rest


def times_of(
    times: tuple[float, float] | None, ns: tuple[int, int] | None, now: float
) -> SFTPAttrs:
    """Times of access and change; none: now. Raises `ValueError` for both ways at once."""
    if times is not None and ns is not None:
        raise ValueError("give times= or ns=, not both")
    if ns is not None:
        accessed, changed = _pair("ns", ns)
        return SFTPAttrs(atime=accessed / 1e9, mtime=changed / 1e9)
    atime, mtime = (now, now) if times is None else _pair("times", times)
    return SFTPAttrs(atime=atime, mtime=mtime)


def _pair(name: str, given: object) -> tuple[float, float]:
    if isinstance(given, tuple | list) and len(given) == 2:
        first, second = given
        if isinstance(first, int | float) and isinstance(second, int | float):
            return first, second
    raise TypeError(f"{name}={given!r}: give the times of access and of change")


def mode_of(mode: object) -> SFTPAttrs:
    """Permissions. Raises `ConfigError`."""
    check_int("mode", mode, 0, 2**32 - 1)
    return SFTPAttrs(permissions=cast("int", mode))


def size_of(size: object) -> SFTPAttrs:
    """A size. Raises `ConfigError`."""
    check_int("size", size, 0, 2**63 - 1)
    return SFTPAttrs(size=cast("int", size))


@dataclass(frozen=True, slots=True)
class Owners:
    """An owner and a group, of whom one may be left as it is."""

    uid: int | None
    gid: int | None

    @property
    def half(self) -> bool:
        """Whether the other one must be asked for: the protocol sets both."""
        return (self.uid is None) != (self.gid is None)

    def filled(self, now: SFTPAttrs | None) -> SFTPAttrs:
        """Both, with what is there now for the other one."""
        if now is None:
            return SFTPAttrs(uid=self.uid, gid=self.gid)
        uid = now.uid if self.uid is None else self.uid
        return SFTPAttrs(uid=uid, gid=now.gid if self.gid is None else self.gid)


def owners(
    uid_or_owner: int | str | None,
    gid_or_group: int | str | None,
    uid: int | None,
    gid: int | None,
    owner: str | None,
    group: str | None,
) -> Owners:
    """Asyncssh's six ways to say it. Raises `SFTPOpUnsupported` for names."""
    if isinstance(uid_or_owner, str) or isinstance(gid_or_group, str) or owner or group:
        raise SFTPOpUnsupported(
            "version 3 of SFTP knows owners by number only: give uid and gid, or run chown "
            "on the remote"
        )
    uid = uid_or_owner if uid is None else uid
    gid = gid_or_group if gid is None else gid
    if uid is None and gid is None:
        raise ValueError("chown needs a uid or a gid")
    for name, number in (("uid", uid), ("gid", gid)):
        if number is not None:
            check_int(name, number, 0, 2**32 - 1)
    return Owners(uid, gid)
