"""A command that is tied to its session ends with the link; and costs the others nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time

import pytest

import sshmux
from sshmux.testing import PrivateServer

from ..support import managed, nap, sleepers, until

pytestmark = pytest.mark.both_engines

SHELLS = [shell for name in ("sh", "bash", "tcsh", "fish") if (shell := shutil.which(name))]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("fault", ["master", "server"])
async def test_it_ends_with_the_link(shell: str, fault: str) -> None:
    tied, left = nap(), nap()
    async with PrivateServer(login_shell=shell) as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                running = [
                    asyncio.ensure_future(connection.run(f"sleep {tied}; true", on_lost="end")),
                    asyncio.ensure_future(connection.run(f"sleep {left}; true")),
                ]
                await until(lambda: sleepers(tied) and sleepers(left))
                if fault == "master":
                    os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
                else:
                    server.drop_connections()
                for each in running:
                    with pytest.raises(sshmux.ConnectionLost):
                        await each
                await until(lambda: not sleepers(tied))
                assert sleepers(left)
        for process in sleepers(left):
            process.kill()


async def test_it_changes_nothing_else() -> None:
    long = nap()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            await connection.run("true")
            started = time.monotonic()
            done = await connection.run("cat; echo err >&2; exit 3", input="x", on_lost="end")
            assert (done.exit_status, done.stdout, done.stderr) == (3, "x", "err\n")
            assert time.monotonic() - started < 0.9  # nobody waits for the watcher
            with pytest.raises(sshmux.ProcessTimeout, match="ended on the remote"):
                await connection.run(f"sleep {long}; true", timeout=1, on_lost="end")
            assert not sleepers(long)
            with pytest.raises(sshmux.ConfigError, match="on_lost="):
                await connection.run("true", on_lost="kill")  # type: ignore[call-overload]
