"""The seed's integration with its terminal UI, as it is printed, inside a real Textual app."""

from __future__ import annotations

import asyncio
import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sshmux import Database, Job
from sshmux.testing import PrivateServer

from .test_seed import SystemConfig, directory

textual = pytest.importorskip("textual.app", reason="needs the package textual")

__all__ = ["directory"]

# Only the imports are changed.
PRINTED = """
from pathlib import Path
from sshmux import ConnectionManager, RemoteRunner

# In your TUI app
async def on_mount(self):
    # Create shared connection manager
    self.conn_manager = ConnectionManager(pool_size=5)
    await self.conn_manager.start()

    # Register configured clusters
    for cluster in self.db.get_clusters():
        self.conn_manager.register_cluster(
            cluster_id=cluster.id,
            host=cluster.host,
            port=cluster.port,
            username=cluster.username,
            key_file=Path(cluster.key_file) if cluster.key_file else None
        )

    # Create runner with shared manager
    self.remote_runner = RemoteRunner(self.conn_manager)

async def on_unmount(self):
    # Cleanup
    await self.conn_manager.stop()
"""


async def test_the_integration_as_it_is_printed(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: dict[str, Any] = {}
    exec(textwrap.dedent(PRINTED), printed)
    monkeypatch.setenv("SSHMUX_STORE", str(tmp_path / "store"))
    async with PrivateServer(login_shell="/bin/sh") as server:
        config = SystemConfig(tmp_path, {"hpc": server})
        monkeypatch.setenv("PATH", config.path)
        database = Database(tmp_path / "store")
        row = database.add_cluster(
            *("hpc", "hpc"),
            port=server.port,
            username=server.username,
            key_file=str(server.key_file),
        )

        class App(textual.App[None]):  # type: ignore[misc, name-defined]
            db = database
            on_mount = printed["on_mount"]
            on_unmount = printed["on_unmount"]

        app: Any = App()
        async with app.run_test() as pilot:
            await pilot.pause()
            async with app.conn_manager.get_connection(row.id) as connection:
                assert (await connection.run("echo on")).stdout == "on\n"
            job = Job(script="echo done", login_shell=False)
            handle = await app.remote_runner.submit(row.id, job)
            waiting = asyncio.ensure_future(app.remote_runner.wait(handle, 60))
            while not waiting.done():
                await pilot.pause(0.05)  # the app draws meanwhile
            assert (await waiting).ok
            lines = [line.text async for line in app.remote_runner.output(handle)]
            assert lines == ["done"]
            await app.remote_runner.cleanup(handle)
        assert os.listdir(directory) == []
