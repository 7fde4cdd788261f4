"""What a finished command leaves behind."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Generic, Literal, TypeVar

from ..errors import ProcessError, ProcessTimeout
from .execution import Fate

AnyStr = TypeVar("AnyStr", str, bytes)

_UNKNOWN_SIGNAL = -99
_FATES = {
    "unsent": "it was not sent, and does not run",
    "unknown": "it may still run on the remote",
    "ended": "it was ended on the remote as well",
    "finished": "it ended by itself at that moment",
    "running": "it runs on: close() ends it",
}
# asyncssh's shape: name, core dumped, message, language. OpenSSH's client keeps it to itself.
SOME_SIGNAL = ("", False, "ended by a signal", "")


@dataclass(frozen=True)
class CompletedProcess(Generic[AnyStr]):
    """The result of `Connection.run`. The fields are those of asyncssh's `SSHCompletedProcess`.

    `stdout` and `stderr` are str, or bytes with `encoding=None`.

    `exit_status` is the remote exit status. What a signal ended has the exit status -1 with the
    `mux` engine, and an `exit_signal` without a name, as the multiplexing protocol tells that there
    was no exit status and no more. With the `ssh` engine it has the exit status 255, which may be
    the command's own as well: `ssh -S` does not tell the two apart. (A lost link is told apart by
    both, and raised.)
    """

    command: str
    exit_status: int
    stdout: AnyStr
    stderr: AnyStr
    env: Mapping[str, str] | None = None
    subsystem: str | None = None
    exit_signal: tuple[str, bool, str, str] | None = None

    @property
    def returncode(self) -> int:
        """The exit status; for a signal its number, negative; -99 if it is not known."""
        return return_code(self.exit_status, self.exit_signal)

    def check_returncode(self) -> None:
        """Raises `ProcessError` unless the exit status is 0."""
        if self.exit_status != 0:
            raise self.error()

    def error(self) -> ProcessError:
        """The `ProcessError` that says what failed."""
        how = f"failed with exit status {self.exit_status}"
        if self.exit_signal is not None:
            name = f"SIG{self.exit_signal[0]}" if self.exit_signal[0] else "a signal"
            how = f"was ended by {name} on the remote"
        text = f"{shown(self.command)} {how}"
        last = _last_line(self.stderr)
        error = ProcessError(f"{text}: {last}" if last else text)
        return _fill(error, self)


def return_code(status: int, ended_by: tuple[str, bool, str, str] | None) -> int:
    """As asyncssh has it: a signal's number, negative; -99 for one that is not known."""
    if ended_by is None:
        return status
    known = signal.Signals.__members__.get(f"SIG{ended_by[0]}")
    return _UNKNOWN_SIGNAL if known is None else -known


def timed_out(
    command: str,
    timeout: float,
    stdout: str | bytes,
    stderr: str | bytes,
    *,
    fate: Fate | Literal["running"],
) -> ProcessTimeout:
    """The error for a command whose time ran out, with what it had written.

    `fate`: what became of it, as far as that was seen; "running" if it was not to be ended.
    """
    ran = "was not begun within" if fate == "unsent" else "ran longer than"
    error = ProcessTimeout(f"{shown(command)} {ran} timeout={timeout:g} s; {_FATES[fate]}")
    error.command, error.stdout, error.stderr = command, stdout, stderr
    return error


def command_text(command: str | Sequence[str]) -> str:
    """A command as one text: words are quoted."""
    return command if isinstance(command, str) else shlex.join(command)


def decoded(output: BytesIO, encoding: str | None, errors: str) -> Any:
    """What was collected, decoded; as it is without an encoding."""
    data = output.getvalue()
    return data if encoding is None else data.decode(encoding, errors)


def shown(command: str, limit: int = 80) -> str:
    """A command, fit for a message."""
    line = " ".join(command.split())
    return repr(line if len(line) <= limit else line[: limit - 1] + "…")


def _fill(error: ProcessError, done: CompletedProcess[AnyStr]) -> ProcessError:
    error.env, error.command, error.subsystem = done.env, done.command, done.subsystem
    error.exit_status, error.exit_signal = done.exit_status, done.exit_signal
    error.returncode = done.returncode
    error.stdout, error.stderr = done.stdout, done.stderr
    return error


def _last_line(stderr: str | bytes) -> str:
    text = stderr.decode("utf-8", "replace") if isinstance(stderr, bytes) else stderr
    return text.strip().rpartition("\n")[2][:200]
