"""Whatever a program is given for a name or an option, no shell makes a command of it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sshmux
from sshmux import ConnectionConfig, ConnectionManager
from sshmux.openssh import argv
from sshmux.openssh.jump import nearest_hop
from sshmux.testing import PrivateServer

BAD = [
    *("$(touch {})", "`touch {}`", "x;touch {}", "x|touch {}", "x&touch {}", "x\ntouch {}"),
    *("x'$(touch {})'", 'x"$(touch {})"', "x>{}", "x<{}", "x{{a,b}}", "(x)", "-oProxyCommand=x"),
    *("x y", "x\x00", "x\x9b31m", "x\x85", "x\u202ey", "${{HOME}}", "\\"),
]
PLACES: dict[str, Any] = {
    "host": lambda bad: ConnectionConfig(bad),
    "username": lambda bad: ConnectionConfig("h", username=bad),
    **{
        name: lambda bad, name=name: ConnectionConfig("h", ssh_options={name: bad})
        for name in ("HostName", "hostname", "HOSTNAME", "HostKeyAlias", "User", "Port")
    },
    "CanonicalDomains": lambda bad: ConnectionConfig(
        "h", ssh_options={"CanonicalDomains": f"good.example {bad}"}
    ),
    **{
        f"ProxyJump as {form}": lambda bad, form=form: ConnectionConfig(
            "h", ssh_options={"ProxyJump": form.format(bad)}
        )
        for form in ("{}", "a,{}", "{}@jump", "ssh://{}@jump:22", "ssh://{}", "u@{}:22")
    },
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", PLACES)
def test_what_a_shell_would_act_on_is_refused(tmp_path: Path, place: str, bad: str) -> None:
    if place == "CanonicalDomains" and bad == "x y":
        pytest.skip("two domains")
    with pytest.raises(sshmux.ConfigError):
        PLACES[place](bad.format(tmp_path / "mark"))


SOUND = [
    {"HostName": "%h.example.org"},
    {"HostName": "fe80::1%%eth0"},
    {"HostName": "192.0.2.1", "Port": 2222, "User": "CORP\\ada", "HostKeyAlias": "bank"},
    {"Port": "ssh"},
    {"ProxyJump": "none"},
    {"ProxyJump": "ada@jump-1.example.org:2222,[fe80::1]:22,ssh://bob@host:22"},
    {"CanonicalDomains": "example.org example.com", "CanonicalizeHostname": True},
    {"User": "ada@corp.example"},
    {"User": "büro"},
]


@pytest.mark.parametrize("options", SOUND, ids=str)
def test_what_is_a_name_is_taken(options: dict[str, Any]) -> None:
    config = ConnectionConfig("h", ssh_options=options)
    subprocess.run([*argv.resolve(config)], check=True, capture_output=True)


@pytest.mark.parametrize("control_dir", ["/tmp/${HOME}/x", "/tmp/x\n", "/tmp/x\x9b"])
def test_a_control_directory_that_ssh_would_read_otherwise_is_refused(control_dir: str) -> None:
    with pytest.raises(sshmux.ConfigError, match="control_dir"):
        ConnectionManager(control_dir=control_dir)


@given(st.text(max_size=20), st.sampled_from(["HostName", "User", "HostKeyAlias", "ProxyJump"]))
def test_whatever_is_accepted_is_one_word_of_a_shell(text: str, name: str) -> None:
    try:
        config = ConnectionConfig("h", ssh_options={name: text})
    except sshmux.ConfigError:
        return
    value = str(config.ssh_options[name])
    assert not re.search(r"""[\s'"`$;&<>|(){}\x00-\x1f\x7f-\x9f]""", value)
    assert shlex.split(f"x{value}y".replace("\\", "\\\\")) == [f"x{value}y"]
    if name == "ProxyJump":
        nearest_hop(config, value)


@pytest.mark.both_engines
async def test_a_host_name_of_ssh_config_reaches_no_shell_of_ours(
    short_dir: Path, tmp_path: Path
) -> None:
    """Behind a shared jump host we make a ProxyCommand with it."""
    mark = tmp_path / "mark"
    async with PrivateServer() as server:
        config = tmp_path / "config"
        config.write_text(
            f"{server.config_file.read_text()}\n"
            f"Host target\n HostName \"x'$(touch {mark})'\"\n ProxyJump {server.alias}\n"
        )
        async with ConnectionManager(control_dir=short_dir) as manager:
            manager.register_cluster("t", "target", config_file=config)
            with pytest.raises(sshmux.Error):
                await manager.connect("t")
    assert not mark.exists()


@pytest.mark.both_engines
@pytest.mark.parametrize("shared", [True, False])
async def test_the_name_of_a_config_file_reaches_no_shell(
    short_dir: Path, tmp_path: Path, shared: bool
) -> None:
    """For a jump that is left to ssh, ssh makes a ProxyCommand with `-F NAME`, unquoted."""
    config = tmp_path / "config $(touch mark; echo)"
    async with PrivateServer() as server:
        config.write_text(
            f"{server.config_file.read_text()}\n"
            f"Host target\n HostName 127.0.0.1\n Port {server.port}\n User {server.username}\n"
            f" ProxyJump {server.alias}\n IdentityFile {server.key_file}\n"
            f" UserKnownHostsFile {server.known_hosts_file}\n"
        )
        async with ConnectionManager(control_dir=short_dir, share_jump_hosts=shared) as manager:
            manager.register_cluster("t", "target", config_file=config)
            if shared:
                assert await manager.test_connection("t")
            else:
                with pytest.raises(sshmux.ConfigError, match="config_file"):
                    await manager.connect("t")
    assert not Path("mark").exists()
