"""Jump hosts: one log-in there for every cluster behind, and ssh's own way where that is wanted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ConnectionManager, Prompt
from sshmux.testing import PrivateServer

from ..support import control_directory, masters, nothing_left, until

TYPED = {"password": "pw", "methods": "publickey,keyboard-interactive"}


class User:
    """Types the same each time, and remembers what was asked."""

    def __init__(self, answer: str | None = "pw") -> None:
        self.answer = answer
        self.asked: list[Prompt] = []

    async def __call__(self, prompt: Prompt) -> str | None:
        self.asked.append(prompt)
        return self.answer


def config_of(path: Path, servers: list[PrivateServer], jumps: dict[PrivateServer, str]) -> Path:
    """One ssh_config for several servers, some of them behind others."""
    lines = [f"Include {server.config_file}" for server in servers]
    for server, jump in jumps.items():
        lines += [f"Host {server.alias}", f"    ProxyJump {jump}"]
    path.write_text("\n".join(lines) + "\n")
    return path


@asynccontextmanager
async def servers(*options: dict[str, Any]) -> AsyncIterator[list[PrivateServer]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(PrivateServer(login_shell="/bin/sh", **each))
            for each in options
        ]


async def use(manager: ConnectionManager, cluster: object, line: str = "echo in") -> str:
    async with manager.get_connection(cluster) as connection:  # type: ignore[arg-type]
        return str((await connection.run(line)).stdout)


async def use_at_once(manager: ConnectionManager, clusters: Iterable[object]) -> list[str]:
    """Each has a connection of its own: none is given back before all have theirs."""
    names = list(clusters)
    all_have = asyncio.Barrier(len(names))

    async def use_one(name: object) -> str:
        async with manager.get_connection(name) as connection:  # type: ignore[arg-type]
            await all_have.wait()
            return str((await connection.run("echo in")).stdout)

    async with asyncio.timeout(60):
        return await asyncio.gather(*(use_one(name) for name in names))


@asynccontextmanager
async def managed(
    config: Path, targets: dict[str, PrivateServer], **options: Any
) -> AsyncIterator[ConnectionManager]:
    with control_directory() as directory:
        async with nothing_left(), ConnectionManager(control_dir=directory, **options) as manager:
            for name, server in targets.items():
                manager.register_cluster(name, server.alias, config_file=config)
            yield manager


async def test_three_clusters_behind_one_bastion_take_one_code(tmp_path: Path) -> None:
    user = User()
    async with servers(TYPED, {}, {}, {}) as (bastion, a, b, c):
        jumps = dict.fromkeys((a, b, c), bastion.alias)
        config = config_of(tmp_path / "config", [bastion, a, b, c], jumps)
        targets = {"a": a, "b": b, "c": c}
        async with managed(config, targets, prompter=user, pool_size=5) as manager:
            assert await use_at_once(manager, "abc" * 5) == ["in\n"] * 15
            assert (len(user.asked), bastion.logins, bastion.connections) == (1, 1, 1)
            assert {server.logins for server in (a, b, c)} == {5}
            assert user.asked[0].host == bastion.alias
            names = [path.name for path in manager.control_dir.path.glob("jump-*.sock")]
            assert len(names) == 1
            await manager.disconnect("a")
            assert len(list(manager.control_dir.path.glob("jump-*.sock"))) == 1
            await manager.disconnect("b")
            await manager.disconnect("c")  # the last one out: really closed
            assert list(manager.control_dir.path.iterdir()) == []


async def test_chains_of_two_and_three_hops(tmp_path: Path) -> None:
    async with servers({}, {}, {}, {}, {}) as (first, second, third, a, b):
        jumps = {
            a: f"{first.alias},{second.alias}",
            b: third.alias,
            third: second.alias,
            second: first.alias,
        }
        config = config_of(tmp_path / "config", [first, second, third, a, b], jumps)
        async with managed(config, {"a": a, "b": b}, pool_size=3) as manager:
            assert await use_at_once(manager, "ababab") == ["in\n"] * 6
            # `second` is told in two ways, by a list and by its own config: it is one host.
            assert (first.logins, second.logins, third.logins) == (1, 1, 1)
            assert (a.logins, b.logins) == (3, 3)


async def test_one_host_by_two_names_in_proxyjump(tmp_path: Path) -> None:
    async with servers({}, {}, {}) as (bastion, a, b):
        spec = f"{bastion.username}@{bastion.alias}:{bastion.port}"
        config = config_of(tmp_path / "config", [bastion, a, b], {a: spec, b: bastion.alias})
        async with managed(config, {"a": a, "b": b}, pool_size=2) as manager:
            assert await asyncio.gather(*(use(manager, name) for name in "abab")) == ["in\n"] * 4
            assert bastion.logins == 1
            assert len(list(manager.control_dir.path.glob("jump-*.sock"))) == 1


async def test_jumping_may_be_left_to_ssh(tmp_path: Path) -> None:
    user = User()
    async with servers(TYPED, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        async with managed(
            config, {"a": a}, prompter=user, share_jump_hosts=False, share="never"
        ) as manager:
            assert await use(manager, "a") == "in\n"
            await manager.connect("a")
            assert bastion.logins == 2
            assert [prompt.who for prompt in user.asked] == [f"{a.username}@127.0.0.1"] * 2


async def test_a_stored_password_for_the_jump_host_and_another_for_the_target(
    tmp_path: Path,
) -> None:
    for share in (True, False):
        async with servers(
            {"password": "jump's", "methods": "password"},
            {"password": "target's", "methods": "keyboard-interactive"},
        ) as (bastion, a):
            config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
            # Both have one address here: without an alias nobody could tell who asks.
            config.write_text(
                f"Host {bastion.alias}\n    HostKeyAlias {bastion.alias}\n"
                f"    StrictHostKeyChecking no\n    UserKnownHostsFile {tmp_path}/k\n"
                f"Host *\n{config.read_text()}"
            )
            async with managed(config, {"a": a}, share_jump_hosts=share) as manager:
                manager.set_password("a", "target's", keyring=False)
                manager.set_password("a", "jump's", jump_host=bastion.alias, keyring=False)
                assert manager.get_password("a", jump_host=bastion.alias) == "jump's"
                assert await use(manager, "a") == "in\n"
                assert (bastion.failed_logins, a.failed_logins) == (0, 0)


async def test_a_refused_jump_host_is_tried_once_for_all(tmp_path: Path) -> None:
    user = User("wrong")
    async with servers(TYPED, {}, {}) as (bastion, a, b):
        config = config_of(
            tmp_path / "config", [bastion, a, b], {a: bastion.alias, b: bastion.alias}
        )
        async with managed(config, {"a": a, "b": b}, prompter=user) as manager:
            results = await asyncio.gather(
                *(use(manager, name) for name in "abab"), return_exceptions=True
            )
            assert {type(result) for result in results} == {sshmux.PermissionDenied}
            assert all(bastion.alias in str(result) for result in results)
            assert bastion.connections == 1
            with pytest.raises(sshmux.PermissionDenied):
                await use(manager, "b")
            assert bastion.connections == 1
            user.answer = "pw"
            connection = await manager.connect("a")  # asked for: and it opens the way for b
            assert await use(manager, "b") == "in\n"
            assert bastion.logins == 1
            connection.close()
            await connection.wait_closed()


async def test_a_lost_jump_host_is_lost_to_all_and_found_again(tmp_path: Path) -> None:
    async with servers({}, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        async with managed(config, {"a": a}, pool_size=1) as manager:
            assert await use(manager, "a") == "in\n"
            (jump,) = [
                process
                for process in masters(manager.control_dir.path)
                if "jump-" in " ".join(process.cmdline()).partition("-o ProxyCommand")[0]
            ]
            jump.kill()
            directory = manager.control_dir.path
            await until(lambda: list(directory.iterdir()) == [])
            assert await use(manager, "a") == "in\n"
            assert (bastion.logins, a.logins) == (2, 2)


async def test_a_frozen_jump_host_is_found_out(tmp_path: Path) -> None:
    async with servers({}, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        async with managed(config, {}, health_timeout=1) as manager:
            manager.register_cluster("a", a.alias, config_file=config, timeout=2)
            assert await use(manager, "a") == "in\n"
            directory = manager.control_dir.path
            bastion.freeze()
            try:
                with pytest.raises(sshmux.ConnectTimeout):
                    await manager.connect("a")
                await until(lambda: not list(directory.glob("jump-*")))
            finally:
                bastion.thaw()
            await manager.disconnect("a")
            assert await use(manager, "a") == "in\n"
            assert bastion.logins == 2


async def test_a_jump_host_without_a_shell_is_no_dead_one(tmp_path: Path) -> None:
    async with servers({"options": {"ForceCommand": "/bin/false"}}, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        async with managed(config, {}, health_timeout=1) as manager:
            manager.register_cluster("a", a.alias, config_file=config, timeout=2)
            assert await use(manager, "a") == "in\n"
            a.freeze()  # it is the target that does not answer
            try:
                with pytest.raises(sshmux.ConnectTimeout):
                    await manager.connect("a")
            finally:
                a.thaw()
            async with await manager.connect("a") as connection:
                assert (await connection.run("echo in")).stdout == "in\n"
            assert bastion.logins == 1


async def test_an_unused_jump_host_leaves_when_idle(tmp_path: Path) -> None:
    async with servers({}, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        async with managed(config, {"a": a}, max_idle=0.3) as manager:
            assert await use(manager, "a") == "in\n"
            directory = manager.control_dir.path
            await until(lambda: list(directory.iterdir()) == [])
            assert await use(manager, "a") == "in\n"


async def test_masters_behind_a_jump_host_outlive_the_program(tmp_path: Path) -> None:
    user = User()
    async with servers(TYPED, {}, {}) as (bastion, a, b):
        config = config_of(
            tmp_path / "config", [bastion, a, b], {a: bastion.alias, b: bastion.alias}
        )
        with control_directory() as directory:
            for name, server in (("a", a), ("a", a), ("b", b)):
                async with (
                    nothing_left(),
                    ConnectionManager(control_dir=directory, persist=60, prompter=user) as manager,
                ):
                    manager.register_cluster(name, server.alias, config_file=config)
                    assert await use(manager, name) == "in\n"
            assert (len(user.asked), bastion.logins, a.logins, b.logins) == (1, 1, 1, 1)
            async with ConnectionManager(
                control_dir=directory, persist=60, prompter=user
            ) as manager:
                for name, server in (("a", a), ("b", b)):
                    manager.register_cluster(name, server.alias, config_file=config)
                    assert await use(manager, name) == "in\n"
                await manager.connect("b")  # takes the bastion's master, too
                await manager.disconnect("a")
                await manager.disconnect("b")
            assert len(user.asked) == 1


async def test_jump_hosts_that_lead_in_a_circle(tmp_path: Path) -> None:
    async with servers({}, {}) as (one, other):
        config = config_of(tmp_path / "config", [one, other], {one: other.alias, other: one.alias})
        async with managed(config, {"a": one}) as manager:
            with pytest.raises(sshmux.ConfigError, match="circle"):
                await use(manager, "a")
            with pytest.raises(sshmux.ConfigError, match="circle"):
                await use(manager, "a")


async def test_a_jump_host_that_forbids_forwarding(tmp_path: Path) -> None:
    async with servers({"options": {"AllowTcpForwarding": False}}, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        async with managed(config, {"a": a}, dial_attempts=1) as manager:
            with pytest.raises(sshmux.ServerHungUp, match="AllowTcpForwarding"):
                await use(manager, "a")


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/tcsh", "/usr/bin/fish", "/bin/zsh"])
async def test_the_users_own_shell_does_not_matter(
    tmp_path: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ssh gives a ProxyCommand to $SHELL; here with a path that each of them would misread."""
    if not Path(shell).exists():
        pytest.skip(f"needs {shell}")
    monkeypatch.setenv("SHELL", shell)
    async with servers({}, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        with control_directory() as directory:
            odd = directory / "a b'c!%h"
            async with ConnectionManager(control_dir=odd) as manager:
                manager.register_cluster("a", a.alias, config_file=config)
                assert await use(manager, "a") == "in\n"
                assert len(list(odd.glob("jump-*.sock"))) == 1
            odd.rmdir()


async def test_cancelled_while_the_jump_host_asks(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def waiting(prompt: Prompt) -> str:
        asked.set()
        await asyncio.sleep(3600)
        return ""

    async with servers(TYPED, {}) as (bastion, a):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        async with managed(config, {"a": a}, prompter=waiting) as manager:
            task = asyncio.ensure_future(manager.connect("a"))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert masters(manager.control_dir.path) == []
            assert list(manager.control_dir.path.iterdir()) == []
