"""Masters that live already: the user's own, and those that were left behind. No log-in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.testing import PrivateServer

from ..support import control_directory, nothing_left, until


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path for the user's own sockets."""
    with tempfile.TemporaryDirectory(prefix="sx") as directory:
        yield Path(directory)


@asynccontextmanager
async def own_master(server: PrivateServer, path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """What a user types: `ssh -M`, with a socket of theirs."""
    line = ["ssh", "-F", str(server.config_file), "-MN", "-S", str(path), server.alias]
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL)
    try:
        await until(path.exists)
        yield process
        assert process.poll() is None, "somebody ended the user's own master"
    finally:
        end(process)


def end(master: subprocess.Popen[bytes]) -> None:
    """SIGTERM until it is gone: ssh misses one that comes just before it waits for something."""
    while master.poll() is None:
        master.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            master.wait(0.3)


def options(server: PrivateServer, **more: object) -> dict[str, object]:
    return {"host": server.alias, "config_file": server.config_file, **more}


async def use(manager: ConnectionManager, line: str = "echo in") -> str:
    async with manager.get_connection(1) as connection:
        return str((await connection.run(line)).stdout)


async def test_a_path_is_used_and_never_ended(place: Path) -> None:
    path = place / "mine"
    async with PrivateServer(login_shell="/bin/sh") as server, own_master(server, path):
        with control_directory() as directory:
            async with (
                nothing_left(),
                ConnectionManager(
                    control_dir=directory, sessions_per_connection=4, max_age=0.1, max_idle=0.1
                ) as manager,
            ):
                manager.register_cluster(1, **options(server, control_path=path))  # type: ignore[arg-type]
                assert await asyncio.gather(*(use(manager) for _ in range(8))) == ["in\n"] * 8
                async with await manager.connect(1) as connection:
                    assert (await connection.run("echo own")).stdout == "own\n"
                await asyncio.sleep(0.3)  # older and more idle than ours may be
                await manager.check_health()
                assert await use(manager) == "in\n"
                await manager.disconnect(1)
                assert await use(manager) == "in\n"
                assert list(directory.iterdir()) == []  # nothing of it is on record
            assert server.logins == 1
        assert path.exists()


async def test_what_ssh_config_says(place: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        config = place / "config"
        config.write_text(
            f"Include {server.config_file}\nHost *\n    ControlPath {place}/%C\n"
            "    ControlMaster auto\n    ControlPersist 30\n"
        )
        line = ["ssh", "-F", str(config), server.alias]
        subprocess.run([*line, "true"], check=True, stdin=subprocess.DEVNULL)  # by hand
        try:
            with control_directory() as directory:
                async with ConnectionManager(control_dir=directory) as manager:
                    manager.register_cluster(
                        1, server.alias, config_file=config, control_path="config", dial="never"
                    )
                    assert await use(manager) == "in\n"
                    assert server.logins == 1
        finally:
            subprocess.run([*line, "-O", "exit"], check=True, capture_output=True)


@pytest.mark.parametrize("control_path", ["config", "path", None])
async def test_never_dialling_says_what_to_type(place: Path, control_path: str | None) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        config = place / "config"
        config.write_text(f"Include {server.config_file}\nHost *\n    ControlPath {place}/%C\n")
        path = {"config": "config", "path": place / "mine"}.get(control_path or "")
        with control_directory() as directory:
            async with nothing_left(), ConnectionManager(control_dir=directory) as manager:
                manager.register_cluster(
                    1,
                    server.alias,
                    config_file=config,
                    control_path=path,  # type: ignore[arg-type]
                    dial="never",
                )
                results = await asyncio.gather(
                    *(use(manager) for _ in range(5)), return_exceptions=True
                )
                assert {type(result) for result in results} == {sshmux.NotLoggedIn}
                message = str(results[0])
                assert "Log in first: " in message
                if control_path is None:
                    assert f"sshmux login {server.alias}" in message
                else:
                    assert "-fNM" in message
                    command = message.partition("Log in first: ")[2]
                    subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL)
                    assert await use(manager) == "in\n"  # it was not given up for good
        if path is not None:
            assert server.logins == 1
            socket = next(item for item in place.iterdir() if item.is_socket())
            subprocess.run(
                ["ssh", "-S", socket, "-O", "exit", "x"], check=True, capture_output=True
            )
        else:
            assert server.connections == 0


async def test_when_it_goes_away_we_log_in_ourselves_or_say_so(place: Path) -> None:
    path = place / "mine"
    for dial in ("auto", "never"):
        async with PrivateServer(login_shell="/bin/sh") as server:
            with control_directory() as directory:
                async with nothing_left(), ConnectionManager(control_dir=directory) as manager:
                    async with contextlib.AsyncExitStack() as stack:
                        master = await stack.enter_async_context(own_master(server, path))
                        manager.register_cluster(
                            1,
                            **options(server, control_path=path, dial=dial),  # type: ignore[arg-type]
                        )
                        assert await use(manager) == "in\n"
                        stack.pop_all()
                    end(master)

                    async def gone() -> bool:
                        figures = await manager.get_connection_metrics(1)
                        return bool(figures["total_connections"] == 0)

                    while not await gone():
                        await asyncio.sleep(0.01)
                    if dial == "auto":
                        assert await use(manager) == "in\n"
                        assert server.logins == 2
                    else:
                        with pytest.raises(sshmux.NotLoggedIn):
                            await use(manager)
                        assert server.logins == 1


async def test_commands_on_it_are_ended_and_it_is_not(place: Path) -> None:
    path = place / "mine"
    async with PrivateServer(login_shell="/bin/sh") as server, own_master(server, path):
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, drain_timeout=0.1) as manager:
                manager.register_cluster(1, **options(server, control_path=path))  # type: ignore[arg-type]
                async with manager.get_connection(1) as connection:
                    with pytest.raises(sshmux.ProcessTimeout):
                        await connection.run("sleep 1000.25", timeout=0.5)
                    task = asyncio.ensure_future(connection.run("sleep 1000.25"))
                    await asyncio.sleep(0.2)
                    await manager.stop()
                    with pytest.raises(sshmux.Error):
                        await task

            def still() -> str:
                listed = subprocess.run(
                    ["pgrep", "-fx", "sleep 1000.25"], capture_output=True, text=True, check=False
                )
                return listed.stdout

            await until(lambda: not still())


async def test_somebody_elses_socket_is_not_used(place: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to make a socket of somebody else's")
    path = place / "theirs"
    async with PrivateServer(login_shell="/bin/sh") as server, own_master(server, path):
        os.chown(path, 65534, -1)
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory) as manager:
                manager.register_cluster(
                    1,
                    **options(server, control_path=path, dial="never"),  # type: ignore[arg-type]
                )
                with pytest.raises(sshmux.ControlDirError, match="65534"):
                    await use(manager)


async def test_never_dialling_uses_what_was_left_behind_and_leaves_it(place: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, persist=60) as manager:
                manager.register_cluster("first", **options(server))  # type: ignore[arg-type]
                assert await manager.test_connection("first")
            for _ in range(2):
                async with ConnectionManager(
                    control_dir=directory, max_age=0.1, max_idle=0.1
                ) as manager:
                    manager.register_cluster(1, **options(server, dial="never"))  # type: ignore[arg-type]
                    assert await use(manager) == "in\n"
                    async with manager.get_connection(1) as connection:
                        await connection.run("sleep 0.2")  # it is older than max_age by then
                    await asyncio.sleep(0.2)  # and idle for longer than max_idle
                    assert await use(manager) == "in\n"
            assert server.logins == 1
            async with ConnectionManager(control_dir=directory) as manager:
                manager.register_cluster(1, **options(server, dial="never"))  # type: ignore[arg-type]
                assert await use(manager) == "in\n"
                await manager.disconnect(1)  # really closes
                with pytest.raises(sshmux.NotLoggedIn):
                    await use(manager)
