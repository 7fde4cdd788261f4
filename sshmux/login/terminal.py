"""Asking a user on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import termios
from collections.abc import Iterator
from concurrent.futures import Future

from ..openssh.askpass.prompts import HostKeyPrompt, Prompt
from ..system.secret import Secret
from ..system.tasks import in_daemon_thread
from ..text import cleaned

_LONGEST = 4096  # bytes of an answer


class TerminalPrompter:
    """A `prompter` that asks on the controlling terminal, whatever stdin and stdout are.

    Secrets are typed without echo. An empty line, or Ctrl-D, declines a question about a host
    key; Ctrl-D declines any. Cancelled, or out of time, the terminal is as it was before.

    Parameters:
        path: of the terminal.

    Raises `OSError` when it is asked and there is no terminal.
    """

    def __init__(self, path: str = "/dev/tty") -> None:
        self._path = path

    @property
    def there(self) -> bool:
        """Whether there is a terminal to ask on."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_NOCTTY))
        except OSError:
            return False
        return True

    async def __call__(self, prompt: Prompt) -> str | None:
        """Shows the question and returns what was typed; None when it was declined."""
        # Non-blocking: a terminal may be stopped (Ctrl-S), and nobody else should wait for that.
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
        terminal = os.open(self._path, flags)
        try:
            with _echo(terminal, on=prompt.echo):
                line = await _converse(terminal, prompt)
        finally:
            os.close(terminal)
        if line is None or (isinstance(prompt, HostKeyPrompt) and not line.reveal()):
            return None
        return line.reveal()


def _shown(prompt: Prompt) -> str:
    again = " (again)" if prompt.attempt > 1 else ""
    about = f"{prompt.host}{again}: " if prompt.host and not prompt.who else again.lstrip()
    return cleaned(f"{about}{prompt.text}")


@contextlib.contextmanager
def _echo(terminal: int, *, on: bool) -> Iterator[None]:
    """The terminal with or without echo, one line at a time; afterwards as it was."""
    before = termios.tcgetattr(terminal)
    wanted = termios.tcgetattr(terminal)
    wanted[3] |= termios.ICANON | termios.ISIG
    wanted[3] = wanted[3] | termios.ECHO if on else wanted[3] & ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, wanted)
    termios.tcflush(terminal, termios.TCIFLUSH)  # what was typed before is no answer
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


async def _converse(terminal: int, prompt: Prompt) -> Secret | None:
    """Asks and reads a line, in a thread: a terminal is no event source everywhere (kqueue).

    Cancelled, the thread is woken up through a pipe and waited for.
    """
    stop, wake = os.pipe()
    done: Future[Secret | None] = Future()
    done.set_running_or_notify_cancel()  # from here on, only the thread ends it

    def read() -> None:
        try:
            done.set_result(_ask(terminal, stop, prompt))
        except BaseException as error:
            done.set_exception(error)

    thread = in_daemon_thread(read)
    try:
        return await asyncio.wrap_future(done)
    finally:
        os.write(wake, b"x")
        thread.join()
        os.close(stop)
        os.close(wake)


def _ask(terminal: int, stop: int, prompt: Prompt) -> Secret | None:
    _write(terminal, stop, _shown(prompt).encode("utf-8", "replace"))
    line = _until_newline(terminal, stop) if prompt.wants_answer else None
    if prompt.wants_answer and not prompt.echo:
        _write(terminal, stop, b"\n")  # the one that was typed is not shown
    return line


def _write(terminal: int, stop: int, text: bytes) -> None:
    while text:
        stopped, _, _ = select.select([stop], [terminal], [])
        if stopped:
            return
        with contextlib.suppress(BlockingIOError):
            text = text[os.write(terminal, text) :]


class _Typed:
    """What was typed so far, without showing it: see `Secret`."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, data: bytes) -> bool:
        """Whether there is more to come: False at the end of the input."""
        self._bytes += data
        return bool(data)

    @property
    def whole(self) -> bool:
        """Whether it is a line, or as long as one may be."""
        return self._bytes.endswith(b"\n") or len(self._bytes) >= _LONGEST

    def line(self) -> Secret | None:
        """The line; None if it is no text: sent as anything else, it would be a wrong answer."""
        try:
            return Secret(self._bytes.rstrip(b"\n").decode())
        except UnicodeDecodeError:
            return None


def _until_newline(terminal: int, stop: int) -> Secret | None:
    typed = _Typed()
    while not typed.whole:
        ready, _, _ = select.select([terminal, stop], [], [])
        if stop in ready:
            return None
        with contextlib.suppress(BlockingIOError):
            if not typed.add(os.read(terminal, _LONGEST)):
                return None  # Ctrl-D
    return typed.line()
