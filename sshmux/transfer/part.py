"""A private directory here for what is to arrive. All of it blocks; it is done in a thread.

It may be in a directory where others can rename it, and put anything else under its name. So it is
used as what it was when it was made: by a descriptor, where /proc is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

PREFIX = ".sshmux-"  # of what is ours, and gone in the end

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
INTO = 0o700  # what the owner of a directory needs to fill it


@dataclass
class Part:
    """One.

    Attributes:
        path: where it was made.
        descriptor: of it; programs that use `place` must have it by the same number.
    """

    path: str
    descriptor: int

    @property
    def place(self) -> str:
        """How it is reached."""
        place = f"/proc/self/fd/{self.descriptor}/."
        return place if os.path.isdir(place) else self.path

    def close(self) -> None:
        """Closes the descriptor."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """For whoever was cancelled while it was made."""
        self.close()


def make_part(beside: str) -> Part:
    """Makes one, where what arrives can be renamed from. Raises `OSError`."""
    path = tempfile.mkdtemp(prefix=PREFIX, suffix="-part", dir=beside)
    part = Part(path, os.open(path, DIRECTORY))
    at = part.descriptor
    found, above = os.fstat(at), os.stat("..", dir_fd=at)
    ours = found.st_uid == os.geteuid() and not found.st_mode & 0o077 and not os.listdir(at)
    if not ours or not os.path.samestat(above, os.stat(beside)):
        part.close()
        raise PermissionError(errno.EPERM, "somebody has moved it", path)
    return part


def remove(part: Part) -> None:
    """Removes it with all that is in it, whatever its permissions, and however deep it is.

    What is in a directory is moved up before that is removed, so it takes two descriptors only.
    """
    with contextlib.suppress(OSError):
        top, numbers = part.descriptor, iter(range(2**62))
        os.fchmod(top, INTO)
        while names := os.listdir(top):
            for name in names:
                _remove_one(top, os.fsencode(name), numbers)
        os.rmdir(part.path)  # which fails for anything else of that name, but an empty directory
    part.close()


def _remove_one(top: int, name: bytes, numbers: Iterator[int]) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=top)
        return
    with contextlib.suppress(OSError):
        os.chmod(name, INTO, dir_fd=top)
    at = os.open(name, DIRECTORY, dir_fd=top)
    try:
        for text in os.listdir(at):
            below = os.fsencode(text)
            if stat.S_ISDIR(os.stat(below, dir_fd=at, follow_symlinks=False).st_mode):
                with contextlib.suppress(OSError):
                    os.chmod(below, INTO, dir_fd=at)  # to be moved, its `..` changes
                os.rename(below, b"%d~" % next(numbers), src_dir_fd=at, dst_dir_fd=top)
            else:
                os.unlink(below, dir_fd=at)
    finally:
        os.close(at)
    os.rmdir(name, dir_fd=top)
