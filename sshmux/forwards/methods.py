"""The forwards of a connection: what `Connection` inherits."""

from __future__ import annotations

import asyncio
import secrets
import sys

from ..checks import check_int
from ..openssh.version import ssh_version
from ..session.execution import Scope
from ..session.link import Link
from ..system.contexts import AwaitableContext
from ..system.descriptors import told_limit
from .endpoints import DYNAMIC, LOCAL, REMOTE, AnyPath, Endpoint, Forward, listening, path, target
from .listener import Listener, listen
from .streams import connect, connect_path

_UNIX_SINCE = (9, 4)  # mux.c: before, a stdio forward led to ports only
_LIMIT = 64 * 1024  # bytes read ahead, as asyncio's own


class ForwardMethods:
    """Ports and Unix sockets that lead through the connection.

    Each `forward_…` is to be awaited for a `Listener`, or entered as an `async with` block that
    ends it. Hosts to listen on: "" for all addresses, None for localhost. They raise
    `ChannelListenError` when the port is busy or forbidden, `ConfigError` for what is no port or
    path, `ConnectionLost`, `ConnectionReleased` and `TimeoutError` as `run` does.
    """

    _link: Link
    _scope: Scope

    def forward_local_port(
        self, listen_host: str | None, listen_port: int, dest_host: str, dest_port: int
    ) -> AwaitableContext[Listener]:
        """Listens here; leads to a host and port as the server sees them (`ssh -L`).

        Parameters:
            listen_port: 0 for a free one: see `Listener.get_port`.
        """
        here = listening(listen_host, listen_port)
        return self._forward(LOCAL, here, target(dest_host, dest_port))

    def forward_local_path(
        self, listen_path: AnyPath, dest_path: AnyPath
    ) -> AwaitableContext[Listener]:
        """Listens on a Unix socket here; leads to one on the remote."""
        here = path("listen_path", listen_path)
        return self._forward(LOCAL, here, path("dest_path", dest_path))

    def forward_local_port_to_path(
        self, listen_host: str | None, listen_port: int, dest_path: AnyPath
    ) -> AwaitableContext[Listener]:
        """Listens on a port here; leads to a remote Unix socket."""
        here = listening(listen_host, listen_port)
        return self._forward(LOCAL, here, path("dest_path", dest_path))

    def forward_local_path_to_port(
        self, listen_path: AnyPath, dest_host: str, dest_port: int
    ) -> AwaitableContext[Listener]:
        """Listens on a Unix socket here; leads to a host and port as the server sees them."""
        here = path("listen_path", listen_path)
        return self._forward(LOCAL, here, target(dest_host, dest_port))

    def forward_remote_port(
        self, listen_host: str | None, listen_port: int, dest_host: str, dest_port: int
    ) -> AwaitableContext[Listener]:
        """Listens on the remote; leads to a host and port as this machine sees them (`ssh -R`).

        Parameters:
            listen_host: others than localhost are for the server to grant (GatewayPorts).
            listen_port: 0 for one that the server chooses: see `Listener.get_port`.
        """
        there = listening(listen_host, listen_port)
        return self._forward(REMOTE, there, target(dest_host, dest_port))

    def forward_remote_path(
        self, listen_path: AnyPath, dest_path: AnyPath
    ) -> AwaitableContext[Listener]:
        """Listens on a remote Unix socket; leads to one here."""
        there = path("listen_path", listen_path)
        return self._forward(REMOTE, there, path("dest_path", dest_path))

    def forward_remote_port_to_path(
        self, listen_host: str | None, listen_port: int, dest_path: AnyPath
    ) -> AwaitableContext[Listener]:
        """Listens on a remote port; leads to a Unix socket here."""
        there = listening(listen_host, listen_port)
        return self._forward(REMOTE, there, path("dest_path", dest_path))

    def forward_remote_path_to_port(
        self, listen_path: AnyPath, dest_host: str, dest_port: int
    ) -> AwaitableContext[Listener]:
        """Listens on a remote Unix socket; leads to a host and port as seen from here."""
        there = path("listen_path", listen_path)
        return self._forward(REMOTE, there, target(dest_host, dest_port))

    def forward_socks(
        self, listen_host: str | None, listen_port: int
    ) -> AwaitableContext[Listener]:
        """A SOCKS 4 and 5 proxy here, which leads to wherever it is asked for (`ssh -D`)."""
        return self._forward(DYNAMIC, listening(listen_host, listen_port), ("", 0))

    def _forward(self, kind: int, listens: Endpoint, leads: Endpoint) -> AwaitableContext[Listener]:
        forward = Forward(kind, *listens, *leads)
        return AwaitableContext(lambda: listen(self._link, self._scope, forward))

    async def open_connection(
        self, host: str, port: int, *, limit: int = _LIMIT
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to a host and port as the server sees them; asyncio's streams (`ssh -W`).

        Parameters:
            limit: bytes read ahead, as of `asyncio.open_connection`.

        Raises `ChannelOpenError` when the server cannot or may not connect there, and otherwise
        what `forward_local_port` raises.
        """
        there = target(host, port)
        check_int("limit", limit, 1, sys.maxsize)
        self._scope.check()
        with told_limit():
            return await connect(self._link, self._scope, there, limit)

    async def open_unix_connection(
        self, dest_path: AnyPath, *, limit: int = _LIMIT
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The same, to a remote Unix socket.

        Before OpenSSH 9.4 it goes through a Unix socket here, and a server that refuses shows as
        the end of the stream.
        """
        there = path("path", dest_path)
        check_int("limit", limit, 1, sys.maxsize)
        self._scope.check()
        with told_limit():
            return await self._open_path(there, limit)

    async def _open_path(
        self, there: Endpoint, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if await ssh_version(self._link.config.ssh_program) >= _UNIX_SINCE:
            return await connect(self._link, self._scope, there, limit)
        # In a directory that only we can enter, by a name that is swept up after a crash.
        socket = self._link.master.entry.socket
        here = path("path", socket.with_name(f".{secrets.token_hex(6)}"))
        async with self._forward(LOCAL, here, there):
            return await connect_path(self._link, self._scope, here[0], there, limit)
