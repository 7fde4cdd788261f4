"""Where a forward listens and leads to, purely: from what the caller says to what is asked for."""

from __future__ import annotations

import os

from ..errors import ConfigError
from ..openssh.mux.operations import Forward
from ..openssh.mux.protocol import DYNAMIC, LOCAL, REMOTE, UNIX

Endpoint = tuple[str, int]
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = [
    "AnyPath",
    "DYNAMIC",
    "LOCAL",
    "REMOTE",
    "UNIX",
    "Forward",
    "listening",
    "path",
    "target",
]

_LONGEST = 100  # bytes of a Unix socket's path that both systems take (Linux 107, macOS 103)


def listening(host: str | None, port: int) -> Endpoint:
    """Where to listen. As in asyncssh "" means on all addresses; None is localhost.

    Raises `ConfigError`.
    """
    if host is not None and not isinstance(host, str):
        raise ConfigError(f"listen_host={host!r}: give a name or an address, '' for all, or None")
    if host:
        _check_host("listen_host", host)
    _check_port("listen_port", port, least=0)
    # ssh's own word for all is `*`; its "" would be what GatewayPorts says (man ssh_config).
    return ("localhost" if host is None else host or "*"), port


def target(host: str, port: int) -> Endpoint:
    """Where to lead to. Raises `ConfigError`."""
    if not isinstance(host, str) or not host:
        raise ConfigError(f"dest_host={host!r}: give a name or an address")
    _check_host("dest_host", host)
    _check_port("dest_port", port, least=1)
    return host, port


def path(name: str, value: AnyPath) -> Endpoint:
    """A Unix socket. Raises `ConfigError`."""
    try:
        found = os.fspath(value)
    except TypeError:
        raise ConfigError(f"{name}={value!r}: give the path of a Unix socket") from None
    text = found if isinstance(found, str) else found.decode("utf-8", "surrogateescape")
    if not text or "\0" in text:
        raise ConfigError(f"{name}={value!r}: give the path of a Unix socket")
    if len(text.encode("utf-8", "surrogateescape")) > _LONGEST:
        raise ConfigError(
            f"{name}={value!r}: the path of a Unix socket has at most {_LONGEST} bytes"
        )
    return text, UNIX


def _check_host(name: str, host: str) -> None:
    if "\0" in host or any("\ud800" <= each <= "\udfff" for each in host):
        raise ConfigError(f"{name}={host!r}: no name or address has such a character")


def _check_port(name: str, port: int, *, least: int) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not least <= port <= 65535:
        raise ConfigError(f"{name}={port!r}: give a number from {least} to 65535")
