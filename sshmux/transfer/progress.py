"""How far a transfer is: read off the file's own position, which the kernel shares."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

ProgressHandler = Callable[[str, str, int, int], object]

_EVERY = 0.1  # seconds


@contextlib.contextmanager
def report_progress(
    handler: ProgressHandler | None, source: str, target: str, total: int, done: Callable[[], int]
) -> Iterator[None]:
    """Tells the handler within the block, ten times a second, and at its good end.

    Parameters:
        handler: called with source, target, the bytes so far and in all.
        done: says the bytes so far.
    """
    if handler is None:
        yield
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None
    last = -1

    def tell() -> None:
        nonlocal timer, last
        timer = loop.call_later(_EVERY, tell)
        now = min(done(), total)
        if now != last:
            last = now
            handler(source, target, now, total)

    tell()
    try:
        yield
        if last != total:
            handler(source, target, total, total)
    finally:
        if timer is not None:
            timer.cancel()
