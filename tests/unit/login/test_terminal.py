"""Asking on a terminal: a real pty, with the test as the user."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from sshmux.login.terminal import TerminalPrompter
from sshmux.openssh.askpass.prompts import Prompt, TouchPrompt, classify

PASSWORD = classify("ada@hpc's password: ")
MENU = classify("(ada@hpc) Passcode or option (1-3): ", echo=True)
HOST_KEY = classify("Are you sure you want to continue connecting (yes/no)? ", echo=True)


@dataclass
class Desk:
    """The user's side of a terminal."""

    user: int
    path: str
    keep: int

    def type(self, text: str) -> None:
        os.write(self.user, text.encode())

    async def sees(self, words: str) -> str:
        """Waits until the terminal shows it; returns all that it shows."""
        shown = ""
        async with asyncio.timeout(10):
            while words not in shown:
                shown += (await asyncio.to_thread(os.read, self.user, 4096)).decode()
        return shown

    @property
    def flags(self) -> int:
        return int(termios.tcgetattr(self.keep)[3])


@pytest.fixture
def desk() -> Iterator[Desk]:
    user, keep = pty.openpty()
    yield Desk(user, os.ttyname(keep), keep)
    os.close(user)
    os.close(keep)


async def ask(desk: Desk, prompt: Prompt, typed: str) -> tuple[str | None, str]:
    asking = asyncio.ensure_future(TerminalPrompter(desk.path)(prompt))
    shown = await desk.sees(prompt.text.strip()[-10:])
    while bool(desk.flags & termios.ECHO) is not prompt.echo:
        await asyncio.sleep(0.01)
    desk.type(typed)
    return await asking, shown


@pytest.mark.parametrize(
    ("prompt", "typed", "answer"),
    [
        (PASSWORD, "s3cret ü\n", "s3cret ü"),
        (PASSWORD, "\n", ""),
        (PASSWORD, "\x04", None),
        (MENU, "2\n", "2"),
        (MENU, "\x04", None),
        (HOST_KEY, "yes\n", "yes"),
        (HOST_KEY, "\n", None),
    ],
)
async def test_answers(desk: Desk, prompt: Prompt, typed: str, answer: str | None) -> None:
    before, threads = desk.flags, threading.active_count()
    descriptors = len(os.listdir("/dev/fd"))
    given, shown = await ask(desk, prompt, typed)
    assert given == answer
    assert prompt.text in shown
    assert desk.flags == before
    assert len(os.listdir("/dev/fd")) == descriptors
    assert threading.active_count() <= threads + 1  # the executor's, which reads for us


async def test_what_is_typed_is_shown_only_where_it_may(desk: Desk) -> None:
    await ask(desk, PASSWORD, "s3cret\n")
    await ask(desk, MENU, "2\n")
    asking = asyncio.ensure_future(TerminalPrompter(desk.path)(HOST_KEY))
    shown = await desk.sees("(yes/no)? ")
    assert "s3cret" not in shown
    assert "2\r\n" in shown
    desk.type("\n")
    await asking


@pytest.mark.parametrize("prompt", [PASSWORD, MENU])
async def test_cancelled_the_terminal_is_as_it_was(desk: Desk, prompt: Prompt) -> None:
    before, descriptors = desk.flags, len(os.listdir("/dev/fd"))
    threads = set(threading.enumerate())  # an earlier test's may linger
    asking = asyncio.ensure_future(TerminalPrompter(desk.path)(prompt))
    await desk.sees(prompt.text.strip()[-10:])
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert desk.flags == before
    assert len(os.listdir("/dev/fd")) == descriptors
    started = set(threading.enumerate()) - threads
    assert not [thread for thread in started if thread.name == "sshmux"]


async def test_a_touch_is_told_and_nothing_read(desk: Desk) -> None:
    assert (
        await TerminalPrompter(desk.path)(TouchPrompt("Confirm user presence for key X\n")) is None
    )
    assert "Confirm user presence for key X" in await desk.sees("X")


async def test_no_terminal() -> None:
    prompter = TerminalPrompter("/no/such/tty")
    assert prompter.there is False
    with pytest.raises(OSError, match="No such file"):
        await prompter(PASSWORD)


def test_there_is_one(desk: Desk) -> None:
    assert TerminalPrompter(desk.path).there is True


async def test_a_question_again_says_so(desk: Desk) -> None:
    again = replace(MENU, attempt=2, host="hpc")
    _, shown = await ask(desk, again, "1\n")
    assert "(again)" in shown
    bare = replace(classify("Enter passphrase for key '/k': "), host="hpc")
    _, shown = await ask(desk, bare, "x\n")
    assert "hpc: Enter passphrase" in shown


async def test_half_a_line_and_then_ctrl_d_is_declined(desk: Desk) -> None:
    asking = asyncio.ensure_future(TerminalPrompter(desk.path)(PASSWORD))
    await desk.sees("password: ")
    while desk.flags & termios.ECHO:
        await asyncio.sleep(0.01)
    desk.type("half\x04")
    await asyncio.sleep(0.05)
    assert not asking.done()
    desk.type("\x04")
    assert await asking is None


async def test_what_was_typed_before_the_question_is_no_answer(desk: Desk) -> None:
    desk.type("early\n")
    await asyncio.sleep(0.05)
    assert (await ask(desk, PASSWORD, "late\n"))[0] == "late"


async def test_a_user_who_corrects_a_typing_error(desk: Desk) -> None:
    assert (await ask(desk, PASSWORD, "wrnog\x7f\x7f\x7fong\n"))[0] == "wrong"
    assert (await ask(desk, PASSWORD, "wrong\x15right\n"))[0] == "right"


async def test_out_of_time_the_terminal_is_as_it_was(desk: Desk) -> None:
    before, open_before = desk.flags, len(os.listdir("/dev/fd"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await TerminalPrompter(desk.path)(PASSWORD)
    assert desk.flags == before
    assert len(os.listdir("/dev/fd")) == open_before
    assert (await ask(desk, PASSWORD, "later\n"))[0] == "later"


async def test_a_terminal_that_goes_away(desk: Desk) -> None:
    threads = threading.active_count()
    user, keep = pty.openpty()
    asking = asyncio.ensure_future(TerminalPrompter(os.ttyname(keep))(PASSWORD))
    await asyncio.sleep(0.1)
    os.close(user)
    async with asyncio.timeout(5):
        with contextlib.suppress(OSError, termios.error):
            assert await asking is None
    os.close(keep)
    assert threading.active_count() == threads


async def test_a_user_who_stopped_the_output_keeps_nobody_else_waiting(desk: Desk) -> None:
    """Ctrl-S: the terminal takes no more. The loop has other log-ins and commands to serve."""
    termios.tcflow(desk.keep, termios.TCOOFF)
    go_on = threading.Timer(1, termios.tcflow, (desk.keep, termios.TCOON))
    go_on.start()
    started = time.monotonic()
    asking = asyncio.ensure_future(TerminalPrompter(desk.path)(PASSWORD))
    await asyncio.sleep(0.05)
    login_factor = time.monotonic() - started
    await asyncio.to_thread(go_on.join)
    asking.cancel()
    await asyncio.wait((asking,))
    assert login_factor < 0.5


async def test_bytes_that_are_no_text_are_never_another_text(desk: Desk) -> None:
    """A wrong password costs an attempt: rather none."""
    asking = asyncio.ensure_future(TerminalPrompter(desk.path)(PASSWORD))
    await desk.sees("password: ")
    while desk.flags & termios.ECHO:
        await asyncio.sleep(0.01)
    os.write(desk.user, b"p\xe4ss\n")
    answer = await asking
    assert answer is None or "\ufffd" not in answer
