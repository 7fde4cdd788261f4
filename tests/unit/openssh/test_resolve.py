"""`ssh -G`'s answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sshmux.openssh.resolve import Resolved, parse

CAPTURED = """\
host hpc
user ada
hostname hpc.example.org
port 2222
addressfamily any
forwardagent no
sendenv LANG
sendenv LC_*
hostkeyalias cluster
identityfile ~/.ssh/id_rsa
identityfile ~/.ssh/id_ed25519
"""


def test_parse() -> None:
    resolved = parse(CAPTURED)
    keys = tuple(os.path.expanduser(f"~/.ssh/id_{kind}") for kind in ("rsa", "ed25519"))
    assert resolved == Resolved(
        "ada",
        "hpc.example.org",
        2222,
        "cluster",
        ("LANG", "LC_*"),
        False,
        identity_files=keys,
        text=CAPTURED,
    )
    assert resolved.prompt_host == "cluster"


@pytest.mark.parametrize(
    ("said", "jump"),
    [("none", None), ("bastion", "bastion"), ("a,me@[127.0.0.1]:2222", "a,me@[127.0.0.1]:2222")],
)
def test_a_jump_host(said: str, jump: str | None) -> None:
    resolved = parse(f"proxyjump {said}\n")
    assert (resolved.proxy_jump, resolved.proxied) == (jump, jump is not None)


def test_a_proxy_command_is_no_jump_host() -> None:
    resolved = parse("proxycommand nc %h %p\n")
    assert (resolved.proxy_jump, resolved.proxied) == (None, True)


@pytest.mark.parametrize(
    ("said", "strict"), [("true", "yes"), ("false", "no"), ("ask", "ask"), ("accept-new",) * 2]
)
def test_strictness(said: str, strict: str) -> None:
    assert parse(f"stricthostkeychecking {said}\n").strict == strict


def test_the_users_own_control_path() -> None:
    assert parse("controlpath /run/me/%C\n").control_path == "/run/me/%C"
    assert parse("controlpath none\n").control_path is None
    assert parse("").control_path is None


@pytest.mark.parametrize(
    ("said", "forwards"),
    [("no", False), ("yes", True), ("/run/agent.sock", True), ("$SSH_AUTH_SOCK", True)],
)
def test_forwarding_of_an_agent(said: str, forwards: bool) -> None:
    assert parse(f"forwardagent {said}\n").forward_agent is forwards


def test_without_an_alias_ssh_asks_under_the_hosts_name() -> None:
    assert parse("hostname hpc.example.org\n").prompt_host == "hpc.example.org"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
def test_the_real_answer_is_understood() -> None:
    said = subprocess.run(
        ["ssh", "-G", "-F", "none", "-o", "SendEnv=A B", "-p", "99", "ada@Hpc.Example"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    resolved = parse(said)
    assert (resolved.user, resolved.hostname, resolved.port) == ("ada", "hpc.example", 99)
    assert (resolved.host_key_alias, resolved.send_env) == (None, ("A", "B"))
    assert (resolved.proxied, resolved.proxy_jump, resolved.control_path) == (False, None, None)
    assert resolved.identity_files


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
def test_what_ssh_really_says_of_jumps_paths_and_strictness(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host x\n ProxyJump a,me@127.0.0.1:2222\n ControlPath {tmp_path}/%r@%h:%p\n User u\n"
        "Host *\n StrictHostKeyChecking accept-new\n"
    )
    line = ["ssh", "-G", "-F", str(config), "x"]
    resolved = parse(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    assert resolved.proxy_jump == "a,me@[127.0.0.1]:2222"
    assert resolved.control_path == f"{tmp_path}/u@x:22"
    assert resolved.strict == "accept-new"
