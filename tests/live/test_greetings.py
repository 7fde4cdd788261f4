"""What stands where a server's version should: each has words of its own, seen by a real ssh."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.testing import PrivateServer

from ..support import control_directory, nothing_left

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


async def refusal(port: int, *, prompter: bool = False, **options: object) -> sshmux.Error:
    """The error of a log-in there; nothing may be left of it."""

    async def nobody(*_: object) -> None:
        return None

    with control_directory() as directory:
        async with (
            nothing_left(),
            ConnectionManager(
                control_dir=directory, dial_attempts=1, prompter=nobody if prompter else None
            ) as manager,
        ):
            manager.register_cluster(
                1, "127.0.0.1", port, "guest", config_file=Path("/dev/null"), timeout=15, **options
            )
            with pytest.raises(sshmux.Error) as caught:
                async with manager.get_connection(1):
                    pass
    return caught.value


@asynccontextmanager
async def speaking(*pieces: bytes, again: bool = False) -> AsyncIterator[int]:
    """A server that says that, or that again and again, and closes."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                writer.write(piece)
            while again:
                writer.writelines(pieces)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


WORDS = {
    "too many log-ins": (b"Exceeded MaxStartups\r\n", False, "(MaxStartups)"),
    "a penalty": (b"Not allowed at this time\r\n", False, "(PerSourcePenalties)"),
    "the web": (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n<html>", False, "speaks HTTP"),
    "mail": (b"220 mail ESMTP\r\n", False, "220 mail ESMTP"),
    "nothing": (b"", False, "it may be overloaded"),
    "ssh 1": (b"SSH-1.5-old\r\n", False, "SSH 1 only"),
    "lines without end": (b"hello, this is no SSH\r\n" * 50, True, "text without end"),
    "a line without end": (b"hello, this is no SSH " * 50, True, "does not speak SSH 2"),
}


@pytest.mark.parametrize("prompter", [False, True], ids=["plain", "askpass"])
@pytest.mark.parametrize("name", WORDS)
async def test_each_has_words_of_its_own(name: str, prompter: bool) -> None:
    said, again, words = WORDS[name]
    async with speaking(said, again=again) as port:
        error = await refusal(port, prompter=prompter)
    assert words in str(error)
    others = {other for _, _, other in WORDS.values()} - {words}
    if name != "nothing":  # which may be several of them
        assert not [other for other in others if other in str(error)], str(error)
    assert "debug1" not in str(error)
    assert "kex.c" not in str(error)


async def test_an_sshd_with_as_many_log_ins_as_it_takes() -> None:
    async with PrivateServer(options={"MaxStartups": "1:100:1"}) as server:
        waiting = await asyncio.open_connection(server.host, server.port)
        await waiting[0].readline()  # it is being logged in
        try:
            error = await refusal(server.port)
        finally:
            waiting[1].close()
        assert isinstance(error, sshmux.ServerHungUp)
        assert "(MaxStartups)" in str(error)
        assert error.transient


@contextmanager
def web_server() -> Iterator[int]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


async def test_a_web_server() -> None:
    with web_server() as port:
        error = await refusal(port)
    assert "speaks HTTP" in str(error), str(error)


@pytest.mark.parametrize(
    "words", [b"Host key verification failed.\r\n", b"Permission denied (publickey).\r\n"]
)
async def test_a_greeting_chooses_no_error(words: bytes) -> None:
    async with speaking(words) as port:
        error = await refusal(port)
    assert type(error) is sshmux.ServerHungUp
    assert error.transient
    assert "The server closed the connection before the log-in" in str(error)
