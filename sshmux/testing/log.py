"""sshd's own log, read as it is written, and waited for without polling."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import selectors
import threading
import time
from collections.abc import Callable, Iterator


class ServerLog:
    """The text of every sshd that a server has run, oldest first.

    Reading is non-blocking and under a lock, so whoever looks at `text` first takes what sshd has
    written by then: a count asked for after a client has returned is never behind.
    """

    def __init__(self) -> None:
        self._raw = bytearray()
        self._fd = -1
        self._changed = threading.Condition(threading.RLock())
        self._subscribers: set[Callable[[], object]] = set()

    @property
    def text(self) -> str:
        """All that was written so far."""
        with self._changed:
            self._drain()
            # sshd ends its lines with CR LF when its stderr is no terminal.
            return self._raw.decode(errors="replace").replace("\r\n", "\n")

    @property
    def is_open(self) -> bool:
        """Whether any sshd process still holds the writing end."""
        return self._fd >= 0

    def follow(self, fd: int) -> None:
        """Own `fd`, the reading end of sshd's stderr, until every writer is gone."""
        os.set_blocking(fd, False)
        self._fd = fd
        threading.Thread(target=self._read_on, name="sshd-log", daemon=True).start()

    def wait_closed(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the last sshd process to be gone; say whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.is_open, timeout)

    def wait(
        self, pattern: str, timeout: float, *, count: int = 1, start: int = 0
    ) -> re.Match[str] | None:
        """Block until `pattern` was matched `count` times after `start`; None once that is futile.

        Futile is: `timeout` seconds have passed, or nothing can be written any more.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while (match := self._nth(pattern, count, start)) is None and self.is_open:
                if not self._changed.wait(deadline - time.monotonic()):
                    return self._nth(pattern, count, start)
            return match or self._nth(pattern, count, start)

    async def wait_async(self, pattern: str, *, count: int = 1) -> re.Match[str]:
        """Like `wait`, on the event loop, with the caller's own deadline."""
        loop = asyncio.get_running_loop()
        news = asyncio.Event()
        with self._subscribed(lambda: loop.call_soon_threadsafe(news.set)):
            while (match := self._nth(pattern, count, 0)) is None:
                await news.wait()
                news.clear()
        return match

    def count(self, pattern: str) -> int:
        """How often `pattern` (multi-line) occurs."""
        return len(re.findall(pattern, self.text, re.MULTILINE))

    def _nth(self, pattern: str, count: int, start: int) -> re.Match[str] | None:
        matches = re.compile(pattern, re.MULTILINE).finditer(self.text, start)
        return next((match for n, match in enumerate(matches, 1) if n == count), None)

    @contextlib.contextmanager
    def _subscribed(self, notify: Callable[[], object]) -> Iterator[None]:
        with self._changed:
            self._subscribers.add(notify)
        try:
            yield
        finally:
            with self._changed:
                self._subscribers.discard(notify)

    def _read_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_READ)
            while self.is_open:
                selector.select()
                self._take_news()

    def _take_news(self) -> None:
        with self._changed:
            if self._drain():
                # Only this thread closes it: a descriptor closed under select() is never reported.
                os.close(self._fd)
                self._fd = -1
            self._changed.notify_all()
            for notify in self._subscribers:
                with contextlib.suppress(RuntimeError):  # its event loop is closed
                    notify()

    def _drain(self) -> bool:
        """Take what is there to read; say whether that was the end of it."""
        while self.is_open:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return False
            if not data:
                return True
            self._raw += data
        return False
