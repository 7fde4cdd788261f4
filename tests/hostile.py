"""A server that asks, says and does anything: for prompts that no sshd would show.

It speaks SSH by asyncssh, in this process and on this event loop: whatever waits for a client of
it must not block the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncssh
import pytest

from sshmux.testing.config import HOST, ServerFiles, known_hosts, server_alias, ssh_config

# asyncssh sends both as they are, so they may be no text at all.
Text = str | bytes

# What ssh takes in one packet is 256 KiB: a longer prompt makes it hang up.
LONGEST = 250_000


@dataclass(frozen=True)
class Round:
    """One request of keyboard-interactive, which may have several questions, or none.

    Parameters:
        name: shown above the instructions.
        instructions: shown above the questions.
        prompts: the questions, each with whether what is typed is shown.
        expected: the answers that are right, or what says so of all of them; None: any are.
    """

    name: Text
    instructions: Text
    prompts: Sequence[tuple[Text, bool]]
    expected: Sequence[str] | Callable[[list[str]], bool] | None = None

    def is_right(self, answers: list[str]) -> bool:
        """Whether the conversation goes on after these answers."""
        if self.expected is None:
            return True
        if callable(self.expected):
            return self.expected(answers)
        return answers == list(self.expected)

    @property
    def challenge(self) -> tuple[Any, ...]:
        """What asyncssh sends."""
        return self.name, self.instructions, "", list(self.prompts)


def question(prompt: Text, expected: str | None = None, *, echo: bool = False) -> Round:
    """A round of one question and nothing else."""
    return Round("", "", [(prompt, echo)], None if expected is None else [expected])


class HostileServer:
    """A server on 127.0.0.1 that does as a test likes; an async context manager.

    The parameters are attributes too, and may be changed while it runs, for the next connection.

    Parameters:
        directory: for the files of its clients; by default one that is removed in the end.
        banner: shown before authentication, of any length and with any characters.
        password: what is right by the method password, or what says so; None: there is no such
            method.
        rounds: what keyboard-interactive asks, one after the other; a wrong answer is refused at
            once. None at all: there is no such method.
        public_key: accept the client's key; otherwise there is no such method.
        accept: False refuses everything in the end, also what was right.
        stall_after: be silent for ever after so many answers and passwords of a connection; 0:
            before it says how one may log in.
        forwarding: connect to wherever a client wants to be forwarded, as a jump host does.
        username: whom clients' files log in as. Anybody may.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        banner: Text | None = None,
        password: str | Callable[[str], bool] | None = None,
        rounds: Sequence[Round] = (),
        public_key: bool = False,
        accept: bool = True,
        stall_after: int | None = None,
        forwarding: bool = False,
        username: str = "guest",
    ) -> None:
        self.banner = banner
        self.password = password
        self.rounds = rounds
        self.public_key = public_key
        self.accept = accept
        self.stall_after = stall_after
        self.forwarding = forwarding
        self.username = username

        self.delay = 0.0  # seconds that it thinks about each answer
        self.host = HOST
        self.port = 0
        self.connections = 0
        self.attempts = 0  # passwords, and conversations of keyboard-interactive
        self.logins = 0
        self.stalled = 0  # connections that will hear nothing any more
        self.received: list[str] = []  # every password and answer
        self.forwards: list[tuple[str, int]] = []
        self.commands: list[str | None] = []  # None is a shell

        self._directory = directory
        self._cleanup = contextlib.AsyncExitStack()
        self._open: set[asyncssh.SSHServerConnection] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    # What a client needs to know

    @property
    def alias(self) -> str:
        """Its name in `config_file`."""
        return server_alias(self.port)

    @property
    def key_file(self) -> Path:
        """The client's private key, whether it is any good or not."""
        return self._files.user_key

    @property
    def known_hosts_file(self) -> Path:
        """Its host key."""
        return self._files.known_hosts

    @property
    def config_file(self) -> Path:
        """An ssh_config with nothing of the user's own (`ssh -F`)."""
        return self._files.ssh_config

    def register(self, manager: Any, cluster_id: Hashable, **overrides: Any) -> None:
        """Register it with a ConnectionManager, as PrivateServer does."""
        own = {
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "key_file": self.key_file if self.public_key else None,
            "known_hosts_file": self.known_hosts_file,
            "config_file": self.config_file,
        }
        manager.register_cluster(cluster_id, **(own | overrides))

    # Life

    async def __aenter__(self) -> Self:
        if self.forwarding and type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
            pytest.skip("asyncssh as a jump host garbles what it forwards on uvloop")
        async with contextlib.AsyncExitStack() as stack:
            directory = self._directory or stack.enter_context(_temporary_directory())
            self._files = ServerFiles(directory)
            host_key = asyncssh.generate_private_key("ssh-ed25519")
            self._user_key = _write_key(self._files.user_key)
            listener = await asyncssh.listen(
                self.host,
                0,
                server_factory=lambda: _Connection(self),
                server_host_keys=[host_key],
                process_factory=self._run,
                encoding=None,
                line_editor=False,
                login_timeout=0,
                gss_host=None,
            )
            stack.push_async_callback(self._close, listener)
            self.port = listener.get_port()
            self._write_client_files(host_key.export_public_key().decode())
            self._cleanup = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._cleanup.aclose()

    def drop_connections(self) -> None:
        """Lose every connection without a goodbye."""
        for connection in list(self._open):
            connection.abort()

    async def _close(self, listener: asyncssh.SSHAcceptor) -> None:
        self._ended.set()
        listener.close()
        open_ones = list(self._open)
        self.drop_connections()
        await asyncio.gather(*(connection.wait_closed() for connection in open_ones))
        await listener.wait_closed()
        await asyncio.gather(*self._running)

    def _write_client_files(self, public_key: str) -> None:
        files = self._files
        files.known_hosts.write_text(known_hosts(self.port, public_key))
        files.ssh_config.write_text(ssh_config(files, self.port, self.username))

    # What a connection asks its server

    async def _stall_if_time(self, answers: int) -> None:
        if self.stall_after is not None and answers >= self.stall_after:
            self.stalled += 1
            await self._ended.wait()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.commands.append(process.command)
        running = asyncio.create_task(_run_command(process))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        await running


class _Connection(asyncssh.SSHServer):
    """One client's connection; the names are asyncssh's."""

    def __init__(self, server: HostileServer) -> None:
        self._server = server
        self._answers = 0
        self._rounds: Iterator[Round] = iter(())
        self._round: Round | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server.connections += 1
        self._server._open.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._open.discard(self._connection)

    async def begin_auth(self, username: str) -> bool:
        # ssh takes no packet of more than 256 KiB, and prints one banner after the other.
        banner = self._server.banner or ""
        for start in range(0, len(banner), 50_000):
            self._connection.send_auth_banner(banner[start : start + 50_000])  # type: ignore[arg-type]
        await self._server._stall_if_time(0)
        return True

    def auth_completed(self) -> None:
        self._server.logins += 1

    def public_key_auth_supported(self) -> bool:
        return self._server.public_key

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._server.accept and key == self._server._user_key

    def password_auth_supported(self) -> bool:
        return self._server.password is not None

    async def validate_password(self, username: str, password: str) -> bool:
        expected = self._server.password
        self._server.attempts += 1
        await self._receive([password])
        right = expected(password) if callable(expected) else password == expected
        return right and self._server.accept

    def kbdint_auth_supported(self) -> bool:
        return bool(self._server.rounds)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        self._server.attempts += 1
        self._rounds = iter(self._server.rounds)
        return self._next_challenge()

    async def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> Any:
        answers = list(responses)
        await self._receive(answers)
        await asyncio.sleep(self._server.delay)
        if self._round is None or not self._round.is_right(answers):
            return False
        return self._next_challenge()

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        self._server.forwards.append((dest_host, dest_port))
        return self._server.forwarding

    async def _receive(self, answers: list[str]) -> None:
        self._server.received += answers
        self._answers += len(answers)
        # Not before the first answer: a round may have no question.
        if self._answers:
            await self._server._stall_if_time(self._answers)

    def _next_challenge(self) -> Any:
        self._round = next(self._rounds, None)
        return self._server.accept if self._round is None else self._round.challenge


@contextlib.contextmanager
def _temporary_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sshmux-hostile-") as name:
        yield Path(name)


def _write_key(path: Path) -> asyncssh.SSHKey:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(0o600)
    key.write_private_key(path)
    return key.convert_to_public()


async def _run_command(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run a session's command by /bin/sh, and end it if its client goes away."""
    arguments = [] if process.command is None else ["-c", process.command]
    local = await asyncio.create_subprocess_exec(
        "/bin/sh",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert local.stdin
    assert local.stdout
    assert local.stderr
    feeding = asyncio.create_task(_feed(process.stdin, local.stdin))
    gone = asyncio.create_task(process.wait_closed())
    gone.add_done_callback(lambda _task: _end_session(local.pid))
    try:
        await asyncio.gather(
            _copy(local.stdout, process.stdout), _copy(local.stderr, process.stderr), local.wait()
        )
        _exit(process, await local.wait())
    finally:
        feeding.cancel()
        await gone
        await asyncio.wait([feeding])


async def _feed(source: asyncssh.SSHReader[bytes], target: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await _read(source):
                target.write(data)
                await target.drain()
    finally:
        target.close()


async def _read(source: asyncssh.SSHReader[bytes]) -> bytes:
    while True:
        try:
            return await source.read(65536)
        except asyncssh.TerminalSizeChanged:
            continue


async def _copy(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while data := await source.read(65536):
        with contextlib.suppress(OSError, asyncssh.Error):  # the client is gone
            target.write(data)
            await target.drain()


def _exit(process: asyncssh.SSHServerProcess[bytes], status: int) -> None:
    if process.is_closing():
        return
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


def _end_session(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
