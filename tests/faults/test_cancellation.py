"""Cancelled at every await: the error reaches the caller, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sshmux import ConnectionManager, Prompt
from sshmux.openssh.control.dial import DialOptions, dial
from sshmux.openssh.control.directory import ControlDir
from sshmux.testing import PrivateServer

from ..support import control_directory, masters, nap, nothing_left, sleepers, until

pytestmark = pytest.mark.both_engines

MOST = 60  # suspensions of one scenario; far more than any has


@types.coroutine
def _cancelled_at(
    coroutine: Coroutine[Any, Any, Any], when: int, reached: list[int]
) -> Generator[Any, Any, Any]:
    """Drives a coroutine, and cancels the task as it suspends for the `when`-th time."""
    count = 0
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            waited_for = coroutine.throw(error) if error is not None else coroutine.send(value)
        except StopIteration as stop:
            return stop.value
        value = error = None
        count += 1
        if count == when:
            reached.append(count)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        try:
            value = yield waited_for
        except BaseException as thrown:
            error = thrown


async def at_every_await(
    scenario: Callable[[], Coroutine[Any, Any, Any]],
    check: Callable[[int], Awaitable[None]],
    least: int,
) -> None:
    """Runs a scenario, cancelled one await later each time, until it gets through."""
    for when in range(1, MOST):
        reached: list[int] = []

        async def drive(when: int = when, reached: list[int] = reached) -> Any:
            return await _cancelled_at(scenario(), when, reached)

        task = asyncio.ensure_future(drive())
        if not reached and (await asyncio.wait((task,)))[0] and not reached:
            task.result()  # it got through: there is no await left to be cancelled at
            assert when > least, f"only {when - 1} awaits: is this the scenario that is meant?"
            return
        assert task.cancelled(), f"the cancellation at await {when} was swallowed"
        await check(when)
    pytest.fail("it never got through")


async def test_dial() -> None:
    with control_directory() as path:
        async with PrivateServer(login_shell="/bin/sh") as server:
            config = server.connection_config()
            directory = ControlDir(path)

            async def scenario() -> None:
                master = await dial(
                    config, directory, DialOptions(lifetime=5), cluster="c", slot="1"
                )
                await asyncio.shield(master.stop())

            # The last await is the shielded stop: a cancelled caller does not undo the ending.
            async def settled(when: int) -> None:
                await until(lambda: not masters(path))
                await until(lambda: not list(directory.entries()))
                assert masters(path) == [], f"cancelled at await {when}"

            async with nothing_left():
                await at_every_await(scenario, settled, least=2)


def _clients() -> list[psutil.Process]:
    """Our ssh processes, helpers included; the sshd is our child, too."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may be ending at this moment
            if child.name() == "ssh" or child.name().startswith("python"):
                found.append(child)
    return found


@pytest.mark.parametrize("how", ["stored", "user"])
@pytest.mark.parametrize("methods", ["password", "keyboard-interactive"])
async def test_a_log_in_with_answers(how: str, methods: str) -> None:
    async def user(prompt: Prompt) -> str:
        await asyncio.sleep(0)
        return "pw"

    with control_directory() as path:
        async with (
            PrivateServer(login_shell="/bin/sh", password="pw", methods=methods) as server,
            nothing_left(),
            ConnectionManager(
                control_dir=path, prompter=user if how == "user" else None
            ) as manager,
        ):
            server.register(manager, 1, key_file=None)
            if how == "stored":
                manager.set_password(1, "pw", keyring=False)

            async def scenario() -> None:
                # Not through connect(), which dials in a task of its own.
                link = await manager._pool(1).dialler.dial("1")
                await link.close()

            async def check(when: int) -> None:
                await manager.disconnect(1)
                await until(lambda: not masters(path))  # the last await is a shielded close()
                await until(lambda: not list(ControlDir(path).entries()))
                # `ssh -G` goes on for whoever asks next; then no child is left.
                await until(lambda: not _clients())

            await at_every_await(scenario, check, least=3)


async def test_a_log_in_through_a_jump_host(tmp_path: Path) -> None:
    async def user(prompt: Prompt) -> str:
        await asyncio.sleep(0)
        return "pw"

    with control_directory() as path:
        async with (
            PrivateServer(
                login_shell="/bin/sh", password="pw", methods="publickey,keyboard-interactive"
            ) as jump,
            PrivateServer(login_shell="/bin/sh") as server,
            nothing_left(),
            ConnectionManager(control_dir=path, prompter=user, pool_size=1) as manager,
        ):
            config = tmp_path / "config"
            config.write_text(
                f"Host {server.alias}\n    ProxyJump {jump.alias}\nHost *\n"
                f"Include {jump.config_file}\nInclude {server.config_file}\n"
            )
            manager.register_cluster(1, server.alias, config_file=config)

            async def scenario() -> None:
                # Not through connect(), which dials in a task of its own.
                link = await manager._pool(1).dialler.dial("1")
                await link.close()

            async def check(when: int) -> None:
                # A link that is being closed holds the jump host until it is.
                async with asyncio.timeout(10):
                    while masters(path) or list(ControlDir(path).entries()):
                        await manager.disconnect(1)
                        await asyncio.sleep(0.02)

            await at_every_await(scenario, check, least=5)


async def test_borrow_run_and_return() -> None:
    with control_directory() as path:
        async with PrivateServer(login_shell="/bin/sh") as server:
            async with ConnectionManager(control_dir=path, pool_size=1) as manager:
                server.register(manager, 1)
                long = nap()

                async def scenario() -> None:
                    async with manager.get_connection(1) as connection:
                        await connection.run(["true"], env={"A": "b"})
                        forgotten = asyncio.ensure_future(connection.run(f"sleep {long}"))
                        await until(lambda: sleepers(long))
                        forgotten.add_done_callback(lambda done: done.exception())

                async def check(when: int) -> None:
                    metrics = await manager.get_connection_metrics(1)
                    assert (metrics["in_use"], metrics["borrowers"]) == (0, 0), when
                    assert sleepers(long) == [], when
                    async with manager.get_connection(1, timeout=20) as connection:
                        assert (await connection.run("echo well")).stdout == "well\n"

                await at_every_await(scenario, check, least=2)
            assert masters(path) == []


async def test_borrow_with_a_dial_each_time() -> None:
    with control_directory() as path:
        async with PrivateServer(login_shell="/bin/sh") as server:
            async with ConnectionManager(control_dir=path, pool_size=1) as manager:
                server.register(manager, 1)

                async def scenario() -> None:
                    async with manager.get_connection(1) as connection:
                        await connection.run("true")

                async def check(when: int) -> None:
                    assert (await manager.get_connection_metrics(1))["in_use"] == 0, when
                    await manager.disconnect(1)
                    assert masters(path) == [], when

                await at_every_await(scenario, check, least=2)


async def test_connect_close_and_disconnect() -> None:
    with control_directory() as path:
        async with PrivateServer(login_shell="/bin/sh") as server:
            async with ConnectionManager(control_dir=path) as manager:
                server.register(manager, 1)

                async def scenario() -> None:
                    async with await manager.connect(1) as connection:
                        await connection.run("true")
                    await manager.disconnect(1)

                async def check(when: int) -> None:
                    await manager.disconnect(1)
                    assert masters(path) == [], when

                await at_every_await(scenario, check, least=3)


async def test_start_and_stop() -> None:
    with control_directory() as path:
        async with PrivateServer(login_shell="/bin/sh") as server, nothing_left():

            async def scenario() -> None:
                manager = ConnectionManager(control_dir=path, drain_timeout=0.1)
                made.append(manager)
                await manager.start()
                server.register(manager, 1)
                async with manager.get_connection(1):
                    pass
                await manager.stop()

            made: list[ConnectionManager] = []

            async def check(when: int) -> None:
                await made[-1].stop()
                assert masters(path) == [], when
                assert list(Path(path).iterdir()) == [], when

            await at_every_await(scenario, check, least=2)


async def test_cancelled_twice_in_a_row() -> None:
    """The second cancellation comes while the first one is being tidied up after."""
    with control_directory() as path:
        async with PrivateServer(login_shell="/bin/sh", delay=2) as server, nothing_left():
            async with ConnectionManager(control_dir=path) as manager:
                server.register(manager, 1)
                task = asyncio.ensure_future(manager.connect(1))
                await until(lambda: masters(path))
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
