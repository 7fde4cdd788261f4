"""Sessions of other programs on a shared master: the server counts them with ours."""

from __future__ import annotations

from ..errors import SessionRefused
from ..openssh.control.master import Master
from ..system.clock import now
from ..system.identity import in_words

_PAUSES = 0.05, 0.5  # seconds between tries: the first, and the longest; each is twice the last


class OthersSessions:
    """A wait for the sessions of other programs to end, for one refused session of ours.

    A refusal on their account says nothing of the server's limit, and is waited out: nothing tells
    when another program's session is over, so it is tried again.
    """

    def __init__(self, master: Master) -> None:
        self._master = master
        self._pause = _PAUSES[0]
        self._until: float | None = None

    def pause(self) -> float:
        """Seconds to wait before the next try; 0 when no other program uses the master.

        Raises `SessionRefused` when they have kept all places for as long as a log-in may take.
        """
        others = self._master.others
        if not others:
            return 0.0
        if self._until is None:
            self._until = now() + self._master.config.timeout
        elif now() > self._until:
            raise SessionRefused(
                f"{self._master.config.address} refuses a session: other programs "
                f"({in_words(others)}) use the same log-in, and have kept its places for "
                f"{self._master.config.timeout:g} s"
            )
        pause, self._pause = self._pause, min(2 * self._pause, _PAUSES[1])
        return pause
