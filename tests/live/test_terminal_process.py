"""Processes on a terminal, on both engines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

import sshmux
from sshmux import Connection, RemoteProcess
from sshmux.testing import PrivateServer

from ..support import managed, nap, needs_terminals, sleepers, until

pytestmark = [pytest.mark.both_engines, needs_terminals]

SIZES = 100, 40


def terminals() -> int:
    """How many terminals of this program are open, as both sides know them."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # of the listing itself
            found += os.readlink(f"/proc/self/fd/{name}") in ("/dev/ptmx", "/dev/pts/ptmx")
    return found


async def expect(process: RemoteProcess[str], text: str) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return await process.stdout.readuntil(text)


# What it is


@pytest.mark.parametrize("shell", ["sh", "bash", "tcsh", "fish", "zsh"])
async def test_it_is_a_terminal_under_every_shell(shell: str) -> None:
    path = f"/usr/bin/{shell}"
    if not os.path.exists(path):
        pytest.skip(f"needs {shell}")
    seconds = nap()
    async with PrivateServer(login_shell=path) as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for _ in range(2):  # before the shell is known, and when it is
                command = "tty; stty size; echo $TERM; sh -c 'echo err >&2'; sh -c 'exit 3'"
                done = await connection.run(command, term_type="vt100", term_size=SIZES)
                name, *rest = done.stdout.split("\r\n")
                assert name.startswith("/dev/")
                assert rest == ["40 100", "vt100", "err", ""]
                assert (done.stderr, done.exit_status) == ("", 3)
            async with connection.create_process("cat; echo end", term_type="vt100") as process:
                process.stdin.write("line\npart")
                process.stdin.write_eof()
                out, err = await process._outputs()
                assert (out, err) == ("line\r\npartline\r\npartend\r\n", "")
            async with connection.create_process(term_type="dumb") as process:
                process.stdin.write(f"sleep {seconds} &\n")
                await until(lambda: sleepers(seconds))
                process.stdin.write("echo on''ward\n")
                await expect(process, "onward\r\n")
            assert sleepers(seconds) == []
    assert terminals() == 0


async def test_its_modes_are_those_of_an_ordinary_terminal() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for _ in range(5):
                modes = (await connection.run("stty -a", term_type="vt100")).stdout.split()
                assert {"icanon", "isig", "echo", "icrnl", "opost", "onlcr"} <= set(modes)


async def test_environment_directory_and_words() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            words = ["sh", "-c", "echo $A; pwd; test -t 2; echo $?"]
            done = await connection.run(words, env={"A": "b"}, cwd="/usr", term_type="vt100")
            assert done.stdout == "b\r\n/usr\r\n0\r\n"


async def test_when_there_is_one() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:

            async def has(**options: object) -> bool:
                async with connection.create_process("tty", **options) as process:
                    return str(await process.stdout.read()).startswith("/dev")

            assert not await has(term_size=SIZES)
            assert not await has(term_type="vt100", request_pty=False)
            assert not await has(request_pty="auto")
            assert await has(request_pty="force")
            assert await has(term_type="vt100", request_pty="auto")
            async with connection.create_process(request_pty="auto") as process:
                process.stdin.write("tty; exit 4\n")
                await expect(process, "/dev/")
                assert (await process.wait()).exit_status == 4
            process = await connection.create_process()  # a login shell that reads a script
            assert (await process.communicate("tty; exit 5\n"))[0] == "not a tty\n"
            assert process.exit_status == 5


async def test_bad_input() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for wrong in (
                {"term_type": "a\nb"},
                {"term_type": 7},
                {"request_pty": "please"},
                {"term_size": (1,)},
                {"term_size": 80},
                {"term_size": "80"},
                {"term_size": (1, 2, 3)},
                {"term_size": (80, 70_000)},
                {"term_size": (80, -1)},
                {"stdin": "/etc/hosts"},
            ):
                with pytest.raises(sshmux.ConfigError):
                    await connection.create_process("true", **{"term_type": "vt100", **wrong})
            with pytest.raises(sshmux.ConfigError, match="create_process"):
                await connection.run("true", term_type="vt100", stdout="/dev/null")
            async with connection.create_process("cat") as process:
                with pytest.raises(sshmux.ConfigError, match="no terminal"):
                    process.change_terminal_size(80, 24)
            assert terminals() == 0


# Talking on one


async def test_another_size() -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            one = await connection.create_process(
                script, term_type="vt100", term_size=(80, 24, 8, 9)
            )
            two = await connection.create_process(script, term_type="vt100", term_size=SIZES)
            assert await one.stdout.readline() == "24 80\r\n"
            assert await two.stdout.readline() == "40 100\r\n"
            one.change_terminal_size(132, 50)
            assert await one.stdout.readline() == "50 132\r\n"
            two.change_terminal_size(60, 20, 600, 200)
            assert await two.stdout.readline() == "20 60\r\n"
            with pytest.raises(sshmux.ConfigError):
                two.change_terminal_size(60, -1)
            one.stdin.write("\x03")
            await one.wait()
            one.change_terminal_size(1, 1)  # too late, and no error
            await two.__aexit__(None, None, None)


async def test_control_c_reaches_what_is_in_the_foreground() -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/bash") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            command = "bash --norc -i"
            async with connection.create_process(command, term_type="dumb") as process:
                process.stdin.write(f"sleep {seconds}; echo st''opped\n")
                await until(lambda: sleepers(seconds))
                process.stdin.write("\x03")
                await until(lambda: not sleepers(seconds))
                process.stdin.write("echo go''ing on\nexit 6\n")
                await expect(process, "going on\r\n")
                assert (await process.wait()).exit_status == 6


async def test_a_password_is_asked_for_without_echo() -> None:
    ask = "import getpass; print('got', getpass.getpass('Secret: '))"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process(
                ["python3", "-c", ask], term_type="vt100"
            ) as process:
                assert await expect(process, "Secret: ") == "Secret: "
                process.stdin.write("xyzzy\n")
                assert await process.stdout.read() == "\r\ngot xyzzy\r\n"


@pytest.mark.parametrize(
    ("command", "sign", "keys"),
    [
        ("python3 -q", ">>> ", "print(6*7)\nexit()\n"),
        ("vim -u NONE -N /etc/hosts", "localhost", ":q!\r"),
        ("less /etc/hosts", "localhost", "q"),
        ("top", "PID", "q"),
    ],
)
async def test_programs_for_a_whole_screen(command: str, sign: str, keys: str) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process(
                command, term_type="xterm-256color", term_size=(120, 40), errors="replace"
            ) as process:
                await expect(process, sign)
                process.stdin.write(keys)
                out, _ = await process._outputs()
                assert process.exit_status == 0
                assert "42" in out or "print" not in keys


async def test_bytes_of_all_kinds_both_ways_and_many() -> None:
    data = bytes(range(256)) * 8000
    command = f"stty raw -echo; echo ready; head -c {len(data)}"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process(
                command, term_type="vt100", encoding=None
            ) as process:
                assert await process.stdout.readline() == b"ready\n"

                async def paste() -> None:
                    for at in range(0, len(data), 100_000):
                        process.stdin.write(data[at : at + 100_000])
                        await process.stdin.drain()
                    await process.stdin.wait_closed()

                pasting = asyncio.ensure_future(paste())
                assert await process.stdout.read() == data
                await pasting
                assert (await process.wait()).exit_status == 0


async def test_a_paste_that_nobody_reads_stops_nobody_else() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process(
                "stty raw -echo; echo ready; sleep 1000", term_type="vt100"
            ) as process:
                await expect(process, "ready")
                process.stdin.write("x" * 10_000_000)
                draining = asyncio.ensure_future(process.stdin.drain())
                assert (await connection.run("echo on", timeout=20)).stdout == "on\n"
                assert not draining.done()
            with pytest.raises(BrokenPipeError):
                await draining


async def test_output_that_nobody_reads_stops_nobody_else() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("yes", term_type="vt100") as process:
                await until(lambda: process.stdout._size > 1_000_000)
                assert (await connection.run("echo on", timeout=20)).stdout == "on\n"
                assert await process.stdout.readline() == "y\r\n"


# Elsewhere


async def test_to_files_and_other_processes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for stdout in (out, subprocess.DEVNULL):
                process = await connection.create_process(
                    "tty -s; echo $?", term_type="vt100", stdout=stdout, stderr=subprocess.STDOUT
                )
                assert (await process.wait(check=True)).stdout == ""
            await until(lambda: out.read_bytes() == b"0\r\n")
            source = await connection.create_process("echo said")
            target = await connection.create_process(
                "stty -echo; cat", term_type="vt100", stdin=source.stdout
            )
            assert "said\r\n" in (await target.wait(check=True)).stdout
            await source.wait(check=True)
            target = await connection.create_process(
                "cat; echo end", term_type="vt100", stdin=subprocess.DEVNULL
            )
            assert (await target.wait(check=True)).stdout == "end\r\n"
            done = await connection.run("cat", term_type="vt100", input="typed\n")
            assert done.stdout == "typed\r\ntyped\r\n"


# Its end


@pytest.mark.parametrize("how", ["block", "dropped", "cancelled", "released", "kill"])
async def test_nothing_is_left_of_it(how: str) -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/bash") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            process = await connection.create_process("bash --norc -i", term_type="dumb")
            jobs = f"sleep {seconds} & (trap '' HUP TERM; sleep {seconds}) & sleep {seconds}\n"
            process.stdin.write(jobs)
            await until(lambda: len(sleepers(seconds)) == 3)
            assert terminals() == 1
            if how == "block":
                async with process:
                    pass
            elif how == "dropped":
                del process
                gc.collect()
            elif how == "cancelled":

                async def use() -> None:
                    async with process:
                        await process.wait()

                task = asyncio.ensure_future(use())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            elif how == "kill":
                process.stdin.write("\x03")
                await until(lambda: len(sleepers(seconds)) == 2)
                process.kill()
                await process.wait()
                await process.wait_closed()
            if how != "released":
                await until(lambda: not sleepers(seconds))
                await until(lambda: terminals() == 0)
                assert (await connection.run("echo on")).stdout == "on\n"
        await until(lambda: not sleepers(seconds))
    assert terminals() == 0


async def test_cancelled_while_it_begins() -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            await connection.run("true")
            for turns in range(16):
                starting = connection.create_process(f"sleep {seconds}", term_type="vt100")
                task = asyncio.ensure_future(starting.__aenter__())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait((task,))
                if not task.cancelled():
                    await task.result().__aexit__(None, None, None)
                assert sleepers(seconds) == []
                assert terminals() == 0


async def test_run_out_of_time() -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            command = f"echo so far; sleep {seconds}"
            with pytest.raises(sshmux.ProcessTimeout) as late:
                await connection.run(command, term_type="vt100", timeout=1)
            assert late.value.stdout == "so far\r\n"
            assert sleepers(seconds) == []
            assert terminals() == 0


async def test_a_lost_link() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("echo came; cat", term_type="vt100") as process:
                assert await process.stdout.readline() == "came\r\n"
                os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
                with pytest.raises(sshmux.ConnectionLost):
                    await process.wait()
                process.stdin.write("for nobody")
                process.change_terminal_size(80, 24)
                with pytest.raises(BrokenPipeError):
                    await process.stdin.drain()
                assert terminals() == 0


# Servers


async def test_a_server_without_terminals(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with PrivateServer(login_shell="/bin/sh", options={"PermitTTY": "no"}) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            for _ in range(2):
                with pytest.raises(sshmux.TerminalRefused, match="PermitTTY"):
                    await connection.create_process(f"touch {ran}", term_type="vt100")
                with pytest.raises(sshmux.TerminalRefused):
                    await connection.run(f"touch {ran}", term_type="vt100")
                with pytest.raises(sshmux.TerminalRefused):
                    await connection.create_process(term_type="vt100")
            assert not ran.exists()
            assert terminals() == 0
            assert (await connection.run("echo on")).stdout == "on\n"


async def test_a_full_server_delays_it() -> None:
    async with PrivateServer(login_shell="/bin/sh", max_sessions=2) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            done = await asyncio.gather(
                *(connection.run(f"tty -s; echo {n}", term_type="vt100") for n in range(8))
            )
            assert [each.stdout for each in done] == [f"{n}\r\n" for n in range(8)]
        assert server.logins == 1
    assert terminals() == 0


async def test_an_account_whose_shell_says_nothing() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, register={"remote_shell": "none"}) as manager:
            async with manager.get_connection(1) as connection:
                await _refuses(connection)


async def _refuses(connection: Connection) -> None:
    with pytest.raises(sshmux.ConfigError, match="remote_shell"):
        connection.create_process("tty", term_type="vt100")
    with pytest.raises(sshmux.ConfigError, match="remote_shell"):
        connection.create_process()


async def test_noise_of_the_login_shell_and_output_in_pieces(tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\nprintf "welcome\\nsshmux-"; exec /bin/sh "$@"\n')
    shell.chmod(0o755)
    async with PrivateServer(login_shell=shell) as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for _ in range(3):
                done = await connection.run("echo said", term_type="vt100")
                assert done.stdout == "welcome\r\nsshmux-said\r\n"


async def test_processes_here_are_left_alone() -> None:
    """The client has no controlling terminal: nothing of ours is one's session leader."""
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            own = psutil.Process().terminal()
            async with connection.create_process("cat", term_type="vt100"):
                children = psutil.Process().children(recursive=True)
                theirs = [each for each in children if "sshd" not in each.name()]
                assert {each.terminal() for each in theirs if each.name() == "ssh"} <= {None}
                assert psutil.Process().terminal() == own
