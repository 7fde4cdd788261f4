"""What a program may have inherited from whoever started it, and what that must not change.

A daemon, a cron wrapper or a supervisor may start a program with its standard descriptors closed,
with SIGCHLD ignored, or with signals blocked. Each is seen to here, or said.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from ..errors import ConfigError
from ..text import logger

log = logger("sshmux")


def open_standard_descriptors() -> None:
    """Opens the null device for each of 0, 1 and 2 that is closed, as ssh does (ssh.c).

    Else the next pipe gets that number, and whatever is written to stdout goes into it.
    """
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)


def open_standard_streams() -> None:
    """The same, with Python's own streams for them: it has None where one was closed."""
    open_standard_descriptors()
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def check_child_signal() -> None:
    """Makes sure that the exit status of a child will be known.

    While SIGCHLD is ignored the system throws it away (man 2 wait), and `subprocess` takes it
    for 0. Raises `ConfigError` where that cannot be changed.
    """
    if signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN:
        return
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(
            "SIGCHLD is ignored in this program, so that no exit status of a process can be known: "
            "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) in its main thread"
        )
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log.warning("SIGCHLD was ignored, which loses every exit status: from now on it is not")


def blocked_signals() -> bool:
    """Whether this thread blocks signals, which a process that it starts would inherit."""
    return bool(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def unblock_signals() -> None:
    """In a child, before it becomes another program: a blocked SIGTERM could not end it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def pipe_signal_kills() -> bool:
    """Whether a write to a pipe that nobody reads ends the program (Python ignores SIGPIPE)."""
    return signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL


def write_quietly(descriptor: int, data: memoryview) -> int:
    """As `os.write`, without the SIGPIPE of a pipe that nobody reads: only its error."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGPIPE,))
    try:
        return os.write(descriptor, data)
    except BrokenPipeError:
        if signal.SIGPIPE not in before:
            _take_pipe_signal()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take_pipe_signal() -> None:
    """It waits for this thread: taken before it is unblocked, it ends nobody."""
    if signal.SIGPIPE in signal.sigpending():
        signal.sigwait((signal.SIGPIPE,))
