"""Our side of a session's stdin: it waits until the command has told of its beginning."""

from __future__ import annotations

import os

from ..system.feeding import Feed
from ..system.forking import forget_in_child
from ..system.pipes import Writer


class SessionInput:
    """A pipe, and what is to go into it: bytes, what a descriptor has, or what somebody writes.

    Parameters:
        data: the bytes; None if somebody else writes: see `take`.
        source: the descriptor instead, which stays the caller's.
        most: bytes of the descriptor's, if it may have more.
        shared: the descriptor's end is not the end: somebody else writes then.
        greeting: goes in at once: 4 KiB at the most.
    """

    def __init__(
        self,
        data: bytes | None,
        source: int | None = None,
        greeting: bytes = b"",
        *,
        most: int | None = None,
        shared: bool = False,
    ) -> None:
        self._data = data
        self._feed: Feed | None = None
        self._writer: Writer | None = None
        self.reading, self._writing = os.pipe()  # the session's, and ours
        try:
            if source is not None:
                into = os.dup(self._writing) if shared else self.take()
                self._feed = Feed(os.dup(source), into, most)
            elif greeting:
                os.write(self._writing, greeting)  # an empty pipe: there is room
        except BaseException:
            os.close(self.reading)
            self.close()
            raise
        forget_in_child(self)

    @property
    def descriptor(self) -> int:
        """The highest of its descriptors."""
        return max(self.reading, self._writing)

    @property
    def waits(self) -> bool:
        """Whether nothing of it has left."""
        return self._writing >= 0 or self._feed is not None

    def go(self) -> None:
        """Its time has come."""
        if self._feed is not None:
            self._feed.begin()
        elif self._writing >= 0 and self._data is not None:
            self._writer = Writer(self.take(), self._data)

    def take(self) -> int:
        """Our end of the pipe, for whoever closes it; -1 if there is none."""
        taken, self._writing = self._writing, -1
        return taken

    def close(self) -> None:
        """Ends it. Safe to call twice."""
        if self._writing >= 0:
            os.close(self.take())
        for each in (self._feed, self._writer):
            if each is not None:
                each.close()
        self._writer = None

    def forget(self) -> None:
        """In a forked child: closes its copy; feed and writer do so themselves."""
        if self._writing >= 0:
            os.close(self.take())
