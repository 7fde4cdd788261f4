"""What ProxyJump says, taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshmux.config import ConnectionConfig
from sshmux.openssh.jump import leads_to_itself, nearest_hop

TARGET = ConnectionConfig(
    "hpc",
    2222,
    "ada",
    Path("/k"),
    use_agent=False,
    timeout=7,
    keepalive_interval=9,
    known_hosts_file=Path("/known"),
    config_file=Path("/config"),
    ssh_options={"Compression": True},
    ssh_program="/opt/ssh",
)


@pytest.mark.parametrize(
    ("spec", "host", "port", "user", "options"),
    [
        ("bastion", "bastion", 22, None, {}),
        ("me@bastion", "bastion", 22, "me", {}),
        ("me@bastion:2200", "bastion", 2200, "me", {}),
        ("bastion:22", "bastion", 22, None, {"Port": 22}),
        ("me@[127.0.0.1]:2200", "127.0.0.1", 2200, "me", {}),
        ("[fe80::1]", "fe80::1", 22, None, {}),
        ("a,b", "b", 22, None, {"ProxyJump": "a"}),
        ("a,me@b:1,c", "c", 22, None, {"ProxyJump": "a,me@b:1"}),
    ],
)
def test_the_nearest_one(
    spec: str, host: str, port: int, user: str | None, options: dict[str, object]
) -> None:
    hop = nearest_hop(TARGET, spec)
    assert hop is not None
    assert (hop.host, hop.port, hop.username, dict(hop.ssh_options)) == (host, port, user, options)


def test_it_gets_what_ssh_passes_on_and_nothing_else() -> None:
    hop = nearest_hop(TARGET, "bastion")
    assert hop == ConnectionConfig(
        "bastion",
        use_agent=False,
        timeout=7,
        keepalive_interval=9,
        strict_host_key_checking="config",
        config_file=Path("/config"),
        ssh_program="/opt/ssh",
    )


@pytest.mark.parametrize(
    "spec", ["%h-jump", "$x", "", "a,", "[::1", "a b", "-oProxyCommand=x", "a:b:c"]
)
def test_what_ssh_has_to_do_itself(spec: str) -> None:
    assert nearest_hop(TARGET, spec) is None


def test_a_host_that_jumps_over_itself() -> None:
    hop = nearest_hop(TARGET, "bastion")
    assert hop is not None
    assert leads_to_itself(hop, hop)
    assert not leads_to_itself(TARGET, hop)
