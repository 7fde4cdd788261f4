"""parallel-ssh: libssh2 with a greenlet for each command that runs at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent
from pssh.clients import SSHClient

from .driver import Driver, at_once, serve


class ParallelSsh(Driver):
    """It looks at no known_hosts, so its log-ins do a little less than the others'."""

    def connect(self, account: Mapping[str, Any]) -> Any:
        client = SSHClient(
            account["host"],
            user=account["username"],
            port=account["port"],
            pkey=account["key_file"],
            num_retries=1,
            allow_agent=False,
            identity_auth=False,
        )
        at_once(client.sock)
        return client

    def run(self, connection: Any, command: str, data: bytes) -> bytes:
        output = connection.run_command(command)
        if data:
            connection.eagain_write(output.channel.write, data)
        connection.eagain(output.channel.send_eof)
        # Its lines are text; the bytes are what everybody else is asked for, too.
        found = b"".join(output.buffers.stdout.rw_buffer)
        connection.wait_finished(output)
        if output.exit_code != 0:
            raise RuntimeError(f"the command ended with {output.exit_code}")
        return found

    def close(self, connection: Any) -> None:
        """It is closed when nobody knows it any more."""

    def together(self, works: Sequence[Callable[[], None]]) -> None:
        gevent.joinall([gevent.spawn(work) for work in works], raise_error=True)


if __name__ == "__main__":
    serve(ParallelSsh())
