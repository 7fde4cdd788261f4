"""Programs that share a log-in are killed, one after the other, at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.naming import is_code
from sshmux.testing import PrivateServer

from ..sharing import SECRET, Desk, Program, way_to
from ..support import control_directory, masters, until

LINE = "sleep 0.01"


def shared(directory: Path) -> bool:
    """Whether there is a master that is shared."""
    records = [entry.read() for entry in ControlDir(directory).entries()]
    return any(record is not None and record.shared for record in records)


async def killing(tmp_path: Path, rounds: int, seconds: float) -> int:
    """Keeps three programs at work, and kills one in each round; how many were killed.

    Each is killed at a moment of its own: as it starts, joins, runs, or just so.
    """
    choose = random.Random(rounds)
    ends = time.monotonic() + seconds
    killed = 0
    with control_directory() as directory:
        async with (
            PrivateServer(login_shell="/bin/sh", totp=SECRET) as server,
            AsyncExitStack() as stack,
        ):
            desk = Desk(directory, tmp_path / "asked", {"hpc": way_to(server)})
            working: dict[Program, asyncio.Future[int]] = {}

            async def one_more() -> None:
                program = await desk.launch(persist=0)
                stack.push_async_callback(program.kill)
                working[program] = program.start("many", "hpc", LINE, 10_000)

            for _ in range(3):
                await one_more()
            # sshd tells of a log-in before its master is there: who is killed in between takes it
            # along, and the next one has to log in.
            await until(lambda: shared(directory))
            while killed < rounds and time.monotonic() < ends:
                await asyncio.sleep(choose.choice([0, 0.01, 0.1, 0.3]))
                assert [each for each in working.values() if each.done()] == []
                program = choose.choice(list(working))
                doomed = working.pop(program)
                await program.kill()
                with pytest.raises(EOFError):
                    await doomed
                killed += 1
                await one_more()
            # Whoever is left goes on, with the very first log-in.
            await asyncio.sleep(0.5)
            assert [each for each in working.values() if each.done()] == []
            assert (server.logins, server.connections, len(desk.asked)) == (1, 1, 1)
            for program, doomed in working.items():
                await program.kill()
                with pytest.raises(EOFError):
                    await doomed
            async with desk.program(user=False) as last:  # within the grace: it needs no code
                assert await last.do("run", "hpc", "echo in") == "in\n"
                assert await last.stop() == 0
            await until(lambda: not masters(directory))
            await until(lambda: not [name for name in os.listdir(directory) if not is_code(name)])
            assert (server.logins, len(desk.asked)) == (1, 1)
    return killed


async def test_killed_at_any_moment_they_harm_nobody(tmp_path: Path) -> None:
    assert await killing(tmp_path, 6, 600) == 6


@pytest.mark.soak
@pytest.mark.timeout(2000)
async def test_two_hundred_kills(tmp_path: Path) -> None:
    seconds = float(os.environ.get("SSHMUX_SOAK_SECONDS", "1800"))
    killed = await killing(tmp_path, 200, seconds)
    assert killed == 200 or (killed > 0 and seconds < 1800)
