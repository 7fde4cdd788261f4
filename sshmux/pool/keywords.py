"""What `ConnectionManager` and `register_cluster` take, and the words for what they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import TypedDict

from ..config import Dial, OptionValue, RemoteShell, Share, field_names
from ..errors import ConfigError


class PoolKeywords(TypedDict, total=False):
    """Those fields of `PoolConfig` that `ConnectionManager` has no parameter of its own for."""

    health_timeout: float
    max_parallel_dials: int
    max_total_dials: int
    dial_attempts: int
    dial_backoff: float
    grace: int
    one_time_pool_size: int
    prompt_timeout: float
    share_jump_hosts: bool
    share: Share
    drain_timeout: float
    leak_threshold: float | None


class ConnectionKeywords(TypedDict, total=False):
    """Those fields of `ConnectionConfig` that `register_cluster` has no parameter for."""

    config_file: str | PathLike[str] | None
    ssh_options: Mapping[str, OptionValue]
    agent_forwarding: bool | None
    max_sessions: int
    remote_shell: RemoteShell
    ssh_program: str
    control_path: str | PathLike[str] | None
    dial: Dial
    password_prompts: Sequence[str]


# What other libraries and programs call some of our parameters.
_ALIASES = {
    "user": "username",
    "identity_file": "key_file",
    "key_filename": "key_file",
    "client_keys": "key_file",
    "known_hosts": "known_hosts_file",
    "connect_timeout": "timeout",
    "login_timeout": "timeout",
    "hostname": "host",
    "agent_path": "use_agent",
    "max_size": "pool_size",
    "size": "pool_size",
}


def reject_unknown(
    more: Mapping[str, object], config: type, where: str, others: Iterable[str] = ()
) -> None:
    """Raises `ConfigError` for keywords that are no fields of `config`.

    `others`: what `where` takes besides, to be suggested.
    """
    known = field_names(config)
    for name in more:
        if name not in known:
            advice = _advice(name, known.union(others))
            raise ConfigError(f"{where} has no parameter {name!r}: {advice}")


def _advice(name: str, known: frozenset[str]) -> str:
    if name in ("password", "passphrase"):
        return f"secrets are kept apart from it: use set_{name}()"
    import difflib  # half a millisecond of each program's start

    near = difflib.get_close_matches(name.lower(), sorted(known), 1)
    meant = _ALIASES.get(name) if _ALIASES.get(name) in known else None
    if meant or near:
        return f"did you mean {meant or near[0]!r}?"
    return f"it has {', '.join(sorted(known))}"
