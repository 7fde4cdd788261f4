"""sshmux forward"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import click

from ..connection import Connection
from ..errors import ConnectionLost
from ..forwards.listener import Listener
from ..system.contexts import AwaitableContext
from . import completion, formatting, transfers

_TO_HOST = 3  # parts of PORT:HOST:PORT


@click.command("forward")
@click.argument("host", shell_complete=completion.hosts)
@click.option("-L", "local", multiple=True, metavar="[HOST:]PORT:HOST:PORT", help="Listen here.")
@click.option("-R", "remote", multiple=True, metavar="[HOST:]PORT:HOST:PORT", help="On the remote.")
@click.option("-D", "socks", multiple=True, metavar="[HOST:]PORT", help="A SOCKS proxy here.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each.")
@transfers.connection_options
def command(
    host: str,
    local: tuple[str, ...],
    remote: tuple[str, ...],
    socks: tuple[str, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Lead ports through a connection, until Ctrl-C.

    As ssh's -L, -R and -D; port 0 is a free one. A path in place of [HOST:]PORT or HOST:PORT is a
    Unix socket.

    \b
    sshmux forward cluster -L 8888:node17:8888
    sshmux forward cluster -D 1080 -R 0:localhost:22
    """
    wanted = [
        *(("L", _parsed(spec)) for spec in local),
        *(("R", _parsed(spec)) for spec in remote),
        *(("D", _listens(spec)) for spec in socks),
    ]
    if not wanted:
        raise click.UsageError("Give at least one of -L, -R and -D.")

    async def work(connection: Connection) -> int:
        listeners: list[Listener] = []
        async with AsyncExitStack() as open_ones:
            for letter, places in wanted:
                listener = await open_ones.enter_async_context(_open(connection, letter, places))
                listeners.append(listener)
                _show(letter, listener, places, as_json=as_json)
            await listeners[0].wait_closed()  # which none of us closes
        raise ConnectionLost(f"Connection to {host} lost: its forwards are gone.")

    sys.exit(transfers.on_connection(host, settings, work))


def _parts(spec: str) -> list[str]:
    """Between the colons; an IPv6 address is in brackets."""
    parts, rest = [], spec
    while rest:
        if rest.startswith("["):
            address, bracket, rest = rest[1:].partition("]")
            if not bracket or rest[:1] not in ("", ":"):
                raise _bad(spec)
            parts.append(address)
            rest = rest[1:]
        else:
            part, colon, rest = rest.partition(":")
            parts.append(part)
            if colon and not rest:
                raise _bad(spec)
    return parts


def _bad(spec: str) -> click.UsageError:
    return click.UsageError(
        f"{spec!r}: write [HOST:]PORT:HOST:PORT, with a path for a Unix socket on either side; "
        "IPv6 addresses in brackets"
    )


def _listens(spec: str) -> list[Any]:
    parts = _parts(spec)
    if len(parts) == 1:
        parts = ["localhost", *parts]
    if len(parts) != 2:
        raise _bad(spec)
    return [parts[0], _port(parts[1], spec)]


def _parsed(spec: str) -> list[Any]:
    """Where it listens and leads to: a path, or a host and a port, each."""
    parts = _parts(spec)
    listens: list[Any]
    if len(parts) < 2:
        raise _bad(spec)
    if parts[0].startswith("/"):
        listens, rest = [parts[0]], parts[1:]
    elif parts[1].startswith("/") or len(parts) == _TO_HOST:
        listens, rest = ["localhost", _port(parts[0], spec)], parts[1:]
    else:
        listens, rest = [parts[0], _port(parts[1], spec)], parts[2:]
    if len(rest) == 1 and rest[0].startswith("/"):
        return [listens, rest]
    if len(rest) != 2:
        raise _bad(spec)
    return [listens, [rest[0], _port(rest[1], spec)]]


def _port(text: str, spec: str) -> int:
    if not text.isdigit():
        raise _bad(spec)
    return int(text)


def _open(connection: Connection, letter: str, places: Sequence[Any]) -> AwaitableContext[Listener]:
    if letter == "D":
        return connection.forward_socks(*places)
    listens, leads = places
    side = "local" if letter == "L" else "remote"
    name = {
        (1, 1): f"forward_{side}_path",
        (1, 2): f"forward_{side}_path_to_port",
        (2, 1): f"forward_{side}_port_to_path",
        (2, 2): f"forward_{side}_port",
    }[len(listens), len(leads)]
    opener: Callable[..., AwaitableContext[Listener]] = getattr(connection, name)
    return opener(*listens, *leads)


def _show(letter: str, listener: Listener, places: Sequence[Any], *, as_json: bool) -> None:
    listens = places if letter == "D" else places[0]
    leads = [] if letter == "D" else places[1]
    where = listener.get_path() or f"{listens[0] or '*'}:{listener.get_port()}"
    to = ":".join(map(str, leads)) or "SOCKS"
    if as_json:
        text = json.dumps({"kind": letter, "listens": where, "port": listener.get_port(), "to": to})
    else:
        text = f"{where} {'on the remote ' if letter == 'R' else ''}-> {to}"
    formatting.echo(text)
    sys.stdout.flush()
