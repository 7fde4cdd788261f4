"""Which one-time codes were used, by any program of this user: a server takes each once.

A file of no content for each, `.code.KEY.STEP`: who can make it may use the code. KEY is a short
digest of the secret, of which it says nothing that could be used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ...errors import ControlDirError
from .directory import ControlDir
from .entry import create
from .naming import code_name

_KEPT = 3  # steps: an older code is refused for its age


class UsedCodes:
    """The marks in one control directory."""

    def __init__(self, directory: ControlDir) -> None:
        self._directory = directory

    def take(self, key: str, step: int) -> bool:
        """Marks a code as used. False when it was before.

        True also where nothing can be written: then each program only knows of its own.

        Parameters:
            key: of the secret: 16 hexadecimal digits.
            step: which of its codes.
        """
        with contextlib.suppress(ControlDirError, OSError):
            self._directory.open()
            try:
                create(self._directory.path / code_name(key, step), "")
            except FileExistsError:
                return False
            for path, other in self._marks(key):
                if other < step - _KEPT:
                    path.unlink()
        return True

    def _marks(self, key: str) -> Iterator[tuple[Path, int]]:
        for path in self._directory.codes():
            _, _, owner, step = path.name.split(".")
            if owner == key:
                yield path, int(step)
