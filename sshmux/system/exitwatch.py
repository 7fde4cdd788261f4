"""The end of a process, as an event: a readable descriptor, also for processes not our children.

asyncio's own subprocess support makes a thread per child on Python 3.11. Here it is a pidfd on
Linux and a kqueue on macOS.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Callable
from functools import partial

from .watcher import watcher


class ExitWatch:
    """Calls back once when a process ends. Raises ProcessLookupError when it is gone already."""

    def __init__(self, pid: int, callback: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._fd = -1
        self._close: Callable[[], None] | None = None
        if sys.platform == "linux" and hasattr(os, "pidfd_open"):
            self._fd = os.pidfd_open(pid)
            self._close = partial(os.close, self._fd)
        elif sys.platform == "darwin":
            queue = select.kqueue()
            event = select.kevent(
                pid,
                select.KQ_FILTER_PROC,
                select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
                select.KQ_NOTE_EXIT,
            )
            try:
                queue.control([event], 0)
            except OSError:
                queue.close()
                raise
            self._fd, self._close = queue.fileno(), queue.close
        if self._close is None:
            raise NotImplementedError("sshmux runs on Linux (5.3 or later) and macOS")
        watcher(self._loop).add(self._fd, self._fire)

    def _fire(self) -> None:
        self.cancel()
        self._callback()

    def forget(self) -> None:
        """In a forked child: closes its copy."""
        if self._close is not None:
            self._close()
            self._close = None

    def cancel(self) -> None:
        """Forgets the process; safe to call twice."""
        if self._close is not None:
            watcher(self._loop).remove(self._fd)
            self._close()
            self._close = None
