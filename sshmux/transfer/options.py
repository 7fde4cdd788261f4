"""How to move, as callers say it."""

from __future__ import annotations

from dataclasses import dataclass

from ..system.selection import Selection
from . import local_tar
from .progress import ProgressHandler


@dataclass(frozen=True)
class TransferOptions:
    """How to move: see `Connection.put`."""

    preserve: bool = False
    atomic: bool = True
    resume: bool = False
    verify: str | None = None
    parents: bool = False
    recurse: bool = False
    progress: ProgressHandler | None = None
    follow_symlinks: bool | None = None
    on_change: str = "error"
    selection: Selection | None = None
    streams: int = 1

    @property
    def accepts(self) -> bool:
        """Whether a source may change while it is read."""
        return self.on_change == "accept"

    @property
    def sparse(self) -> bool:
        """Whether a file with holes may go as an archive, which needs tar here."""
        return self.atomic and not self.resume and local_tar.knows_holes()

    @property
    def flags(self) -> str:
        """For the scripts."""
        given = {
            "p": self.preserve,
            "d": not self.atomic,
            "r": self.resume and self.atomic,
            "v": bool(self.verify),
            "m": self.parents,
            "a": self.accepts,
        }
        return "-" + "".join(letter for letter, wanted in given.items() if wanted)
