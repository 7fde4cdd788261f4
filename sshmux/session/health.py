"""Whether a master should be used again, and what is told to those who meet its end."""

from __future__ import annotations

import os

from ..errors import ConnectionLost
from ..openssh.control.master import Master
from ..system.descriptors import free_descriptors
from ..text import logger

log = logger("sshmux.link")

_WORDS = {
    False: "The command was not started",
    True: "The command had started; it may not have finished, or its output is incomplete",
    None: "The command may or may not have run",
}


_PER_SESSION = 4  # descriptors that a master needs for one: its client's connection, and three


def no_room(master: Master) -> str:
    """Why a master cannot open a session for want of descriptors; "" where it is not seen to."""
    free = free_descriptors(master.pid) if master.pid is not None else None
    if free is None or free >= _PER_SESSION:
        return ""
    return (
        f"its master (pid {master.pid}) has no descriptors left for another session: raise the "
        "limit (`ulimit -n`) of the program that logs in, or lead less through one connection"
    )


class LinkHealth:
    """What is known of a master that is in use.

    Attributes:
        broken: why it should not be used again, if so.
        hung: it does not answer, so nothing can be had from it.
        deaf: the remote did not react when a command was to be ended.
    """

    def __init__(self, master: Master) -> None:
        self.broken: str | None = None
        self.hung = self.deaf = False
        self._master = master

    def retire(self, why: str) -> None:
        """From now on nothing begins on it; what runs goes on. The first reason stays."""
        if self.broken is None:
            self.broken = why
            log.debug("%s: %s", self._master.entry.name, why)

    @property
    def gone(self) -> str:
        """What is gone of a master that cannot be used."""
        if not self._master.alive:
            return "the link went down"
        if self._master.usable:  # its socket is where it was: it closed what we opened
            return no_room(self._master) or "its master takes no session"
        there = os.path.lexists(self._master.entry.socket)
        return "its control socket is gone" + (", and another file is there" if there else "")

    def lost(self, why: str, started: bool | None) -> ConnectionLost:
        """The error for a command that met its end with the link's."""
        error = ConnectionLost(
            f"Connection to {self._master.config.address} lost: {why}. {_WORDS[started]}."
        )
        error.started = started
        return error
