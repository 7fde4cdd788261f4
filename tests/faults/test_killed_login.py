"""A program that dies in the middle of a log-in, or with a jump host's master."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sshmux import ConnectionManager
from sshmux.testing import PrivateServer

from ..support import control_directory, helpers, masters, nap, processes, sleepers, until

PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from sshmux import ConnectionManager

    alias, config, answer, command = sys.argv[1:]

    async def user(prompt):
        print("asked", flush=True)
        if not answer:
            await asyncio.sleep(3600)
        return answer

    async def main():
        manager = ConnectionManager(grace=1, prompter=user)
        await manager.start()
        manager.register_cluster("c", alias, config_file=config)
        async with manager.get_connection("c") as connection:
            print((await connection.run(command)).stdout, flush=True)
            await asyncio.sleep(3600)

    asyncio.run(main())
    """
)
TYPED = {"password": "pw", "methods": "publickey,keyboard-interactive"}


def start(
    alias: str, config: Path, directory: Path, answer: str = "", command: str = "echo in"
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, alias, str(config), answer, command],
        env={**os.environ, "SSHMUX_DIR": str(directory)},
        stdout=subprocess.PIPE,
    )


def heard(program: subprocess.Popen[bytes], words: bytes) -> None:
    assert program.stdout is not None
    for line in program.stdout:
        if words in line:
            return
    pytest.fail(f"it never said {words!r}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_killed_while_a_user_is_asked(number: int) -> None:
    with control_directory() as directory:
        async with PrivateServer(login_shell="/bin/sh", **TYPED) as server:
            program = start(server.alias, server.config_file, directory)
            heard(program, b"asked")
            assert len(processes(str(directory))) >= 1
            program.send_signal(number)
            program.wait()
            assert program.stdout is not None
            program.stdout.close()
            await until(lambda: not processes(str(directory)) and not os.listdir(directory))
            await server.wait_for_log("Connection (closed|reset) by")
            assert server.failed_logins == 0


async def test_killed_with_a_jump_host_everything_leaves(tmp_path: Path) -> None:
    with control_directory() as directory:
        async with (
            PrivateServer(login_shell="/bin/sh", **TYPED) as jump,
            PrivateServer(login_shell="/bin/sh") as server,
        ):
            config = tmp_path / "config"
            config.write_text(
                f"Host {server.alias}\n    ProxyJump {jump.alias}\nHost *\n"
                f"Include {jump.config_file}\nInclude {server.config_file}\n"
            )
            program = start(server.alias, config, directory, "pw")
            heard(program, b"in")
            assert len(masters(directory)) == 2
            program.kill()
            program.wait()
            assert program.stdout is not None
            program.stdout.close()
            await until(lambda: not processes(str(directory)) and not os.listdir(directory))
            assert (jump.logins, server.logins) == (1, 1)


@pytest.mark.parametrize("how", ["sweep", "stop"])
async def test_commands_behind_a_jump_host_are_ended_before_the_way_to_them(
    tmp_path: Path, how: str
) -> None:
    seconds = nap()
    with control_directory() as directory:
        async with (
            PrivateServer(login_shell="/bin/sh", **TYPED) as jump,
            PrivateServer(login_shell="/bin/sh") as server,
        ):
            config = tmp_path / "config"
            config.write_text(
                f"Host {server.alias}\n    ProxyJump {jump.alias}\nHost *\n"
                f"Include {jump.config_file}\nInclude {server.config_file}\n"
            )
            program = start(server.alias, config, directory, "pw", f"sleep {seconds}")
            await until(lambda: sleepers(seconds))
            if how == "sweep":
                program.kill()
                program.wait()
                async with ConnectionManager(control_dir=directory):
                    assert sleepers(seconds) == []
                    # A user had to log in at the bastion: that is left to its grace.
                    left = [" ".join(each.info["cmdline"]) for each in masters(directory)]
                    assert [line for line in left if "/jump-" not in line] == []
            else:
                line = [sys.executable, "-m", "sshmux", "stop", "--all", "--yes"]
                environment = {**os.environ, "SSHMUX_DIR": str(directory)}
                done = await asyncio.create_subprocess_exec(*line, env=environment)
                assert await done.wait() == 0
                assert sleepers(seconds) == []
                program.kill()
                program.wait()
            assert program.stdout is not None
            program.stdout.close()


async def test_a_killed_helper_is_a_failed_log_in() -> None:
    """The askpass dies under ssh, which must not go on with empty answers."""
    import sshmux

    async def user(prompt: sshmux.Prompt) -> str:
        for helper in helpers():
            helper.kill()
        return "pw"

    with control_directory() as directory:
        async with (
            PrivateServer(login_shell="/bin/sh", **TYPED) as server,
            sshmux.ConnectionManager(control_dir=directory, prompter=user) as manager,
        ):
            server.register(manager, 1)
            with pytest.raises(sshmux.DisconnectError):
                async with manager.get_connection(1):
                    pass
            assert masters(directory) == []
            assert (server.connections, server.failed_logins) == (1, 0)
