"""Where it is measured: a private sshd, a control directory, and who takes part."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sshmux import ConfigError, Connection, ConnectionManager
from sshmux.openssh import argv
from sshmux.openssh.environment import client_environment
from sshmux.openssh.version import ssh_version
from sshmux.testing import PrivateServer, WrapperMissing

from .contestants import Contestant, Coroutines
from .figures import ASYNCSSH, MUX, OURS, OWN
from .measure import Contender, Samples, interleave
from .peers import PEERS, asyncssh
from .peers.worker import Worker

SHELL = "/bin/sh"
MEMORY = "/dev/shm"  # Linux
# With sshd's usual 10, asyncssh runs into refusals at 8 commands at once: the server counts a
# session for a moment longer than the client. (sshmux keeps to its own limit all the same.)
MAX_SESSIONS = 100
GRACE = 20  # seconds: PoolConfig's, for the bare masters too
_ROOM = 4 * 1024**3  # bytes for files in memory: some of them twice, and as much to spare
_STAY = 600  # seconds for which bare masters wait for their next turn
_ENGINES = {OURS: "ssh", MUX: "mux"}
_A_MOMENT = 30  # seconds for a peer to be ready


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    name: str
    rounds: int
    commands: int  # in a block, one by one
    dials: int  # in a block
    borrows: int  # in a block
    parallel: int  # commands in a block, many at a time
    small: int  # commands with input and output in a block
    megabytes: int
    thorough: bool = True  # not only what tells most of a subject
    directory: str = ""  # for its files; `scratch` if none is named

    def rounds_of_seconds(self) -> int:
        """Of what takes seconds a turn: few, but a median needs three."""
        return max(3, self.rounds // 3)


PLANS = {
    "quick": Plan("quick", 3, 20, 2, 500, 128, 256, 64, thorough=False),
    "default": Plan("default", 9, 20, 2, 2000, 128, 2000, 512),
    "full": Plan("full", 15, 40, 4, 5000, 256, 2000, 512),
}


@dataclass
class World:
    """What every subject gets.

    Attributes:
        engines: our own contenders, and the engine that each has.
        installed: the peers that are, with their versions.
        on_failure: told of everybody who could not take part: who, and why.
    """

    plan: Plan
    server: PrivateServer
    directory: Path
    shell: str
    engines: Mapping[str, str]
    installed: Mapping[str, str]
    on_failure: Callable[[str, Exception], object] = field(default=lambda _who, _error: None)

    async def race(
        self, contenders: Mapping[str, Contender], *, rounds: int | None = None, warm_up: int = 1
    ) -> dict[str, dict[str, Samples]]:
        """See `interleave`."""
        wanted = self.plan.rounds if rounds is None else rounds
        return await interleave(wanted, contenders, warm_up=warm_up, dropped=self.on_failure)

    # sshmux

    def manager(self, who: str = OURS, **settings: Any) -> ConnectionManager:
        control_dir = self.directory / "sshmux"
        return ConnectionManager(control_dir=control_dir, engine=self.engines[who], **settings)

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[dict[str, Connection]]:
        """A connection of each engine, borrowed for as long as the block takes."""
        async with contextlib.AsyncExitStack() as stack:
            connections = {}
            for who in self.engines:
                manager = await stack.enter_async_context(self.manager(who, pool_size=1))
                self.server.register(manager, "one")
                borrowed = manager.get_connection("one")
                connections[who] = await stack.enter_async_context(borrowed)
            yield connections

    # The same OpenSSH, started bare by asyncio's own subprocess support

    async def bare_dial(self, name: str, *options: str, persist: int = GRACE) -> Path:
        """The master's command line of sshmux, but with `-f` to go into the background."""
        config = self.server.connection_config()
        socket = self.directory / f"{name}.sock"
        version = await ssh_version(config.ssh_program)
        line = argv.master(config, socket, persist=persist, version=version)
        if "ForkAfterAuthentication=no" in line:
            at = line.index("ForkAfterAuthentication=no")
            del line[at - 1 : at + 1]
        line[1:1] = ["-f", *options]
        # The master keeps its descriptors for a moment: only the exit status is waited for.
        process = await asyncio.create_subprocess_exec(
            *line, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=client_environment()
        )
        if await process.wait() != 0:
            raise RuntimeError("the bare ssh -M could not log in")
        return socket

    async def bare_control(self, socket: Path, operation: str) -> int:
        line = argv.control(self.server.connection_config().ssh_program, socket, operation)
        process = await asyncio.create_subprocess_exec(
            *line, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        return await process.wait()

    async def bare_leave(self, socket: Path) -> None:
        await self.bare_control(socket, "exit")

    def session_line(self, socket: Path, command: str) -> list[str]:
        """The very line that sshmux runs, without what it puts in front of the command."""
        return argv.session(self.server.connection_config(), socket, command)

    async def bare_run(self, socket: Path, command: str, data: bytes = b"") -> bytes:
        """By asyncio's own subprocess pipes."""
        process = await asyncio.create_subprocess_exec(
            *self.session_line(socket, command),
            stdin=PIPE if data else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )
        stdout, stderr = await process.communicate(data or None)
        if process.returncode != 0:
            said = stderr.decode(errors="replace").strip()
            raise RuntimeError(f"the bare ssh -S ended with {process.returncode}: {said}")
        return stdout

    @contextlib.asynccontextmanager
    async def bare_masters(self, count: int) -> AsyncIterator[list[Path]]:
        sockets = [await self.bare_dial(f"bare{n}", persist=_STAY) for n in range(count)]
        try:
            yield sockets
        finally:
            for socket in sockets:
                await self.bare_leave(socket)

    def bare(self, sockets: list[Path]) -> Coroutines:
        """Spreads its commands over masters."""

        async def run(number: int, command: str, data: bytes) -> bytes:
            return await self.bare_run(sockets[number % len(sockets)], command, data)

        return Coroutines(run)

    # Peers

    @property
    def has_asyncssh(self) -> bool:
        return ASYNCSSH in self.installed

    @property
    def account(self) -> dict[str, Any]:
        """What a peer has to know to log in."""
        return {
            "host": self.server.host,
            "port": self.server.port,
            "username": self.server.username,
            "key_file": str(self.server.key_file),
            "known_hosts": str(self.server.known_hosts_file),
        }

    @contextlib.asynccontextmanager
    async def asyncssh_connections(self, count: int) -> AsyncIterator[list[Any]]:
        """Open connections."""
        async with contextlib.AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(asyncssh.connect(self.account))
                for _ in range(count)
            ]

    @contextlib.asynccontextmanager
    async def workers(
        self, names: Collection[str], connections: int
    ) -> AsyncIterator[dict[str, Worker]]:
        """Those peers in processes of their own that are installed, and can connect."""
        async with contextlib.AsyncExitStack() as stack:
            found = {}
            for name in names:
                if name not in self.installed or not PEERS[name].line:
                    continue
                try:
                    async with asyncio.timeout(_A_MOMENT):
                        worker = await Worker.start(PEERS[name].line, self.account, connections)
                except Exception as error:
                    self.on_failure(name, error)
                    continue
                stack.push_async_callback(worker.stop)
                found[name] = worker
            yield found

    @contextlib.asynccontextmanager
    async def peers(
        self, names: Collection[str], connections: int
    ) -> AsyncIterator[dict[str, Contestant]]:
        """The same, and asyncssh."""
        async with contextlib.AsyncExitStack() as stack:
            found: dict[str, Contestant] = {}
            if ASYNCSSH in names and self.has_asyncssh:
                opened = self.asyncssh_connections(connections)
                found[ASYNCSSH] = asyncssh.contestant(await stack.enter_async_context(opened))
            found |= await stack.enter_async_context(self.workers(names, connections))
            yield found


# The server's own choice, as everywhere; PrivateServer leaves the expensive ones out.
USUAL_KEY_EXCHANGE: dict[str, Any] = {"KexAlgorithms": []}


def scratch() -> str:
    """Where the files are: in memory, where there is room, or a disk would be what is measured.

    Not in $TMPDIR, which is too long a path for a socket on macOS.
    """
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= _ROOM:
        return MEMORY
    return "/tmp"


@contextlib.asynccontextmanager
async def open_world(plan: Plan, *, max_startups: str = "200:30:300") -> AsyncIterator[World]:
    directory = Path(tempfile.mkdtemp(prefix="sshmux-bench-", dir=plan.directory or scratch()))
    limits: dict[str, Any] = {
        "max_sessions": MAX_SESSIONS,
        "max_startups": max_startups,
        "options": USUAL_KEY_EXCHANGE,
    }
    try:
        async with contextlib.AsyncExitStack() as stack:
            shell = SHELL
            try:
                server = PrivateServer(login_shell=SHELL, **limits)
                await stack.enter_async_context(server)
            except WrapperMissing:
                shell = "the account's own"
                server = await stack.enter_async_context(PrivateServer(**limits))
            yield World(plan, server, directory, shell, _engines(directory), _installed())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _engines(directory: Path) -> dict[str, str]:
    """Those that this sshmux has."""
    found = {}
    for who in OWN:
        try:
            ConnectionManager(control_dir=directory / "unused", engine=_ENGINES[who])
        except ConfigError:
            continue
        found[who] = _ENGINES[who]
    return found


def _installed() -> dict[str, str]:
    versions = {name: peer.version() for name, peer in PEERS.items()}
    return {name: version for name, version in versions.items() if version is not None}
