"""An open file here, used by threads: a file system that hangs must not hang the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from ..system.tasks import Threads, run_to_end

files = Threads(4, linger=5)  # what may block on a file here: never the event loop

_HUNG = 4.0  # seconds for a thread to be done with a file that is given up

T = TypeVar("T")


async def take(opening: Callable[[], T], closing: Callable[[T], object]) -> T:
    """Opens something in a thread; what nobody waits for any more is closed again."""
    opened = files.submit(opening)

    def close(_: Future[T]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            closing(opened.result())

    try:
        return await asyncio.wrap_future(opened)
    except asyncio.CancelledError:
        opened.add_done_callback(close)
        raise


class LocalFile:
    """A descriptor, which is closed once no thread uses it any more. To be made in a thread.

    Attributes:
        path: what it is called.
        regular: whether it is an ordinary file.
        size, mtime: in bytes and seconds, as it was opened.
        empty: for one that is written: nothing of what it had is left in it.
    """

    def __init__(self, descriptor: int, path: bytes) -> None:
        self.path = path
        self._descriptor = descriptor
        self._last: Future[Any] | None = None
        now = os.fstat(descriptor)
        self.regular = stat.S_ISREG(now.st_mode)
        self.size, self.mtime = now.st_size, now.st_mtime
        self.empty = True

    def begin(self, function: Callable[[int], T]) -> asyncio.Future[T]:
        """Does something with the descriptor, in a thread. One thing at a time."""
        self._last = work = files.submit(partial(function, self._descriptor))
        waited = asyncio.wrap_future(work)
        waited.add_done_callback(_looked_at)
        return waited

    async def do(self, function: Callable[[int], T]) -> T:
        """The same, and waits for what comes of it."""
        return await asyncio.shield(self.begin(function))

    async def close(self) -> None:
        """Closes it, after the thread that uses it.

        Else its number would be another file's, while the thread still writes to it. A thread that
        hangs is not waited for: then it is closed whenever that ends.
        """
        last, self._last = self._last, None
        try:
            if last is not None and not last.done():
                await run_to_end(partial(_settled, last))
        finally:
            if last is None:
                os.close(self._descriptor)
            else:
                last.add_done_callback(lambda _: self.close_now())  # at once, if it is done

    def clear_now(self) -> None:
        """Empties it, before anybody else uses it; closes it if that fails. In a thread."""
        if self.size:
            try:
                os.ftruncate(self._descriptor, 0)
            except BaseException:
                self.close_now()
                raise

    def close_now(self) -> None:
        """Closes it: no thread uses it."""
        with contextlib.suppress(OSError):  # nobody is there to be told
            os.close(self._descriptor)


async def _settled(work: Future[Any]) -> None:
    waited = asyncio.wrap_future(work)
    waited.add_done_callback(_looked_at)
    await asyncio.wait((waited,), timeout=_HUNG)


def _looked_at(work: asyncio.Future[Any]) -> None:
    if not work.cancelled():
        work.exception()  # whoever waits for it sees it; that nobody does is no news
