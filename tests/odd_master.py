"""A control socket that nobody should have: for masters that cannot be had.

It stands in for masters that are too old, odd or broken, and speaks just enough of the protocol to
be taken for one's own master (a greeting, and signs of life). What it says to a request for a
session is up to the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sshmux.openssh.mux.decoder import Decoder
from sshmux.openssh.mux.protocol import Alive, AliveCheck, Hello, NewSession


@dataclass
class OddMaster:
    """What it says.

    Parameters:
        hello: its greeting.
        answer: to a request for a session; None for nothing.
        hang_up: end the conversation after that.
    """

    hello: bytes = Hello().encode()
    answer: bytes | None = None
    hang_up: bool = False
    sessions: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One conversation. The descriptors that come along are thrown away by the stream."""
        decoder = Decoder()
        writer.write(self.hello)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                # Each descriptor comes with a NUL byte, which is no part of any frame.
                for message in decoder.feed(data.rstrip(b"\0") if data[-3:] == b"\0\0\0" else data):
                    if isinstance(message, AliveCheck):
                        writer.write(Alive(message.request, os.getpid()).encode())
                    elif isinstance(message, NewSession):
                        self.sessions += 1
                        writer.write(self.answer or b"")
                        if self.hang_up:
                            writer.close()
                            return
        writer.close()


@contextlib.asynccontextmanager
async def odd_master(path: Path, master: OddMaster) -> AsyncIterator[OddMaster]:
    """Serves at a path."""
    server = await asyncio.start_unix_server(master.serve, path)
    try:
        yield master
    finally:
        server.close()
