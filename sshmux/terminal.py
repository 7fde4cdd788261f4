"""Asking a person on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import termios
from collections.abc import Iterator
from concurrent.futures import Future

from .openssh.prompts import HostKeyPrompt, Prompt
from .tasks import in_daemon_thread

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
        terminal = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            os.write(terminal, _shown(prompt).encode("utf-8", "replace"))
            if not prompt.wants_answer:
                return None
            with _echo(terminal, on=prompt.echo):
                line = await _read_line(terminal)
            if not prompt.echo:
                os.write(terminal, b"\n")
        finally:
            os.close(terminal)
        if line is None or (isinstance(prompt, HostKeyPrompt) and not line):
            return None
        return line


def _shown(prompt: Prompt) -> str:
    again = " (again)" if prompt.attempt > 1 else ""
    about = f"{prompt.host}{again}: " if prompt.host and not prompt.who else again.lstrip()
    return f"{about}{prompt.text}"


@contextlib.contextmanager
def _echo(terminal: int, *, on: bool) -> Iterator[None]:
    """The terminal with or without echo, one line at a time; afterwards as it was."""
    before = termios.tcgetattr(terminal)
    wanted = termios.tcgetattr(terminal)
    wanted[3] |= termios.ICANON | termios.ISIG
    wanted[3] = wanted[3] | termios.ECHO if on else wanted[3] & ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, wanted)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _read_line(terminal: int) -> str | None:
    """A line, read in a thread: a terminal is no event source everywhere (kqueue).

    Cancelled, the thread is woken up through a pipe and waited for.
    """
    stop, wake = os.pipe()
    done: Future[str | None] = Future()
    done.set_running_or_notify_cancel()  # from here on, only the thread ends it

    def read() -> None:
        try:
            done.set_result(_until_newline(terminal, stop))
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


def _until_newline(terminal: int, stop: int) -> str | None:
    text = b""
    while not text.endswith(b"\n") and len(text) < _LONGEST:
        ready, _, _ = select.select([terminal, stop], [], [])
        if stop in ready:
            return None
        data = os.read(terminal, _LONGEST)
        if not data:
            return None  # Ctrl-D
        text += data
    return text.rstrip(b"\n").decode("utf-8", "replace")
