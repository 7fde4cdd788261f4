"""Connection.run: what goes over, what comes back, and what is ended when it is given up."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator

import pytest

import sshmux
from sshmux import Connection
from sshmux.testing import PrivateServer

from ..support import managed, nap, sleepers, until

pytestmark = pytest.mark.both_engines

SHELLS = ["sh", "bash", "dash", "zsh", "tcsh", "fish"]


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as borrowed:
            yield borrowed
        assert server.logins == 1


async def test_streams_are_apart_and_the_status_is_the_commands(connection: Connection) -> None:
    result = await connection.run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert (result.exit_status, result.returncode, result.exit_signal) == (3, 3, None)
    assert result.command == "echo out; echo err >&2; exit 3"


async def test_every_exit_status(connection: Connection) -> None:
    statuses = [0, 1, 2, 126, 127, 128, 130, 143, 254, 255]
    results = await asyncio.gather(*(connection.run(f"exit {status}") for status in statuses))
    assert [result.exit_status for result in results] == statuses


async def test_check_raises_with_everything_in_it(connection: Connection) -> None:
    with pytest.raises(sshmux.ProcessError) as caught:
        await connection.run("echo some; echo why >&2; exit 4", check=True)
    error = caught.value
    assert (error.exit_status, error.stdout, error.stderr) == (4, "some\n", "why\n")
    assert "exit status 4" in str(error)
    assert "why" in str(error)


async def test_input_and_no_input(connection: Connection) -> None:
    assert (await connection.run("cat", input="häh\n")).stdout == "häh\n"
    raw = await connection.run("cat", input=b"\xff\x00\n", encoding=None)
    assert raw.stdout == b"\xff\x00\n"
    assert (await connection.run("wc -c")).stdout.strip() == "0"
    # More than anybody reads: the command ends, and nobody waits for the rest.
    assert (await connection.run("head -c 3", input=b"x" * 5_000_000)).stdout == "xxx"


async def test_bytes_that_are_no_text(connection: Connection) -> None:
    result = await connection.run("printf '\\377a'")
    assert result.stdout == "\ufffda"
    strict = connection.run("printf '\\377a'", errors="strict")
    with pytest.raises(UnicodeDecodeError):
        await strict
    latin = await connection.run("printf '\\377a'", encoding="latin-1")
    assert latin.stdout == "ÿa"


async def test_both_streams_full_do_not_deadlock(connection: Connection) -> None:
    both = "head -c 20000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait"
    result = await connection.run(both, encoding=None, timeout=60)
    assert (len(result.stdout), len(result.stderr)) == (20_000_000, 20_000_000)


@pytest.mark.soak
async def test_a_gigabyte(connection: Connection) -> None:
    result = await connection.run("head -c 1000000000 /dev/zero", encoding=None)
    assert len(result.stdout) == 1_000_000_000


async def test_many_at_once_wait_for_their_turn(connection: Connection) -> None:
    results = await asyncio.gather(*(connection.run(["echo", str(n)]) for n in range(60)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(60)]


async def test_a_command_too_long_for_a_command_line(connection: Connection) -> None:
    with pytest.raises(sshmux.ConfigError, match="input=script"):
        await connection.run("echo " + "x" * 300_000)
    script = "echo begin\n" + "# padding\n" * 30_000 + "echo end\n"
    assert (await connection.run("sh -s", input=script)).stdout == "begin\nend\n"


@pytest.mark.parametrize("command", ["", "  ", [], b"true", None, 5, ["a", 1], "a\0b"])
async def test_what_is_no_command_is_refused(connection: Connection, command: object) -> None:
    with pytest.raises(ValueError, match=r"command|NUL"):
        await connection.run(command)  # type: ignore[arg-type]


async def test_a_timeout_ends_the_whole_group_over_there(connection: Connection) -> None:
    long = nap()
    with pytest.raises(sshmux.ProcessTimeout) as caught:
        await connection.run(f"echo begun; sleep {long} & sleep {long}", timeout=0.5)
    assert isinstance(caught.value, asyncio.TimeoutError)
    assert caught.value.stdout == "begun\n"
    assert sleepers(long) == []
    assert (await connection.run("echo fine")).stdout == "fine\n"


async def test_a_command_that_ignores_sigterm_is_killed(connection: Connection) -> None:
    long = nap()
    started = time.monotonic()
    with pytest.raises(sshmux.ProcessTimeout):
        await connection.run(f"trap '' TERM; while :; do sleep {long}; done", timeout=0.3)
    assert time.monotonic() - started < 10
    await until(lambda: not sleepers(long))


async def test_what_was_detached_on_purpose_lives_on(connection: Connection) -> None:
    long, other = nap(), nap()
    detach = f"setsid sleep {long} </dev/null >/dev/null 2>&1 & sleep {other}"
    with pytest.raises(sshmux.ProcessTimeout):
        await connection.run(detach, timeout=0.5)
    assert sleepers(other) == []
    (survivor,) = sleepers(long)
    survivor.kill()


async def test_cancelling_ends_the_command_and_reaches_the_caller(connection: Connection) -> None:
    long = nap()
    task = asyncio.ensure_future(connection.run(f"sleep {long}"))
    await until(lambda: sleepers(long))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sleepers(long) == []


async def test_cancelling_twice_still_ends_it(connection: Connection) -> None:
    long = nap()
    task = asyncio.ensure_future(connection.run(f"trap '' TERM; sleep {long}; sleep {long}"))
    await until(lambda: sleepers(long))
    task.cancel()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not sleepers(long))


async def test_all_places_taken_by_commands_that_hang(connection: Connection) -> None:
    long = nap()
    hanging = [connection.run(f"sleep {long}", timeout=0.5) for _ in range(9)]
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert {type(result) for result in results} == {sshmux.ProcessTimeout}
    assert sleepers(long) == []
    assert (await connection.run("echo fine")).stdout == "fine\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_every_login_shell(shell: str) -> None:
    long = nap()
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    async with (
        PrivateServer(login_shell=path) as server,
        managed(server) as manager,
        manager.get_connection(1) as connection,
    ):
        words = ["a b", "it's", "x!y", "back\\sl", "new\nline", "$HOME", "=ls", "%self", "*"]
        echoed = await connection.run(["printf", "%s|", *words], env={"A": "b c'\n"}, cwd="/tmp")
        assert (echoed.stdout, echoed.stderr) == ("".join(f"{word}|" for word in words), "")
        environment = await connection.run("printenv A; pwd", env={"A": "b 'c"}, cwd="/usr")
        assert (environment.stdout, environment.stderr) == ("b 'c\n/usr\n", "")
        missing = await connection.run("echo ran", cwd="/no/such/place")
        assert (missing.stdout, missing.exit_status) == ("", 1)
        assert "no/such/place" in missing.stderr
        with pytest.raises(sshmux.ProcessTimeout):
            await connection.run(f"sleep {long}; echo x", timeout=0.5)
        assert sleepers(long) == []


async def test_remote_shell_none_sends_commands_as_they_are() -> None:
    async with (
        PrivateServer(options={"ForceCommand": "echo forced: $SSH_ORIGINAL_COMMAND"}) as server,
        managed(server, register={"remote_shell": "none"}) as manager,
        manager.get_connection(1) as connection,
    ):
        assert (await connection.run("anything")).stdout == "forced: anything\n"


async def test_a_forced_command_works_without_knowing_of_it() -> None:
    """The announcement never comes then, and nothing of the output may be lost for that."""
    forced = "echo out; echo err >&2; exit 5"
    async with (
        PrivateServer(login_shell="/bin/sh", options={"ForceCommand": forced}) as server,
        managed(server) as manager,
        manager.get_connection(1) as connection,
    ):
        result = await connection.run("ignored")
        assert (result.stdout, result.stderr, result.exit_status) == ("out\n", "err\n", 5)
