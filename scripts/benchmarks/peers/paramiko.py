"""paramiko, with a thread for each command that runs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paramiko
from paramiko.packet import Packetizer

from .driver import Driver, at_once, serve

# It wants new keys every 512 MB, and then times out waiting for them while data flows.
Packetizer.REKEY_BYTES = 2**40
_PIECE = 1024 * 1024


class Paramiko(Driver):
    def connect(self, account: Mapping[str, Any]) -> Any:
        client = paramiko.SSHClient()
        client.load_host_keys(account["known_hosts"])
        client.connect(
            account["host"],
            account["port"],
            account["username"],
            key_filename=account["key_file"],
            allow_agent=False,
            look_for_keys=False,
        )
        at_once(client.get_transport().sock)
        return client

    def run(self, connection: Any, command: str, data: bytes) -> bytes:
        # Not exec_command() of the client: its stdin sends an EOF when it is forgotten, and sshd
        # ends the whole connection when the command is over by then.
        channel = connection.get_transport().open_session()
        with channel:
            channel.exec_command(command)
            if data:
                for at in range(0, len(data), _PIECE):  # it copies what is left, again and again
                    channel.sendall(data[at : at + _PIECE])
                channel.shutdown_write()
            output = bytes(channel.makefile("rb").read())
            status = channel.recv_exit_status()
        if status != 0:
            raise RuntimeError(f"the command ended with {status}")
        return output


if __name__ == "__main__":
    serve(Paramiko())
