"""Servers that close or keep silent: at which point, and what to do about each. Pure.

ssh ends with nearly the same words for all of them. What it logged before tells them apart: until
both sides have named their version, each complaint has a line of its own (kex.c, sshconnect.c).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

BEFORE_VERSION = (
    "The server closed the connection before the log-in: it may be overloaded (MaxStartups), "
    "be restarting, or refuse this address for a while (PerSourcePenalties, fail2ban). If it has "
    "never worked: does something else than SSH listen there (check host and port)?"
)
_MIDWAY = (
    "The server closed the connection in the middle of the log-in: its own log says why (its time "
    "for log-ins was over, or it does not let this account in). {login} -v shows how far it came."
)
_AFTER_AN_ANSWER = (
    "The server closed the connection after an answer was given: some do so when it is wrong. It "
    "is not tried again by itself."
)
_PROXY = (
    "What leads to it (ProxyCommand, or a jump host) ended before the server said anything: try "
    "that by hand, with {login} -v."
)
_PROTOCOL_1 = (
    "The server speaks SSH 1 only, which OpenSSH's client no longer does: it has to be updated."
)
_ENDLESS = (
    "What listens there sends text without end where SSH begins with its version: check host and "
    "port."
)
_MAX_STARTUPS = (
    "The server closed the connection before the log-in, with the words of an sshd that has as "
    "many log-ins under way as it takes (MaxStartups): try again when those are over, with fewer "
    "at once (max_parallel_dials, max_total_dials)."
)
_PENALTY = (
    "The server closed the connection before the log-in, with the words of an sshd that takes none "
    "from this address for a while (PerSourcePenalties): many were refused or broken off. See why, "
    "and wait some minutes before the next try."
)
_HTTP = "What listens there speaks HTTP, the protocol of the web, and not SSH: check host and port."
_OTHER_WORDS = (
    "The server closed the connection before the log-in. What it sent instead of its version: "
    "{greeting}"
)
AT_ONCE = (
    "logged in, but the master is gone at once: it seems that the server closed the connection. "
    "Its own log says why: the account may have no session to spend (nologin, PAM, a limit on "
    "log-ins), or the server be going down."
)

_NO_SSH = re.compile(r"banner exchange: Connection to .*(invalid format|could not read protocol)")
_PROXY_ENDED = re.compile(r"Connection (closed|reset) by UNKNOWN port")
_CLOSED = re.compile(r"Connection (closed|reset) by ")
_WEB = re.compile(r"HTTP/|<!doctype html|<html", re.IGNORECASE)  # some answer without a head
_IDENTIFICATION = ("kex_exchange_identification: ", "ssh_exchange_identification: ")


# What sshd says in the place of its version when it takes no log-in. (sshd.c: drop_connection)
_SSHD_SAYS = {"Exceeded MaxStartups": _MAX_STARTUPS, "Not allowed at this time": _PENALTY}


def advice(
    lines: Sequence[str], given: Collection[str], greeting: Sequence[str] = ()
) -> str | None:
    """What to say of ssh's last lines; None where they tell no more than their last one.

    Parameters:
        lines: ssh's own log, without empty lines.
        given: where answers to prompts came from.
        greeting: what the server sent before its version. A stranger's: it chooses words only.
    """
    if not lines:
        return None
    *above, last = lines
    if _NO_SSH.match(last):
        if any(line.startswith("Protocol major versions differ") for line in above):
            return _PROTOCOL_1
        if any(line.startswith(f"{_IDENTIFICATION[0]}No SSH version received") for line in above):
            return _ENDLESS
        return None
    without_version = any(line.startswith(_IDENTIFICATION) for line in above)
    if _CLOSED.match(last) and without_version and greeting:
        return _greeted(greeting)
    if _PROXY_ENDED.match(last):
        return _PROXY
    if not _CLOSED.match(last) or without_version:
        return None
    return _AFTER_AN_ANSWER if given else _MIDWAY


def _greeted(greeting: Sequence[str]) -> str:
    if _WEB.match(greeting[0]):
        return _HTTP
    said = _SSHD_SAYS.get(greeting[0])
    return said or _OTHER_WORDS.replace("{greeting}", _quoted(greeting))


def _quoted(greeting: Sequence[str]) -> str:
    # Braces are places to fill in an advice.
    return repr(" / ".join(filter(None, greeting))).replace("{", "(").replace("}", ")")


def farewell(log: str) -> str:
    """The line of ssh's log with the reason that the server gave; empty if it gave none."""
    found = re.search(r"^Received disconnect from .*$", log, re.MULTILINE)
    return found[0].strip() if found else ""


def silence(connected: bool | None, seconds: float, greeting: Sequence[str] = ()) -> str:
    """What is known of a log-in that our deadline ended.

    Parameters:
        connected: whether there was a TCP connection; None for not known.
        greeting: what the server sent before its version.
    """
    if greeting and _WEB.match(greeting[0]):
        return f"no log-in within {seconds:g} s. {_HTTP}"
    if connected is None:
        return f"no log-in within {seconds:g} s. Check the network, or raise timeout=."
    if not connected:
        return (
            f"no connection within {seconds:g} s: nothing answered. Check the network (VPN, "
            "firewall) and the address, or raise timeout=."
        )
    return (
        f"no log-in within {seconds:g} s, although something took the connection: the server is "
        "stuck or slow (overload, name service, PAM), or it is no SSH server. Check host and "
        "port, or raise timeout=."
    )
