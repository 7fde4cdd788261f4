"""The private dropbear itself, seen from a plain `ssh`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import psutil
import pytest

from .. import dropbear
from ..dropbear import Dropbear
from ..support import nap, sleepers, until

pytestmark = pytest.mark.skipif(dropbear.missing() is not None, reason=str(dropbear.missing()))


async def ssh(server: Dropbear, command: str, *options: str) -> tuple[int, str]:
    arguments = ["-F", str(server.config_file), "-o", "BatchMode=yes", *options, server.alias]
    process = await asyncio.create_subprocess_exec(
        *("ssh", *arguments, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


def type_password(server: Dropbear, *answers: str) -> tuple[str, int | None]:
    limit = f"NumberOfPasswordPrompts={len(answers)}"
    arguments = ["-F", str(server.config_file), "-o", limit, server.alias, "echo in"]
    client = pexpect.spawn("ssh", arguments, encoding="utf-8", timeout=20)
    for answer in answers:
        client.expect_exact(f"{server.username}@127.0.0.1's password: ")
        client.sendline(answer)
    shown = client.read()
    client.close()
    return shown, client.exitstatus


async def test_a_key_logs_in_and_is_counted() -> None:
    async with Dropbear() as server:
        assert await ssh(server, "echo $HOME; exit 3") == (3, f"{server.home}\n")
        assert (server.connections, server.logins, server.failed_logins) == (1, 1, 0)
        hidden = server.key_file.rename(server.home / "hidden")
        assert "Permission denied (publickey)" in (await ssh(server, "true"))[1]
        hidden.rename(server.key_file)
        assert (server.connections, server.logins) == (2, 1)


async def test_commands_through_a_control_master(short_dir: Path) -> None:
    async with Dropbear() as server:
        socket = str(short_dir / "m")
        status, _ = await ssh(server, "true", "-M", "-S", socket, "-o", "ControlPersist=yes", "-f")
        assert status == 0
        for number in range(5):
            assert await ssh(server, f"echo {number}", "-S", socket) == (0, f"{number}\n")
        assert (server.connections, server.logins) == (1, 1)
        assert (await ssh(server, "", "-S", socket, "-O", "exit"))[0] == 0


async def test_commands_at_once_through_a_control_master(short_dir: Path) -> None:
    gate, mux = short_dir / "gate", ("-o", f"ControlPath={short_dir}/m")
    async with Dropbear() as server:
        assert (await ssh(server, "true", "-M", "-o", "ControlPersist=yes", "-f", *mux))[0] == 0
        # None ends while another begins: dropbear closes some of those.
        command = f"touch {short_dir}/$N; while [ ! -e {gate} ]; do sleep 0.1; done; echo $N"
        running = [
            asyncio.create_task(ssh(server, f"N={number}; {command}", *mux)) for number in range(6)
        ]
        await until(lambda: all((short_dir / str(number)).exists() for number in range(6)))
        gate.touch()
        assert await asyncio.gather(*running) == [(0, f"{number}\n") for number in range(6)]
        assert (server.connections, server.logins) == (1, 1)


async def test_a_password() -> None:
    async with Dropbear(password="pass'word $HOME ü") as server:
        assert await ssh(server, "echo in") == (0, "in\n"), "the key is as good"
        server.key_file.unlink()
        shown, status = await asyncio.to_thread(type_password, server, "wrong", "pass'word $HOME ü")
        assert (status, shown.endswith("in\r\n")) == (0, True)
        assert (server.connections, server.logins, server.failed_logins) == (2, 2, 1)


async def test_nothing_is_left_behind() -> None:
    seconds = nap()
    async with Dropbear() as server:
        running = asyncio.create_task(ssh(server, f"sleep {seconds} & sleep {seconds}"))
        await until(lambda: len(sleepers(seconds)) == 2)
        await server.wait_for_log("Pubkey auth succeeded")
        directory = server.config_file.parent
    assert (await running)[0] == 255
    assert not directory.exists()
    assert not sleepers(seconds)
    assert not [child for child in psutil.Process().children() if "dropbear" in child.name()]


async def test_lost_connections() -> None:
    seconds = nap()
    async with Dropbear() as server:
        running = asyncio.create_task(ssh(server, f"sleep {seconds}"))
        await until(lambda: sleepers(seconds))
        server.drop_connections()
        assert (await running)[0] == 255
        assert (await ssh(server, "true"))[0] == 0


async def test_a_killed_owner_leaves_nothing() -> None:
    script = """
import asyncio, os, signal
from tests.dropbear import Dropbear
async def main():
    server = await Dropbear().__aenter__()
    print(server._listener.pid, server.config_file.parent, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment["PYTHONPATH"] += os.pathsep + str(Path(__file__).parents[2])
    owner = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, check=False, env=environment
    )
    assert owner.returncode == -signal.SIGKILL
    pid, directory = owner.stdout.decode().split()
    await until(lambda: not psutil.pid_exists(int(pid)) and not os.path.exists(directory))
