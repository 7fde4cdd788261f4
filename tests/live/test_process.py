"""Processes with streams, on both engines."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import resource
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import sshmux
from sshmux import Connection
from sshmux.testing import PrivateServer

from ..support import managed, nap, needs_terminals, sleepers, until

pytestmark = pytest.mark.both_engines

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT


# Talking to one


async def test_a_conversation() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("cat; echo done >&2; exit 3") as process:
                for word in ("one", "two"):
                    process.stdin.write(f"{word}\n")
                    await process.stdin.drain()
                    assert await process.stdout.readline() == f"{word}\n"
                assert process.exit_status is process.poll() is None
                assert process.pid > 1
                process.stdin.writelines(["a\n", "b\n", "rest"])
                process.stdin.write_eof()
                assert [line async for line in process.stdout] == ["a\n", "b\n", "rest"]
                result = await process.wait()
                assert (result.exit_status, result.stdout, result.stderr) == (3, "", "done\n")
            assert (process.exit_status, process.returncode, process.poll()) == (3, 3, 3)
            assert process.exit_signal is None
            assert process.command == "cat; echo done >&2; exit 3"


async def test_awaited_instead_of_entered() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            process = await connection.create_process("cat", encoding=None)
            assert await process.communicate(b"\xff\x00") == (b"\xff\x00", b"")
            process = await connection.create_process("echo why >&2; exit 4")
            with pytest.raises(sshmux.ProcessError) as failed:
                await process.wait(check=True)
            assert (failed.value.exit_status, failed.value.stderr) == (4, "why\n")
            with pytest.raises(BrokenPipeError):
                process.stdin.write("too late")
            await process.wait_closed()
            assert process.is_closing()


async def test_words_environment_and_directory_as_for_run() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for command in ("echo $A; pwd", ["sh", "-c", "echo $A; pwd"]):
                process = await connection.create_process(command, env={"A": "b c"}, cwd="/usr")
                assert (await process.communicate())[0] == "b c\n/usr\n"
                assert process.env == {"A": "b c"}
            with pytest.raises(sshmux.ConfigError):
                await connection.create_process("")


async def test_what_is_over_before_it_is_looked_at() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for _ in range(20):
                process = await connection.create_process("echo out; echo err >&2")
                process.stdin.write("for nobody")
                result = await process.wait()
                assert (result.stdout, result.stderr, result.exit_status) == ("out\n", "err\n", 0)


# Its end


@pytest.mark.parametrize("how", ["block", "close", "dropped", "cancelled", "released"])
async def test_given_up_it_does_not_live_on_with_its_children(how: str) -> None:
    seconds = nap()
    command = f"sleep {seconds} & sleep {seconds}; wait"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            process = await connection.create_process(command)
            await until(lambda: len(sleepers(seconds)) == 2)
            if how == "block":
                async with process:
                    pass
            elif how == "close":
                process.close()
                process.close()
                await process.wait_closed()
            elif how == "dropped":
                del process
                gc.collect()
            elif how == "cancelled":

                async def use() -> None:
                    async with connection.create_process(command) as another:
                        await another.wait()

                await process.__aexit__(None, None, None)
                task = asyncio.ensure_future(use())
                await until(lambda: len(sleepers(seconds)) == 2)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            if how != "released":
                await until(lambda: not sleepers(seconds))
                assert (await connection.run("echo on")).stdout == "on\n"
        await until(lambda: not sleepers(seconds))
        if how == "released":
            with pytest.raises(sshmux.ConnectionReleased):
                await process.wait()
            assert process.exit_status is None


async def test_cancelled_while_it_begins() -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            await connection.run("true")
            for turns in range(12):
                starting = connection.create_process(f"sleep {seconds}")
                task = asyncio.ensure_future(starting.__aenter__())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait((task,))
                if not task.cancelled():
                    await task.result().__aexit__(None, None, None)
                assert sleepers(seconds) == []


@pytest.mark.parametrize("term_type", [None, pytest.param("vt100", marks=needs_terminals)])
async def test_fifty_that_will_not_end_are_ended_at_once(term_type: str | None) -> None:
    seconds = nap()
    command = f"trap '' TERM HUP; sleep {seconds}; sleep {seconds}"
    async with PrivateServer(login_shell="/bin/sh", max_sessions=60) as server:
        async with managed(server, register={"max_sessions": 60}) as manager:
            async with manager.get_connection(1) as connection:
                starts = [
                    connection.create_process(command, term_type=term_type) for _ in range(50)
                ]
                processes = await asyncio.gather(*(start.__aenter__() for start in starts))
                await until(lambda: len(sleepers(seconds)) == 50)
                for process in processes:
                    process.close()
                await asyncio.gather(*(process.wait_closed() for process in processes))
                # On a loaded machine the round that ends them may outlast its deadline; then they
                # are ended all the same, but the connection is not used any more.
                await until(lambda: not sleepers(seconds))
            async with manager.get_connection(1) as connection:
                assert (await connection.run("echo on")).stdout == "on\n"


async def test_signals_reach_the_whole_group() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            command = "trap 'echo int' INT; trap 'echo usr; exit 5' USR1; echo up; "
            async with connection.create_process(
                command + "while :; do sleep 0.1; done"
            ) as process:
                assert await process.stdout.readline() == "up\n"
                process.send_signal("INT")
                assert await process.stdout.readline() == "int\n"
                process.send_signal(signal.SIGUSR1)
                assert await process.stdout.readline() == "usr\n"
                assert (await process.wait()).exit_status == 5
                process.send_signal("TERM")  # too late, and no error
            seconds = nap()
            for end in ("terminate", "kill"):
                process = await connection.create_process(f"sleep {seconds} & sleep {seconds}")
                await until(lambda: len(sleepers(seconds)) == 2)
                getattr(process, end)()
                assert (await process.wait()).exit_status != 0
                await until(lambda: not sleepers(seconds))
            for wrong in ("NOSUCH", 4711, None):
                with pytest.raises(sshmux.ConfigError, match="signal"):
                    process.send_signal(wrong)


async def test_waiting_for_a_while_leaves_it_running() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("echo so far; read x; echo $x; exit 2") as process:
                with pytest.raises(sshmux.ProcessTimeout, match="runs on") as late:
                    await process.wait(timeout=0.5)
                assert late.value.stdout == "so far\n"
                process.stdin.write("more\n")
                result = await process.wait()
                assert (result.stdout, result.exit_status) == ("more\n", 2)


async def test_a_lost_link_is_an_error_after_what_came() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("echo came; sleep 60") as process:
                assert await process.stdout.readline() == "came\n"
                os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
                with pytest.raises(sshmux.ConnectionLost):
                    await process.stdout.read()
                with pytest.raises(sshmux.ConnectionLost):
                    await process.wait()
                assert process.exit_status is None


async def test_a_full_server_delays_it_and_loses_no_input() -> None:
    async with PrivateServer(login_shell="/bin/sh", max_sessions=2) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:

            async def shout(number: int) -> str:
                async with connection.create_process("cat") as process:
                    process.stdin.write(f"{number}\n")
                    process.stdin.write_eof()
                    return str(await process.stdout.read())

            said = await asyncio.gather(*(shout(number) for number in range(12)))
            assert said == [f"{number}\n" for number in range(12)]
        assert server.logins == 1


async def test_with_all_descriptors_in_use_processes_can_still_be_ended() -> None:
    seconds = nap()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with PrivateServer(login_shell="/bin/sh", max_sessions=100) as server:
        async with managed(server, register={"max_sessions": 100}) as manager:
            async with manager.get_connection(1) as connection:
                processes = [await connection.create_process(f"sleep {seconds}") for _ in range(6)]
                await until(lambda: len(sleepers(seconds)) == 6)
                resource.setrlimit(resource.RLIMIT_NOFILE, (96, hard))
                held = [os.dup(0)]
                try:
                    while held[-1] < 96 - 96 // 8:
                        held.append(os.dup(0))
                    with pytest.raises(sshmux.DescriptorLimit):
                        await connection.create_process(f"sleep {seconds}")
                    processes[0].kill()
                    assert (await processes[0].wait(timeout=20)).exit_status != 0
                    for process in processes:
                        process.close()
                    for process in processes:
                        await process.wait_closed()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                    for descriptor in held:
                        os.close(descriptor)
                assert sleepers(seconds) == []
                assert (await connection.run("echo on")).stdout == "on\n"


# Much of everything


async def test_what_is_not_read_stops_the_process_over_there() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            command = "head -c 60000000 /dev/zero; echo end >&2"
            async with connection.create_process(command, encoding=None) as process:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.7):
                        await process.stderr.read()
                assert process.stdout._size < 3_000_000
                size = 0
                while piece := await process.stdout.read(1_000_000):
                    size += len(piece)
                assert size == 60_000_000
                assert await process.stderr.read() == b"end\n"


async def test_megabytes_both_ways_are_what_they_were() -> None:
    data = os.urandom(8_000_000)
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("cat", encoding=None) as process:

                async def feed() -> None:
                    for at in range(0, len(data), 70_000):
                        process.stdin.write(data[at : at + 70_000])
                        await process.stdin.drain()
                    process.stdin.write_eof()

                feeding = asyncio.ensure_future(feed())
                found = hashlib.sha256(await process.stdout.read())
                await feeding
                assert found.digest() == hashlib.sha256(data).digest()


async def test_input_for_a_process_that_reads_none() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("exec <&-; sleep 0.2; echo on") as process:
                process.stdin.write("x" * 10_000_000)
                with pytest.raises(BrokenPipeError):
                    await process.stdin.drain()
                assert await process.stdout.read() == "on\n"
                await process.stdin.wait_closed()


# Elsewhere


async def test_from_and_to_files(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"b\na\n")
    out, err = tmp_path / "out", tmp_path / "err"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            process = await connection.create_process(
                "sort; echo err >&2", stdin=tmp_path / "in", stdout=out, stderr=err
            )
            assert process.stdin is process.stdout is process.stderr is None
            assert await process.communicate() == (None, None)
            await until(lambda: err.read_text() == "err\n")
            assert out.read_text() == "a\nb\n"
            with (tmp_path / "in").open("rb") as source, out.open("ab") as target:
                process = await connection.create_process(
                    "cat; echo err >&2", stdin=source, stdout=target.fileno(), stderr=STDOUT
                )
                await process.wait(check=True)
            assert sorted(out.read_text().split()) == ["a", "a", "b", "b", "err"]
            process = await connection.create_process(
                "cat; echo gone; echo gone >&2", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
            )
            assert (await process.wait()).stdout == ""
            for wrong in ({"stdin": 1.5}, {"stdout": STDOUT}, {"stderr": object()}):
                with pytest.raises(sshmux.ConfigError, match="std"):
                    await connection.create_process("true", **wrong)
            with pytest.raises(FileNotFoundError):
                await connection.create_process("true", stdin=tmp_path / "nothing")
            assert (await connection.run("echo on")).stdout == "on\n"


async def test_from_and_to_sockets() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                process = await connection.create_process("cat", stdin=theirs, stdout=theirs)
                theirs.close()
                ours.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(ours, b"through")
                ours.shutdown(socket.SHUT_WR)
                assert await loop.sock_recv(ours, 100) == b"through"
                await process.wait(check=True)


async def test_stderr_in_stdout_in_order() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            command = "for n in 1 2 3; do echo o$n; echo e$n >&2; done"
            process = await connection.create_process(command, stderr=STDOUT)
            assert await process.communicate() == ("o1\ne1\no2\ne2\no3\ne3\n", None)


@pytest.mark.parametrize("way", ["stdin", "stdout", "stderr"])
async def test_from_one_process_to_another_elsewhere(way: str) -> None:
    data = "é\n" * 300_000
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        PrivateServer(login_shell="/bin/sh") as other,
        managed(server) as manager,
    ):
        other.register(manager, 2)
        async with manager.get_connection(1) as one, manager.get_connection(2) as two:
            if way == "stdin":
                source = await one.create_process("cat")
                target = await two.create_process("md5sum", stdin=source.stdout)
            else:
                target = await two.create_process("md5sum")
                outputs = {way: target.stdin}
                source = await one.create_process("cat" + " >&2" * (way == "stderr"), **outputs)
            source.stdin.write(data)
            source.stdin.write_eof()
            sum_, _ = await target.communicate() if way == "stdin" else await _outputs(target)
            assert sum_.split()[0] == hashlib.md5(data.encode()).hexdigest()
            assert (await source.wait()).exit_status == 0


async def _outputs(process: sshmux.RemoteProcess[str]) -> tuple[str, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    return await process.stdout.read(), await process.stderr.read()


async def test_a_process_whose_reader_has_left_ends() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            source = await connection.create_process("yes")
            target = await connection.create_process("head -n 2", stdin=source.stdout)
            assert (await target.wait()).stdout == "y\ny\n"
            assert (await source.wait()).exit_status != 0


async def test_a_process_whose_reader_had_left_before_ends() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            target = await connection.create_process("cat; exit 9")
            target.stdin.close()
            for _ in range(20):
                source = await connection.create_process("yes", stdout=target.stdin)
                assert (await source.wait(timeout=20)).exit_status != 0
            assert (await target.wait()).exit_status == 9


# Other shells


@pytest.mark.parametrize("shell", ["bash", "dash", "tcsh", "fish", "zsh"])
async def test_other_login_shells(shell: str) -> None:
    path = f"/usr/bin/{shell}"
    if not os.path.exists(path):
        pytest.skip(f"needs {shell}")
    seconds = nap()
    async with PrivateServer(login_shell=path) as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            await _use(connection, seconds)


async def _use(connection: Connection, seconds: str) -> None:
    async with connection.create_process("cat", env={"A": "b"}) as process:
        assert await process.communicate("text\n") == ("text\n", "")
    process = await connection.create_process("sh -c 'echo o; echo e >&2'", stderr=STDOUT)
    out, _ = await process.communicate()
    assert sorted(out.split()) == ["e", "o"]
    async with connection.create_process(f"sleep {seconds}") as process:
        await until(lambda: sleepers(seconds))
        process.terminate()
        assert (await process.wait()).exit_status != 0
    async with connection.create_process(["sleep", seconds]) as process:
        await until(lambda: sleepers(seconds))
    assert sleepers(seconds) == []


async def test_an_account_whose_shell_says_nothing() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, register={"remote_shell": "none"}) as manager:
            async with manager.get_connection(1) as connection:
                process = await connection.create_process("cat")
                with pytest.raises(sshmux.ConfigError, match="its process id"):
                    process.terminate()
                assert await process.communicate("text") == ("text", "")


async def test_a_process_that_nobody_holds_writes_its_file_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("b\na\n" * 20_000)
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            command = "sleep 0.3; head -c 300000 /dev/zero >&2; sort; touch done"
            await connection.create_process(
                f"cd {tmp_path}; {command}", stdin=tmp_path / "names", stdout=tmp_path / "sorted"
            )
            gc.collect()
            await until(lambda: (tmp_path / "done").exists())
            await until(lambda: not connection.link.executions)
        assert (tmp_path / "sorted").read_text() == "a\n" * 20_000 + "b\n" * 20_000


async def test_a_process_says_after_its_block_how_it_ended() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("exit 3") as exited:
                await exited.wait()
            async with connection.create_process("exit 4") as unread:
                await asyncio.sleep(0.5)
            async with connection.create_process(f"sleep {nap()}") as ended:
                assert (ended.exit_status, "running" in repr(ended)) == (None, True)
            assert (exited.exit_status, exited.exit_signal) == (3, None)
            assert (unread.exit_status, unread.exit_signal) == (4, None)
            assert (ended.exit_status, ended.returncode) == (-1, -99)
            assert ended.exit_signal is not None
            states = [repr(each) for each in (exited, unread, ended)]
            assert "exit status 3" in states[0]
            assert "exit status 4" in states[1]
            assert "ended by a signal" in states[2]
            assert "running" not in "".join(states)
