"""The dialler of one cluster: how often it tries, and when not at all.

What logs in is a stand-in, since a real log-in needs a server; the live tests have that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sshmux.config import ConnectionConfig, PoolConfig
from sshmux.errors import (
    ConnectionRefused,
    DisconnectError,
    NotLoggedIn,
    PermissionDenied,
    PromptDeclined,
    ServerHungUp,
)
from sshmux.login import dialler, living
from sshmux.login.answers import PromptQueue
from sshmux.login.context import DialLimiter, LoginContext
from sshmux.login.credentials import Credentials
from sshmux.login.dialler import Dialler
from sshmux.login.totp import OneTimeCodes
from sshmux.openssh.askpass.prompts import classify
from sshmux.openssh.control.dial import DialOptions
from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.entry import Entry
from sshmux.openssh.control.master import Master
from sshmux.openssh.control.record import Record, node
from sshmux.openssh.resolve import Resolved
from sshmux.system.secret import Secret

HPC = "hpc"
PLAIN = Resolved("ada", "hpc", 22)
JUMPING = Resolved("ada", "hpc", 22, proxied=True, proxy_jump="bastion")
VIA = Path("/s/bastion")


async def nobody(_: object) -> str | None:
    return None


class SharedJumpHost:
    """A jump host that is always there, or never."""

    def __init__(self) -> None:
        self.refused: DisconnectError | None = None
        self.error: DisconnectError | None = None
        self.users = self.resets = 0
        self.watchers: list[Callable[[bool], object]] = []

    def reset(self) -> None:
        self.resets += 1

    def watch(self, changed: Callable[[bool], object]) -> Callable[[], None]:
        self.watchers.append(changed)
        return lambda: self.watchers.remove(changed)

    async def hold(self) -> Path:
        for changed in self.watchers:
            changed(True)
        await asyncio.sleep(0)
        for changed in self.watchers:
            changed(False)
        if self.error is not None:
            raise self.error
        self.users += 1
        return VIA

    def release(self) -> None:
        self.users -= 1


class World:
    """Everything that a dialler needs, without a server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.directory = directory
        self.outcomes: list[Any] = []
        self.ways: list[DialOptions] = []
        self.now = self.most = 0
        self.pause = 0.0
        self.login_factor = ""
        self.version = (9, 2)
        self.jump = SharedJumpHost()
        self.own: Any = None
        self.left: Any = None
        self.before = 0
        self.jumped: list[str] = []
        self.credentials = Credentials()
        monkeypatch.setattr(dialler, "dial", self.dial)
        monkeypatch.setattr(dialler, "ssh_version", self.ssh_version)
        monkeypatch.setattr(dialler, "resolved_now", self.resolved_now)
        monkeypatch.setattr(living, "hold_foreign", self.hold_foreign)
        monkeypatch.setattr(living, "adopt", self.adopt)
        monkeypatch.setattr(living, "still_works", self.still_works)
        monkeypatch.setattr(living, "resolved_now", self.resolved_now)

    async def ssh_version(self, program: str) -> tuple[int, int]:
        return self.version

    async def hold_foreign(self, config: ConnectionConfig, path: Path) -> Any:
        return self.own

    async def adopt(
        self, config: ConnectionConfig, directory: ControlDir, resolved: list[Resolved]
    ) -> Any:
        return self.left

    async def still_works(self, link: Any, patience: float) -> bool:
        return True

    async def resolved_now(self, config: ConnectionConfig) -> list[Resolved]:
        return [PLAIN]

    async def dial(self, config: Any, directory: Any, way: DialOptions, **_: Any) -> Any:
        self.ways.append(way)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.pause)
            outcome = self.outcomes.pop(0) if self.outcomes else None
            if outcome is not None:
                raise outcome
            return self.master()
        finally:
            self.now -= 1

    def master(self) -> Any:
        """One that was never held: a config, a name and a record."""
        record = Record("n", "c", "1", "hpc", "d", node(), 0.0, 0, login_factor=self.login_factor)
        return Master(ConnectionConfig("hpc"), Entry(self.directory, "n"), record)

    def make(
        self,
        resolved: Resolved = PLAIN,
        *,
        prompter: Any = None,
        config: dict[str, Any] | None = None,
        **pool: Any,
    ) -> Dialler:
        settings = PoolConfig(**{"dial_backoff": 0, **pool})

        def count() -> None:
            self.before += 1

        async def jump_host(config: ConnectionConfig) -> SharedJumpHost:
            self.jumped.append(config.address)
            return self.jump

        context = LoginContext(
            pool=settings,
            directory=ControlDir(self.directory),
            credentials=self.credentials,
            codes=OneTimeCodes(),
            asking=PromptQueue(prompter, 5),
            places=DialLimiter(settings),
            jump_host=jump_host,
            before_dial=count,
        )
        made = Dialler("hpc", HPC, ConnectionConfig(HPC, username="ada", **(config or {})), context)

        async def known() -> Resolved:
            return resolved

        made.facts.resolving = asyncio.ensure_future(known())
        return made


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, short_dir: Path) -> World:
    return World(monkeypatch, short_dir)


async def many(made: Dialler, number: int) -> list[Any]:
    dials = (made.dial(str(slot)) for slot in range(number))
    return await asyncio.gather(*dials, return_exceptions=True)


# How often


async def test_passing_trouble_is_tried_again_as_often_as_was_asked_for(world: World) -> None:
    world.outcomes = [ConnectionRefused("no")] * 2
    made = world.make(dial_attempts=3)
    await made.dial("1")
    assert (len(world.ways), world.before) == (3, 3)
    world.outcomes = [ConnectionRefused("no")] * 9
    with pytest.raises(ConnectionRefused):
        await made.dial("1")
    assert len(world.ways) == 6
    assert made.refused is None


async def test_trouble_that_stays_is_not_tried_again_but_not_kept_either(world: World) -> None:
    world.outcomes = [DisconnectError("no")]
    made = world.make()
    with pytest.raises(DisconnectError):
        await made.dial("1")
    assert (len(world.ways), made.refused) == (1, None)
    await made.dial("1")


@pytest.mark.parametrize("error", [PermissionDenied("no"), PromptDeclined("no")])
async def test_a_refusal_is_raised_again_without_a_try_until_somebody_asks(
    world: World, error: DisconnectError
) -> None:
    world.outcomes = [error]
    made = world.make(dial_attempts=3)
    caught = []
    for _ in range(3):
        with pytest.raises(type(error)) as raised:
            await made.dial("1")
        caught.append(raised.value)
    assert len({id(each) for each in caught}) == 3
    assert [str(each) for each in caught] == ["no"] * 3
    assert len(world.ways) == 1
    made.reset()
    assert made.refused is None
    await made.dial("1")
    assert len(world.ways) == 2


async def test_a_password_that_is_wrong_costs_one_attempt_whoever_waits(world: World) -> None:
    world.credentials.set("ada@hpc", Secret("wrong"), keep=False)
    world.outcomes = [PermissionDenied("no")] * 9
    world.pause = 0.01
    made = world.make()
    errors = await many(made, 5)
    assert [type(error) for error in errors] == [PermissionDenied] * 5
    assert len(world.ways) == 1


async def test_one_at_a_time_until_a_secret_is_seen_to_work(world: World) -> None:
    world.credentials.set("ada@hpc", Secret("right"), keep=False)
    world.pause = 0.01
    made = world.make(max_parallel_dials=4)
    await many(made, 3)
    assert world.most == 1
    await many(made, 4)
    assert world.most > 1
    assert all(way.answerer is not None and not way.answerer.somebody for way in world.ways)
    made.reset()  # another secret
    world.most = 0
    await many(made, 3)
    assert world.most == 1


async def test_without_secrets_all_at_once_and_nobody_to_answer(world: World) -> None:
    world.pause = 0.2  # what comes before takes its time on a busy machine
    made = world.make(max_parallel_dials=4)
    assert made.most_dials == 4
    await many(made, 4)
    assert world.most == 4
    assert [(way.answerer, way.confirm, way.via) for way in world.ways] == [(None, False, None)] * 4


async def test_cancelled_it_leaves_the_turn_to_others(world: World) -> None:
    world.pause = 3600
    made = world.make(prompter=nobody)
    first = asyncio.ensure_future(made.dial("1"))
    while not world.ways:
        await asyncio.sleep(0.001)
    world.pause = 0
    second = asyncio.ensure_future(made.dial("2"))
    await asyncio.sleep(0.01)
    assert len(world.ways) == 1
    first.cancel()
    await asyncio.wait((first,))
    await asyncio.wait_for(second, 5)
    assert first.cancelled()


# How many


async def test_what_a_log_in_takes_limits_the_pool(world: World) -> None:
    world.login_factor = "user"
    made = world.make(prompter=nobody, pool_size=5, max_parallel_dials=4, one_time_pool_size=2)
    assert (made.most_masters, made.most_dials) == (5, 1)
    await made.dial("1")
    assert (made.most_masters, made.most_dials) == (2, 1)
    world.login_factor = ""
    await made.dial("2")
    assert (made.most_masters, made.most_dials) == (5, 4)


async def test_a_pool_that_is_smaller_stays_so(world: World) -> None:
    world.login_factor = "code"
    made = world.make(pool_size=1, one_time_pool_size=3)
    await made.dial("1")
    assert made.most_masters == 1


@pytest.mark.parametrize(
    ("config", "pool", "most"),
    [
        ({}, {}, (5, 4)),
        ({}, {"persist": 60}, (5, 1)),
        ({"control_path": "/s/own"}, {}, (5, 1)),
        ({"dial": "never"}, {}, (5, 1)),
        ({"dial": "never", "control_path": "/s/own"}, {}, (1, 1)),
    ],
)
async def test_how_many_before_anything_is_known(
    world: World, config: dict[str, Any], pool: dict[str, Any], most: tuple[int, int]
) -> None:
    made = world.make(config=config, **pool)
    assert (made.most_masters, made.most_dials) == most


# What lives already


async def test_the_users_own_master_needs_no_log_in(world: World) -> None:
    world.own = world.master()
    made = world.make(config={"control_path": "/s/own"})
    await made.dial("1")
    assert (world.ways, world.before) == ([], 0)


async def test_without_it_there_is_a_log_in(world: World) -> None:
    await world.make(config={"control_path": "/s/own"}).dial("1")
    assert len(world.ways) == 1


@pytest.mark.parametrize(("persist", "adopted"), [(0, 0), (60, 1)])
async def test_what_was_left_is_adopted_where_masters_persist(
    world: World, persist: int, adopted: int
) -> None:
    world.left = world.master()
    made = world.make(persist=persist)
    await made.dial("1")
    assert (made.adopted, len(world.ways)) == (adopted, 1 - adopted)


async def test_never_means_never(world: World) -> None:
    made = world.make(config={"dial": "never"}, prompter=nobody)
    with pytest.raises(NotLoggedIn, match="hpc"):
        await made.dial("1")
    assert world.ways == []
    world.left = world.master()
    await made.dial("1")
    assert (made.adopted, world.ways) == (1, [])


async def test_a_listener_wants_a_log_in_and_no_master(world: World) -> None:
    world.left = world.master()
    made = world.make(persist=60)
    listener: Callable[[bytes], object] = bytes.decode
    await made.dial("1", listener)
    assert [way.listener for way in world.ways] == [listener]


# Who answers


@pytest.mark.parametrize(
    ("prompter", "config", "strict", "confirm"),
    [
        (nobody, {}, "ask", True),
        (nobody, {}, "yes", False),
        (nobody, {"strict_host_key_checking": "accept-new"}, "ask", False),
        (nobody, {"strict_host_key_checking": "config"}, "ask", False),
        (nobody, {"strict_host_key_checking": False}, "ask", False),
        (None, {}, "ask", False),
    ],
)
async def test_who_may_confirm_a_host_key(
    world: World, prompter: Any, config: dict[str, Any], strict: str, confirm: bool
) -> None:
    world.credentials.set("ada@hpc", Secret("pw"), keep=False)
    resolved = Resolved("ada", "hpc", 22, strict=strict)
    await world.make(resolved, prompter=prompter, config=config).dial("1")
    assert [way.confirm for way in world.ways] == [confirm]


@pytest.mark.parametrize(
    ("version", "resolved", "share", "answered"),
    [
        ((9, 2), PLAIN, True, True),
        ((8, 4), PLAIN, True, True),
        ((8, 4), JUMPING, True, True),  # a log-in of its own: nobody else asks there
        ((8, 4), JUMPING, False, False),
        ((8, 4), Resolved("ada", "hpc", 22, proxied=True), True, False),
        ((9, 2), Resolved("ada", "hpc", 22, proxied=True), True, True),
    ],
)
async def test_an_ssh_that_does_not_say_who_asks_gets_no_secret_behind_a_jump_host(
    world: World, version: tuple[int, int], resolved: Resolved, share: bool, answered: bool
) -> None:
    world.version = version
    world.credentials.set("ada@hpc", Secret("pw"), keep=False)
    await world.make(resolved, prompter=nobody, share_jump_hosts=share).dial("1")
    answerer = world.ways[0].answerer
    assert (answerer is not None) is answered
    if answerer is not None:
        assert answerer.named is (version >= (8, 5))


# Jump hosts


async def test_it_goes_through_the_jump_host_and_keeps_it(world: World) -> None:
    made = world.make(JUMPING)
    await made.dial("1")
    assert ([way.via for way in world.ways], world.jumped) == ([VIA], ["bastion"])
    assert world.jump.users == 1
    made.reset()
    assert world.jump.resets == 1


async def test_it_tells_when_a_user_is_asked_for_the_jump_host(world: World) -> None:
    made = world.make(JUMPING)
    told: list[bool] = []
    unwatch = made.watch(told.append)
    await made.dial("1")
    assert (told, made.asking, world.jump.watchers) == ([True, False], False, [])
    unwatch()
    await made.dial("2")
    assert told == [True, False]


async def test_who_comes_while_a_user_is_asked_is_told_at_once(world: World) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def user(_: object) -> str | None:
        asked.set()
        await go_on.wait()
        return None

    made = world.make(prompter=user)
    await made.dial("1")
    answerer = world.ways[0].answerer
    assert answerer is not None
    answering = asyncio.ensure_future(answerer.answer(classify("ada@hpc's password: ")))
    await asyncio.wait_for(asked.wait(), 5)
    told: list[bool] = []
    leave, stay = made.watch(told.append), made.watch(told.append)
    assert (told, made.asking) == ([True, True], True)
    leave()
    assert told == [True, True, False]
    go_on.set()
    await answering
    assert (told, made.asking) == ([True, True, False, False], False)
    stay()
    assert len(told) == 4


@pytest.mark.parametrize("error", [PermissionDenied("no"), ServerHungUp("x"), RuntimeError("x")])
async def test_a_failure_lets_go_of_the_jump_host(world: World, error: Exception) -> None:
    world.outcomes = [error] * 3
    with pytest.raises(type(error) if not isinstance(error, ServerHungUp) else DisconnectError):
        await world.make(JUMPING, dial_attempts=1).dial("1")
    assert world.jump.users == 0


async def test_cancelled_it_lets_go_of_the_jump_host(world: World) -> None:
    world.pause = 3600
    task = asyncio.ensure_future(world.make(JUMPING).dial("1"))
    while not world.ways:
        assert not task.done()
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.jump.users == 0


async def test_what_is_refused_at_the_jump_host_is_over_when_that_is(world: World) -> None:
    made = world.make(JUMPING)
    world.jump.error = world.jump.refused = PermissionDenied("not there")
    for _ in range(2):
        with pytest.raises(PermissionDenied, match="not there"):
            await made.dial("1")
    assert world.ways == []
    world.jump.error = world.jump.refused = None  # somebody saw to it, for another cluster
    await made.dial("1")


@pytest.mark.parametrize(
    ("resolved", "share"),
    [(JUMPING, False), (Resolved("ada", "hpc", 22, proxied=True, proxy_jump="%h-gate"), True)],
)
async def test_a_jump_host_that_is_left_to_ssh(
    world: World, resolved: Resolved, share: bool
) -> None:
    await world.make(resolved, share_jump_hosts=share).dial("1")
    assert ([way.via for way in world.ways], world.jumped) == ([None], [])
