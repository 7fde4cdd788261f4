"""The cells of the table, really done. A tenth of them by default: see `choice`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.testing import PrivateServer

from ..support import control_directory, masters, nothing_left
from .choice import SEED, chosen
from .namespace import Link, unavailable
from .relay import Relay
from .table import FAULTS, LOG_INS, PASSWORD, SITUATIONS, Fault, World

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="looks into /proc, and sets others' limits"
)

ENGINES = ("ssh", "mux")
DOING = (*SITUATIONS, *LOG_INS)
CELLS = [(fault, doing, engine) for fault in FAULTS for doing in DOING for engine in ENGINES]
_RECOVERY = 15.0  # seconds for the next borrower to get a connection that works
_SURE = 25.0  # seconds after which it is a hang
_TIMEOUT = 6  # seconds for a log-in
_LOG_IN_ERRORS = (sshmux.DisconnectError, sshmux.ControlDirError)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default suite does not wait for what is only patience; the table is of the real one."""
    if SEED != "all":
        monkeypatch.setattr("sshmux.session.watch._SOON", 0.4)
        monkeypatch.setattr("sshmux.session.watch._PING", 0.8)


@pytest.mark.parametrize(("fault", "doing", "engine"), chosen(CELLS))
async def test_cell(
    fault: str, doing: str, engine: str, tmp_path: Path, record_property: Any
) -> None:
    print(f"SSHMUX_FAULTS={SEED}")  # shown when it fails: how to have the same cells again
    cell = _Cell(FAULTS[fault], doing, engine)
    asks: dict[str, Any] = {}
    if doing == "asked":
        asks = {"password": PASSWORD, "methods": "publickey,keyboard-interactive"}
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(control_directory())
        link = _link(stack) if cell.fault.linked else None
        async with PrivateServer(login_shell="/bin/sh", **asks) as server, nothing_left():
            listening = None if link is None else link.listening()
            async with Relay(server.port, listening) as relay:
                here, there = tmp_path / "here", tmp_path / "there"
                world = World(server, relay, here, there, directory, link)
                world.local.mkdir()
                world.remote.mkdir()
                await cell.run(world)
        assert masters(directory) == []
    cell.check()
    found = {path.name for path in (*world.local.iterdir(), *world.remote.iterdir())}
    assert found <= {"source", "target"}, "something was left"
    report = os.environ.get("SSHMUX_FAULTS_REPORT")
    if report:
        line = json.dumps([fault, doing, engine, cell.told, round(cell.seconds, 1)])
        with open(report, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def _link(stack: contextlib.ExitStack) -> Link:
    if (problem := unavailable()) is not None:
        pytest.skip(problem)
    return stack.enter_context(Link())


class _Cell:
    """One run of one cell, and what was seen."""

    def __init__(self, fault: Fault, doing: str, engine: str) -> None:
        self.fault = fault
        self.doing = doing
        self.engine = engine
        self.seconds = 0.0
        self.outcome: object = None

    @property
    def told(self) -> str:
        """What the caller got, in a word."""
        error = isinstance(self.outcome, BaseException)
        return type(self.outcome).__name__ if error else "goes on"

    async def run(self, world: World) -> None:
        manager = world.manager = ConnectionManager(
            control_dir=world.directory,
            engine=self.engine,
            pool_size=2,
            drain_timeout=0.5,
            prompter=world.answer if self.doing == "asked" else None,
        )
        async with manager:
            for cluster in ("it", "other"):
                way = world.relay if cluster == "it" else world.server
                self._register(manager, cluster, world.server, way.host, way.port)
            await self._happens(manager, world)
            await self._recovers(manager)

    def _register(
        self,
        manager: ConnectionManager,
        cluster: str,
        server: PrivateServer,
        host: str,
        port: int,
    ) -> None:
        manager.register_cluster(
            cluster,
            host,
            port,
            server.username,
            server.key_file,
            strict_host_key_checking="accept-new",
            known_hosts_file=server.known_hosts_file.with_name("relay-known-hosts"),
            config_file=server.config_file,
            keepalive_interval=1,
            timeout=_TIMEOUT,
        )

    async def _happens(self, manager: ConnectionManager, world: World) -> None:
        ready, done = asyncio.Event(), asyncio.Event()

        async def work() -> object:
            if self.doing in LOG_INS:
                return await LOG_INS[self.doing](None, world, ready.set, done)
            async with manager.get_connection("it") as connection:
                await connection.run("true")
                world.use(connection)
                situation = SITUATIONS[self.doing]
                return await situation(connection, world, ready.set, done)

        task = asyncio.ensure_future(work())
        await asyncio.wait_for(ready.wait(), 10)
        started = time.monotonic()
        await self.fault.apply(world)
        done.set()
        await asyncio.wait((task,), timeout=_SURE)
        self.seconds = time.monotonic() - started
        hangs = not task.done()
        world.relay.rate = 0
        self.fault.heal(world)
        if hangs:
            task.cancel()
            await asyncio.wait((task,))
        assert not hangs, f"nothing within {_SURE:g} s"
        self.outcome = task.exception() or task.result()

    async def _recovers(self, manager: ConnectionManager) -> None:
        for cluster in ("it", "other"):
            try:
                await self._works(manager, cluster)
            except sshmux.ConnectionLost as error:
                # Only a new session can tell of a master without descriptors.
                if "descriptors" not in str(error):
                    raise
                await self._works(manager, cluster)

    async def _works(self, manager: ConnectionManager, cluster: str) -> None:
        async with manager.get_connection(cluster, timeout=_RECOVERY) as connection:
            assert (await connection.run("echo well", timeout=5)).stdout == "well\n"

    def check(self) -> None:
        """The outcome is the right one, and came in time."""
        outcome, error = self.outcome, isinstance(self.outcome, BaseException)
        if error and not isinstance(outcome, sshmux.Error):
            raise AssertionError(f"not an error of ours: {outcome!r}")
        bound = max(self.fault.bound, _TIMEOUT + 2 if self.doing in LOG_INS else 0)
        assert self.seconds <= bound + 2.5, f"{self.seconds:.1f} s: {outcome!r}"
        if self.doing in LOG_INS:
            assert outcome == "done\n" or isinstance(outcome, _LOG_IN_ERRORS), repr(outcome)
        elif self.doing == "timed":
            self._check_timed()
        elif self.doing == "lent":
            # Nothing was under way, so a new log-in may serve; else it says that it did not run.
            fine = outcome == "done\n" and self.fault.outcome != "goes on"
            assert fine or getattr(outcome, "started", 0) is not True
        elif self.fault.outcome == "goes on":
            assert outcome == "done\n", repr(outcome)
        else:
            assert isinstance(outcome, sshmux.ConnectionLost), repr(outcome)

    def _check_timed(self) -> None:
        """Nothing that was not seen is said of the end."""
        text = str(self.outcome)
        assert isinstance(self.outcome, sshmux.ProcessTimeout | sshmux.ConnectionLost), text
        if self.fault.outcome == "goes on" and "descriptors" not in self.fault.words:
            assert "ended on the remote as well" in text
        elif self.fault.outcome == "lost":
            assert "ended on the remote as well" not in text


def test_the_table_is_whole() -> None:
    def every() -> Iterator[tuple[str, str, str]]:
        yield from CELLS

    assert len(set(every())) == len(FAULTS) * len(DOING) * len(ENGINES)
    assert SEED == "all" or 10 <= len(chosen(CELLS)) <= len(CELLS) / 10
