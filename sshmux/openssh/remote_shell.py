r"""A POSIX shell that stays open on one session, and what is said to it: purely.

The login shell starts `sh` with a loop that reads one line for each command. A line begins with a
key that only this program and that shell know: whatever else arrives on its stdin (the rest of an
input, should the program that reads it die) is never taken for a command. When a command has
ended, the shell writes a token made for this command alone to stdout, with the exit status, and
to stderr: what came before belongs to the command, byte for byte.

A command runs in a subshell. `$$` is the shell's own process id, which leads the session's
process group; so the command is "everything in that session but the shell itself".
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ConfigError
from .remote import quote

MAX_LINE = 1024 * 1024  # bytes of a command; the shell reads its line byte by byte

# One line without a newline, so that no login shell needs another way of quoting it.
# `printf` makes the newline that commands may hold: see `_one_line`.
_LOOP = (
    "nl=$(printf '\\nx'); __sshmux_nl=${nl%x}; unset nl; "
    '__sshmux_end() { __sshmux_s=$?; echo "$1 $__sshmux_s"; echo "$1" >&9; }; '
    # What the shell itself says of a command that a signal ended is not that command's stderr.
    "exec 9>&2 2>/dev/null; "
    "IFS= read -r __sshmux_key || exit; "
    "while IFS= read -r __sshmux_line; do case $__sshmux_line in "
    '"$__sshmux_key "*) eval "${__sshmux_line#"$__sshmux_key "}" ;; *) exit 125 ;; '
    "esac; done"
)
_STATUS = re.compile(rb" ([0-9]{1,3})\n")
_LINE_END = re.compile(rb"\n")
# An ampersand that sends a command to the background, and none of `&&`, `2>&1`, `>&`, `&>`, `<&`.
_BACKGROUND = re.compile(r"(?<![&<>\\])&(?![&>0-9-])")


def start_line() -> str:
    """The line for the login shell: it becomes the shell."""
    return f"exec sh -c {quote(_LOOP)}"


def new_key() -> str:
    """What the shell's lines begin with, and what a command's end is told by."""
    return f"sshmux-shell-{secrets.token_hex(16)}"


def greeting(key: str, token: str) -> bytes:
    """The first lines: the key, and a command that does nothing, behind any start-up noise."""
    return f"{key}\n{key} :; __sshmux_end {token}\n".encode()


def command_line(
    line: str, key: str, token: str, *, keep: bool = False, input_size: int | None = None
) -> bytes:
    """The line for one command.

    Parameters:
        line: the command, as a POSIX shell reads it.
        keep: run it in the shell itself, where `cd` and `export` last.
        input_size: bytes that follow this line and are the command's stdin; None for the null
            device. The command need not read them all.

    Raises `ConfigError` for a command that is too long.
    """
    run = f"eval {_one_line(line)}"
    if keep:
        run = f"{run} </dev/null 2>&9"
    elif input_size is None:
        run = f"({run}) </dev/null 2>&9 9>&-"
    else:
        # `head` reads all of the input whatever the command does: `cat` takes what it leaves.
        run = (
            f"head -c {input_size} | {{ ({run}) 2>&9 9>&-; __sshmux_s=$?; "
            "cat >/dev/null; (exit $__sshmux_s); }"
        )
    whole = f"{key} {run}; __sshmux_end {token}\n".encode("utf-8", "surrogateescape")
    if len(whole) > MAX_LINE:
        raise ConfigError(
            f"the command has {len(whole)} bytes, more than a shell is sent as a command "
            f"({MAX_LINE}): send it as a script with run('sh -s', input=script)"
        )
    return whole


def _one_line(line: str) -> str:
    """The command as one quoted word without a newline."""
    if "\0" in line:
        raise ConfigError("the command has a NUL character in it: no shell can take that")
    quoted = "'" + line.replace("'", "'\\''") + "'"
    return quoted.replace("\n", "'\"$__sshmux_nl\"'")


def starts_background(line: str) -> bool:
    """Whether a command seems to leave something running that may write later on."""
    return _BACKGROUND.search(line) is not None


@dataclass
class _Expected:
    token: bytes
    sink: Callable[[bytes], object]
    ended: Callable[[int | None], object]
    with_status: bool


class OutputSplitter:
    """Passes a stream on to one command after the other, each until the token of its end.

    What comes while no command is expected is thrown away.
    """

    def __init__(self) -> None:
        self._expected: deque[_Expected] = deque()
        self._tail = b""  # the beginning of a token, perhaps

    def expect(
        self,
        token: str,
        sink: Callable[[bytes], object],
        ended: Callable[[int | None], object],
        *,
        with_status: bool = False,
    ) -> None:
        """Behind what is expected already comes a command's output, until its token.

        Parameters:
            sink: called with each piece of it.
            ended: called once the token has come, with the exit status if that is behind it.
        """
        self._expected.append(_Expected(token.encode(), sink, ended, with_status))

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        if self._tail:
            data, self._tail = self._tail + data, b""
        while data and self._expected:
            data = self._take(self._expected[0], data)

    def _take(self, expected: _Expected, data: bytes) -> bytes:
        """Passes on what belongs to the first command; returns what is behind its token."""
        at = data.find(expected.token)
        if at < 0:
            at = _possible_start(data, expected.token)
            end = -1
        else:
            end = at + len(expected.token)
        if at:
            expected.sink(data[:at] if at < len(data) else data)
        status = None
        if end >= 0:
            found = (_STATUS if expected.with_status else _LINE_END).match(data, end)
            if found is not None:
                end = found.end()
                status = int(found.group(1)) if expected.with_status else None
            else:
                end = -1  # the rest of the line is still to come
        if end < 0:
            self._tail = data[at:]
            return b""
        self._expected.popleft()
        expected.ended(status)
        return data[end:]

    def flush(self) -> None:
        """The stream has ended: what looked like the beginning of a token was none."""
        if self._expected and self._tail:
            self._expected[0].sink(self._tail)
        self._tail = b""
        self._expected.clear()


def _possible_start(data: bytes, token: bytes) -> int:
    """Where the token may have begun that is not complete yet; the length if nowhere."""
    start = data.find(token[:1], max(0, len(data) - len(token) + 1))
    while start >= 0:
        if token.startswith(data[start:]):
            return start
        start = data.find(token[:1], start + 1)
    return len(data)


def end_commands(pid: int) -> str:
    """A line, for another session, that ends what a shell runs, and leaves the shell alone.

    SIGTERM, up to 2 s, SIGKILL, to all processes of the shell's process group or session but
    itself. (`ps` on some systems has no numbers for sessions: the groups are enough there.)
    Exit status 0 once none is left.
    """
    return (
        "exec sh -c 'exec 2>/dev/null; left() { "
        "ps -A -o pid= -o pgid= -o sess= -o stat= | while read p g s t; do "
        f'case $t in (Z*) continue ;; esac; [ "$p" = {pid} ] && continue; '
        f'if [ "$g" = {pid} ] || [ "$s" = {pid} ]; then echo $p; fi; done; }}; '
        "all=$(left); for p in $all; do kill -TERM $p; kill -CONT $p; done; "
        "for s in 0.01 0.02 0.05 0.1 0.2 0.5 1; do "
        'all=$(left); [ -z "$all" ] && exit 0; sleep $s || sleep 1; done; '
        "for n in 1 2 3 4 5; do for p in $(left); do kill -KILL $p; done; "
        'sleep 0.02; all=$(left); [ -z "$all" ] && exit 0; done; exit 1\''
    )
