"""A terminal for a session: what it is to be, and our side of it.

The session's stdin is a pseudo-terminal of ours. The master reads from it what it tells the server:
its modes and its size when the session is opened (mux.c: mux_master_process_new_session;
clientloop.c: client_session2_setup), and its size again whenever the master gets a SIGWINCH. What
the remote program writes comes through a pipe as ever: on a terminal that is not read, the
master would block, with all its sessions (channels.c: channel_register_fds).

So the modes must be those of an ordinary terminal until the session is open, and raw from then on:
what is typed is for the remote terminal to interpret. Hence nothing is written before
`begin`.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import tty
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ChannelOpenError, ConfigError
from .descriptors import check_errno
from .pipes import Writer

_END = b"\x04"  # Ctrl-D: VEOF, as a new pseudo-terminal has it
_LINE_ENDS = (b"\n", b"\r", _END)
USUAL_SIZE = 80, 24  # columns and rows, as asyncssh has it
_LARGEST = 0xFFFF  # of a size (struct winsize)


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal, as it is asked for.

    Attributes:
        term: what TERM says on the remote; "" leaves it to the server.
        size: columns, rows, and the same in pixels (0: not known).

    Raises `ConfigError` for what cannot be.
    """

    term: str
    size: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.term, str) or not (self.term.isascii() and self.term.isprintable()):
            raise ConfigError(f"term_type={self.term!r}: use a name such as 'xterm-256color'")
        check_size(self.size)


def check_size(size: Sequence[int]) -> None:
    """Raises `ConfigError` unless these are columns, rows, and both in pixels."""
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= _LARGEST for n in size)
    if len(size) != 4 or not whole:
        raise ConfigError(
            f"a terminal of {tuple(size)!r}: give (columns, rows) or (columns, rows, xpixels, "
            f"ypixels), each from 0 to {_LARGEST}"
        )


def wanted_terminal(
    term_type: str | None, term_size: Sequence[int], request_pty: bool | str, *, shell: bool
) -> Terminal | None:
    """The terminal that asyncssh's arguments ask for, if any. `shell`: there is no command.

    Raises `ConfigError` for what cannot be.
    """
    if request_pty not in (True, False, "auto", "force"):
        raise ConfigError(f"request_pty={request_pty!r}: use True, False, 'auto' or 'force'")
    if not request_pty:
        return None
    forced = request_pty == "force" or (request_pty == "auto" and shell)
    if term_type is None and not forced and term_size == USUAL_SIZE:
        return None
    try:
        size = tuple(term_size) if not isinstance(term_size, str | bytes) else ()
    except TypeError:
        raise ConfigError(f"term_size={term_size!r}: give (columns, rows)") from None
    terminal = Terminal(
        "" if term_type is None else term_type, (*size, 0, 0) if len(size) == 2 else size
    )
    return None if term_type is None and not forced else terminal


class Pty:
    """Our side of a session's terminal: what is written here is typed on the remote."""

    def __init__(self, terminal: Terminal) -> None:
        self._early: list[bytes] = []  # what was written before it began
        self._last = _END
        self._closed = False
        self._writer: Writer | None = None
        try:
            self._fd, self.session_end = os.openpty()
        except OSError as error:
            check_errno(error)
            raise ChannelOpenError(
                f"this machine has no pseudo-terminal left for a session: {error.strerror} "
                "(/proc/sys/kernel/pty/max)"
            ) from error
        try:
            self.resize(terminal.size)
        except BaseException:
            os.close(self.session_end)
            self.close()
            raise

    def resize(self, size: Sequence[int]) -> None:
        """Gives it another size, which the master has to be told. Nothing if it is closed."""
        columns, rows, xpixels, ypixels = size
        if not self._closed:
            new = struct.pack("HHHH", rows, columns, xpixels, ypixels)
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, new)

    def begin(self) -> None:
        """The session is open: from now on nothing here interprets what is typed."""
        if self._closed or self._writer is not None:
            return
        tty.setraw(self._fd, termios.TCSANOW)
        self._writer = Writer(self._fd)
        for data in self._early:
            self._writer.write(data)
        self._early.clear()

    # As a stream's drain

    def write(self, data: bytes) -> None:
        """Types. After the end it is for nobody."""
        if not data or self._closed:
            return
        self._last = bytes(data[-1:])
        if self._writer is None:
            self._early.append(data)
        elif not self._writer.closed:
            self._writer.write(data)

    async def drained(self) -> None:
        """Waits until little is waiting. Raises `BrokenPipeError` when the session is over."""
        if self._writer is not None:
            await self._writer.drained()
        if self._closed:
            raise BrokenPipeError("the process has ended")

    def end(self) -> None:
        """Types Ctrl-D: a program that reads lines then finds the end of its input.

        Behind a line that is not complete it is typed twice: the first only sends the line off.
        The terminal stays: closing our side would not end anybody's input on the remote.
        """
        self.write(_END if self._last in _LINE_ENDS else 2 * _END)

    async def ended(self) -> None:
        """Waits until everything was typed, or the session is over."""
        if self._writer is not None:
            await self._writer.flushed()

    def close(self) -> None:
        """Hangs up. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._writer is not None:
            self._writer.close()
        else:
            os.close(self._fd)
