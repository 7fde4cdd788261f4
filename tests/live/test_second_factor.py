"""Key and one-time code: one log-in serves many, and the next program needs none."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pyotp
import pytest

import sshmux
from sshmux import ConnectionManager, Prompt
from sshmux.testing import PrivateServer

from ..support import control_directory, managed, nothing_left

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
POOL: dict[str, Any] = {"pool_size": 5, "sessions_per_connection": 8}


class Token:
    """A user with a token, who counts what they had to type."""

    def __init__(self, secret: str = SECRET) -> None:
        self.asked: list[Prompt] = []
        self._totp = pyotp.TOTP(secret)

    async def __call__(self, prompt: Prompt) -> str | None:
        self.asked.append(prompt)
        assert prompt.kind == "one-time"
        return self._totp.now()


async def forty(manager: ConnectionManager, cluster: object = 1) -> None:
    async def job(number: int) -> str:
        async with manager.get_connection(cluster) as connection:  # type: ignore[arg-type]
            return str((await connection.run(f"sleep 0.05; echo {number}")).stdout)

    assert await asyncio.gather(*map(job, range(40))) == [f"{n}\n" for n in range(40)]


async def test_forty_tasks_on_one_log_in_and_the_next_forty_on_none() -> None:
    user = Token()
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET) as server:
        with control_directory() as directory:
            for _ in range(2):  # the program, and the program again
                async with (
                    nothing_left(),
                    ConnectionManager(
                        control_dir=directory, prompter=user, persist=600, **POOL
                    ) as manager,
                ):
                    server.register(manager, 1)
                    await forty(manager)
                assert (server.logins, server.connections) == (1, 1)
            assert len(user.asked) == 1
            async with ConnectionManager(control_dir=directory, persist=600, **POOL) as manager:
                server.register(manager, 1)  # nobody is there to be asked: it needs none
                await forty(manager)
                await manager.disconnect(1)
            assert (server.logins, server.failed_logins) == (1, 0)


async def test_a_master_whose_options_differ_is_not_adopted() -> None:
    user = Token()
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET) as server:
        with control_directory() as directory:
            async with ConnectionManager(
                control_dir=directory, prompter=user, persist=600
            ) as manager:
                server.register(manager, 1)
                assert await manager.test_connection(1)
            async with ConnectionManager(control_dir=directory, persist=600) as manager:
                for options in ({"Compression": True}, {"ForwardAgent": True}):
                    server.register(manager, 2, ssh_options=options)
                    assert await manager.test_connection(2) is False
                server.register(manager, 1)
                assert await manager.test_connection(1) is True
                await manager.disconnect(1)
        assert (server.logins, len(user.asked)) == (1, 1)


async def test_a_stored_secret_makes_the_code() -> None:
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET) as server:
        async with managed(server, **POOL) as manager:
            manager.set_totp_secret(1, SECRET.lower(), keyring=False)
            await forty(manager)
            assert (server.logins, server.failed_logins) == (1, 0)
            # What began beside the first one, when nothing was known yet, is not made after all.
            metrics = await manager.get_connection_metrics(1)
            assert (metrics["dialling"], metrics["total_connections"]) == (0, 1)


async def test_a_wrong_stored_secret_is_one_wrong_code_whoever_waits() -> None:
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET) as server:
        async with managed(server, **POOL) as manager:
            manager.set_totp_secret(1, SECRET[::-1], keyring=False)

            async def use() -> None:
                async with manager.get_connection(1):
                    pass

            results = await asyncio.gather(*(use() for _ in range(20)), return_exceptions=True)
            assert {type(result) for result in results} == {sshmux.PermissionDenied}
            assert "one-time code was refused" in str(results[0])
            await server.wait_for_log("^Failed ")  # it may be logged after the client has gone
            assert (server.connections, server.failed_logins) == (1, 1)


async def test_a_code_is_not_given_twice() -> None:
    """The server takes each once: a second log-in waits for the next one, without a timeout."""
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET) as server:
        async with managed(server, register={"timeout": 10}) as manager:
            manager.set_totp_secret(1, SECRET, keyring=False)
            for _ in range(2):
                assert await manager.test_connection(1)
                await manager.disconnect(1)
            assert (server.logins, server.failed_logins) == (2, 0)


async def test_password_and_code() -> None:
    async with PrivateServer(login_shell="/bin/sh", password="pw", totp=SECRET) as server:
        user = Token()
        async with managed(server, register={"key_file": None}, prompter=user) as manager:
            manager.set_password(1, "pw", keyring=False)
            assert await manager.test_connection(1)
            assert len(user.asked) == 1
            assert (server.logins, server.failed_logins) == (1, 0)


async def test_three_clusters_behind_one_bastion_with_a_second_factor(tmp_path: Path) -> None:
    user = Token()
    async with (
        PrivateServer(login_shell="/bin/sh", totp=SECRET) as bastion,
        PrivateServer(login_shell="/bin/sh") as a,
        PrivateServer(login_shell="/bin/sh") as b,
        PrivateServer(login_shell="/bin/sh") as c,
    ):
        lines = [f"Include {server.config_file}" for server in (bastion, a, b, c)]
        lines += [f"Host {a.alias} {b.alias} {c.alias}", f"    ProxyJump {bastion.alias}"]
        config = tmp_path / "config"
        config.write_text("\n".join(lines) + "\n")
        with control_directory() as directory:
            async with (
                nothing_left(),
                ConnectionManager(control_dir=directory, prompter=user, pool_size=5) as manager,
            ):
                for name, server in (("a", a), ("b", b), ("c", c)):
                    manager.register_cluster(name, server.alias, config_file=config)
                await asyncio.gather(*(forty(manager, name) for name in "abc"))
            assert len(user.asked) == 1
            assert (bastion.logins, bastion.connections) == (1, 1)
            assert all(server.logins <= 5 for server in (a, b, c))


async def test_it_is_logged_in_to_by_hand_and_used_by_a_program_without_a_user() -> None:
    """`persist=` and dial="never": what a batch job wants."""
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET) as server:
        with control_directory() as directory:
            async with ConnectionManager(
                control_dir=directory, prompter=Token(), persist=600
            ) as manager:
                server.register(manager, 1)
                assert await manager.test_connection(1)
            async with ConnectionManager(control_dir=directory, **POOL) as manager:
                server.register(manager, 1, dial="never")
                await forty(manager)
                await manager.disconnect(1)
                with pytest.raises(sshmux.NotLoggedIn):
                    await forty(manager)
            assert server.logins == 1


async def test_the_sshd_really_wants_a_second_factor() -> None:
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET) as server:
        line = ["ssh", "-F", server.config_file, "-o", "BatchMode=yes", server.alias, "true"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 255
        assert "keyboard-interactive" in done.stderr
        async with managed(server) as manager:
            with pytest.raises(sshmux.PermissionDenied, match="sshmux login"):
                async with manager.get_connection(1):
                    pass
