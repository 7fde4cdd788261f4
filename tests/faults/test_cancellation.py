"""Cancelled at every await: the error reaches the caller, and nothing stays behind."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sshmux import ConnectionManager
from sshmux.openssh.controldir import ControlDir
from sshmux.openssh.dial import dial
from sshmux.openssh.launch import Secret
from sshmux.testing import PrivateServer

from ..support import control_directory, masters, nap, nothing_left, sleepers, until

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


@pytest.mark.parametrize("password", [None, "pw"])
async def test_dial(password: str | None) -> None:
    methods = "password" if password else None
    with control_directory() as path:
        async with PrivateServer(
            login_shell="/bin/sh", password=password, methods=methods
        ) as server:
            config = server.connection_config(key_file=None if password else server.key_file)
            who = frozenset({f"{server.username}@{server.host}"})
            directory = ControlDir(path)

            async def scenario() -> None:
                secret = Secret(password, who) if password else None
                master = await dial(
                    config, directory, cluster="c", slot="1", lifetime=5, secret=secret
                )
                await asyncio.shield(master.stop())

            async def check(when: int) -> None:
                assert masters(path) == [], f"cancelled at await {when}"
                assert list(directory.entries()) == [], f"cancelled at await {when}"
                helpers = psutil.Process().children(recursive=True)
                assert [child for child in helpers if "askpass" in str(child.cmdline())] == []

            # The last await is the shielded stop: a cancelled caller does not undo the ending.
            async def settled(when: int) -> None:
                await until(lambda: not masters(path))
                await until(lambda: not list(directory.entries()))
                await check(when)

            async with nothing_left():
                await at_every_await(scenario, settled, least=2)


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
