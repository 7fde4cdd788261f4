"""What ssh may be told: texts, names, numbers, paths and options, refused before anything runs."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import ConfigError

OptionValue = str | int | bool | Sequence[str]

# OpenSSH 9.6 refuses these in a host or user name from the command line, because a ProxyCommand
# may pass them to a shell (ssh.c: valid_hostname, valid_ruser). Older ssh does not: so we do.
_HOST_FORBIDDEN = re.compile(r"""[\s'"`$\\;&<>|(){}]""")
_USER_FORBIDDEN = re.compile(r"""[\s'"`$;&<>|(){}]""")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# These too, of what is shown in many places: they turn the direction of the text around them.
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")

# Options that sshmux sets itself: with another value a pooled master would not be one.
_RESERVED = {
    "controlmaster": "sshmux starts every master itself",
    "controlpath": "use control_path= for a master of your own, control_dir= for ours",
    "controlpersist": "use persist= of the manager",
    "remotecommand": "pass the command to run()",
    "requesttty": "a master has no terminal",
    "sessiontype": "a master has no session of its own",
    "forkafterauthentication": "ControlPersist does it",
    "stdinnull": "sshmux owns the master's input",
    "escapechar": "a master has no terminal",
    "clearallforwardings": "forwards would be requested again by every pooled master",
    "localforward": "it would be requested by every pooled master",
    "remoteforward": "it would be requested by every pooled master",
    "dynamicforward": "it would be requested by every pooled master",
    "tunnel": "it would be requested by every pooled master",
    "batchmode": "sshmux sets it, depending on whether there is anybody to answer",
    "numberofpasswordprompts": "sshmux gives a stored password once",
    "serveraliveinterval": "use keepalive_interval=",
    "serveralivecountmax": "sshmux sets it; use keepalive_interval=",
    "userknownhostsfile": "use known_hosts_file=",
    "stricthostkeychecking": "use strict_host_key_checking=",
    "include": "use config_file=",
    "match": "use config_file=",
    "host": "use config_file=",
}


def check_seconds(name: str, value: object, *, positive: bool = False) -> None:
    """Raises `ConfigError` unless `value` is a finite time, 0 or more (`positive`: above 0)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ConfigError(f"{name}={value!r}: use a number of seconds")
    if value < 0 or (positive and value == 0) or math.isinf(value):
        raise ConfigError(f"{name}={value!r}: use {'more than 0' if positive else '0 or more'} s")


def check_type(name: str, value: object, kind: type) -> None:
    """Raises `ConfigError` for a value of another type."""
    if not isinstance(value, kind):
        raise ConfigError(f"{name}={value!r}: use a {kind.__name__}")


def check_function(name: str, value: object) -> None:
    """Raises `ConfigError` for what cannot be called: it would be found out when it is wanted."""
    if not callable(value):
        raise ConfigError(f"{name}={value!r}: give a function")


def check_text(name: str, value: object) -> str:
    """A text that is one word on a command line. Raises `ConfigError`."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is empty: give a name")
    if _INVISIBLE.search(value):
        raise ConfigError(f"{name} {value!r} has a control character in it: remove it")
    if value.startswith("-"):
        raise ConfigError(f"{name} {value!r} begins with '-': ssh would read it as an option")
    return value


def check_host(name: str, host: object) -> None:
    """Raises `ConfigError` unless a shell, which a ProxyCommand's `%h` goes to, takes it as is."""
    text = check_text(name, host)
    if found := _HOST_FORBIDDEN.search(text):
        raise ConfigError(f"{name} {text!r} has {found.group()!r} in it: that is no host name")


def check_user(name: str, user: object) -> None:
    """The same for a user's name, and `%r`. In the middle, a backslash ends a domain's name."""
    text = check_text(name, user)
    if (found := _USER_FORBIDDEN.search(text)) or text.endswith("\\"):
        bad = found.group() if found else "\\"
        raise ConfigError(f"{name} {text!r} has {bad!r} in it: that is no user name")


def check_port(name: str, port: object) -> None:
    """The same for a port's number or its service's name, and `%p`."""
    text = check_text(name, port)
    if not _SERVICE.fullmatch(text):
        raise ConfigError(f"{name} {text!r}: use the number of a port")


def check_jump(name: str, jump: object) -> None:
    """The same for ProxyJump, of which ssh makes a command: `[user@]host[:port]`, one or more."""
    text = check_text(name, jump)
    for hop in text.split(","):
        user, at, host = hop.removeprefix("ssh://").rpartition("@")
        if at:
            check_user(name, user)
        check_host(name, host)


def check_int(name: str, value: object, low: int, high: int) -> None:
    """Raises `ConfigError` for what is no whole number, or none in the range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name}={value!r}: use a whole number")
    if not low <= value <= high:
        raise ConfigError(f"{name}={value}: use {low} to {high}")


def as_bytes(data: object) -> bytes:
    """Bytes of anything that has them. Raises `TypeError`: of a number `bytes` makes so many NULs.

    As `write` of Python's files does it.
    """
    if isinstance(data, bytes):
        return data
    if not isinstance(data, bytearray | memoryview):
        try:
            data = memoryview(data)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"give bytes, not {type(data).__name__}: {data!r}") from None
    return bytes(data)


def check_path(name: str, value: object) -> Path | None:
    """A path that ssh can be told, made absolute; None for None. Raises `ConfigError`."""
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{name}={value!r}: use a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{name}={value!r}: use a path")
    if _CONTROL.search(text) or "${" in text or '"' in text or "\\" in text:
        raise ConfigError(
            f"{name} {text!r}: control characters, quotes, backslashes and ${{ cannot go to ssh"
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~nobody
        raise ConfigError(f"{name} {text!r}: {error}") from None


# What these say ends up in a `%` token (%h, %k, %r, %p, %j) of a ProxyCommand, a KnownHostsCommand
# or a `Match exec`, and those in a shell; of ProxyJump, ssh makes a ProxyCommand itself.
_IN_TOKENS: dict[str, Callable[[str, object], None]] = {
    "hostname": check_host,
    "hostkeyalias": check_host,
    "canonicaldomains": check_host,
    "user": check_user,
    "port": check_port,
    "proxyjump": check_jump,
}


def check_unquoted(name: str, path: os.PathLike[str] | None) -> None:
    """Raises `ConfigError` for a path that ssh puts into a shell's command as it is."""
    if path is not None and (found := _HOST_FORBIDDEN.search(os.fspath(path))):
        raise ConfigError(
            f"{name} {os.fspath(path)!r} has {found.group()!r} in it: ssh gives it to a shell when "
            "it logs in to a jump host. Rename it"
        )


def check_option(name: object, value: object) -> str | int | bool | tuple[str, ...]:
    """An option of ssh_config, as it is kept. Raises `ConfigError`."""
    if not isinstance(name, str) or not _OPTION_NAME.match(name):
        raise ConfigError(f"ssh option {name!r}: use a name of man ssh_config, as 'ProxyJump'")
    if reason := _RESERVED.get(name.lower()):
        raise ConfigError(f"ssh option {name!r} cannot be set here: {reason}")
    if isinstance(value, str | int):
        _check_option_text(name, str(value))
        return value
    if isinstance(value, Sequence) and value and all(isinstance(item, str) for item in value):
        for item in value:
            _check_option_text(name, item)
        return tuple(value)
    raise ConfigError(f"ssh option {name!r}: use a str, int, bool or a list of str")


def _check_option_text(name: str, text: str) -> None:
    if not text or _CONTROL.search(text):
        raise ConfigError(f"ssh option {name!r}: an empty value or one with control characters")
    if "${" in text:
        raise ConfigError(f"ssh option {name!r}: ssh would expand '${{' from the environment")
    check = _IN_TOKENS.get(name.lower())
    if check is not None:
        several = name.lower() == "canonicaldomains"
        for word in text.split() if several else [text]:
            check(f"ssh option {name!r}:", word)
