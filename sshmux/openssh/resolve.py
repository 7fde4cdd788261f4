"""`ssh -G HOST`: what the system's config makes of a host."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field

from ..config import ConnectionConfig
from ..errors import ConfigError, ConnectTimeout
from ..system.processes import capture
from . import argv
from .environment import client_environment


@dataclass(frozen=True)
class Resolved:
    """The parts of `ssh -G`'s answer that sshmux acts on."""

    user: str
    hostname: str
    port: int
    host_key_alias: str | None = None
    send_env: tuple[str, ...] = ()
    forward_agent: bool = False
    proxied: bool = False
    proxy_jump: str | None = None
    control_path: str | None = None
    strict: str = "ask"
    identity_files: tuple[str, ...] = ()
    text: str = field(default="", repr=False)  # the whole answer

    @property
    def key_names(self) -> set[str]:
        """The names under which ssh may know its host key (sshconnect.c: get_hostfile_hostname)."""
        name = self.host_key_alias or self.hostname
        return {name, f"[{name}]:{self.port}"}

    @property
    def known_hosts_files(self) -> set[str]:
        """Where ssh looks for it."""
        found: set[str] = set()
        for line in self.text.splitlines():
            keyword, _, value = line.partition(" ")
            if keyword.lower() in ("userknownhostsfile", "globalknownhostsfile"):
                found |= {os.path.expanduser(path) for path in shlex.split(value)}
        return found

    @property
    def prompt_host(self) -> str:
        """The name that ssh shows when it asks for this host's password (sshconnect2.c)."""
        return self.host_key_alias or self.hostname

    def existing_identity_files(self) -> list[str]:
        """The private keys that are there."""
        return [path for path in self.identity_files if os.path.isfile(path)]


def parse(text: str) -> Resolved:
    """Reads `ssh -G`'s lines of `keyword value`."""
    single: dict[str, str] = {}
    send_env: list[str] = []
    identity_files: list[str] = []
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        keyword = keyword.lower()
        if keyword == "sendenv":
            send_env += value.split()
        elif keyword == "identityfile":
            identity_files.append(os.path.expanduser(value))
        else:
            single.setdefault(keyword, value)
    strict = single.get("stricthostkeychecking", "ask")
    return Resolved(
        user=single.get("user", ""),
        hostname=single.get("hostname", ""),
        port=_port(single.get("port", "22")),
        host_key_alias=single.get("hostkeyalias"),
        send_env=tuple(send_env),
        # `yes`, or the path or $VARIABLE of an agent's socket.
        forward_agent=single.get("forwardagent", "no") != "no",
        proxied=any(single.get(key, "none") != "none" for key in ("proxyjump", "proxycommand")),
        proxy_jump=_unless_none(single.get("proxyjump")),
        control_path=_unless_none(single.get("controlpath")),
        strict={"true": "yes", "false": "no", "off": "no"}.get(strict, strict),
        identity_files=tuple(identity_files),
        text=text,
    )


def _port(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 5):
        raise ConfigError(f"ssh -G tells no port number: {value!r}")
    return int(value)


def _unless_none(value: str | None) -> str | None:
    return None if value == "none" else value


async def resolve(config: ConnectionConfig) -> Resolved:
    """Asks ssh.

    Raises:
        ConfigError: with ssh's words, when the configuration is not readable.
        ConnectTimeout: it takes longer than a log-in may (`timeout`): it can run programs
            (`Match exec`), and ask name servers (`CanonicalizeHostname`).
    """
    env = client_environment(config.use_agent)
    try:
        result = await capture(argv.resolve(config), timeout=config.timeout, env=env)
    except TimeoutError:
        slow = ConnectTimeout(
            f"ssh's configuration of {config.address} was not read within {config.timeout:g} s "
            "(ssh -G): does a program in it (Match exec) hang, or a look-up of names "
            "(CanonicalizeHostname)? Mend it, or raise timeout="
        )
        slow.transient = False
        raise slow from None
    if result.status != 0:
        raise ConfigError(
            f"ssh cannot use the configuration of {config.address}: "
            f"{result.stderr.strip() or f'ssh -G exited with {result.status}'}"
        )
    return parse(result.stdout)
