"""fabric, with a thread for each command that runs at once. It runs on paramiko."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import fabric

from .driver import Driver, at_once, serve


class Fabric(Driver):
    def connect(self, account: Mapping[str, Any]) -> Any:
        connection = fabric.Connection(
            account["host"],
            user=account["username"],
            port=account["port"],
            config=fabric.Config(overrides={"load_ssh_configs": False}),
            connect_kwargs={
                "key_filename": account["key_file"],
                "allow_agent": False,
                "look_for_keys": False,
            },
        )
        connection.client.load_host_keys(account["known_hosts"])
        connection.open()
        at_once(connection.transport.sock)
        return connection

    def run(self, connection: Any, command: str, data: bytes) -> bytes:
        given = io.StringIO(data.decode()) if data else False  # False: do not even look at stdin
        result = connection.run(command, hide=True, in_stream=given)
        return str(result.stdout).encode()


if __name__ == "__main__":
    serve(Fabric())
