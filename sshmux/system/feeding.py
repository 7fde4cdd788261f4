"""Feeding a pipe from a descriptor: by the kernel where it can, without a thread or a copy of ours.

For a session whose input must not leave before its time: the session gets the pipe, and the
descriptor stays here until `begin`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import sys

from .forking import forget_in_child
from .inherited import pipe_signal_kills, write_quietly

_PIECE = 1024 * 1024
_COPIED = 64 * 1024  # at once, where the kernel does not move it: what a pipe takes
_UNABLE = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES}


class Feed:
    """Moves what a descriptor has into a pipe. Both are its own, and closed in the end.

    Parameters:
        most: bytes after which it ends, if the descriptor has more.
    """

    def __init__(self, source: int, target: int, most: int | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._target = target
        self._left = sys.maxsize if most is None else most
        self._rest = memoryview(b"")  # was read, and not written yet
        self._splicing = hasattr(os, "splice") and sys.platform == "linux"
        self._pollable = True  # until the loop says otherwise: a file is always ready
        self._reading = self._writing = False
        self._put = write_quietly if pipe_signal_kills() else os.write
        self._splicing = self._splicing and not pipe_signal_kills()
        os.set_blocking(target, False)
        forget_in_child(self)

    def begin(self) -> None:
        """From now on it flows."""
        if self._target < 0:
            return
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # /proc/sys/fs/pipe-user-pages-soft
                fcntl.fcntl(self._target, fcntl.F_SETPIPE_SZ, _PIECE)
        self._await_source()

    def _await_source(self) -> None:
        self._await_room(False)
        if self._pollable:
            try:
                self._loop.add_reader(self._source, self._readable)
            except (OSError, ValueError):
                self._pollable = False
            else:
                self._reading = True
                return
        self._await_room(True)

    def _readable(self) -> None:
        self._move(_AGAIN_MEANS_FULL)

    def _writable(self) -> None:
        self._move(_AGAIN_MEANS_EMPTY)

    def _move(self, again: bool) -> None:
        """Moves a piece; others have something to do, too."""
        try:
            moved = self._splice() if self._splicing else self._copy()
        except (BlockingIOError, InterruptedError):
            self._blocked(again)
        except OSError:  # nobody reads it any more, or there is nothing to be read
            self.close()
        else:
            if moved == 0:
                self.close()

    def _blocked(self, again: bool) -> None:
        """One of the two is not ready, and the system does not say which."""
        if self._rest or again is _AGAIN_MEANS_FULL:
            self._stop_reading()
            self._await_room(True)
        elif self._pollable:
            self._await_source()

    def _splice(self) -> int:
        most = min(_PIECE, self._left)
        try:
            moved = os.splice(self._source, self._target, most, flags=os.SPLICE_F_NONBLOCK)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            self._splicing = False
            return self._copy()
        self._left -= moved
        return moved

    def _copy(self) -> int:
        if not self._rest:
            self._rest = memoryview(os.read(self._source, min(_COPIED, self._left)))
            self._left -= len(self._rest)
            if not self._rest:
                return 0
        written = self._put(self._target, self._rest)
        self._rest = self._rest[written:]
        return written

    def _await_room(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._target, self._writable)
        elif self._writing and not wanted and not self._loop.is_closed():
            self._loop.remove_writer(self._target)
        self._writing = wanted

    def _stop_reading(self) -> None:
        if self._reading and not self._loop.is_closed():
            self._loop.remove_reader(self._source)
        self._reading = False

    def forget(self) -> None:
        """In a forked child: closes its copies."""
        if self._target >= 0:
            os.close(self._target)
            os.close(self._source)
            self._target = self._source = -1

    def close(self) -> None:
        """Ends it: whoever reads the pipe sees the end. Safe to call twice."""
        if self._target >= 0:
            self._stop_reading()
            self._await_room(False)
            os.close(self._target)
            os.close(self._source)
            self._target = self._source = -1


_AGAIN_MEANS_FULL, _AGAIN_MEANS_EMPTY = True, False
