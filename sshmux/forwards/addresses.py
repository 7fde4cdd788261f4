"""Which addresses a local forward listens on, and which port is free on all of them.

A master that is asked for `localhost` or for all addresses is content with one of them; whoever
connects to another then talks to whatever program has that. So it is asked for each by itself.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from functools import partial

from ..errors import ChannelListenError
from ..system.tasks import Threads

_LOOPBACK = "127.0.0.1", "::1"
_ALL = "0.0.0.0", "::"  # noqa: S104 - what the caller asked for
_MISSING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # this machine has no such address
_TRIES = 20  # at a port that is free on one address, and not on another


async def addresses(host: str) -> list[str]:
    """The addresses that a host to listen on means, of those that this machine has.

    Raises `ChannelListenError` for a name that does not resolve.
    """
    if host == "localhost":
        found = list(_LOOPBACK)
    elif host == "*":
        found = list(_ALL)
    elif _is_numeric(host):
        found = [host]
    else:
        look = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        try:
            told = await Threads().run(look)
        except (socket.gaierror, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ChannelListenError(f"cannot listen on {host}: {why}") from None
        found = list(dict.fromkeys(str(each[4][0]) for each in told))
    return [each for each in found if _is_here(each)] or found


def _is_numeric(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _is_here(address: str) -> bool:
    error = why_not(address, 0)
    return error is None or error.errno not in _MISSING


def why_not(address: str, port: int) -> OSError | None:
    """Why nothing can listen there, if so."""
    try:
        bound(address, port).close()
    except OSError as error:
        return error
    return None


def free_port(listening: Sequence[str]) -> int:
    """A port that is free on all addresses at this moment: a master refuses to choose one (mux.c).

    Raises `OSError`.
    """
    for last in (*[False] * (_TRIES - 1), True):
        with contextlib.ExitStack() as held:
            try:
                port = 0
                for address in listening:
                    one = held.enter_context(contextlib.closing(bound(address, port)))
                    port = int(one.getsockname()[1])
                return port
            except OSError as error:
                if last or error.errno != errno.EADDRINUSE:
                    raise
    raise AssertionError  # the last try returns or raises


def bound(address: str, port: int) -> socket.socket:
    """A socket bound there. Raises the `OSError` that tells why it cannot be."""
    family, kind, protocol, _, place = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
    )[0]
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as ssh does it
        found.bind(place)
        if port:
            found.listen(1)
    except BaseException:
        found.close()
        raise
    return found
