"""The command lines of ssh, built purely.

Two rules: exactly one function here can lead to a new connection (`master`), and every other
carries the *guard*, with which ssh can reach a control socket and nothing else. Without it,
`ssh -S PATH host cmd` silently makes an ordinary connection whenever multiplexing fails
(mux.c: muxclient returns -1, ssh.c goes on to connect).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Literal

from ..config import ConnectionConfig, OptionValue
from .askpass import own_log
from .remote import quote

# What a user's config may say that would harm a pooled master. The first value wins in ssh,
# and the command line comes first. (man ssh_config)
_NEUTRAL = (
    "ControlMaster=yes",
    "RemoteCommand=none",
    "RequestTTY=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "EscapeChar=none",
)
_FORK_OPTION_SINCE = (8, 7)  # ForkAfterAuthentication; before that only -f could say so
_TRIES = 3  # of a user, at typing a password
_KEEPALIVE_COUNT = 3  # unanswered keepalives before the connection is given up


def escape_path(path: os.PathLike[str] | str) -> str:
    """A path for -S and file options, which expand `%x` tokens: every `%` doubled."""
    return os.fspath(path).replace("%", "%%")


def guard(program: str, path: os.PathLike[str] | str) -> list[str]:
    """The start of every ssh that must use the control socket `path`, or fail at once (255)."""
    return [
        program,
        *("-F", "none", "-S", escape_path(path)),
        *("-o", "ControlMaster=no", "-o", "ProxyCommand=false"),
    ]


def session(
    config: ConnectionConfig,
    path: os.PathLike[str] | str,
    command: str,
    *,
    forward_agent: bool = False,
    send_env: Iterable[str] = (),
    subsystem: bool = False,
    terminal: bool = False,
) -> list[str]:
    """`ssh -S PATH`: one command over a living master. `x` stands for the host, never looked up.

    With `subsystem` the command is the name of one of the server's. With `terminal` the session
    has one, like stdin.
    """
    argv = [*guard(config.ssh_program, path), "-o", "LogLevel=ERROR", "-tt" if terminal else "-T"]
    if forward_agent:
        argv.append("-A")
    names = " ".join(send_env)
    if names:
        argv += ["-o", f"SendEnv={names}"]
    if subsystem:
        argv.append("-s")
    return [*argv, "--", "x", command]


def control(program: str, path: os.PathLike[str] | str, operation: str) -> list[str]:
    """`ssh -O OPERATION`: check, stop or exit, asked of the master alone."""
    return [*guard(program, path), "-O", operation, "x"]


def rsync(
    program: str,
    path: os.PathLike[str] | str,
    source: str,
    target: str,
    options: Iterable[str],
) -> list[str]:
    """Rsync over a control socket; the remote side begins with a colon.

    Of several `--rsh` the last counts, so no option can make rsync log in by itself.
    """
    shell = [*guard(program, path), "-o", "LogLevel=ERROR", "-T"]
    sides = [f"x{side}" if side.startswith(":") else _not_remote(side) for side in (source, target)]
    return ["rsync", *options, f"--rsh={' '.join(map(_rsync_word, shell))}", "--", *sides]


def _not_remote(path: str) -> str:
    """A path here: rsync takes one with a colon before its first slash for another host's."""
    return path if path.startswith("/") else f"./{path}"


def _rsync_word(word: str) -> str:
    """For -e, which knows quotes and no backslashes (man rsync)."""
    return "'" + word.replace("'", "''") + "'"


def resolve(config: ConnectionConfig) -> list[str]:
    """`ssh -G`: what the system's config says of this host. Connects to nothing."""
    return [config.ssh_program, "-G", *_target(config)]


def master(
    config: ConnectionConfig,
    path: os.PathLike[str] | str,
    *,
    persist: int,
    version: tuple[int, int],
    answers: Literal["none", "stored", "user"] = "none",
    confirm: bool = False,
    via: os.PathLike[str] | str | None = None,
    verbose: bool = False,
) -> list[str]:
    """`ssh -M -N`: the one command line of sshmux that logs in.

    Parameters:
        persist: seconds that the master outlives its last client (ControlPersist).
        version: of the ssh program: an older one stops at options it does not know, and
            IgnoreUnknown would take the place of the user's own.
        answers: who can answer a prompt: nobody; what is stored, which is tried once; or a
            user, who may mistype.
        confirm: let a user confirm an unknown host key, where the config would refuse it.
        via: the control socket of a master on the jump host, to go through.
        verbose: let ssh tell what it does (LogLevel=DEBUG1).

    Its log goes to stdout: stderr has what servers and ProxyCommands say, and is believed nothing.
    What it logs is ours to choose: the user's LogLevel=QUIET would hide why a log-in failed.
    """
    argv = [config.ssh_program, "-M", "-N", "-T", "-n", "-S", escape_path(path)]
    argv += ["-E", "/dev/stdout", "-o", f"LogLevel={'DEBUG1' if verbose else 'INFO'}"]
    if version >= own_log.ASK_SINCE and not verbose:
        argv += ["-o", own_log.ASK]
    if via is not None:
        argv += ["-o", f"ProxyCommand={_through(config.ssh_program, via)}"]
        argv += ["-o", "ProxyUseFdpass=no"]
    if confirm:
        argv += ["-o", "StrictHostKeyChecking=ask"]
    for option in _NEUTRAL:
        argv += ["-o", option]
    if version >= _FORK_OPTION_SINCE:
        argv += ["-o", "ForkAfterAuthentication=no"]
    argv += ["-o", f"ControlPersist={persist}"]
    argv += ["-o", f"BatchMode={'yes' if answers == 'none' else 'no'}"]
    argv += ["-o", f"NumberOfPasswordPrompts={_TRIES if answers == 'user' else 1}"]
    strict = _strictness(config)
    if strict is not None:
        argv += ["-o", f"StrictHostKeyChecking={strict}"]
    return [*argv, *_target(config)]


def _through(program: str, jump: os.PathLike[str] | str) -> str:
    """A ProxyCommand that goes through a living master, and can do nothing else.

    ssh expands tokens in it, and gives it to the user's own shell, whichever that is.
    """
    words = [*guard(program, jump), "-W"]
    quoted = " ".join(quote(word) for word in words).replace("%", "%%")
    return f"{quoted} '[%h]:%p' x"


def _target(config: ConnectionConfig) -> list[str]:
    """What says where to and as whom: the same for the master and for `ssh -G`.

    Without StrictHostKeyChecking: what the user's config says of it is a question to `ssh -G`.
    """
    argv: list[str] = []
    if config.config_file is not None:
        argv += ["-F", str(config.config_file)]
    if config.username is not None:
        argv += ["-l", config.username]
    if config.port != 22:
        argv += ["-p", str(config.port)]
    for option in _options(config):
        argv += ["-o", option]
    return [*argv, "--", config.host]


def _options(config: ConnectionConfig) -> list[str]:
    options = [
        f"ServerAliveInterval={math.ceil(config.keepalive_interval)}",
        f"ServerAliveCountMax={_KEEPALIVE_COUNT}",
    ]
    if config.key_file is not None:
        options += [f"IdentityFile={_file(config.key_file)}", "IdentitiesOnly=yes"]
    if not config.use_agent:
        options.append("IdentityAgent=none")
    if config.agent_forwarding is not None:
        options.append(f"ForwardAgent={'yes' if config.agent_forwarding else 'no'}")
    if config.known_hosts_file is not None:
        options.append(f"UserKnownHostsFile={_file(config.known_hosts_file)}")
    return options + _user_options(config.ssh_options)


def _file(path: os.PathLike[str]) -> str:
    return f'"{escape_path(path)}"'


def _strictness(config: ConnectionConfig) -> str | None:
    """True is never weaker than ssh_config: `yes`. None leaves it to ssh_config."""
    strict = config.strict_host_key_checking
    if isinstance(strict, bool):
        return "yes" if strict else "no"
    return None if strict == "config" else strict


def _user_options(options: Mapping[str, OptionValue]) -> list[str]:
    lines = []
    for name, value in options.items():
        if isinstance(value, bool):
            lines.append(f"{name}={'yes' if value else 'no'}")
        elif isinstance(value, str | int):
            lines.append(f"{name}={value}")
        else:
            lines += [f"{name}={item}" for item in value]
    return lines
