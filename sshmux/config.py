"""What a connection and a pool are asked to be: frozen, and checked when made."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from .checks import (
    OptionValue,
    check_host,
    check_int,
    check_option,
    check_path,
    check_seconds,
    check_text,
    check_type,
    check_user,
)
from .errors import ConfigError

__all__ = [
    "ConnectionConfig",
    "Dial",
    "OptionValue",
    "PoolConfig",
    "RemoteShell",
    "Share",
    "StrictHostKeyChecking",
]

StrictHostKeyChecking = bool | Literal["yes", "ask", "accept-new", "config"]
Dial = Literal["auto", "never"]
RemoteShell = Literal["auto", "posix", "csh", "fish", "none"]
Share = Literal["never", "interactive", "always"]


@dataclass(frozen=True)
class ConnectionConfig:
    """How to reach one cluster. The fields up to `strict_host_key_checking` are asyncssh-era ones.

    Raises `ConfigError` (a `ValueError`) on anything that ssh could misread. Whether files exist
    is asked later, by `check_files()`, when the cluster is registered and before each log-in.

    Parameters:
        host: a host name, an address, or a `Host` of ssh_config. `user@host` is taken apart.
        port: 22 means the default, which ssh_config may change; to force 22, say
            `ssh_options={"Port": 22}`.
        username: None leaves it to ssh_config, then to the local user's name.
        key_file: a private key. With it only this key (and ssh_config's own IdentityFile) is
            offered, never every key of a full agent: servers count those attempts.
        use_agent: False switches the agent off for good (`IdentityAgent=none`, no SSH_AUTH_SOCK).
        timeout: seconds for a whole log-in: name, connect, key exchange, authentication, retries.
        keepalive_interval: seconds between keepalives (`ServerAliveInterval`); 0 for none.
        known_hosts_file: another `UserKnownHostsFile`; None leaves it to ssh_config.
        strict_host_key_checking: True refuses unknown keys, unless a user confirms one (see
            the manager's `prompter`); "accept-new", "yes" and "ask" go to ssh as they are;
            "config" leaves it to ssh_config; False accepts any key, and is warned about each
            time it is used.
        config_file: read instead of ~/.ssh/config and /etc/ssh/ssh_config (`ssh -F`).
        ssh_options: more ssh_config options, as `{"ProxyJump": "bastion"}`. They win over files.
        agent_forwarding: forward the agent to sessions; None leaves it to ssh_config.
        max_sessions: what the server's MaxSessions is thought to be (sshd's default is 10). One
            place is kept for checks and for ending commands; a lower limit is learned.
        remote_shell: the family of the remote login shell: "auto" learns it from the first
            command. "none" sends commands as they are, for accounts without a shell: then a
            command cannot be ended from here, only left.
        ssh_program: the ssh to run; a name is looked up on PATH.
        control_path: use the master that the user has logged in with, behind this socket, and
            never end it; "config" for what ssh_config says (`ControlPath`). When there is none,
            `dial` counts.
        password_prompts: further questions of the server's that ask for the password, besides
            `Password:` and its like in many languages; without the colon.
        dial: "never" refuses to log in: only masters that live already are used, those of
            `control_path` and those that `persist` or `sshmux login` have left.
    """

    host: str
    port: int = 22
    username: str | None = None
    key_file: Path | None = None
    use_agent: bool = True
    timeout: float = 30
    keepalive_interval: float = 60
    known_hosts_file: Path | None = None
    strict_host_key_checking: StrictHostKeyChecking = True
    config_file: Path | None = field(default=None, kw_only=True)
    ssh_options: Mapping[str, OptionValue] = field(default_factory=dict, kw_only=True, hash=False)
    agent_forwarding: bool | None = field(default=None, kw_only=True)
    max_sessions: int = field(default=10, kw_only=True)
    remote_shell: RemoteShell = field(default="auto", kw_only=True)
    ssh_program: str = field(default="ssh", kw_only=True)
    control_path: Path | Literal["config"] | None = field(default=None, kw_only=True)
    dial: Dial = field(default="auto", kw_only=True)
    password_prompts: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        check_type("host", self.host, str)
        if "://" in self.host:
            raise ConfigError(f"host {self.host!r} is a URI: give host=, port= and username=")
        user, at, host = self.host.rpartition("@")
        if at:
            if self.username not in (None, user):
                raise ConfigError(
                    f"host {self.host!r} and username {self.username!r} disagree: give one of them"
                )
            self._set("host", host)
            self._set("username", user)
        name, colon, port = self.host.partition(":")
        if colon and name and port.isdecimal():
            raise ConfigError(f"host {self.host!r} has a port in it: give {name!r} and port={port}")
        check_host("host", self.host)
        if self.username is not None:
            check_user("username", self.username)
        check_int("port", self.port, 1, 65535)
        check_int("max_sessions", self.max_sessions, 1, 1_000_000)
        check_seconds("timeout", self.timeout, positive=True)
        check_seconds("keepalive_interval", self.keepalive_interval)
        for name in ("key_file", "known_hosts_file", "config_file"):
            self._set(name, check_path(name, getattr(self, name)))
        if self.control_path != "config":
            self._set("control_path", check_path("control_path", self.control_path))
            if "%" in str(self.control_path or ""):
                raise ConfigError(
                    f"control_path {str(self.control_path)!r}: tokens are not expanded here; use "
                    "control_path='config' for what ssh_config says, or the path itself"
                )
        if self.dial not in ("auto", "never"):
            raise ConfigError(f"dial={self.dial!r}: use 'auto' or 'never'")
        strict: object = self.strict_host_key_checking
        if not isinstance(strict, bool) and strict not in (
            "yes",
            "ask",
            "accept-new",
            "config",
        ):
            raise ConfigError(
                f"strict_host_key_checking={self.strict_host_key_checking!r}: "
                "use True, False, 'yes', 'ask', 'accept-new' or 'config'"
            )
        if self.remote_shell not in ("auto", "posix", "csh", "fish", "none"):
            raise ConfigError(
                f"remote_shell={self.remote_shell!r}: use 'auto', 'posix', 'csh', 'fish' or 'none'"
            )
        check_type("use_agent", self.use_agent, bool)
        if self.agent_forwarding is not None:
            check_type("agent_forwarding", self.agent_forwarding, bool)
        if self.agent_forwarding and not self.use_agent:
            raise ConfigError("agent_forwarding=True needs use_agent=True")
        check_text("ssh_program", self.ssh_program)
        prompts: object = self.password_prompts
        if isinstance(prompts, str) or not isinstance(prompts, Collection):
            raise ConfigError(f"password_prompts={prompts!r}: give a list of texts")
        for text in prompts:
            check_text("password_prompts", text)
        self._set("password_prompts", tuple(prompts))
        check_type("ssh_options", self.ssh_options, Mapping)
        options = {name: check_option(name, value) for name, value in self.ssh_options.items()}
        self._set("ssh_options", MappingProxyType(options))

    def __reduce__(self) -> tuple[Callable[[dict[str, object]], ConnectionConfig], tuple[object]]:
        """For pickle and copy: a mapping that cannot be changed cannot be pickled as it is."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _made_anew, (values | {"ssh_options": dict(self.ssh_options)},)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def check_files(self) -> None:
        """Raises `ConfigError` when a file that was named is missing or cannot be read."""
        for name in ("key_file", "config_file"):
            path: Path | None = getattr(self, name)
            if path is None:
                continue
            if not path.exists():
                raise ConfigError(f"{name} {str(path)!r} does not exist: give the path of a file")
            if path.is_dir() or (name == "key_file" and not path.is_file()):
                raise ConfigError(f"{name} {str(path)!r} is no file: give the path of a file")
            # Where the private key is not, a public one names which of the agent's is meant.
            private = path.with_suffix("")
            if name == "key_file" and path.suffix == ".pub" and private.is_file():
                raise ConfigError(f"key_file {str(path)!r} is a public key: give {str(private)!r}")
            if not os.access(path, os.R_OK):
                raise ConfigError(f"{name} {str(path)!r} cannot be read: check its permissions")

    @property
    def address(self) -> str:
        """`user@host:port`, as far as given here: for users, logs and records."""
        user = f"{self.username}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}" + (f":{self.port}" if self.port != 22 else "")


def _made_anew(values: dict[str, Any]) -> ConnectionConfig:
    return ConnectionConfig(**values)


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """How the pool of each cluster behaves. All times are in seconds.

    Parameters:
        pool_size: the most masters a cluster may have, those being dialled included.
        sessions_per_connection: how many tasks may borrow one master at once.
        max_age: masters older than this are replaced once idle; up to a tenth earlier, at
            random, so that a pool never recycles all at once.
        max_idle: masters idle for longer are closed.
        health_interval: between two checks of an idle master.
        max_health_failures: failed checks in a row after which a master is dropped.
        health_timeout: the deadline of each part of a check.
        acquire_timeout: how long a borrower waits for a connection; None for ever.
        max_parallel_dials: log-ins under way at once per server (sshd's MaxStartups drops some
            from 10 on).
        max_total_dials: the same over all servers of a manager: each costs this machine some
            processor time, and a hundred at once would all be slow.
        dial_attempts: tries of one log-in, for passing trouble only.
        dial_backoff: the pause after the first failed try; it doubles, with jitter.
        grace: how long a master outlives a manager that was killed (`ControlPersist`).
        persist: how long masters outlive `stop()`; 0 closes them.
        one_time_pool_size: the most masters of a cluster whose log-in takes a user or a
            one-time code: whoever comes when all are taken waits, rather than have another code
            typed. See `sessions_per_connection`.
        prompt_timeout: how long a user may take to answer one prompt. It does not count
            against the log-in's `timeout`; a server has a limit of its own (LoginGraceTime).
        share_jump_hosts: log in to a jump host (ProxyJump) once, for all masters and clusters
            behind it; False leaves jumping to ssh, with a log-in of its own for each master.
        share: which masters all programs of this user on this machine use together, whoever logged
            in: "interactive" those whose log-in took a user or a one-time code, and those of jump
            hosts; "always" all; "never" none. A program that says "never" uses no other's either.
        drain_timeout: how long `stop()` lets running commands go on before ending them.
        leak_threshold: warn, with the borrower's stack, about a connection kept longer; None
            for never.
    """

    pool_size: int = 5
    sessions_per_connection: int = 1
    max_age: float = 3600
    max_idle: float = 300
    health_interval: float = 60
    max_health_failures: int = 3
    health_timeout: float = 10
    acquire_timeout: float | None = None
    max_parallel_dials: int = 4
    max_total_dials: int = 16
    dial_attempts: int = 3
    dial_backoff: float = 0.5
    grace: int = 20
    persist: int = 0
    one_time_pool_size: int = 1
    prompt_timeout: float = 120
    share_jump_hosts: bool = True
    share: Share = "interactive"
    drain_timeout: float = 5
    leak_threshold: float | None = 600

    def __post_init__(self) -> None:
        for name in (
            "pool_size",
            "sessions_per_connection",
            "max_health_failures",
            "max_parallel_dials",
            "max_total_dials",
            "dial_attempts",
            "grace",
            "one_time_pool_size",
        ):
            check_int(name, getattr(self, name), 1, 1_000_000)
        check_int("persist", self.persist, 0, 10_000_000)
        for name in ("max_age", "max_idle", "health_interval", "health_timeout", "prompt_timeout"):
            check_seconds(name, getattr(self, name), positive=True)
        for name in ("dial_backoff", "drain_timeout"):
            check_seconds(name, getattr(self, name))
        for name in ("acquire_timeout", "leak_threshold"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name))
        check_type("share_jump_hosts", self.share_jump_hosts, bool)
        if self.share not in ("never", "interactive", "always"):
            raise ConfigError(f"share={self.share!r}: use 'never', 'interactive' or 'always'")


def field_names(config: type) -> frozenset[str]:
    """The names of a config's fields, to tell one's keywords from another's."""
    return frozenset(item.name for item in fields(config))
