"""Passwords, with real keyring backends of every temper."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator

import keyring
import keyring.backends.fail
import keyring.backends.null
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

from sshmux.errors import ConfigError
from sshmux.login.credentials import Credentials
from sshmux.system.secret import Secret

SECRET = "correct horse battery staple"
HPC = "ada@hpc"


def revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


class Memory(KeyringBackend):
    """A keyring that works, and counts how often it is asked."""

    priority = 1.0  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.calls = 0
        self.threads: set[int] = set()

    def answer(self) -> None:
        self.calls += 1
        self.threads.add(threading.get_ident())

    def get_password(self, service: str, username: str) -> str | None:
        self.answer()
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.answer()
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self.answer()
        if self.held.pop((service, username), None) is None:
            raise PasswordDeleteError("not there")


class Slow(Memory):
    """One that waits for a user who does not come, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def answer(self) -> None:
        super().answer()
        self.let_go.wait(30)


class Raising(Memory):
    """One that fails, with a secret in its words, until it is mended."""

    broken = True

    def answer(self) -> None:
        super().answer()
        if self.broken:
            raise RuntimeError(f"D-Bus went away while it held {SECRET}")


@pytest.fixture(autouse=True)
def no_real_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


def use(backend: KeyringBackend) -> KeyringBackend:
    keyring.set_keyring(backend)
    return backend


@pytest.fixture
def memory() -> Memory:
    backend = Memory()
    use(backend)
    return backend


@pytest.fixture
def slow() -> Iterator[Slow]:
    backend = Slow()
    use(backend)
    yield backend
    backend.let_go.set()


@pytest.fixture
def raising() -> Raising:
    backend = Raising()
    use(backend)
    return backend


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# One that works


async def test_a_password_goes_round(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials("my-service")
    assert credentials.get(HPC) is None
    credentials.set(HPC, Secret(SECRET))
    assert memory.held == {("my-service", HPC): SECRET}
    assert revealed(credentials.get(HPC)) == SECRET
    assert revealed(await credentials.lookup(HPC)) == SECRET
    credentials.delete(HPC)
    assert memory.held == {}
    assert credentials.get(HPC) is None
    assert warnings(caplog) == []


def test_another_manager_finds_it(memory: Memory) -> None:
    Credentials().set(HPC, Secret(SECRET))
    assert revealed(Credentials().get(HPC)) == SECRET
    assert Credentials("other").get(HPC) is None


def test_deleting_nothing_is_no_error(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    Credentials().delete(HPC)
    assert warnings(caplog) == []


def test_a_newer_password_replaces_the_older(memory: Memory) -> None:
    credentials = Credentials()
    credentials.set(HPC, Secret("old"))
    credentials.set(HPC, Secret(SECRET))
    assert revealed(credentials.get(HPC)) == SECRET


def test_it_is_never_asked_on_the_callers_thread(memory: Memory) -> None:
    Credentials().set(HPC, Secret(SECRET))
    assert memory.threads
    assert threading.get_ident() not in memory.threads


@pytest.mark.parametrize("password", ["", "a\nb", "a\rb", "a\0b", None, 5, b"x"])
def test_a_password_that_no_prompt_takes_is_refused(memory: Memory, password: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Credentials().set(HPC, Secret(password))
    assert repr(password) not in str(caught.value) or not password
    assert memory.held == {}


async def test_that_there_is_none_is_remembered_until_one_is_set(memory: Memory) -> None:
    credentials = Credentials()
    assert await credentials.lookup(HPC) is None
    calls = memory.calls
    assert await credentials.lookup(HPC) is None
    assert memory.calls == calls
    credentials.set(HPC, Secret(SECRET))
    assert revealed(await credentials.lookup(HPC)) == SECRET


# None, and the one that forgets


def test_without_a_keyring_memory_serves_and_one_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    use(keyring.backends.fail.Keyring())
    credentials = Credentials()
    credentials.set(HPC, Secret(SECRET))
    credentials.set("ada@other", Secret(SECRET))
    assert revealed(credentials.get(HPC)) == SECRET
    (warning,) = warnings(caplog)
    assert "kept in memory only" in warning
    assert "keyring diagnose" in warning
    credentials.delete(HPC)
    assert credentials.get(HPC) is None
    assert Credentials().get(HPC) is None


async def test_a_log_in_without_a_keyring_warns_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    use(keyring.backends.fail.Keyring())
    assert await Credentials().lookup(HPC) is None
    assert warnings(caplog) == []


async def test_a_keyring_that_keeps_nothing_is_found_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    use(keyring.backends.null.Keyring())
    credentials = Credentials()
    credentials.set(HPC, Secret(SECRET))
    assert revealed(credentials.get(HPC)) == SECRET
    assert revealed(await credentials.lookup(HPC)) == SECRET
    (warning,) = warnings(caplog)
    assert "kept in memory only" in warning


# Broken ones


async def test_a_failing_keyring_warns_once_and_is_left_alone(
    raising: Raising, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = Credentials()
    assert await credentials.lookup(HPC) is None
    assert len(warnings(caplog)) == 1
    calls = raising.calls
    assert await credentials.lookup(HPC) is None
    assert credentials.get(HPC) is None
    assert raising.calls == calls
    credentials.set(HPC, Secret(SECRET))
    assert revealed(credentials.get(HPC)) == SECRET
    assert len(warnings(caplog)) == 1


async def test_the_deadline_holds_and_the_loop_goes_on(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = Credentials(deadline=0.05)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticker = asyncio.ensure_future(tick())
    started = time.monotonic()
    assert await credentials.lookup(HPC) is None
    assert time.monotonic() - started < 5
    assert ticks > 1  # many; but a busy machine may have left us hardly a turn
    ticker.cancel()
    (warning,) = warnings(caplog)
    assert "did not answer" in warning


def test_the_deadline_holds_for_those_who_block(slow: Slow) -> None:
    credentials = Credentials(deadline=0.05)
    started = time.monotonic()
    credentials.set(HPC, Secret(SECRET))
    assert revealed(credentials.get(HPC)) == SECRET
    credentials.delete(HPC)
    assert time.monotonic() - started < 5


async def test_a_cancelled_log_in_is_cancelled(slow: Slow) -> None:
    task = asyncio.ensure_future(Credentials().lookup(HPC))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_late_answer_harms_nothing(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    failed: list[object] = []
    others = set(threading.enumerate())
    threading.excepthook, before = failed.append, threading.excepthook
    try:
        assert await Credentials(deadline=0.01).lookup(HPC) is None
        slow.let_go.set()
        late = set(threading.enumerate()) - others
        for thread in late:
            thread.join(30)
    finally:
        threading.excepthook = before
    assert late
    assert failed == []


def test_a_deleted_password_does_not_come_back_when_the_keyring_does(
    raising: Raising, caplog: pytest.LogCaptureFixture
) -> None:
    """Deleting is asked for by hand: it is tried even while the keyring is being left alone."""
    raising.held["sshmux", HPC] = SECRET
    credentials = Credentials()
    assert credentials.get(HPC) is None  # fails, and from here on it is avoided
    raising.broken = False
    credentials.delete(HPC)
    assert raising.held == {}


def test_a_password_that_is_set_by_hand_is_stored_as_soon_as_the_keyring_works(
    raising: Raising,
) -> None:
    credentials = Credentials()
    assert credentials.get(HPC) is None
    raising.broken = False
    credentials.set(HPC, Secret(SECRET))
    assert raising.held == {("sshmux", HPC): SECRET}


# Secrecy


async def test_no_password_in_any_repr_or_log(
    raising: Raising, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = Credentials()
    credentials.set(HPC, Secret(SECRET))
    await credentials.lookup("ada@other")
    credentials.delete("ada@other")
    assert SECRET not in repr(credentials)
    assert SECRET not in str(credentials)
    assert SECRET not in caplog.text
    assert repr(credentials) == "<Credentials service='sshmux'>"
