"""The pool against a real server: its size, its order, its care."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import sshmux
from sshmux import ConnectionManager, State
from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.master import end_process
from sshmux.session.link import Link
from sshmux.testing import PrivateServer

from ..support import Watch, control_directory, managed, masters, nap, sleepers, until


async def borrow_and_run(manager: ConnectionManager, command: str, cluster: object = 1) -> str:
    async with manager.get_connection(cluster) as connection:
        return str((await connection.run(command)).stdout).strip()


async def test_two_hundred_tasks_on_three_masters_in_order() -> None:
    served: list[int] = []
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=3) as m:

        async def task(number: int) -> None:
            async with m.get_connection(1) as connection:
                served.append(number)
                await connection.run("true")

        tasks = [asyncio.ensure_future(task(number)) for number in range(200)]
        most = 0
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=0.1)
            most = max(most, len(masters(m.control_dir.path)))
        await asyncio.gather(*tasks)
        metrics = await m.get_connection_metrics(1)
        assert (most, server.logins, server.connections) == (3, 3, 3)
    assert served == list(range(200))
    assert metrics["requests"] == 200
    assert metrics["requests_waited"] >= 197
    assert (metrics["total_connections"], metrics["in_use"], metrics["available"]) == (3, 0, 3)
    assert metrics["dials"] == 3
    assert {row["state"] for row in metrics["connections"]} == {"available"}


async def test_borrowing_a_warm_connection_starts_no_process() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        await borrow_and_run(manager, "true")
        before = psutil.Process().children(recursive=True)
        born = _processes_born()
        for _ in range(100):
            async with manager.get_connection(1):
                pass
        assert psutil.Process().children(recursive=True) == before
        assert _processes_born() - born < 100  # others on this machine may start some


def _processes_born() -> int:
    with open("/proc/stat") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("processes "))


async def test_waiting_has_a_limit() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=1) as m:
        async with m.get_connection(1):
            with pytest.raises(sshmux.AcquireTimeout, match="pool_size") as caught:
                async with m.get_connection(1, timeout=0.1):
                    pass
            assert isinstance(caught.value, asyncio.TimeoutError)
        assert await borrow_and_run(m, "echo free") == "free"
        assert (await m.get_connection_metrics(1))["requests_timed_out"] == 1


async def test_a_cancelled_borrower_takes_nothing_along() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=1) as m:
        async with m.get_connection(1):
            waiting = [asyncio.ensure_future(borrow_and_run(m, f"echo {n}")) for n in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        assert await asyncio.gather(*waiting[1:]) == ["1", "2"]
        assert (await m.get_connection_metrics(1))["in_use"] == 0


async def test_cancelled_in_the_very_turn_of_the_hand_over() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=1) as m:
        borrow = m.get_connection(1)
        await borrow.__aenter__()
        waiting = asyncio.ensure_future(borrow_and_run(m, "true"))
        await asyncio.sleep(0)
        await borrow.__aexit__(None, None, None)  # hands over: the waiter has not woken yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await borrow_and_run(m, "echo free") == "free"


async def test_several_sessions_share_a_master_before_another_is_dialled() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, pool_size=2, sessions_per_connection=4) as manager,
    ):
        await borrow_and_run(manager, "true")
        await asyncio.gather(*(borrow_and_run(manager, "sleep 0.2") for _ in range(4)))
        assert server.logins == 1
        await asyncio.gather(*(borrow_and_run(manager, "sleep 0.2") for _ in range(5)))
        assert server.logins == 2


async def test_a_place_on_a_shared_master_goes_to_who_waits_while_others_stay() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, pool_size=1, sessions_per_connection=2) as manager,
        manager.get_connection(1),
    ):
        async with manager.get_connection(1):
            waiting = asyncio.ensure_future(borrow_and_run(manager, "echo served"))
            await asyncio.sleep(0)
            assert (await manager.get_connection_metrics(1))["waiting"] == 1
        assert await waiting == "served"  # the first borrower keeps its place all the time


async def test_idle_and_old_connections_are_closed_by_themselves() -> None:
    for option, reason in (("max_idle", "idle"), ("max_age", "older")):
        async with (
            PrivateServer(login_shell="/bin/sh") as server,
            managed(server, **{option: 0.3}) as manager,
        ):
            watch = Watch(manager)
            closed = asyncio.ensure_future(watch.next(lambda event: event.new is State.CLOSED))
            await borrow_and_run(manager, "true")
            await closed
            assert [event.new for event in watch.events] == [
                *(State.CREATED, State.IN_USE, State.AVAILABLE, State.STALE, State.CLOSED)
            ]
            assert reason in watch.events[-2].reason
            assert masters(manager.control_dir.path) == []
            assert (await manager.get_connection_metrics(1))["expired"] == 1


async def test_a_connection_in_use_is_never_recycled_under_its_user() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, max_age=0.2) as m:
        async with m.get_connection(1) as connection:
            assert (await connection.run("sleep 0.5; echo still here")).stdout == "still here\n"
            assert not connection.is_closed()
        await until(lambda: not masters(m.control_dir.path))


async def test_a_killed_master_leaves_the_pool_at_once_idle_or_lent() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=1) as m:
        watch = Watch(m)
        async with m.get_connection(1) as connection:
            gone = asyncio.ensure_future(watch.next(lambda event: event.new is State.CLOSED))
            os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
            await gone
            # Its place is free, although the borrower has not given it back.
            assert await borrow_and_run(m, "echo second") == "second"
            with pytest.raises(sshmux.ConnectionLost) as caught:
                await connection.run("true")
            assert caught.value.started is False
        (idle,) = masters(m.control_dir.path)
        gone = asyncio.ensure_future(watch.next(lambda event: event.new is State.CLOSED))
        idle.kill()
        await gone
        assert await borrow_and_run(m, "echo third") == "third"
        assert (await m.get_connection_metrics(1))["lost"] == 2
    assert server.logins == 3


async def test_a_deleted_socket_is_noticed_before_it_is_lent() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=1) as m:
        async with m.get_connection(1) as connection:
            os.unlink(connection.get_extra_info("control_path"))
            with pytest.raises(sshmux.ConnectionLost, match="socket") as caught:
                await connection.run("true")
            assert caught.value.started is False
        assert server.logins == 1
        assert await borrow_and_run(m, "echo again") == "again"
        assert server.logins == 2
        assert len(masters(m.control_dir.path)) == 1


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_a_full_server_is_waited_for_and_never_dialled_again(limit: int) -> None:
    async with (
        PrivateServer(login_shell="/bin/sh", max_sessions=limit) as server,
        managed(server) as manager,
        manager.get_connection(1) as connection,
    ):
        results = await asyncio.gather(
            *(connection.run(f"sleep 0.05; echo {n}; echo e{n} >&2") for n in range(12))
        )
        assert [result.stdout for result in results] == [f"{n}\n" for n in range(12)]
        assert [result.stderr for result in results] == [f"e{n}\n" for n in range(12)]
        assert (server.logins, server.connections) == (1, 1)


async def test_a_command_that_cannot_be_ended_is_told_and_its_connection_not_used_again() -> None:
    """With one session on the server there is no place left from which to end a command."""
    long = nap()
    async with PrivateServer(login_shell="/bin/sh", max_sessions=1) as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                for _ in range(2):  # the limit is learned from a refusal
                    await asyncio.gather(connection.run("true"), connection.run("true"))
                with pytest.raises(sshmux.ProcessTimeout, match="may still run on the remote"):
                    await connection.run(f"sleep {long}", timeout=0.3)
                assert connection.is_closed()
                with pytest.raises(sshmux.ConnectionLost) as caught:
                    await connection.run("true")
                assert caught.value.started is False
            assert await borrow_and_run(manager, "echo new") == "new"
        for process in sleepers(long):
            process.kill()


async def test_a_forgotten_manager_is_noticed_while_the_loop_runs() -> None:
    with control_directory() as directory:
        async with PrivateServer(login_shell="/bin/sh") as server:
            manager: ConnectionManager | None = ConnectionManager(control_dir=directory, grace=1)
            await manager.start()
            server.register(manager, 1)
            await borrow_and_run(manager, "true")
            with pytest.warns(ResourceWarning, match="never stopped"):  # noqa: PT031
                manager = None
                gc.collect()
            await until(lambda: not masters(directory) and not os.listdir(directory))


async def test_a_server_without_sessions_says_so() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh", max_sessions=0) as server,
        managed(server) as manager,
        manager.get_connection(1) as connection,
    ):
        with pytest.raises(sshmux.SessionRefused, match="MaxSessions"):
            await connection.run("true")
        assert server.connections == 1


async def test_an_unhealthy_master_is_replaced() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, health_interval=3600, max_health_failures=2, health_timeout=0.3) as m,
    ):
        watch = Watch(m)
        await borrow_and_run(m, "true")
        (master,) = masters(m.control_dir.path)
        await m.check_health()
        assert (await m.get_connection_metrics(1))["health_check_failures"] == 0
        master.suspend()
        await m.check_health()
        replaced = asyncio.ensure_future(watch.next(lambda event: event.new is State.AVAILABLE))
        await m.check_health()
        await replaced
        assert State.UNHEALTHY in [event.new for event in watch.events]
        assert [process.pid for process in masters(m.control_dir.path)] != [master.pid]
        assert await borrow_and_run(m, "echo well") == "well"
        assert server.logins == 2


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE])
async def test_what_this_program_lacks_is_nobodys_illness(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The system's refusal is a stand-in: it has no such limit for root."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, health_interval=3600, max_health_failures=1, engine="ssh") as manager,
    ):
        async with manager.get_connection(1) as connection:
            with monkeypatch.context() as patched:
                patched.setattr("subprocess.Popen.__init__", refuse)
                with pytest.raises((sshmux.ProcessLimit, sshmux.DescriptorLimit)):
                    await connection.run("echo not started")
            assert (await connection.run("echo on")).stdout == "on\n"
        with monkeypatch.context() as patched:
            patched.setattr("subprocess.Popen.__init__", refuse)
            await manager.check_health()
        assert (await manager.get_connection_metrics(1))["health_check_failures"] == 0
        async with manager.get_connection(1) as connection:
            assert (await connection.run("echo on")).stdout == "on\n"
        assert server.logins == 1


async def test_a_frozen_server_is_unhealthy_although_its_master_answers() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, health_interval=3600, max_health_failures=1, health_timeout=0.5) as m,
    ):
        watch = Watch(m)
        await borrow_and_run(m, "true")
        gone = asyncio.ensure_future(watch.next(lambda event: event.new is State.UNHEALTHY))
        server.freeze()
        try:
            await m.check_health()
            await gone
        finally:
            server.thaw()
        assert await borrow_and_run(m, "echo well") == "well"


async def test_a_timeout_on_a_frozen_server_returns_and_the_master_is_not_used_again() -> None:
    long = nap()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=1) as m:
        async with m.get_connection(1) as connection:
            running = asyncio.ensure_future(connection.run(f"sleep {long}", timeout=1))
            await until(lambda: sleepers(long))
            server.freeze()
            started = time.monotonic()
            with pytest.raises(sshmux.ProcessTimeout):
                await running
            assert time.monotonic() - started < 15
            server.thaw()
        assert await borrow_and_run(m, "echo new") == "new"
        assert server.logins == 2
        for process in sleepers(long):
            process.kill()


async def test_a_connection_kept_too_long_is_reported_with_its_borrower(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, leak_threshold=0.1) as manager,
    ):
        with caplog.at_level(logging.WARNING, "sshmux.pool"):
            async with manager.get_connection(1):
                await until(lambda: "leak_threshold" in caplog.text)
        assert "test_a_connection_kept_too_long_is_reported" in caplog.text
        assert (await manager.get_connection_metrics(1))["leaks"] == 1


async def test_a_lent_connection_goes_dead_with_its_block() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        long = nap()
        async with manager.get_connection(1) as connection:
            forgotten = asyncio.ensure_future(connection.run(f"sleep {long}"))
            await until(lambda: sleepers(long))
        with pytest.raises(sshmux.ConnectionReleased):
            await forgotten
        assert sleepers(long) == []
        assert connection.is_closed()
        with pytest.raises(sshmux.ConnectionReleased, match="given back"):
            await connection.run("true")
        assert server.logins == 1


async def test_closing_a_lent_connection_takes_it_out_of_the_pool() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            connection.close()
            await connection.wait_closed()
        await borrow_and_run(manager, "true")
        assert server.logins == 2


async def test_disconnect_closes_lent_idle_and_own_ones() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server, pool_size=2) as m:
        long = nap()
        own = await m.connect(1)
        async with m.get_connection(1) as lent:
            running = asyncio.ensure_future(lent.run(f"sleep {long}"))
            await borrow_and_run(m, "true")
            await until(lambda: sleepers(long))
            assert len(masters(m.control_dir.path)) == 3
            await m.disconnect(1)
            assert masters(m.control_dir.path) == []
            with pytest.raises(sshmux.Error):
                await running
        assert sleepers(long) == []
        assert own.is_closed()
        assert await borrow_and_run(m, "echo on") == "on"


async def test_a_new_registration_closes_the_old_connections() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        await borrow_and_run(manager, "true")
        server.register(manager, 1)  # the same: nothing happens
        await borrow_and_run(manager, "true")
        assert server.logins == 1
        server.register(manager, 1, ssh_options={"Compression": "yes"})
        await borrow_and_run(manager, "true")
        assert server.logins == 2
        await until(lambda: len(masters(manager.control_dir.path)) == 1)
        await manager.unregister_cluster(1)
        assert masters(manager.control_dir.path) == []
        with pytest.raises(ValueError, match="Cluster 1 not registered"):
            async with manager.get_connection(1):
                pass


async def test_a_hundred_clusters_one_command_each() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, max_total_dials=8) as manager,
    ):
        for number in range(2, 31):
            server.register(manager, number)
        echoes = [borrow_and_run(manager, f"echo {n}", n) for n in range(1, 31)]
        running = asyncio.gather(*echoes)
        most = 0
        while not running.done():
            await asyncio.wait((running,), timeout=0.05)
            most = max(most, len(_dialling(manager)))
        assert await running == [str(number) for number in range(1, 31)]
        assert server.logins == 30
        assert 1 <= most <= 8


def _dialling(manager: ConnectionManager) -> list[str]:
    """Names whose record has no master yet."""
    entries = manager.control_dir.entries()
    records = [entry.read() for entry in entries]
    return [record.name for record in records if record and record.master_pid is None]


async def test_persistent_masters_are_adopted_by_who_asks_the_same() -> None:
    with control_directory() as directory:
        async with PrivateServer(login_shell="/bin/sh") as server:
            async with ConnectionManager(control_dir=directory, persist=60) as first:
                server.register(first, 1)
                pid = await borrow_and_run(first, "echo $PPID")
            assert len(masters(directory)) == 1
            async with ConnectionManager(control_dir=directory, persist=60) as second:
                server.register(second, "another name for it")
                server.register(second, 2, ssh_options={"Compression": "yes"})
                assert await borrow_and_run(second, "echo $PPID", "another name for it") == pid
                assert (server.logins, len(masters(directory))) == (1, 1)
                await borrow_and_run(second, "true", 2)
                assert server.logins == 2
                await second.disconnect("another name for it")
                await second.disconnect(2)
            assert masters(directory) == []


@pytest.mark.parametrize(
    ("edit", "adopted"),
    [
        (("HostName 127.0.0.1", "HostName 127.0.0.2"), False),
        (("HostName", "Compression yes\n    HostName"), False),
        (("HostName", "# the same\n    HostName"), True),
    ],
)
async def test_a_master_is_not_adopted_for_another_way_of_ssh_config(
    tmp_path: Path, edit: tuple[str, str], adopted: bool
) -> None:
    """The file was edited since: the same name leads elsewhere, or by another way."""
    with control_directory() as directory:
        async with PrivateServer(options={"ListenAddress": ["127.0.0.1", "127.0.0.2"]}) as server:
            file = tmp_path / "config"
            text = server.config_file.read_text().replace("StrictHostKeyChecking yes", "")
            file.write_text(text)
            pids = set()
            for _ in range(2):
                async with ConnectionManager(control_dir=directory, persist=60) as manager:
                    manager.register_cluster(
                        1, server.alias, config_file=file, strict_host_key_checking="accept-new"
                    )
                    pids.add(await borrow_and_run(manager, "echo $PPID"))
                assert edit[0] in text
                file.write_text(text.replace(*edit))
            assert (len(pids) == 1) is adopted
            assert server.logins == (1 if adopted else 2)
            await end_masters(directory)


@pytest.mark.both_engines
@pytest.mark.parametrize("name", ["a  b", "100%", "100%%x", "%h", "ü\udcff", "q'x", "$HOME"])
async def test_a_control_directory_of_any_name(short_dir: Path, name: str) -> None:
    """Its masters are known again by it, and adopted."""
    directory = short_dir / name
    async with PrivateServer() as server:
        for dial in ("auto", "never"):
            async with ConnectionManager(control_dir=directory, persist=60) as manager:
                server.register(manager, 1, dial=dial)
                assert await borrow_and_run(manager, "echo in") == "in"
                if dial == "never":
                    await manager.disconnect(1)
    assert os.listdir(directory) == []


async def end_masters(directory: Path) -> None:
    """Ends what was left to be adopted."""
    for entry in ControlDir(directory).entries():
        record = entry.read()
        assert record is not None
        assert record.master is not None
        await end_process(record.master)
        entry.remove()


async def test_a_master_that_was_left_is_asked_before_it_is_lent() -> None:
    """The network may have gone away since: who borrows should not be the one to find out."""
    with control_directory() as directory:
        async with PrivateServer() as server:
            async with ConnectionManager(control_dir=directory, persist=60) as first:
                server.register(first, 1)
                pid = await borrow_and_run(first, "echo $PPID")
            frozen = [each for each in server.processes() if each.pid == int(pid)]
            assert frozen
            frozen[0].suspend()
            try:
                async with ConnectionManager(
                    control_dir=directory, persist=60, health_timeout=1
                ) as second:
                    server.register(second, 1)
                    assert await borrow_and_run(second, "echo $PPID") != pid
                    assert len(masters(directory)) == 1, "the one that does not answer is ended"
                    await second.disconnect(1)
            finally:
                frozen[0].resume()


async def test_a_manager_without_start_works_and_after_stop_says_so() -> None:
    with control_directory() as directory:
        async with PrivateServer(login_shell="/bin/sh") as server:
            manager = ConnectionManager(control_dir=directory)
            server.register(manager, 1)
            assert await manager.test_connection(1) is True
            await manager.stop()
            for use in (manager.connect, manager.test_connection, manager.get_connection_metrics):
                with pytest.raises(sshmux.ManagerClosed, match="start"):
                    await use(1)
            with pytest.raises(sshmux.ManagerClosed):
                async with manager.get_connection(1):
                    pass
            await manager.start()
            assert await borrow_and_run(manager, "echo again") == "again"
            await manager.stop()
            await manager.stop()


async def test_stop_lets_a_command_end_within_its_drain_and_ends_it_after() -> None:
    # Half a second, and a length that no other test sleeps.
    half = f"0.5{os.getpid()}"
    for drain, seconds, outcome in ((10.0, half, "done\n"), (0.1, nap(), None)):
        with control_directory() as directory:
            async with PrivateServer(login_shell="/bin/sh") as server:
                manager = ConnectionManager(control_dir=directory, drain_timeout=drain)
                await manager.start()
                server.register(manager, 1)
                async with manager.get_connection(1) as connection:
                    running = asyncio.ensure_future(connection.run(f"sleep {seconds}; echo done"))
                    await until(lambda seconds=seconds: sleepers(seconds))
                    await manager.stop()
                    if outcome is None:
                        with pytest.raises(sshmux.ManagerClosed):
                            await running
                    else:
                        assert (await running).stdout == outcome
                # On a loaded machine the round that ends it may outlast its deadline: it is sent.
                await until(lambda seconds=seconds: not sleepers(seconds))


@pytest.mark.both_engines
async def test_a_host_that_hangs_after_the_log_in_is_not_logged_in_to_for_ever(
    tmp_path: Path,
) -> None:
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\n[ -e {tmp_path}/hang ] && exec sleep 5\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    async with (
        PrivateServer(login_shell=shell) as server,
        managed(server, health_interval=0.1, health_timeout=0.2) as manager,
    ):
        await borrow_and_run(manager, "true")
        (tmp_path / "hang").touch()
        await asyncio.sleep(3)
        assert server.logins <= 2  # one in the place of the one that was used, and no more


@pytest.mark.both_engines
@pytest.mark.parametrize("shell", ["auto", "none"])
async def test_an_account_without_a_shell_is_well(shell: str) -> None:
    async with (
        PrivateServer(
            login_shell="/usr/sbin/nologin", options={"Subsystem": "sftp internal-sftp"}
        ) as server,
        managed(server, register={"remote_shell": shell}, health_interval=0.1) as manager,
    ):
        async with manager.get_connection(1) as connection, connection.start_sftp_client() as sftp:
            assert await sftp.listdir("/")
        await asyncio.sleep(1)
        assert await manager.test_connection(1)
        figures = await manager.get_connection_metrics(1)
        assert (figures["dials"], figures["health_check_failures"]) == (1, 0)


@pytest.mark.both_engines
async def test_a_server_that_refuses_sessions_is_well_as_a_link() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh", max_sessions=0) as server,
        managed(server) as manager,
    ):
        assert await manager.test_connection(1)


async def test_a_jump_host_is_tried_as_often_as_one_host(tmp_path: Path) -> None:
    tries = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    config = tmp_path / "config"
    config.write_text(
        f"Host jump\n HostName 127.0.0.1\n Port {port}\nHost target\n ProxyJump jump\n"
    )
    with control_directory() as directory:
        async with ConnectionManager(control_dir=directory, dial_backoff=0.01) as manager:
            manager.register_cluster(1, "target", config_file=config, timeout=5)
            with pytest.raises(sshmux.ServerHungUp):
                async with manager.get_connection(1):
                    pass
            assert tries == manager.config.dial_attempts
    listening.close()


async def test_a_borrow_is_entered_once() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        borrow = manager.get_connection(1)
        async with borrow:
            with pytest.raises(RuntimeError, match="entered already"):
                async with borrow:
                    pass
        assert (await manager.get_connection_metrics(1))["in_use"] == 0


async def test_connect_that_is_cancelled_as_its_log_in_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        dialler = manager._pool(1).dialler
        really = dialler.dial

        async def dial(*words: Any, **more: Any) -> Link:
            link = await really(*words, **more)
            asyncio.get_running_loop().call_soon(task.cancel)  # before whoever waits hears of it
            return link

        monkeypatch.setattr(dialler, "dial", dial)
        task = asyncio.ensure_future(manager.connect(1))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert masters(manager.control_dir.path) == []


async def test_a_master_that_is_leaving_counts_until_its_process_is_gone() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                await connection.run("true")
                pool = manager._pool(1)
                (member,) = pool.slots.members
                lease = member.connection.master._lease
                # As when a master closes its socket, and lives on.
                lease._ended(None)
                assert pool.slots.closing == 1
            seen: list[int] = []
            async with manager.get_connection(1) as connection:
                seen.append(len(masters(manager.control_dir.path)))
            assert seen == [1]


async def test_a_task_that_waits_for_itself_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1, leak_threshold=0.3) as manager:

            async def twice() -> None:
                async with manager.get_connection(1), manager.get_connection(1, timeout=1):
                    pass

            with pytest.raises(sshmux.AcquireTimeout):
                await asyncio.create_task(twice(), name="twice")
            assert "the same task (twice) waits for another one" in caplog.text


async def test_what_a_subscriber_raises_goes_to_the_loops_handler() -> None:
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    def subscriber(event: object) -> None:
        raise KeyError("mine")

    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        manager.subscribe(subscriber)
        assert await borrow_and_run(manager, "echo well") == "well"
    assert any(isinstance(each["exception"], KeyError) for each in seen)  # type: ignore[index]


async def test_a_connection_of_ones_own_is_awaited_entered_or_a_task() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.connect(1) as connection:
            assert (await connection.run("echo entered")).stdout == "entered\n"
        with pytest.raises(sshmux.ConnectionReleased):
            await connection.run("true")
        for made in (
            asyncio.create_task(manager.connect(1)),
            asyncio.wait_for(manager.connect(1), 30),
            manager.connect(1),
        ):
            connection = await made
            assert (await connection.run("echo awaited")).stdout == "awaited\n"
            connection.close()
            await connection.wait_closed()
        task = asyncio.create_task(manager.connect(1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(sshmux.ConfigError):
            await manager.connect("nobody")
