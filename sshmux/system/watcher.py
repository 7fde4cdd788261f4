"""Descriptors to read from, watched for hundreds of short sessions.

The event loop's own `add_reader` makes several objects for each descriptor, which a session of two
milliseconds notices. On Linux a loop gets one epoll of ours, which is itself one descriptor of the
loop's, and what is ready in it is called back in one turn. Elsewhere it is `add_reader`.
"""

from __future__ import annotations

import asyncio
import select
import sys
import weakref
from collections.abc import Callable
from weakref import WeakKeyDictionary

from .forking import forget_in_child

_BEFORE_LONG = 0.02  # seconds
_AT_ONCE = 128  # callbacks in one turn of the loop

Callback = Callable[[], object]


class Watcher:
    """The descriptors of one loop. It has a descriptor of its own while it watches any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)  # the loop is the key that this is kept by
        self._callbacks: dict[int, Callback] = {}
        self._later: list[Callback] = []
        self._timer: asyncio.TimerHandle | None = None
        self._poll: select.epoll | None = None
        forget_in_child(self)

    def forget(self) -> None:
        """In a forked child: lets go of what is the parent's, and of what was watched there."""
        if self._poll is not None:
            self._poll.close()
            self._poll = None
        callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            forget = getattr(getattr(callback, "__self__", None), "forget", None)
            if forget is not None:
                forget()

    def add(self, descriptor: int, callback: Callback) -> None:
        """Calls back whenever there is something to read, or the end, until `remove`."""
        if self._poll is None:
            self._poll = self._open()
        self._poll.register(descriptor, select.EPOLLIN)
        self._callbacks[descriptor] = callback

    def later(self, callback: Callback) -> None:
        """Calls back once, before long: together with everybody else who asked for that."""
        self._later.append(callback)
        if self._timer is None:
            loop = self._loop()
            if loop is not None:
                self._timer = loop.call_later(_BEFORE_LONG, self._now)

    def _now(self) -> None:
        self._timer = None
        callbacks, self._later = self._later, []
        for callback in callbacks:
            callback()

    def remove(self, descriptor: int) -> None:
        """To be called before the descriptor is closed."""
        if self._callbacks.pop(descriptor, None) is not None and self._poll is not None:
            self._poll.unregister(descriptor)
            if not self._callbacks:
                self._close(self._poll)

    def _open(self) -> select.epoll:
        loop = self._loop()
        if loop is None or loop.is_closed():
            raise RuntimeError("Event loop is closed")
        poll = select.epoll()
        loop.add_reader(poll.fileno(), self._ready)
        return poll

    def _close(self, poll: select.epoll) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(poll.fileno())
        poll.close()
        self._poll = None

    def _ready(self) -> None:
        if self._poll is None:
            return
        get = self._callbacks.get
        ready = [(descriptor, get(descriptor)) for descriptor, _ in self._poll.poll(0, _AT_ONCE)]
        for descriptor, callback in ready:
            # One may have removed another's descriptor, and somebody got its number since.
            if callback is not None and get(descriptor) is callback:
                try:
                    callback()
                except Exception as error:
                    self._failed(error)

    def _failed(self, error: Exception) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_exception_handler(
                {"message": "what was called for a descriptor failed", "exception": error}
            )


class Plain:
    """The loop's own way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def later(self, callback: Callback) -> None:
        """Calls back once, before long."""
        self._loop.call_later(_BEFORE_LONG, callback)

    def add(self, descriptor: int, callback: Callback) -> None:
        """Calls back whenever there is something to read, or the end, until `remove`."""
        self._loop.add_reader(descriptor, callback)

    def remove(self, descriptor: int) -> None:
        """To be called before the descriptor is closed."""
        if not self._loop.is_closed():
            self._loop.remove_reader(descriptor)


_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, Watcher] = WeakKeyDictionary()


def watcher(loop: asyncio.AbstractEventLoop) -> Watcher | Plain:
    """The one of a loop."""
    if sys.platform != "linux":
        return Plain(loop)
    found = _watchers.get(loop)
    if found is None:
        found = _watchers[loop] = Watcher(loop)
    return found
