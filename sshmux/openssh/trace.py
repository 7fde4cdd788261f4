"""What ssh tells of a log-in with LogLevel=DEBUG1, and when. Pure.

The lines are OpenSSH's own (ssh.c, sshconnect.c, kex.c, sshconnect2.c). A banner may have lines
that read like them: this is for users who look for what goes wrong, and decides nothing.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field


@dataclass
class Trace:
    """The stages of one log-in, read as they come.

    Attributes:
        server: the software that the server says it is.
        host_key: its key's type and fingerprint.
        key_exchange: the algorithm.
        offered: the methods that the server takes, at each step (more than one step: 2FA).
        tried: the methods that ssh tried, in order.
        used: the methods that worked, in order; the last one let us in.
        key: the key that the server accepted: its file or comment, type and fingerprint.
        proxied: a jump host or ProxyCommand is between.
    """

    started: float
    server: str = ""
    host_key: str = ""
    key_exchange: str = ""
    offered: list[list[str]] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    key: str = ""
    proxied: bool = False
    at: dict[str, float] = field(default_factory=dict)
    _rest: bytes = b""

    def feed(self, data: bytes, at: float) -> None:
        """Takes a piece of stderr that came at the time `at`, in seconds."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace").strip(), at)

    def _line(self, line: str, at: float) -> None:
        for name, pattern in _STAGES.items():
            if pattern.match(line):
                self.at.setdefault(name, at)
        for name, pattern in _FACTS.items():
            if found := pattern.match(line):
                setattr(self, name, found[1])
        if found := _OFFERED.match(line):
            self.offered.append(found[1].split(","))
        elif found := _TRIED.match(line):
            self.tried.append(found[1])
        elif found := _USED.match(line):
            self.used.append(found[1])
        elif _PROXY.match(line):
            self.proxied = True

    def stages(self) -> dict[str, float | None]:
        """Seconds that each stage took; None for those that were not reached, or not made here."""
        names = ["name", "connect", "key_exchange", "authentication"]
        marks = [self.started, *(self.at.get(mark) for mark in _STAGES)]
        spans = itertools.pairwise(marks)
        taken = [
            end - begin if begin is not None and end is not None else None for begin, end in spans
        ]
        if self.proxied:  # the name is looked up, and the connection made, on the jump host
            taken[0] = taken[1] = None
            accepted = self.at.get("accepted")
            taken[2] = accepted - self.started if accepted is not None else None
        return dict(zip(names, taken, strict=True))


_STAGES = {
    "connecting": re.compile(r"debug1: Connecting to .* port \d+"),
    "connected": re.compile(r"debug1: Connection established"),
    "accepted": re.compile(r"debug1: SSH2_MSG_NEWKEYS received"),
    "authenticated": re.compile(r"Authenticated to .* using "),
}
_FACTS = {
    "server": re.compile(r"debug1: Remote protocol version \S+, remote software version (.*)"),
    "host_key": re.compile(r"debug1: Server host key: (.*)"),
    "key_exchange": re.compile(r"debug1: kex: algorithm: (\S+)"),
    "key": re.compile(r"debug1: Server accepts key: (.*)"),
}
_OFFERED = re.compile(r"debug1: Authentications that can continue: (\S+)")
_TRIED = re.compile(r"debug1: Next authentication method: (\S+)")
_USED = re.compile(r'Authenticated (?:to .* )?using "([^"]+)"')
_PROXY = re.compile(r"debug1: Executing proxy command")
