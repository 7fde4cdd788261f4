"""A remote shell that stays open: on a real sshd, with every login shell and both engines."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sshmux
from sshmux import Connection, ConnectionManager, RemoteShell
from sshmux.testing import PrivateServer, WrapperMissing

from ..support import managed, nap, sleepers, until

LOGIN_SHELLS = ["sh", "bash", "dash", "zsh", "ksh", "tcsh", "fish"]


@pytest.fixture(scope="module")
def server() -> object:
    with PrivateServer() as server:
        yield server


@pytest.fixture
async def manager(server: PrivateServer, engine: str) -> AsyncIterator[ConnectionManager]:
    async with managed(server) as manager:
        yield manager


@pytest.fixture
async def conn(manager: ConnectionManager) -> AsyncIterator[Connection]:
    async with manager.get_connection(1) as conn:
        yield conn


@pytest.fixture
async def shell(conn: Connection) -> AsyncIterator[RemoteShell]:
    async with conn.create_shell() as shell:
        yield shell


async def pid_of(shell: RemoteShell) -> str:
    return str((await shell.run("echo $$")).stdout)


@pytest.mark.both_engines
async def test_it_tells_what_run_tells(shell: RemoteShell, conn: Connection) -> None:
    for command in ("printf 'a\\0b'; echo e >&2; exit 3", ["printf", "%s", "it's\n\\n"], "true"):
        one = await shell.run(command, encoding=None)
        two = await conn.run(command, encoding=None)
        assert one == two
    with pytest.raises(sshmux.ProcessError) as failed:
        await shell.run("echo why >&2; exit 4", check=True)
    assert (failed.value.exit_status, failed.value.stderr) == (4, "why\n")


async def test_nothing_leaks_from_one_to_the_next(shell: RemoteShell) -> None:
    before = (await shell.run("pwd; set | grep -v '^_' | sort | grep -c X_LEAK")).stdout
    await shell.run("cd /; X_LEAK=1; export X_LEAK; trap 'echo t' EXIT; exec 7>/dev/null; umask 0")
    assert (await shell.run("pwd; set | grep -c '^X_LEAK'")).stdout == before


async def test_what_is_kept(shell: RemoteShell, tmp_path: Path) -> None:
    await shell.run(["cd", str(tmp_path)], keep=True)
    await shell.run("export NAME=Ada; twice() { echo $1$1; }", keep=True)
    assert (await shell.run("pwd; sh -c 'echo $NAME'; twice x")).stdout == f"{tmp_path}\nAda\nxx\n"


async def test_env_and_cwd(shell: RemoteShell, tmp_path: Path) -> None:
    result = await shell.run('pwd; echo "$A"', env={"A": "it's\ntwo"}, cwd=str(tmp_path))
    assert result.stdout == f"{tmp_path}\nit's\ntwo\n"
    assert (await shell.run("echo x", cwd="/nowhere")).exit_status == 1


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_input_of_any_size(shell: RemoteShell, size: int) -> None:
    data = os.urandom(size)
    assert (await shell.run("cat", input=data, encoding=None)).stdout == data
    # What the command does not read is not read by the next.
    assert (await shell.run("head -c 1 >/dev/null", input=b"echo no\n" * 1000)).exit_status == 0
    assert (await shell.run("cat; echo next")).stdout == "next\n"


async def test_large_output(shell: RemoteShell) -> None:
    result = await shell.run(
        "head -c 30000000 /dev/zero; head -c 1000000 /dev/zero >&2", encoding=None
    )
    assert (len(result.stdout), len(result.stderr)) == (30_000_000, 1_000_000)


async def test_tasks_take_turns_in_order(shell: RemoteShell) -> None:
    ended: list[int] = []

    async def one(number: int) -> None:
        assert (await shell.run(f"sleep 0.0{9 - number}; echo {number}")).stdout == f"{number}\n"
        ended.append(number)

    await asyncio.gather(*map(one, range(9)))
    assert ended == list(range(9))


@pytest.mark.both_engines
async def test_a_timeout_ends_the_command_and_leaves_the_shell(shell: RemoteShell) -> None:
    pid = await pid_of(shell)
    with pytest.raises(sshmux.ProcessTimeout, match="ended on the remote") as late:
        await shell.run(
            f"echo begun; trap '' TERM; (sleep {(time := nap())} & sleep {time}); sleep {time}",
            timeout=0.5,
        )
    assert late.value.stdout == "begun\n"
    assert await pid_of(shell) == pid
    assert not sleepers(time)


async def test_a_cancelled_command_is_ended_and_the_shell_stays(shell: RemoteShell) -> None:
    pid = await pid_of(shell)
    task = asyncio.ensure_future(shell.run(f"sleep {(time := nap())}"))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await pid_of(shell) == pid
    # A cancelled input would be left for the next command: the shell is replaced.
    task = asyncio.ensure_future(shell.run(f"sleep {time}", input=b"x" * 3_000_000))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await pid_of(shell) != pid
    assert not sleepers(time)


async def test_a_command_that_ends_the_shell_is_replaced_unseen(shell: RemoteShell) -> None:
    pid = await pid_of(shell)
    assert (await shell.run("echo last; kill -9 $$")).stdout == "last\n"
    assert await pid_of(shell) != pid


@pytest.mark.parametrize("command", ["exit 5", "exec sh -c 'exit 5'"])
async def test_what_was_kept_is_not_lost_silently(shell: RemoteShell, command: str) -> None:
    assert (await shell.run(command, keep=True)).exit_status == 5
    with pytest.raises(sshmux.ShellLost, match="set with keep=True"):
        await shell.run("true")
    assert (await shell.run("echo new")).stdout == "new\n"


@pytest.mark.parametrize("stream", ["1", "2"])
async def test_a_command_that_closes_the_shells_own_streams(
    shell: RemoteShell, stream: str
) -> None:
    if stream == "2":
        assert (await shell.run("exec 2>&-", keep=True)).exit_status == 0  # put back by the shell
        return
    with pytest.raises(sshmux.ShellLost, match="closed stdout"):
        await shell.run(f"exec {stream}>&-", keep=True)
    with pytest.raises(sshmux.ShellLost, match="keep=True"):
        await shell.run("true")
    assert (await shell.run("echo new")).stdout == "new\n"


async def test_a_child_in_the_background_does_not_write_into_the_next_output(
    shell: RemoteShell,
) -> None:
    begun = asyncio.get_running_loop().time()
    assert (await shell.run("(sleep 0.3; echo late) & echo at once")).stdout == "at once\n"
    assert asyncio.get_running_loop().time() - begun < 0.3
    assert (await shell.run("sleep 0.6; echo alone")).stdout == "alone\n"


async def test_arguments_are_checked_before_anything_runs(shell: RemoteShell) -> None:
    for wrong in ({"input": 5}, {"keep": True, "input": ""}, {"timeout": -1}):
        with pytest.raises((sshmux.ConfigError, ValueError)):
            await shell.run("true", **wrong)  # type: ignore[arg-type]
    with pytest.raises(sshmux.ConfigError, match="use a str"):
        await shell.run(b"true")  # type: ignore[arg-type]


async def test_the_connection_ends_it(manager: ConnectionManager) -> None:
    async with manager.get_connection(1) as conn:
        shell = await conn.create_shell()
        running = asyncio.ensure_future(shell.run(f"sleep {nap()}"))
        await asyncio.sleep(0.2)
    with pytest.raises(sshmux.ConnectionReleased):
        await running
    with pytest.raises(sshmux.ConnectionReleased):
        await shell.run("true")


@pytest.mark.both_engines
async def test_a_lost_link_is_told(server: PrivateServer, engine: str) -> None:
    async with managed(server) as manager, manager.get_connection(1) as conn:
        async with conn.create_shell() as shell:
            running = asyncio.ensure_future(shell.run(f"sleep {nap()}"))
            await asyncio.sleep(0.2)
            os.kill(conn.get_extra_info("master_pid"), signal.SIGKILL)
            with pytest.raises(sshmux.ConnectionLost):
                await running
            with pytest.raises(sshmux.ConnectionLost):
                await shell.run("true")


@pytest.mark.both_engines
async def test_a_closed_shell_leaves_no_session(shell: RemoteShell, conn: Connection) -> None:
    pid = (await pid_of(shell)).strip()
    shell.close()
    await shell.wait_closed()
    assert (await conn.run(f"kill -0 {pid}")).exit_status != 0
    with pytest.raises(sshmux.ConnectionReleased, match="it was closed"):
        await shell.run("true")


async def test_an_account_without_sh_is_told(tmp_path: Path, engine: str) -> None:
    async with PrivateServer(options={"SetEnv": f"PATH={tmp_path}"}) as server:
        async with managed(server) as manager, manager.get_connection(1) as conn:
            with pytest.raises(sshmux.ChannelOpenError, match="no shell could be started"):
                async with conn.create_shell() as shell:
                    await shell.run("echo never")


@pytest.mark.parametrize("name", LOGIN_SHELLS)
async def test_login_shells(name: str, engine: str, tmp_path: Path) -> None:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}")
    try:
        server = PrivateServer(login_shell=path)
    except WrapperMissing as error:
        pytest.skip(str(error))
    async with server, managed(server) as manager, manager.get_connection(1) as conn:
        async with conn.create_shell() as shell:
            result = await shell.run('printf \'%s!\' "it\'s" \\\\ ; echo "$((1+1))" >&2; exit 3')
            assert (result.stdout, result.stderr, result.exit_status) == ("it's!\\!", "2\n", 3)
            assert (await shell.run("cat", input="in")).stdout == "in"


async def test_warm_shells(server: PrivateServer, engine: str) -> None:
    async with managed(server, pool_size=1) as manager:
        async with manager.get_shell(1) as shell:
            first = await pid_of(shell)
        with pytest.raises(sshmux.ConnectionReleased, match="block has ended"):
            await shell.run("true")
        async with manager.get_shell(1) as shell:
            assert await pid_of(shell) == first
            await shell.run("cd /", keep=True)
        async with manager.get_shell(1) as shell:  # what was kept is nobody else's
            assert await pid_of(shell) != first


async def test_a_warm_shell_makes_room(engine: str) -> None:
    """An unused shell never keeps a command from a session."""
    async with PrivateServer(max_sessions=2) as server:
        register = {"max_sessions": 2}
        async with managed(server, register=register, pool_size=1) as manager:
            async with manager.get_shell(1) as shell:
                assert (await shell.run("echo a")).stdout == "a\n"
            async with manager.get_connection(1) as conn:
                async with asyncio.timeout(10):
                    assert (await conn.run("echo b")).stdout == "b\n"


async def test_a_warm_shell_does_not_delay_the_end(server: PrivateServer, engine: str) -> None:
    async with managed(server, drain_timeout=30) as manager:
        async with manager.get_shell(1) as shell:
            pid = (await pid_of(shell)).strip()
        async with asyncio.timeout(10):
            await manager.stop()
    await until(lambda: not Path(f"/proc/{pid}").exists())
