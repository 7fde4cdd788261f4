"""Where a command's input comes from and its output goes, if not through memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import Protocol

from ..errors import ConfigError


class HasFileno(Protocol):
    """A file, a socket: anything with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


Target = int | str | os.PathLike[str] | HasFileno

_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@contextlib.contextmanager
def descriptor_of(target: Target, name: str = "stdout", *, reading: bool = False) -> Iterator[int]:
    """The descriptor that is meant, open within the block.

    A path is created or emptied, or with `reading` read. What the caller has open stays open, and
    is used at its position; what a file object holds in its own buffer is not looked at.

    Raises `ConfigError` for what is none of these, and the `OSError` of opening a path.
    """
    if target == subprocess.DEVNULL:
        target = os.devnull
    if isinstance(target, str | os.PathLike):
        flags = os.O_RDONLY if reading else _WRITING
        descriptor = os.open(os.fspath(target), flags | os.O_CLOEXEC, 0o666)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    elif isinstance(target, int) and not isinstance(target, bool) and target >= 0:
        yield target
    elif hasattr(target, "fileno"):
        yield target.fileno()
    else:
        raise ConfigError(
            f"{name}={target!r}: give a descriptor, a file, a path, or subprocess.DEVNULL"
        )
