"""What is sent to the remote login shell: quoting, the announcement, the end of a command.

Killing a local session client leaves the remote command running (facts: sessions). So a command
is sent behind a short *announcement*: the login shell first writes a line with its own process
id to stderr. sshd starts every session with setsid(), so that id is also the process group's,
and a second session can end the group. The line is taken out of stderr again by `Preamble`.

The login shell may be a POSIX shell, csh/tcsh or fish. Until it is known, the announcement is made
by a `sh -c '…'`, which all of them parse alike, and which also tells what program its parent is
(`$SHELL` may be any start-up file's words); after that, a POSIX shell announces itself with a
builtin, at no cost.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ..errors import ConfigError

Shell = Literal["unknown", "posix", "csh", "fish", "none"]

_FAMILIES: dict[str, Shell] = {
    **dict.fromkeys(
        ("sh", "bash", "rbash", "dash", "ash", "busybox", "ksh", "pdksh", "mksh", "lksh", "oksh"),
        "posix",
    ),
    **dict.fromkeys(("loksh", "posh", "yash", "zsh", "toybox"), "posix"),
    "csh": "csh",
    "bsd-csh": "csh",
    "tcsh": "csh",
    "fish": "fish",
}
# As a command, so that it is announced and can be ended; sshd has set $SHELL.
LOGIN_SHELL = "exec $SHELL -l"

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Not '=' (an assignment; zsh reads =ls as /bin/ls) nor '%' (fish reads %self as its pid).
_SAFE = re.compile(r"[A-Za-z0-9_@+:,./-]+\Z")
_AFTER_TOKEN = re.compile(rb" ([0-9]{1,10})(?: ([^\n]*))?\r?\n")
_PREAMBLE_LIMIT = 256 * 1024  # more noise than this from start-up files: stop looking


# The program that has started this `sh`: Linux's own word for it, else ps's, else the account's.
_PARENT = "(readlink /proc/$PPID/exe || ps -o comm= -p $PPID || echo $SHELL) 2>/dev/null"


def shell_family(path: str) -> Shell:
    """The family of a login shell, from its program; "unknown" for one never heard of.

    A program may have a version in its name (`bash5.2`, `ksh93`), a dash in front (a login shell,
    for ps), and be replaced meanwhile (` (deleted)`, in /proc).
    """
    name = path.removesuffix(" (deleted)").rpartition("/")[2].lstrip("-")
    return _FAMILIES.get(name) or _FAMILIES.get(name.rstrip("0123456789.-+u"), "unknown")


def quote(word: str, shell: Shell = "posix") -> str:
    r"""One word, quoted so that a POSIX shell, csh and fish all read it as it is.

    `!` is csh's history and `\` is special inside fish's quotes: both, and the quote itself, go
    outside the quotes, behind a backslash, where all three agree. Only a newline needs to
    know the shell: csh wants a backslash before it.
    """
    if _SAFE.match(word):
        return word
    parts = re.split(r"([\\'!])", word)
    quoted = "".join(
        "\\" + part if index % 2 else f"'{part}'" if part else ""
        for index, part in enumerate(parts)
    )
    if shell == "csh":
        quoted = quoted.replace("\n", "\\\n")
    return quoted or "''"


def needs_shell(command: str | Sequence[str], env: Mapping[str, str] | None) -> bool:
    """Whether the line cannot be built before the login shell is known."""
    if env:
        return True
    return not isinstance(command, str) and any("\n" in str(word) for word in command)


def command_line(
    command: str | Sequence[str],
    *,
    shell: Shell = "posix",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> str:
    """The line for the login shell: a str as it is, a sequence quoted word by word.

    Raises `ConfigError` for NUL, an empty command, or a bad variable name.
    """
    check_command(command)
    words = (quote(word, shell) for word in command)
    line = command if isinstance(command, str) else " ".join(words)
    if cwd is not None:
        # Not `exit 1`: tcsh goes on after an `exit` that is not the last command of the line.
        line = f"cd {_directory(cwd, shell)} || exec false; {line}"
    for name, value in (env or {}).items():
        line = f"{_assignment(name, value, shell)}; {line}"
    if "\0" in line:
        raise ConfigError("the command has a NUL character in it: no shell can take that")
    return line


def check_command(command: object) -> None:
    """A str, or words; bytes are neither. Raises `ConfigError`."""
    if isinstance(command, str):
        words: Sequence[object] = (command,)
        if not command.strip():
            raise ConfigError("the command is empty: give a command to run")
    elif isinstance(command, Sequence) and not isinstance(command, bytes | bytearray | memoryview):
        words = command
        if not words:
            raise ConfigError("the command is empty: give a command to run")
    else:
        raise ConfigError(f"command {command!r}: use a str, or a sequence of str")
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(f"command word {word!r}: a sequence holds str only")
        if "\0" in word:
            raise ConfigError("the command has a NUL character in it: no shell can take that")


def _directory(path: str, shell: Shell) -> str:
    """A directory for `cd`; a home directory's `~/` stays the shell's to read."""
    if path == "~":
        return path
    if path.startswith("~/"):
        return f"~/{quote(path[2:], shell)}"
    return quote(_plain(path), shell)


def _plain(path: str) -> str:
    """No option (`-x`), no place on the directory stack (`+1`), nothing to find along CDPATH."""
    return path if path.startswith("/") else f"./{path}"


def check_variable(name: object, value: object) -> None:
    """Raises `ConfigError` for what no shell can set."""
    if not isinstance(name, str) or not _ENV_NAME.match(name):
        raise ConfigError(f"environment name {name!r}: use letters, digits and '_'")
    if not isinstance(value, str):
        raise ConfigError(f"environment value of {name}: use a str")
    if "\0" in value:
        raise ConfigError(f"environment value of {name} has a NUL character in it")


def _assignment(name: str, value: str, shell: Shell) -> str:
    check_variable(name, value)
    quoted = quote(value, shell)
    if shell == "csh":
        return f"setenv {name} {quoted}"
    if shell == "fish":
        return f"set -gx {name} {quoted}"
    return f"export {name}={quoted}"


class Preamble:
    """Takes the announcement out of a session's stderr (or its terminal), as it arrives.

    `pid` is the login shell's process id once it was seen (so: the session was opened and the
    command started), `shell` its family where the announcement told it.
    """

    def __init__(self, shell: Shell) -> None:
        self.pid: int | None = None
        self.shell: Shell = shell
        self._token = f"sshmux-{secrets.token_hex(6)}"
        self._held = b""
        self._passed = 0
        self._open = shell != "none"

    def wrap(self, line: str, *, terminal: bool = False) -> str:
        """The line for the login shell, with the announcement in front.

        Parameters:
            terminal: the line is for a terminal, and is not run without one.
        """
        if terminal:
            line = f"test -t 0 || exec false; {line}"
        if self.shell == "none":
            return line
        if self.shell == "posix":
            return f"echo {self._token} $$ >&2; {line}"
        if self.shell == "fish":
            return f"echo {self._token} $fish_pid >&2; {line}"
        return f"sh -c 'echo {self._token} $PPID `{_PARENT}` >&2'; {line}"

    def is_in(self, data: bytes) -> bool:
        """Whether the announcement has come, or begun to come, with this."""
        return self._token.encode() in data

    def feed(self, data: bytes) -> bytes:
        """What of the stream so far belongs to the caller."""
        if not self._open:
            return data
        data = self._held + data
        if found := self._announcement(data):
            self._open, self._held = False, b""
            self._learn(found)
            return data[: found.start() - len(self._token)] + data[found.end() :]
        keep = self._possible_start(data)
        self._held, data = data[keep:], data[:keep]
        self._passed += len(data)
        if self._passed + len(self._held) > _PREAMBLE_LIMIT:
            self._open = False
            data, self._held = data + self._held, b""
        return data

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        rest, self._held, self._open = self._held, b"", False
        return rest

    def _announcement(self, data: bytes) -> re.Match[bytes] | None:
        """What follows the token in a complete announcement. (No pattern is made per command.)"""
        token = self._token.encode()
        at = data.find(token)
        while at >= 0:
            if found := _AFTER_TOKEN.match(data, at + len(token)):
                return found
            at = data.find(token, at + 1)
        return None

    def _learn(self, found: re.Match[bytes]) -> None:
        pid = int(found.group(1))
        # 0 and 1 would name our own group on the remote, or everything: never signal those.
        self.pid = pid if pid > 1 else None
        if found.group(2):
            family = shell_family(found.group(2).decode("utf-8", "replace").strip())
            if self.shell == "unknown":
                self.shell = family

    def _possible_start(self, data: bytes) -> int:
        """Where an announcement may have begun that is not complete yet."""
        token = self._token.encode()
        if (at := data.find(token)) >= 0:
            return at
        tail = data[-len(token) :]
        for size in range(len(tail), 0, -1):
            if token.startswith(tail[-size:]):
                return len(data) - size
        return len(data)


def signal_group(pid: int, name: str, *, terminal: bool = False) -> str:
    """A line that sends a signal, by its name without `SIG`, to a process group.

    With `terminal`, to all groups on the terminal whose session `pid` leads.
    """
    if terminal:
        return f"exec sh -c 'for g in {_on_terminals([pid])}; do kill -{name} -$g; done'"
    # One that leads no group was started by a forced command: its group is that one's.
    group = f"$(echo $(ps -o pgid= -p {pid}))"
    return f"exec sh -c 'kill -{name} -{pid} 2>/dev/null || kill -{name} -{group}'"


def merged(line: str, shell: Shell) -> str:
    """The line with its stderr in its stdout, where the shell can say so for all of it."""
    return f"exec 2>&1; {line}" if shell == "posix" else line


def tied(line: str) -> str:
    """The line, with a watcher beside it that ends its process group when its session is lost.

    sshd's process for the connection is the login shell's parent; when that has gone, the shell has
    another. Looked at every second, in the background, for as long as the shell lives.
    """
    return (
        'sh -c \'p=$PPID; up() { ps -o ppid= -p $p || cut -d" " -f4 /proc/$p/stat; }; s=$(up); '
        '( while kill -0 $p; do sleep 1; [ "$(up)" = "$s" ] || break; done; '
        'trap "" TERM HUP; kill -0 $p && { kill -TERM -$p; sleep 2; kill -KILL -$p; } ) '
        f"</dev/null >/dev/null 2>&1 &'; {line}"
    )


def end_groups(pids: Iterable[int], terminals: Iterable[int] = ()) -> str:
    """A line that ends process groups: SIGTERM, up to 2 s, SIGKILL.

    `terminals` are those of the pids that lead a session on a terminal. There an interactive shell
    gives each job a group of its own, and takes no notice of SIGTERM: all groups on that terminal
    are ended, and get the SIGHUP of a terminal that is closed first.

    Exits with 0 when all of them are gone, and with 1 when something of them is left: what the
    account may not signal (a child of sudo's), or what does not die.

    A group of zombies only is gone: an init that reaps late (in a container) must not make us
    wait. A pid that leads no group (a forced command started the shell, and waits for it) stands
    for the group that it is in. What `ps` does not show, `kill` may tell of. Plain words and no
    '!', so that csh and fish pass the line on to sh unharmed.
    """
    numbers = " ".join(str(pid) for pid in pids)
    leaders = list(terminals)
    return (
        f'exec sh -c \'exec 2>/dev/null; set -f; LC_ALL=C; export LC_ALL; groups="{numbers}"; '
        "group() { ps -A -o pid= -o pgid= | while read -r q g; do "
        "case $q in ($1) echo $g ;; esac; done; }; "
        "own= singles=; for p in $groups; do if kill -0 -$p; then continue; fi; "
        "[ $own ] || own=$(group $$); g=$(group $p); "
        'if [ "$g" = "$own" ]; then singles="$singles $p $(ps -A -o ppid= -o pid= | '
        'while read -r q c; do case $q in ($p) echo $c ;; esac; done)"; '
        'else groups="$groups $g"; fi; done; '
        + (_join_terminals(leaders) if leaders else "")
        # One ps for all groups: fifty of them must not take longer than they are waited for.
        + 'look() { left=; all=$(ps -A -o pgid= -o stat= | grep -v Z); all=" $(echo $all) "; '
        "for g in $groups; do if kill -0 -$g; then "
        'case $all in (*" $g "*|"  ") left=1 ;; esac; '
        "else case $(kill -0 -$g 2>&1) in (*ermitted*|*ermission*) left=1 ;; esac; fi; done; "
        "for q in $singles; do kill -0 $q && left=1; done; "
        '[ -z "$left" ]; }; '
        "for g in $groups; do kill -TERM -$g; kill -CONT -$g; done; "
        "for q in $singles; do kill -TERM $q; kill -CONT $q; done; "
        "for s in 0.01 0.02 0.05 0.1 0.2 0.5 1; do look && exit 0; sleep $s || sleep 1; done; "
        "for g in $groups; do kill -KILL -$g; done; "
        "for q in $singles; do kill -KILL $q; done; "
        "for s in 0.01 0.05 0.2; do look && exit 0; sleep $s || sleep 1; done; look'"
    )


def _join_terminals(leaders: Iterable[int]) -> str:
    """Adds the groups on the terminals of these session leaders, and tells them of a hang-up."""
    return f'for g in {_on_terminals(leaders)}; do groups="$groups $g"; kill -HUP -$g; done; '


def _on_terminals(leaders: Iterable[int]) -> str:
    """What the shell makes the process groups of, on the terminals of these session leaders.

    (The name of no terminal is `?`, `??` or `-`.)
    """
    pids = ",".join(str(pid) for pid in leaders)
    return (
        f'$(l=; for t in $(ps -o tty= -p {pids} | grep "[a-z]" | sort -u); do l=$l,$t; done; '
        '[ "$l" ] && ps -t ${l#,} -o pgid= | sort -u)'
    )


def end_siblings() -> str:
    """A line that ends every other session of the same connection (children of the same sshd).

    For masters whose owner died without telling which groups were its own. Nothing is signalled
    unless the parent really is a server's process of one connection.
    """
    return (
        "exec sh -c 'exec 2>/dev/null; end() { "
        "ps -A -o ppid= -o pid= | while read a b; do case $a.$b in "
        "$PPID.$$) ;; $PPID.*) kill -$1 -$b; kill -CONT -$b ;; esac; done; }; "
        "case $(ps -o comm= -p $PPID) in *sshd*|*dropbear*) "
        "end TERM; sleep 0.3 2>/dev/null || sleep 1; end KILL ;; esac'"
    )
