"""Where a command's input comes from and its output goes, if not through memory."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..errors import ConfigError


class HasFileno(Protocol):
    """A file, a socket: anything with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


Target = int | str | os.PathLike[str] | HasFileno

_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_STANDARD = 3  # descriptors below are the program's own


@contextlib.contextmanager
def descriptor_of(target: Target, name: str = "stdout", *, reading: bool = False) -> Iterator[int]:
    """The descriptor that is meant, open within the block.

    A path is created or emptied, or with `reading` read. What the caller has open stays open, and
    is used at its position.

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
        check_descriptor(name, target)
        yield target
    elif (own := _own_descriptor(target)) is not None:
        _settle(_inner(target), reading=reading)
        yield own
    else:
        raise ConfigError(
            f"{name}={target!r}: give a descriptor, a file, a path, or subprocess.DEVNULL"
        )


def check_descriptor(name: str, value: object) -> None:
    """Raises `ConfigError` unless it is the number of an open descriptor.

    A master that is told of one, and is not given it, ends the conversation.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        with contextlib.suppress(OSError, OverflowError):
            os.fstat(value)
            return
    raise ConfigError(f"{name}={value!r}: that is no open descriptor")


def stands_for_itself(target: object, *, reading: bool) -> bool:
    """Whether a descriptor is all there is to it.

    Not so what has a `read` or `write` that does more: a compressed file's descriptor gives other
    bytes, and a file in memory has none.
    """
    if isinstance(target, int | str | os.PathLike):
        return True
    if _own_descriptor(target) is None:
        return False
    inner = _inner(target)
    if isinstance(inner, io.TextIOWrapper):
        return stands_for_itself(inner.buffer, reading=reading) and _told(inner, reading)
    if isinstance(inner, io.BufferedReader | io.BufferedWriter | io.BufferedRandom):
        return isinstance(inner.raw, io.FileIO | socket.SocketIO)
    if isinstance(inner, io.FileIO | socket.SocketIO):
        return True
    return not callable(getattr(inner, "read" if reading else "write", None))


def closing(target: Any) -> Callable[[], None] | None:
    """What closes a pipe or socket that was given for output, so that its reader sees the end.

    None for anything else, and for the program's own standard streams. A number is looked at once
    more before it is closed: it may have become something else meanwhile.
    """
    if isinstance(target, bool | str | os.PathLike) or target == subprocess.DEVNULL:
        return None
    descriptor = target if isinstance(target, int) else _own_descriptor(target)
    if descriptor is None or descriptor < _STANDARD or (same := _channel(descriptor)) is None:
        return None

    def close() -> None:
        if isinstance(target, int):
            if _channel(target) == same:
                os.close(target)
        elif callable(end := getattr(target, "close", None)):
            with contextlib.suppress(OSError, ValueError):
                end()

    return close


def _channel(descriptor: int) -> tuple[int, int] | None:
    """Which pipe or socket it is; None if it is none."""
    try:
        found = os.fstat(descriptor)
    except (OSError, OverflowError):
        return None
    if not (stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
        return None
    return found.st_dev, found.st_ino


def _own_descriptor(target: Any) -> int | None:
    """What `fileno()` says, if it says anything."""
    try:
        descriptor = target.fileno()
    except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of the latter
        return None
    return descriptor if isinstance(descriptor, int) and descriptor >= 0 else None


def _inner(target: Any) -> Any:
    """The file within one of tempfile's wrappers."""
    inner = getattr(target, "file", None)
    return inner if isinstance(inner, io.IOBase) else target


def _told(text: io.TextIOWrapper, reading: bool) -> bool:
    """Whether a file of text can say where it is: not while it is read line by line."""
    if not reading or not text.seekable():
        return True
    try:
        text.tell()
    except OSError:
        return False
    return True


def _settle(file: Any, *, reading: bool) -> None:
    """Makes the descriptor's position the file's own: what it holds in its buffer is nobody's."""
    if not isinstance(file, io.IOBase) or file.closed:
        return
    if not reading:
        file.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        if file.seekable() and not isinstance(file, io.FileIO):
            here = file.tell()
            file.seek(0, os.SEEK_END)  # or it would look in its buffer only
            file.seek(here)
