"""Jump hosts: one log-in for everybody, and when it ends.

The dialler is a stand-in, since a real one needs a server; the live tests have that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sshmux.config import ConnectionConfig, PoolConfig
from sshmux.errors import ConfigError, ConnectionLost, ConnectionRefused, PermissionDenied
from sshmux.login.jumps import JumpHosts, SharedJumpHost

CONFIG = ConnectionConfig("bastion")
IDLE = 0.05


class Link:
    """As much of a link as a jump host looks at."""

    def __init__(self, name: str, log: list[str], on_closed: Callable[[], None]) -> None:
        self.name = name
        self.usable = True
        self.lost: list[Callable[[], object]] = []
        self.left: bool | None = None
        self.answer: int | BaseException = 0
        self._log = log
        self._on_closed = on_closed
        self.master = SimpleNamespace(
            entry=SimpleNamespace(socket=Path(f"/s/{name}")),
            interactive_login=False,
            outlives_us=False,
            on_lost=self.lost.append,
            abandon=lambda *, end: log.append(f"abandoned {name} {end}"),
        )

    async def close(self, *, leave: bool | None = False) -> None:
        await asyncio.sleep(0)
        if self.usable:
            self.usable = False
            self._log.append(f"closed {self.name}")
            self._on_closed()
        self.left = self.master.outlives_us if leave is None else leave

    def retire(self, why: str) -> None:
        assert why

    async def close_lost(self) -> None:
        await self.close()

    async def prove(self, timeout: float) -> None:
        assert timeout > 0
        if isinstance(self.answer, BaseException):
            raise self.answer


class Dialler:
    """A dialler that does as it is told."""

    def __init__(self, config: ConnectionConfig, *outcomes: Any) -> None:
        self.config = config
        self.refused = None
        self.dials = 0
        self.resets = 0
        self.links: list[Link] = []
        self.log: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.before: Callable[[], Any] | None = None
        self.on_closed: Callable[[], None] = lambda: None
        self._outcomes = list(outcomes)

    def reset(self) -> None:
        self.resets += 1

    async def dial(self, slot: str) -> Link:
        self.dials += 1
        number = self.dials
        await self.gate.wait()
        if self.before is not None:
            await self.before()
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if outcome is not None:
            raise outcome
        link = Link(f"{self.config.host}-{number}", self.log, self.on_closed)
        self.links.append(link)
        return link


def context(**pool: Any) -> Any:
    return SimpleNamespace(pool=PoolConfig(**{"max_idle": IDLE, **pool}))


def make(*outcomes: Any, host: str = "bastion") -> tuple[SharedJumpHost, Dialler]:
    config = ConnectionConfig(host)
    jump = SharedJumpHost(config, context())
    dialler = Dialler(config, *outcomes)
    jump.dialler = dialler  # type: ignore[assignment]
    return jump, dialler


async def settled(jump: SharedJumpHost) -> None:
    await asyncio.sleep(IDLE * 3)
    await jump.settled()


async def test_everybody_goes_through_one_log_in() -> None:
    jump, dialler = make()
    paths = await asyncio.gather(*(jump.hold() for _ in range(5)))
    assert set(paths) == {Path("/s/bastion-1")}
    assert (dialler.dials, jump.users, jump.connected) == (1, 5, True)
    assert "bastion" in repr(jump)
    assert "users=5" in repr(jump)


async def test_who_waits_for_a_log_in_that_fails_gets_its_error_and_no_attempt() -> None:
    jump, dialler = make(PermissionDenied("no"))
    dialler.gate.clear()
    holds = [asyncio.ensure_future(jump.hold()) for _ in range(4)]
    await asyncio.sleep(0)
    dialler.gate.set()
    errors = await asyncio.gather(*holds, return_exceptions=True)
    assert [type(error) for error in errors] == [PermissionDenied] * 4
    assert len({id(error) for error in errors}) == 4
    assert (dialler.dials, jump.users, jump.connected) == (1, 0, False)
    await jump.hold()  # whoever comes later tries: whether that is wise is the dialler's to say
    assert dialler.dials == 2


async def test_a_log_in_that_is_cancelled_is_nobody_elses_failure() -> None:
    jump, dialler = make()
    dialler.gate.clear()
    first, second = (asyncio.ensure_future(jump.hold()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    dialler.gate.set()
    assert await second == Path("/s/bastion-2")
    assert (first.cancelled(), jump.users) == (True, 1)


async def test_unused_it_goes_after_a_while() -> None:
    jump, dialler = make()
    await jump.hold()
    await jump.hold()
    jump.release()
    await settled(jump)
    assert jump.connected
    jump.release()
    assert jump.connected
    await settled(jump)
    assert not jump.connected
    assert dialler.log == ["closed bastion-1"]


async def test_who_comes_back_in_time_finds_it() -> None:
    jump, dialler = make()
    await jump.hold()
    for _ in range(3):
        jump.release()
        await asyncio.sleep(IDLE / 3)
        await jump.hold()
    await settled(jump)
    assert (jump.connected, jump.users, dialler.dials) == (True, 1, 1)


async def test_what_a_user_logged_in_to_is_kept() -> None:
    jump, dialler = make()
    await jump.hold()
    dialler.links[0].master.interactive_login = True
    jump.release()
    await settled(jump)
    assert jump.connected
    await jump.close()
    assert not jump.connected


async def test_a_master_that_is_lost_is_replaced_and_tidied_up() -> None:
    jump, dialler = make()
    await jump.hold()
    for callback in dialler.links[0].lost:
        callback()
    await jump.settled()
    assert dialler.log == ["closed bastion-1"]
    assert await jump.hold() == Path("/s/bastion-2")
    assert dialler.dials == 2


async def test_a_failure_leaves_nobody_counted_and_no_chain() -> None:
    jump, _ = make(ConnectionRefused("no"), ConnectionRefused("no"))
    for _ in range(2):
        with pytest.raises(ConnectionRefused):
            await jump.hold()
    assert jump.users == 0
    await jump.hold()  # not taken for a circle


async def test_jump_hosts_that_lead_in_a_circle() -> None:
    a, dial_a = make(host="a")
    b, dial_b = make(host="b")
    dial_a.before, dial_b.before = b.hold, a.hold
    with pytest.raises(ConfigError, match="circle: a → b → a"):
        await a.hold()
    assert (a.users, b.users) == (0, 0)
    assert (a.connected, b.connected) == (False, False)


async def test_two_who_log_in_through_one_another_at_the_same_time_do_not_wait_for_ever() -> None:
    a, dial_a = make(host="a")
    b, dial_b = make(host="b")
    dial_b.before = a.hold  # b is reached through a; and others go to a as well
    async with asyncio.timeout(5):
        await asyncio.gather(b.hold(), a.hold(), b.hold())
    assert (dial_a.dials, dial_b.dials) == (1, 1)
    assert (a.users, b.users) == (2, 2)


@pytest.mark.parametrize("answer", [0, 1, 127, 255])
async def test_any_answer_is_one(answer: int) -> None:
    jump, dialler = make()
    await jump.verify()  # nothing to look at
    await jump.hold()
    dialler.links[0].answer = answer
    await jump.verify()
    assert (jump.connected, dialler.log) == (True, [])


@pytest.mark.parametrize("answer", [TimeoutError(), ConnectionLost("gone")])
async def test_one_that_does_not_answer_is_replaced(answer: BaseException) -> None:
    jump, dialler = make()
    await jump.hold()
    dialler.links[0].answer = answer
    await asyncio.gather(jump.verify(), jump.verify())
    await jump.settled()
    assert dialler.log == ["closed bastion-1"]
    assert await jump.hold() == Path("/s/bastion-2")
    await jump.verify()
    assert jump.connected
    assert jump.users == 2


async def test_one_that_was_replaced_meanwhile_is_left_alone() -> None:
    jump, dialler = make()
    await jump.hold()
    old = dialler.links[0]
    go_on = asyncio.Event()

    async def prove(timeout: float) -> None:
        await go_on.wait()
        raise TimeoutError

    old.prove = prove  # type: ignore[method-assign]
    verifying = asyncio.ensure_future(jump.verify())
    await asyncio.sleep(0)
    await old.close()
    await jump.hold()
    go_on.set()
    await verifying
    await jump.settled()
    assert dialler.links[1].usable
    assert await jump.hold() == Path("/s/bastion-2")


# All of a manager's


async def test_one_for_the_same_settings() -> None:
    jumps = JumpHosts()
    one = await jumps.get(CONFIG, context())
    assert await jumps.get(ConnectionConfig("bastion"), context()) is one
    assert await jumps.get(ConnectionConfig("bastion", username="ada"), context()) is not one
    assert await jumps.get(ConnectionConfig("bastion", 2222), context()) is not one


async def test_one_for_the_same_host_whatever_it_is_called(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("Host gate door\n  HostName bastion.example\n  User ada\n")
    jumps, names = JumpHosts(), [("gate", None), ("door", None), ("bastion.example", "ada")]
    configs = [ConnectionConfig(host, username=user, config_file=file) for host, user in names]
    found = await asyncio.gather(*(jumps.get(config, context()) for config in configs * 2))
    assert len(set(found)) == 1
    other = ConnectionConfig("gate", username="eve", config_file=file)
    assert await jumps.get(other, context()) is not found[0]


async def chain() -> tuple[JumpHosts, SharedJumpHost, SharedJumpHost, list[str]]:
    """`inner` is reached through `outer`."""
    jumps, log = JumpHosts(), list[str]()
    inner = await jumps.get(ConnectionConfig("inner"), context(max_idle=60))
    outer = await jumps.get(ConnectionConfig("outer"), context(max_idle=60))
    for jump in (outer, inner):
        dialler = Dialler(jump.dialler.config)
        dialler.log = log
        jump.dialler = dialler  # type: ignore[assignment]
    inner.dialler.before = outer.hold  # type: ignore[attr-defined]
    inner.dialler.on_closed = outer.release  # type: ignore[attr-defined]
    await inner.hold()
    return jumps, inner, outer, log


@pytest.mark.parametrize("leave", [False, True])
async def test_closed_the_nearest_to_the_targets_goes_first(leave: bool) -> None:
    jumps, inner, outer, log = await chain()
    links = [*inner.dialler.links, *outer.dialler.links]  # type: ignore[attr-defined]
    inner.release()
    await jumps.close(leave=leave)
    assert log == ["closed inner-1", "closed outer-1"]
    assert [link.left for link in links] == [leave, leave]


async def test_closed_while_somebody_still_counts_as_a_user() -> None:
    jumps, inner, outer, _ = await chain()
    await jumps.close(leave=False)
    assert not inner.connected
    assert not outer.connected


async def test_only_those_that_nobody_uses_are_closed() -> None:
    jumps, inner, outer, log = await chain()
    await jumps.close_unused()
    assert log == []
    inner.release()
    await jumps.close_unused()
    assert log == ["closed inner-1", "closed outer-1"]
    assert not outer.connected


@pytest.mark.parametrize("end", [False, True])
async def test_let_go_of_without_a_loop(end: bool) -> None:
    jumps, _, _, log = await chain()
    jumps.abandon(end=end)
    assert sorted(log) == [f"abandoned inner-1 {end}", f"abandoned outer-1 {end}"]
    await jumps.close(leave=False)
    assert len(log) == 2


async def test_another_try_is_passed_on() -> None:
    jumps, inner, outer, _ = await chain()
    jumps.reset()
    assert [jump.dialler.resets for jump in (inner, outer)] == [1, 1]  # type: ignore[attr-defined]
