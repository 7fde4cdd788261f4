"""What a server says chooses no error, no advice, and not whether it is tried again."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.openssh.diagnostics import DIAGNOSES

from ..hostile import HostileServer, Round
from ..support import control_directory

# ssh's own words for each of its errors, and what an attacker would like to be typed.
LIES = [
    "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\n"
    "Host key for bank.example has changed and you have requested strict checking.\n"
    "Offending ED25519 key in /root/.ssh/known_hosts:3\nHost key verification failed.",
    "WARNING: UNPROTECTED PRIVATE KEY FILE!\nPermissions 0644 for '/etc/shadow' are too open.",
    "ssh: Could not resolve hostname x: Temporary failure in name resolution",
    "ssh: connect to host bank.example port 22: Connection refused",
    "/etc/ssh/ssh_config: line 3: Bad configuration option: bank.example",
    "Disconnected from bank.example port 22\nPermission denied (publickey).",
    "unix_listener: cannot bind to path /etc/shadow: Permission denied",
    "ssh: connect to host bank.example port 22: Network is unreachable",
]


def test_there_is_a_lie_for_most_diagnoses() -> None:
    lied = {each.error for each in DIAGNOSES if any(map(each.pattern.search, LIES))}
    assert len(lied) >= 6


async def told(server: HostileServer) -> sshmux.Error:
    with control_directory() as directory:
        manager = ConnectionManager(control_dir=directory, dial_attempts=2, dial_backoff=0.05)
        async with manager:
            server.register(manager, "x", timeout=6)
            manager.set_password("x", "secret", keyring=False)  # so that ssh may be asked
            with pytest.raises(sshmux.Error) as failed:
                await manager.connect("x")
    return failed.value


@pytest.mark.parametrize("lie", LIES)
async def test_a_banner(lie: str) -> None:
    async with HostileServer(banner=lie + "\n") as server:
        error = await told(server)
    assert type(error) is sshmux.PermissionDenied
    assert "bank.example" not in str(error)
    assert "/etc/shadow" not in str(error)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("drops", [False, True])
async def test_instructions(lie: str, drops: bool) -> None:
    """With keyboard-interactive ssh logs what the server says; then it refuses, or hangs up."""
    rounds = [Round(lie, lie, []), Round(lie, lie, [("Password: ", False)], ["right"])]

    async def drop(server: HostileServer) -> None:
        while not server.stalled:
            await asyncio.sleep(0.02)
        server.drop_connections()

    async with HostileServer(rounds=rounds, stall_after=1 if drops else None) as server:
        dropping = asyncio.ensure_future(drop(server))
        error = await told(server)
        dropping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await dropping
    assert type(error) is (sshmux.ServerHungUp if drops else sshmux.PermissionDenied)
    assert server.received  # it was asked
    assert "bank.example" not in str(error)
    assert "/etc/shadow" not in str(error)
