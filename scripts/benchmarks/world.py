"""Where it is measured: a private sshd, a control directory, and the peers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sshmux import ConnectionConfig, ConnectionManager
from sshmux.openssh import argv
from sshmux.openssh.processes import client_environment
from sshmux.openssh.version import ssh_version
from sshmux.testing import PrivateServer, WrapperMissing

asyncssh: Any
try:
    import asyncssh
except ImportError:
    asyncssh = None

SHELL = "/bin/sh"
# With sshd's usual 10, asyncssh runs into refusals at 8 commands at once: the server counts a
# session for a moment longer than the client. (sshmux keeps to its own limit, 9, all the same.)
MAX_SESSIONS = 40
GRACE = 20  # seconds: PoolConfig's, for the bare masters too


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    name: str
    rounds: int
    commands: int  # in a block, one by one
    dials: int  # in a block
    borrows: int  # in a block
    parallel: int  # commands in a block, many at a time
    megabytes: int


PLANS = {
    "quick": Plan("quick", 3, 10, 2, 500, 64, 64),
    "default": Plan("default", 9, 20, 3, 2000, 128, 256),
    "full": Plan("full", 25, 40, 5, 5000, 320, 256),
}


@dataclass
class World:
    """What every subject gets."""

    plan: Plan
    server: PrivateServer
    directory: Path
    shell: str

    @property
    def config(self) -> ConnectionConfig:
        return self.server.connection_config()

    def manager(self, **settings: Any) -> ConnectionManager:
        return ConnectionManager(control_dir=self.directory / "sshmux", **settings)

    # The same OpenSSH, started bare by asyncio's own subprocess support

    async def bare_dial(self, name: str, *options: str) -> Path:
        """The master's command line of sshmux, but with `-f` to go into the background."""
        socket = self.directory / f"{name}.sock"
        line = argv.master(
            self.config, socket, persist=GRACE, version=await ssh_version(self.config.ssh_program)
        )
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

    async def bare_leave(self, socket: Path) -> None:
        line = argv.control(self.config.ssh_program, socket, "exit")
        process = await asyncio.create_subprocess_exec(
            *line, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        await process.wait()

    async def bare_run(self, socket: Path, command: str) -> bytes:
        """The very line that sshmux runs, without what it puts in front of the command."""
        process = await asyncio.create_subprocess_exec(
            *argv.session(self.config, socket, command), stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        stdout, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"the bare ssh -S ended with {process.returncode}")
        return stdout

    @contextlib.asynccontextmanager
    async def bare_masters(self, count: int) -> AsyncIterator[list[Path]]:
        sockets = [await self.bare_dial(f"bare{number}") for number in range(count)]
        try:
            yield sockets
        finally:
            for socket in sockets:
                await self.bare_leave(socket)

    # asyncssh

    @property
    def has_asyncssh(self) -> bool:
        return asyncssh is not None

    def asyncssh_connect(self) -> Any:
        """To be awaited, or entered."""
        return asyncssh.connect(
            self.server.host,
            self.server.port,
            username=self.server.username,
            client_keys=[str(self.server.key_file)],
            known_hosts=str(self.server.known_hosts_file),
            config=None,
            agent_path=None,
            compression_algs=["none"],
        )

    @contextlib.asynccontextmanager
    async def asyncssh_connections(self, count: int) -> AsyncIterator[list[Any]]:
        """Open connections; an empty list without asyncssh."""
        async with contextlib.AsyncExitStack() as stack:
            if asyncssh is None:
                yield []
                return
            yield [await stack.enter_async_context(self.asyncssh_connect()) for _ in range(count)]


@contextlib.asynccontextmanager
async def open_world(plan: Plan, *, max_startups: str = "200:30:300") -> AsyncIterator[World]:
    # Not in $TMPDIR, which is too long a path for a socket on macOS.
    directory = Path(tempfile.mkdtemp(prefix="sshmux-bench-", dir="/tmp"))
    limits: dict[str, Any] = {"max_sessions": MAX_SESSIONS, "max_startups": max_startups}
    try:
        async with contextlib.AsyncExitStack() as stack:
            shell = SHELL
            try:
                server = PrivateServer(login_shell=SHELL, **limits)
                await stack.enter_async_context(server)
            except WrapperMissing:
                shell = "the account's own"
                server = await stack.enter_async_context(PrivateServer(**limits))
            yield World(plan, server, directory, shell)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
