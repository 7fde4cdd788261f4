"""`ssh -G`'s answer."""

from __future__ import annotations

import shutil
import subprocess

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
    assert resolved == Resolved("ada", "hpc.example.org", 2222, "cluster", ("LANG", "LC_*"), False)
    assert resolved.prompt_host == "cluster"


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
    assert parse(said) == Resolved("ada", "hpc.example", 99, None, ("A", "B"), False)
