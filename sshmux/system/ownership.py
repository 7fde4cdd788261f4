"""Whose a thing is: one process's, and one event loop's at a time."""

from __future__ import annotations

import asyncio
import os

from ..errors import WrongEventLoop


class Ownership:
    """The process and the loop that use a thing."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy, and the thing is the parent's."""
        return self._pid != os.getpid()

    def claim(self, what: str, advice: str) -> bool:
        """Whether it changes its loop by this use: the first one, or the last has ended.

        Raises `WrongEventLoop` in a forked child, and while the loop that it belongs to runs.
        """
        if self.inherited:
            raise WrongEventLoop(
                f"{what} was made in another process (pid {self._pid}), of which this one (pid "
                f"{os.getpid()}) was forked: make a new one here"
            )
        loop = asyncio.get_running_loop()
        if loop is self.loop:
            return False
        if self.loop is not None and self.loop.is_running():
            raise WrongEventLoop(
                f"{what} belongs to another event loop, which is running: {advice}"
            )
        self.loop = loop
        return True


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def check_loop(loop: asyncio.AbstractEventLoop | None, what: str) -> None:
    """Raises `WrongEventLoop` where another loop or thread uses what belongs to one that runs.

    In a forked child, too, whose copy of the loop seems to run.
    """
    if loop is not None and loop.is_running() and running_loop() is not loop:
        raise WrongEventLoop(
            f"{what} belongs to another event loop, which is running, or to another process: use "
            "it there (manager.call_from_thread)"
        )
