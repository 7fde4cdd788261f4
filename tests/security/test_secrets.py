"""Secrets: what a keyring may do with them, and where they are not to be seen."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

import sshmux
from sshmux import ConnectionManager, Prompt
from sshmux.login.credentials import Credentials
from sshmux.system.secret import Secret
from sshmux.testing import PrivateServer

from ..hostile import HostileServer, question
from .plaintext_keyrings import PlaintextKeyring, SilentKeyring

SECRET = "hunter2-in-no-frame"
HOME = Path(sshmux.__file__).parent
ROOT = HOME.parent


@pytest.fixture(autouse=True)
def no_real_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


# Tracebacks that are shown with the variables of their frames


def frames(error: BaseException | None) -> Iterator[FrameType]:
    """Those of sshmux in the tracebacks of an error, its causes and contexts."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if HOME in Path(frame.f_code.co_filename).parents:
                yield frame


def exposed(error: BaseException) -> list[str]:
    """The variables of sshmux that show the secret."""
    found = [
        f"{Path(frame.f_code.co_filename).name}: {frame.f_code.co_name}: {name}"
        for frame in frames(error)
        for name, value in frame.f_locals.items()
        if SECRET in repr(value)
    ]
    return [*found, *(["its text"] if SECRET in f"{error!r} {error}" else [])]


class Failing(KeyringBackend):
    """A keyring that has the secret in its frames, and fails."""

    priority = 1  # type: ignore[assignment]

    def get_password(self, service: str, username: str) -> str | None:
        held = SECRET
        raise RuntimeError(f"while {held} was held")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError(f"{password} is not taken")

    def delete_password(self, service: str, username: str) -> None:
        raise RuntimeError


STORES: dict[str, Callable[[ConnectionManager], None]] = {
    "with a newline": lambda m: m.set_password("x", f"{SECRET}\n"),
    "as bytes": lambda m: m.set_password("x", SECRET.encode()),  # type: ignore[arg-type]
    "too long": lambda m: m.set_password("x", SECRET * 100),
    "of nobody": lambda m: m.set_password("nobody", SECRET),
    "of a jump host of nobody": lambda m: m.set_password("nobody", SECRET, jump_host="j"),
    "no base32": lambda m: m.set_totp_secret("x", f"{SECRET}!"),
    "no URI": lambda m: m.set_totp_secret("x", f"otpauth://totp/x?secret={SECRET}"),
    "codes of nobody": lambda m: m.set_totp_secret("nobody", SECRET),
    "of a key, with a newline": lambda m: m.set_passphrase("/k", f"{SECRET}\n"),
    "of no key": lambda m: m.set_passphrase("~nobody-of-that-name/k", SECRET),
}


@pytest.mark.parametrize("what", STORES)
def test_what_is_stored_shows_in_no_frame(short_dir: Path, what: str) -> None:
    manager = ConnectionManager(control_dir=short_dir)
    manager.register_cluster("x", "hpc.invalid")
    with pytest.raises((sshmux.ConfigError, RuntimeError)) as caught:
        STORES[what](manager)
    assert list(frames(caught.value)), "the frames of sshmux are looked at"
    assert exposed(caught.value) == []


async def _control_character(prompt: Prompt) -> Any:
    return f"{SECRET}\x07"


async def _bytes(prompt: Prompt) -> Any:
    return SECRET.encode()


async def _list(prompt: Prompt) -> Any:
    return [SECRET]


async def _long(prompt: Prompt) -> Any:
    return SECRET * 100


async def _wrong(prompt: Prompt) -> Any:
    return SECRET


def _not_async(prompt: Prompt) -> Any:
    return SECRET


TYPED = [_control_character, _bytes, _list, _long, _wrong, _not_async]


@pytest.mark.parametrize("prompter", TYPED)
async def test_what_is_typed_shows_in_no_frame(
    short_dir: Path, prompter: Callable[[Prompt], Awaitable[Any]]
) -> None:
    async with HostileServer(rounds=[question("Code word: ", "another")]) as server:
        async with ConnectionManager(
            control_dir=short_dir, prompter=prompter, dial_attempts=1
        ) as manager:
            server.register(manager, "x")
            with pytest.raises(sshmux.Error) as caught:
                await manager.connect("x")
    assert list(frames(caught.value)), "the frames of sshmux are looked at"
    assert exposed(caught.value) == []


async def test_what_was_stored_shows_in_no_frame_of_a_refused_log_in(short_dir: Path) -> None:
    async with HostileServer(password="another") as server:
        async with ConnectionManager(control_dir=short_dir, dial_attempts=1) as manager:
            server.register(manager, "x")
            manager.set_password("x", SECRET, keyring=False)
            with pytest.raises(sshmux.PermissionDenied) as caught:
                await manager.connect("x")
    assert exposed(caught.value) == []


def test_a_failing_keyring_shows_nothing(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    keyring.set_keyring(Failing())
    manager = ConnectionManager(control_dir=short_dir)
    manager.register_cluster("x", "hpc.invalid")
    manager.set_password("x", SECRET)
    assert manager.get_password("x") == SECRET, "it is kept in memory"
    assert SECRET not in caplog.text
    assert "RuntimeError" in caplog.text


# Keyrings that misbehave


class Odd(KeyringBackend):
    """A keyring that gives back, or raises, what it should not."""

    priority = 1  # type: ignore[assignment]

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def _misbehave(self) -> Any:
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    def get_password(self, service: str, username: str) -> Any:
        return self._misbehave()

    def set_password(self, service: str, username: str, password: str) -> None:
        self._misbehave()

    def delete_password(self, service: str, username: str) -> None:
        self._misbehave()


class Strange(BaseException):
    """An exception that is no `Exception`."""


VALUES: dict[str, Any] = {
    "has a control character in it": f"{SECRET}\nand more",
    "is empty": "",
    "is longer than 1,000 bytes": SECRET * 500_000,
    "is no text (a str)": SECRET.encode(),
}
RAISED = [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), Strange(), asyncio.CancelledError()]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("why", VALUES)
async def test_what_no_prompt_takes_is_no_password(
    caplog: pytest.LogCaptureFixture, short_dir: Path, why: str
) -> None:
    keyring.set_keyring(Odd(VALUES[why]))
    credentials = Credentials()
    assert credentials.get("ada@hpc") is None
    (warning,) = warned(caplog)
    assert "'ada@hpc'" in warning
    assert why in warning
    assert "sshmux password set" in warning
    assert SECRET not in caplog.text
    async with PrivateServer() as server:
        async with ConnectionManager(control_dir=short_dir) as manager:
            server.register(manager, 1)
            assert await manager.test_connection(1), "the key works all the same"


@pytest.mark.parametrize("result", [*RAISED, 5, object()], ids=lambda each: type(each).__name__)
async def test_whatever_a_keyring_raises_ends_no_program(
    caplog: pytest.LogCaptureFixture, short_dir: Path, result: Any
) -> None:
    keyring.set_keyring(Odd(result))
    manager = ConnectionManager(control_dir=short_dir)
    manager.register_cluster("x", "hpc.invalid")
    assert manager.get_password("x") is None
    assert await manager._credentials.lookup("other") is None
    manager.set_password("x", SECRET)
    assert manager.get_password("x") == SECRET, "it is kept in memory"
    manager.delete_password("x")
    assert manager.get_password("x") is None
    assert warned(caplog)
    if isinstance(result, BaseException):
        assert type(result).__name__ in caplog.text
    assert SECRET not in caplog.text


# Keyrings of plain text


@pytest.fixture
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring_pass.cfg"))
    return tmp_path / "keyring_pass.cfg"


@pytest.mark.parametrize("backend", [PlaintextKeyring, SilentKeyring])
def test_a_keyring_of_plain_text_is_warned_about_once(
    caplog: pytest.LogCaptureFixture,
    short_dir: Path,
    kept_in: Path,
    backend: type[SilentKeyring],
) -> None:
    keyring.set_keyring(backend())
    manager = ConnectionManager(control_dir=short_dir)
    manager.register_cluster("x", "hpc.invalid")
    manager.set_password("x", SECRET)
    manager.set_passphrase("/k", SECRET)
    (warning,) = warned(caplog)
    assert str(kept_in) in warning
    assert backend.__name__ in warning
    assert manager.get_password("x") == SECRET


@pytest.mark.parametrize("backend", [PlaintextKeyring, SilentKeyring])
def test_a_keyring_of_plain_text_can_be_refused(
    short_dir: Path, kept_in: Path, backend: type[SilentKeyring]
) -> None:
    keyring.set_keyring(backend())
    manager = ConnectionManager(control_dir=short_dir)
    manager.register_cluster("x", "hpc.invalid")
    with pytest.raises(sshmux.ConfigError, match="readable"):
        manager.set_password("x", SECRET, keyring="refuse-plaintext")
    assert not kept_in.exists() or coded(SECRET) not in kept_in.read_text()
    assert manager.get_password("x") is None


@pytest.mark.parametrize("backend", ["PlaintextKeyring", "SilentKeyring"])
def test_the_command_stores_in_plain_text_only_when_told_to(kept_in: Path, backend: str) -> None:
    found = sshmux_password("set", "--stdin", "me@x", backend=backend)
    assert found.returncode == 1
    assert str(kept_in) in found.stderr
    assert backend in found.stderr
    assert "--allow-plaintext" in found.stderr
    assert not kept_in.exists() or coded(SECRET) not in kept_in.read_text()
    assert SECRET not in found.stdout + found.stderr
    found = sshmux_password("set", "--stdin", "--allow-plaintext", "me@x", backend=backend)
    assert (found.returncode, found.stderr) == (0, "")
    assert coded(SECRET) in kept_in.read_text()


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("module", ["keyring.backends.fail", "keyring.backends.null"])
@pytest.mark.parametrize("arguments", [("me@x",), ("--stdin", "me@x")])
def test_without_a_keyring_the_command_says_so_before_it_asks(
    module: str, arguments: tuple[str, ...]
) -> None:
    found = sshmux_password("set", *arguments, backend=f"{module}.Keyring")
    assert found.returncode == 1
    assert "Secret for" not in found.stderr
    assert "sshmux login" in found.stderr
    assert "keyring diagnose" in found.stderr


def sshmux_password(*arguments: str, backend: str) -> subprocess.CompletedProcess[str]:
    if "." not in backend:
        backend = f"tests.security.plaintext_keyrings.{backend}"
    return subprocess.run(
        [sys.executable, "-m", "sshmux", "password", *arguments],
        input=f"{SECRET}\n",
        env={**os.environ, "PYTHON_KEYRING_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


# Secrets themselves


@pytest.mark.parametrize("value", [None, 5, b"x", "", "a\nb", "a\x1bb", "x" * 1001, "\ud800"])
def test_what_is_unfit_says_why_without_showing_it(value: object) -> None:
    reason = Secret(value).unfit
    assert reason is not None
    assert not value or str(value) not in reason
    assert Secret("pass word\twith ä").unfit is None
