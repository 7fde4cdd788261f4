"""Ssh's own log of one log-in, taken in as it comes: what it says, and how it was greeted. Pure.

What a server sends before its version goes to ssh's log only if it is asked to tell that one
function's doings (LogVerbose, since 8.5); LogLevel=DEBUG1 would do, and tell a hundred lines more.
"""

from __future__ import annotations

import re

from ...text import one_line

ASK = "LogVerbose=kex.c:kex_exchange_identification():*"
ASK_SINCE = (8, 5)

_MOST_LINES = 3  # of a greeting
_MOST_CHARACTERS = 120  # of each
_LONGEST = 8 * 1024  # bytes: ssh cuts its own lines at 1 KiB
# log.c: the function that was asked for is named in another way, with where it is.
_TAG = re.compile(r"kex\.c:kex_exchange_identification\(\):\d+ \([^)]*\): ")
_GREETED = re.compile(r"debug1: kex_exchange_identification: banner line \d+: (.*)")
# Of that function, these alone have no name in front when nothing is asked for.
_NAMELESS = re.compile(r"Protocol major versions differ|Connection timed out")


class OwnLog:
    """What ssh told, without what is only for debugging.

    Attributes:
        greeting: the first lines that the server sent before its version: a stranger's, cleaned.

    Parameters:
        limit: bytes that are kept.
    """

    def __init__(self, limit: int) -> None:
        self.greeting: list[str] = []
        self._room = limit
        self._lines: list[str] = []
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Takes a piece of the log."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        self._rest = self._rest[:_LONGEST]

    @property
    def text(self) -> str:
        """The lines, as ssh writes them when it is asked for nothing more."""
        rest = _plain(self._rest)
        return "".join(self._lines) + ("" if rest.startswith("debug") else rest)

    def _line(self, data: bytes) -> None:
        line = _plain(data)
        if not line.startswith("debug"):
            if self._room > 0:
                self._lines.append(line[: self._room] + "\n")
                self._room -= len(line) + 1
        elif len(self.greeting) < _MOST_LINES and (found := _GREETED.match(line)):
            self.greeting.append(one_line(found[1].strip()[:_MOST_CHARACTERS]))


def _plain(data: bytes) -> str:
    line = data.decode("utf-8", "replace")
    found = _TAG.search(line)
    if found is None or found.start() not in (0, len("debug1: ")):
        return line
    words = line[found.end() :]
    name = "" if _NAMELESS.match(words) else "kex_exchange_identification: "
    return f"{line[: found.start()]}{name}{words}"
