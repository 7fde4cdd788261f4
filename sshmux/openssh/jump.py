"""What `ProxyJump` says, taken apart. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from ..config import ConnectionConfig, OptionValue
from ..errors import ConfigError

_HOP = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<address>[^\]]+)\]|(?P<host>[^:]+))(?::(?P<port>\d+))?"
)


def nearest_hop(config: ConnectionConfig, proxy_jump: str) -> ConnectionConfig | None:
    """How to log in to the jump host that the target is reached from.

    It is reached as ssh itself would: of `-J a,b`, b is the one, itself reached through a; and of
    the target's settings it gets those that ssh passes on, the config file, and no others
    (ssh.c: the ProxyCommand made for a jump has -l, -p, -J, -F and -v).

    Parameters:
        proxy_jump: as `ssh -G` prints it.

    Returns None for one that cannot be taken apart (it has tokens, say): ssh is to do it then.
    """
    before, _, last = proxy_jump.strip().rpartition(",")
    hop = _HOP.fullmatch(last)
    if hop is None or "%" in proxy_jump or "$" in proxy_jump:
        return None
    options: dict[str, OptionValue] = {}
    if before:
        options["ProxyJump"] = before
    port = int(hop["port"] or 22)
    if hop["port"] and port == 22:
        options["Port"] = 22  # said outright: it wins over ssh_config
    try:
        return ConnectionConfig(
            hop["address"] or hop["host"],
            port,
            hop["user"],
            use_agent=config.use_agent,
            timeout=config.timeout,
            keepalive_interval=config.keepalive_interval,
            strict_host_key_checking="config",
            config_file=config.config_file,
            ssh_options=options,
            ssh_program=config.ssh_program,
        )
    except ConfigError:
        return None


def leads_to_itself(config: ConnectionConfig, hop: ConnectionConfig) -> bool:
    """Whether a hop is the host itself, as with `Host *` and a ProxyJump; ssh ignores that one."""
    options = {name: value for name, value in hop.ssh_options.items() if name != "ProxyJump"}
    return replace(hop, ssh_options=options) == replace(config, ssh_options=options)
