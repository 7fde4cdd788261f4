"""What callers say of owners, times and modes, as attributes; purely."""

from __future__ import annotations

from dataclasses import dataclass

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
        return SFTPAttrs(atime=ns[0] / 1e9, mtime=ns[1] / 1e9)
    atime, mtime = times or (now, now)
    return SFTPAttrs(atime=atime, mtime=mtime)


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
    return Owners(uid, gid)
