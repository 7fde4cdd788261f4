"""Any history of a pool, with real masters: hypothesis chooses what happens, and shrinks it.

The model is small: who borrowed, which commands run, and what may be said of each. After every step
there are no more masters than the pool may have, and no command has left its token twice; when a
command has ended, what is said of it is true; at the end nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import sshmux
from sshmux import Connection, ConnectionManager
from sshmux.testing import PrivateServer

from ..support import masters, nap, sleepers, together

T = TypeVar("T")

SECONDS = float(os.environ.get("SSHMUX_SOAK_SECONDS", "0"))
_SURE = 40.0  # seconds after which something hangs
_POOL_SIZE = 2

TROUBLE = (
    *(sshmux.ConnectionLost, sshmux.ConnectTimeout, sshmux.AcquireTimeout, sshmux.ServerHungUp),
    *(sshmux.ConnectionRefused, sshmux.ChannelOpenError, sshmux.ProcessTimeout),
)


@dataclass
class Borrowed:
    """A connection that somebody has, and what runs on it."""

    stack: contextlib.AsyncExitStack
    connection: Connection


@dataclass
class Running:
    """A command. It writes its token and then waits until it is let go."""

    token: str
    on: Borrowed
    task: asyncio.Task[Any]


async def _bounded(work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(_SURE):
        return await work


class PoolWithMasters(RuleBasedStateMachine):
    """Borrowers, commands, and everything that can happen to them."""

    engine = "ssh"

    @initialize(sessions=st.integers(1, 3))
    def begin(self, sessions: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.place = Path(tempfile.mkdtemp(prefix="sx"))
        self.directory, self.remote = self.place / "c", self.place / "r"
        self.remote.mkdir()
        self.directory.mkdir(mode=0o700)
        self.nap = nap()
        self.numbers = itertools.count()
        self.lent: list[Borrowed] = []
        self.running: list[Running] = []
        self.told: dict[str, str] = {}
        self.serving = contextlib.AsyncExitStack()
        self.server = PrivateServer(login_shell="/bin/sh")
        self.manager = ConnectionManager(
            *(_POOL_SIZE,),
            engine=self.engine,
            control_dir=self.directory,
            sessions_per_connection=sessions,
            drain_timeout=0.3,
        )
        self.do(self._begin())

    async def _begin(self) -> None:
        await self.serving.enter_async_context(self.server)
        await self.manager.start()
        self.server.register(self.manager, 1, keepalive_interval=1, timeout=10)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Does it, while everything else goes on; nothing may hang."""
        return self.loop.run_until_complete(_bounded(work))

    # What callers do

    @rule()
    def borrow(self) -> None:
        self.do(self._borrow())

    async def _borrow(self) -> None:
        stack = contextlib.AsyncExitStack()
        try:
            borrowing = self.manager.get_connection(1, timeout=8)
            connection = await stack.enter_async_context(borrowing)
        except TROUBLE:
            return  # all are lent, or it is a bad day
        self.lent.append(Borrowed(stack, connection))

    @precondition(lambda self: self.lent)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        borrowed = data.draw(st.sampled_from(self.lent))
        self.do(self._give_back(borrowed))

    async def _give_back(self, borrowed: Borrowed) -> None:
        self.lent.remove(borrowed)
        await borrowed.stack.aclose()
        await self._all_told([each for each in self.running if each.on is borrowed])

    @precondition(lambda self: self.lent)
    @rule(data=st.data())
    def run_to_its_end(self, data: st.DataObject) -> None:
        borrowed = data.draw(st.sampled_from(self.lent))
        token = self._token()
        line = f"echo {token} >>{self.remote}/tokens; echo {token}"
        task = self.loop.create_task(borrowed.connection.run(line, timeout=15))
        self.running.append(Running(token, borrowed, task))
        self.do(self._all_told([self.running[-1]]))

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), timeout=st.sampled_from([None, 1.0]))
    def begin_a_command(self, data: st.DataObject, timeout: float | None) -> None:
        borrowed = data.draw(st.sampled_from(self.lent))
        token = self._token()
        line = f"echo {token} >>{self.remote}/tokens; exec sleep {self.nap}"
        task = self.loop.create_task(borrowed.connection.run(line, timeout=timeout))
        self.running.append(Running(token, borrowed, task))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(self.running))
        command.task.cancel()
        self.do(self._all_told([command]))

    @rule()
    def disconnect(self) -> None:
        self.do(self._disconnect())

    async def _disconnect(self) -> None:
        await self.manager.disconnect(1)
        await self._all_told(self.running)

    def _token(self) -> str:
        return f"t{next(self.numbers)}"

    # What happens to them

    @rule(milliseconds=st.sampled_from([0, 50, 400]))
    def time_passes(self, milliseconds: int) -> None:
        self.do(asyncio.sleep(milliseconds / 1000))

    @precondition(lambda self: masters(self.directory))
    @rule(data=st.data(), how=st.sampled_from([signal.SIGKILL, signal.SIGTERM]))
    def end_a_master(self, data: st.DataObject, how: signal.Signals) -> None:
        with contextlib.suppress(psutil.Error):
            self._some_master(data).send_signal(how)

    @precondition(lambda self: masters(self.directory))
    @rule(data=st.data())
    def stop_a_master(self, data: st.DataObject) -> None:
        with contextlib.suppress(psutil.Error):
            self._some_master(data).send_signal(signal.SIGSTOP)

    @rule()
    def continue_all_masters(self) -> None:
        for each in masters(self.directory):
            with contextlib.suppress(psutil.Error):
                each.send_signal(signal.SIGCONT)

    @rule(replaced=st.booleans())
    def take_the_sockets(self, replaced: bool) -> None:
        for path in self.directory.glob("*.sock"):
            path.unlink()
            if replaced:
                path.write_text("")

    @rule()
    def drop_all_connections(self) -> None:
        self.server.drop_connections()

    @rule()
    def restart_the_server(self) -> None:
        self.do(self._restart())

    async def _restart(self) -> None:
        await self.server.stop()
        await self.server.start()

    @rule(seconds=st.sampled_from([0.2, 1.0]))
    def freeze_the_server(self, seconds: float) -> None:
        self.server.freeze()
        self.do(asyncio.sleep(seconds))
        self.server.thaw()

    def _some_master(self, data: st.DataObject) -> psutil.Process:
        living = sorted(masters(self.directory), key=lambda each: each.pid)
        return living[data.draw(st.integers(0, 9)) % len(living)]

    # What has to be true

    async def _all_told(self, commands: list[Running]) -> None:
        """Waits for their ends, and writes down what was said of them."""
        if commands:
            await asyncio.wait([each.task for each in commands])
        for each in tuple(commands):
            self.running.remove(each)
            self.told[each.token] = self._said(each.task)

    def _said(self, task: asyncio.Task[Any]) -> str:
        """Whether the command is said to have run."""
        if task.cancelled():
            return "unknown"
        error = task.exception()
        if error is None:
            result = task.result()
            assert result.exit_status == 0, result
            assert result.stdout, "no output, and no error"
            return "yes"
        assert isinstance(error, TROUBLE), repr(error)
        return {True: "unknown", False: "no", None: "unknown"}[getattr(error, "started", None)]

    @invariant()
    def no_more_masters_than_the_pool_may_have(self) -> None:
        if hasattr(self, "directory"):
            assert len(together(self.directory)) <= _POOL_SIZE

    @invariant()
    def what_was_said_is_true(self) -> None:
        if not hasattr(self, "remote"):
            return
        file = self.remote / "tokens"
        there = Counter(file.read_text().split()) if file.exists() else Counter[str]()
        assert all(times == 1 for times in there.values()), there
        for token, said in self.told.items():
            assert said != "yes" or token in there, f"{token} was not run"
            assert said != "no" or token not in there, f"{token} was run"

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.continue_all_masters()
            self.do(self._end())
            assert masters(self.directory) == []
            assert list(self.directory.iterdir()) == []
            self.what_was_said_is_true()
        finally:
            self._clean_up()

    async def _end(self) -> None:
        async with self.manager.get_connection(1, timeout=20) if not self.lent else _nobody():
            pass  # after all of it there is a connection to be had
        for borrowed in tuple(self.lent):
            await self._give_back(borrowed)
        await self.manager.stop()
        await self._all_told(self.running)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def _clean_up(self) -> None:
        for left in (*masters(self.directory), *sleepers(self.nap)):
            with contextlib.suppress(psutil.Error):
                left.kill()
        self.loop.run_until_complete(self.serving.aclose())
        self.loop.close()
        shutil.rmtree(self.place)


@contextlib.asynccontextmanager
async def _nobody() -> Any:
    yield


@pytest.mark.soak
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes of others")
@pytest.mark.parametrize("engine", ["ssh", "mux"], indirect=True)
@pytest.mark.timeout(int(SECONDS) + 600)
def test_any_history(engine: str) -> None:
    machine = type("History", (PoolWithMasters,), {"engine": engine})
    examples = max(3, int(SECONDS / 40))  # each takes some ten seconds
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
