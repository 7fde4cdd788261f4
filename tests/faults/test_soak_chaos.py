"""A long run with everything going wrong at random: nothing hangs, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path

import psutil
import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.testing import PrivateServer

SECONDS = float(os.environ.get("SSHMUX_SOAK_SECONDS", "20"))
WORKERS = 12


def masters(directory: Path) -> list[psutil.Process]:
    """Our masters, as the system sees them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        ours = "-M" in words and any(str(directory) in word for word in words)
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


async def work(manager: ConnectionManager, counts: dict[str, int], until: float) -> None:
    """Borrows, runs, sometimes gives up; every outcome has to be one that is documented."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        kind = random.choice(("echo", "echo", "echo", "timeout", "cancel", "bulk"))
        try:
            async with manager.get_connection("c", timeout=20) as connection:
                if kind == "echo":
                    result = await connection.run(["echo", "hello"], timeout=20)
                    assert (result.stdout, result.exit_status) == ("hello\n", 0)
                elif kind == "bulk":
                    result = await connection.run("head -c 1000000 /dev/zero", timeout=20)
                    assert len(result.stdout) == 1_000_000
                elif kind == "timeout":
                    with contextlib.suppress(sshmux.ProcessTimeout):
                        await connection.run("sleep 31", timeout=0.1)
                else:
                    task = asyncio.ensure_future(connection.run("sleep 32"))
                    await asyncio.sleep(random.random() / 5)
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            counts["done"] += 1
        except (sshmux.DisconnectError, sshmux.ChannelOpenError, sshmux.TimeoutError) as error:
            counts[type(error).__name__] = counts.get(type(error).__name__, 0) + 1


async def disturb(server: PrivateServer, directory: Path, until: float) -> None:
    """Kills, stops and drops, one at a time."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        await asyncio.sleep(random.uniform(0.3, 1.0))  # the pace of the trouble, not a wait
        living = masters(directory)
        trouble = random.choice(("kill", "term", "unlink", "drop", "freeze", "stop"))
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            if trouble == "kill" and living:
                random.choice(living).kill()
            elif trouble == "term" and living:
                random.choice(living).terminate()
            elif trouble == "unlink" and (sockets := list(directory.glob("*.sock"))):
                random.choice(sockets).unlink()
            elif trouble == "drop":
                server.drop_connections()
            elif trouble == "freeze":
                server.freeze()
                await asyncio.sleep(0.5)
                server.thaw()
            elif trouble == "stop" and living:
                victim = random.choice(living)
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(0.5)
                victim.send_signal(signal.SIGCONT)


@pytest.mark.soak
@pytest.mark.timeout(int(SECONDS) + 120)
async def test_chaos() -> None:
    directory = Path(tempfile.mkdtemp(prefix="sx"))
    before = len(os.listdir("/proc/self/fd"))
    counts = {"done": 0}
    most = 0
    try:
        async with PrivateServer(login_shell="/bin/sh") as server:
            async with ConnectionManager(
                pool_size=4, control_dir=directory, health_interval=1, drain_timeout=0.5
            ) as manager:
                server.register(manager, "c")
                until = asyncio.get_running_loop().time() + SECONDS
                tasks = [
                    asyncio.ensure_future(work(manager, counts, until)) for _ in range(WORKERS)
                ]
                tasks.append(asyncio.ensure_future(disturb(server, directory, until)))
                while not all(task.done() for task in tasks):
                    await asyncio.wait(tasks, timeout=0.2)
                    most = max(most, len(masters(directory)))
                await asyncio.gather(*tasks)
                # However bad it was, it works again.
                assert await manager.test_connection("c")
            assert masters(directory) == []
            assert sorted(os.listdir(directory)) == []
        sleepers = [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["cmdline"] in (["sleep", "31"], ["sleep", "32"])
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]
        assert sleepers == []
        assert counts["done"] > WORKERS
        assert most <= 4
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(os.listdir("/proc/self/fd")) <= before + 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        print(counts, "most masters:", most)
