"""A password that has expired, with the system's own PAM and a user made for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import sshmux
from sshmux import Prompt
from sshmux.testing import PrivateServer

from ..support import managed

OLD, NEW = "Old-pass-word-1", "New-pass-word-2xyz"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.getuid() != 0 or not shutil.which("useradd") or not Path("/etc/pam.d/sshd").exists(),
        reason="needs root, to make a user whose password has expired, and sshd's own PAM service",
    ),
]


@pytest.fixture
def user() -> Iterator[str]:
    name = f"smx{os.getpid()}"
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{name}:{OLD}\n", text=True, check=True)
        subprocess.run(["chage", "-d", "0", name], check=True)
        yield name
    finally:
        subprocess.run(["userdel", "-r", name], capture_output=True, check=True)


def server(method: str) -> PrivateServer:
    return PrivateServer(
        options={
            "UsePAM": True,
            "KbdInteractiveAuthentication": True,
            "PasswordAuthentication": True,
            "AuthenticationMethods": method,
        }
    )


async def use(manager: sshmux.ConnectionManager) -> str:
    async with manager.get_connection(1) as connection:
        return str((await connection.run("echo in")).stdout)


async def test_a_user_changes_it(user: str) -> None:
    asked: list[Prompt] = []

    async def answer(prompt: Prompt) -> str:
        asked.append(prompt)
        return OLD if "Current" in prompt.text else NEW

    async with server("keyboard-interactive") as sshd:
        register = {"username": user, "key_file": None}
        async with managed(sshd, register=register, prompter=answer) as manager:
            manager.set_password(1, OLD, keyring=False)
            assert await use(manager) == "in\n"
            assert (sshd.logins, sshd.failed_logins) == (1, 0)
    assert [prompt.kind for prompt in asked] == ["new-password"] * 3
    assert "required to change your password" in asked[0].text
    assert asked[0].text.endswith("Current password: ")
    assert asked[1].text == f"({user}@127.0.0.1) New password: "
    assert asked[2].text == f"({user}@127.0.0.1) Retype new password: "


async def test_without_a_user_nothing_is_made_up(user: str) -> None:
    async with server("keyboard-interactive") as sshd:
        async with managed(sshd, register={"username": user, "key_file": None}) as manager:
            manager.set_password(1, OLD, keyring=False)
            for _ in range(2):
                with pytest.raises(sshmux.PromptDeclined, match="expired: log in by hand"):
                    await use(manager)
            assert sshd.connections == 1


async def test_the_password_method_lets_in_and_runs_nothing(user: str) -> None:
    async with server("password") as sshd:
        async with managed(sshd, register={"username": user, "key_file": None}) as manager:
            manager.set_password(1, OLD, keyring=False)
            with pytest.raises(sshmux.PermissionDenied, match="password has expired"):
                await use(manager)
            assert await manager.test_connection(1) is False
