"""What is an engine's own: ends of sessions, stopped and odd masters, descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.openssh.mux.protocol import Denied, ExitMessage, Failure, Hello, Ok
from sshmux.testing import PrivateServer

from ..odd_master import OddMaster, odd_master
from ..support import (
    control_directory,
    managed,
    masters,
    nap,
    nothing_left,
    processes,
    sleepers,
    until,
)

both_engines = pytest.mark.both_engines
SSH, MUX = {"engine": "ssh"}, {"engine": "mux"}


# How a session ends


@both_engines
async def test_every_exit_status_is_the_commands() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for status in (0, 1, 2, 126, 127, 128, 137, 254):
                result = await connection.run(f"exit {status}")
                assert (result.exit_status, result.exit_signal) == (status, None)
                assert result.returncode == status


async def test_mux_tells_255_a_signal_and_a_lost_link_apart() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, **MUX) as manager:
        async with manager.get_connection(1) as connection:
            exited = await connection.run("echo out; exit 255")
            assert (exited.exit_status, exited.exit_signal, exited.stdout) == (255, None, "out\n")

            killed = await connection.run("echo out; kill -9 $$")
            assert killed.exit_signal is not None
            assert (killed.exit_status, killed.returncode, killed.stdout) == (-1, -99, "out\n")
            with pytest.raises(sshmux.ProcessError, match="ended by a signal") as failed:
                await connection.run("kill -TERM $$", check=True)
            assert failed.value.exit_signal == killed.exit_signal

            # The parent of the login shell is sshd's process for this connection.
            with pytest.raises(sshmux.ConnectionLost) as lost:
                await connection.run("sleep 0.3; kill -9 $PPID; sleep 9")
            assert lost.value.started is True
        assert server.logins == 1


async def test_ssh_cannot_tell_a_signal_from_255() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, **SSH) as manager:
        async with manager.get_connection(1) as connection:
            for command in ("exit 255", "kill -9 $$"):
                result = await connection.run(command)
                assert (result.exit_status, result.exit_signal) == (255, None)


@both_engines
async def test_a_master_that_dies_under_a_command() -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                running = asyncio.ensure_future(connection.run(f"sleep {seconds}"))
                await until(lambda: sleepers(seconds))
                os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
                with pytest.raises(sshmux.ConnectionLost) as lost:
                    await running
                assert lost.value.started is True
                with pytest.raises(sshmux.ConnectionLost) as lost:
                    await connection.run("true")
                assert lost.value.started is False
        for process in sleepers(seconds):
            process.kill()


@both_engines
async def test_a_stopped_master_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes what it is told, and says nothing."""
    monkeypatch.setattr("sshmux.session.watch._SOON", 0.3)
    monkeypatch.setattr("sshmux.session.watch._PING", 0.3)
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                await connection.run("true")
                pid = connection.get_extra_info("master_pid")
                os.kill(pid, signal.SIGSTOP)
                with pytest.raises(sshmux.ConnectionLost, match=rf"\(pid {pid}\) does not answer"):
                    await connection.run("touch /nonexistent/never")
            async with manager.get_connection(1) as connection:
                assert connection.get_extra_info("master_pid") != pid
                assert (await connection.run("echo on")).stdout == "on\n"


@both_engines
async def test_a_command_that_is_only_slow_to_begin_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sshmux.session.watch._SOON", 0.1)
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            assert (await connection.run("true")).exit_status == 0
            stopped = psutil.Process(connection.get_extra_info("master_pid"))
            network = [child for child in server.processes() if child.pid != stopped.pid]
            for process in network:
                process.suspend()
            running = asyncio.ensure_future(connection.run("echo at last"))
            await asyncio.sleep(0.5)
            for process in network:
                process.resume()
            assert (await running).stdout == "at last\n"


# Where output goes


@both_engines
async def test_stdout_to_a_file_of_every_kind(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            command = "echo out; echo err >&2; exit 3"
            path = tmp_path / "by-path"
            path.write_text("what was there before, and is longer")
            with (tmp_path / "by-file").open("wb") as file:
                file.write(b"before\n")
                file.flush()
                for target in (path, str(tmp_path / "by-str"), file, subprocess.DEVNULL):
                    result = await connection.run(command, stdout=target)
                    assert (result.stdout, result.stderr) == ("", "err\n")
                    assert result.exit_status == 3
                result = await connection.run("echo more", stdout=file.fileno())
            assert path.read_text() == (tmp_path / "by-str").read_text() == "out\n"
            assert (tmp_path / "by-file").read_text() == "before\nout\nmore\n"
            with pytest.raises(sshmux.ConfigError, match="stdout="):
                await connection.run("true", stdout=1.5)  # type: ignore[arg-type]
            with pytest.raises(IsADirectoryError):
                await connection.run("true", stdout=tmp_path)


@both_engines
async def test_stdout_to_a_file_that_is_full() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection, asyncio.timeout(20):
            with open("/dev/full", "wb") as full:
                # More than fits on the way: else all of it is sent before the server hears of it.
                result = await connection.run("head -c 100000000 /dev/zero", stdout=full)
            assert result.exit_status != 0
            assert (await connection.run("echo on")).stdout == "on\n"


@both_engines
async def test_much_stderr_does_not_wait_for_stdout() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            result = await connection.run("head -c 3000000 /dev/zero >&2; echo out", encoding=None)
            assert (len(result.stderr), result.stdout) == (3_000_000, b"out\n")


# Without a process, and without debris


async def test_mux_starts_no_process() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, **MUX) as manager:
        async with manager.get_connection(1) as connection:
            await connection.run("true")
            pid = connection.get_extra_info("master_pid")
            before = {process.pid for process in processes(str(manager.control_dir.path))}
            running = [asyncio.ensure_future(connection.run("sleep 0.3")) for _ in range(5)]
            await asyncio.sleep(0.1)
            assert {p.pid for p in processes(str(manager.control_dir.path))} == before
            await manager.check_health()
            await asyncio.gather(*running)
            assert pid in before


@both_engines
async def test_hundreds_of_commands_leave_no_descriptor() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            await connection.run("cat", input="x")
            async with nothing_left():
                for _ in range(20):
                    await asyncio.gather(*(connection.run("cat", input="x") for _ in range(8)))


CROWD = textwrap.dedent(
    """
    import asyncio, resource, sys
    from sshmux import ConnectionManager, DescriptorLimit

    async def main(engine, directory, host, port, user, key, known, config):
        async with ConnectionManager(1, engine=engine, control_dir=directory) as manager:
            manager.register_cluster(
                1, host, int(port), user, key, known_hosts_file=known, config_file=config,
                max_sessions=100,
            )
            async with manager.get_connection(1) as connection:
                # Now: its master keeps the limit that it has.
                resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
                ran = await asyncio.gather(
                    *(connection.run("sleep 1") for _ in range(60)), return_exceptions=True
                )
                limited = [error for error in ran if isinstance(error, DescriptorLimit)]
                done = [each for each in ran if not isinstance(each, BaseException)]
                assert len(limited) + len(done) == 60, ran
                assert len(limited) >= 10 and len(done) >= 10, (len(limited), len(done))
                assert "ulimit -n" in str(limited[0])
                # What there is left is enough for everything else, and for the next command.
                open("/dev/null").close()
                assert (await connection.run("echo on")).stdout == "on\\n"

    asyncio.run(main(*sys.argv[1:]))
    """
)


@both_engines
async def test_too_many_at_once_for_this_program_is_said_early(engine: str) -> None:
    async with PrivateServer(login_shell="/bin/sh", max_sessions=100) as server:
        with control_directory() as directory:
            words = (engine, directory, server.host, server.port, server.username, server.key_file)
            files = (server.known_hosts_file, server.config_file)
            program = await asyncio.create_subprocess_exec(
                *[sys.executable, "-c", CROWD, *map(str, (*words, *files))],
                stderr=subprocess.PIPE,
            )
            _, said = await program.communicate()
            assert (program.returncode, said.decode()) == (0, "")


@pytest.mark.parametrize("length", [1000, 20_000, 100_000, 130_000])
async def test_mux_sends_long_commands(length: int) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, **MUX) as manager:
        async with manager.get_connection(1) as connection:
            word = "x" * (length - 20)
            assert (await connection.run(f"echo {word}")).stdout == f"{word}\n"


async def test_mux_refuses_what_no_shell_takes() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, **MUX) as manager:
        async with manager.get_connection(1) as connection:
            for length in (131_072, 300_000):
                with pytest.raises(sshmux.ConfigError, match="too long"):
                    await connection.run("x" * length)
            assert (await connection.run("echo on")).stdout == "on\n"


# Masters that are not as they should be. There are none to be had: see OddMaster.


@pytest.mark.parametrize(
    ("master", "error", "words"),
    [
        (OddMaster(Hello(5).encode()), sshmux.ProtocolMismatch, "version 5"),
        (OddMaster(answer=Ok(1).encode()), sshmux.ProtocolMismatch, "Ok"),
        (OddMaster(answer=b"\0\0\0\4\x8f\0\0\1"), sshmux.ProtocolMismatch, "0x8f000001"),
        (OddMaster(answer=b"HTTP/1.1 400 Bad Request"), sshmux.ProtocolMismatch, "bytes"),
        (
            OddMaster(answer=Failure(1, "unsupported request").encode()),
            sshmux.ProtocolMismatch,
            "unsupported request",
        ),
        (OddMaster(answer=Denied(1, "Permission denied").encode()), sshmux.SessionRefused, "no"),
        (
            OddMaster(answer=Failure(1, "Session open refused by peer").encode()),
            sshmux.SessionRefused,
            "MaxSessions",
        ),
    ],
)
async def test_an_odd_master_is_a_clear_error(
    tmp_path: Path, master: OddMaster, error: type[sshmux.Error], words: str
) -> None:
    with control_directory() as directory:
        path = directory / "own"
        async with odd_master(path, master), nothing_left():
            async with ConnectionManager(control_dir=directory, **MUX) as manager:
                manager.register_cluster(1, "odd", control_path=path, dial="never")
                async with manager.get_connection(1) as connection:
                    with pytest.raises(error, match=words) as caught:
                        async with asyncio.timeout(10):
                            await connection.run("true")
                    if error is sshmux.ProtocolMismatch:
                        assert 'engine="ssh"' in str(caught.value)
        path.unlink(missing_ok=True)
        assert master.sessions >= 1


async def test_an_odd_master_may_say_an_exit_status_and_more(tmp_path: Path) -> None:
    status = ExitMessage(7, 3).encode()
    with control_directory() as directory:
        path = directory / "own"
        async with odd_master(path, OddMaster(answer=status, hang_up=True)):
            async with ConnectionManager(control_dir=directory, **MUX) as manager:
                manager.register_cluster(1, "odd", control_path=path, dial="never")
                async with manager.get_connection(1) as connection:
                    assert (await connection.run("true")).exit_status == 3
        path.unlink(missing_ok=True)


# Many


@pytest.mark.soak
async def test_two_thousand_sessions_on_a_hundred_masters() -> None:
    """In one loop, and one thread."""
    count = int(os.environ.get("SSHMUX_SOAK_MASTERS", "100"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        async with PrivateServer(
            login_shell="/bin/sh", max_sessions=40, max_startups="300"
        ) as server:
            async with managed(server, pool_size=1, max_total_dials=8, **MUX) as manager:
                await _crowd(server, manager, count)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _crowd(server: PrivateServer, manager: ConnectionManager, count: int) -> None:
    seconds = nap()
    before = psutil.Process().num_threads()  # those of earlier tests linger

    async def use(number: int) -> None:
        server.register(manager, f"m{number}", max_sessions=40)
        async with manager.get_connection(f"m{number}") as connection:
            await asyncio.gather(*(connection.run(f"sleep {seconds}") for _ in range(20)))

    tasks = [asyncio.ensure_future(use(number)) for number in range(count)]
    await until(
        lambda: len(sleepers(seconds)) == 20 * count or any(task.done() for task in tasks),
        patience=200,
    )
    assert [task.exception() for task in tasks if task.done()] == []
    assert len(masters(manager.control_dir.path)) == count
    # Some for the server's log and the keyring, however many sessions there are.
    assert psutil.Process().num_threads() <= before + 4
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert sleepers(seconds) == []
