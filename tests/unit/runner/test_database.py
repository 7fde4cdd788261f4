"""The catalogue of clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ConfigError, ConnectionManager, Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "store")


def test_clusters_are_kept(database: Database, tmp_path: Path) -> None:
    one = database.add_cluster("first", "hpc.example.org", 2222, "ada", "~/.ssh/id", timeout=60)
    two = database.add_cluster("second", "ada@hpc2", id="two", ssh_options={"ProxyJump": "b"})
    assert (one.id, two.id, one.key_file) == (1, "two", str(Path("~/.ssh/id").expanduser()))
    with Database(tmp_path / "store") as again:
        assert again.get_clusters() == [one, two]
    changed = database.update_cluster(1, name="renamed", timeout=None, port=22)
    assert (changed.name, changed.port, dict(changed.options)) == ("renamed", 22, {})
    database.remove_cluster("two")
    assert [row.id for row in database.get_clusters()] == [1]
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "-oProxyCommand=x"},
        {"host": "hpc", "port": 0},
        {"host": "hpc", "password": "secret"},
        {"host": "hpc", "timeout": "long"},
        {"host": "hpc", "nonsense": 1},
        {"host": "hpc", "id": 2.5},
        {"host": "hpc", "id": "taken"},
    ],
)
def test_what_cannot_be_registered_is_not_kept(database: Database, wrong: dict[str, Any]) -> None:
    database.add_cluster("taken", "hpc", id="taken")
    with pytest.raises(ConfigError):
        database.add_cluster("name", **wrong)
    with pytest.raises(ConfigError, match="no cluster"):
        database.update_cluster("nobody", port=1)
    assert len(database.get_clusters()) == 1
    assert b"secret" not in database.path.read_bytes()


def test_ssh_config_is_imported(database: Database, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host hpc bastion\n HostName x\nHost *.example.org !no\nMatch all\n")
    assert [row.host for row in database.import_ssh_config(config)] == ["bastion", "hpc"]
    assert database.import_ssh_config(config) == []
    manager = ConnectionManager(control_dir=tmp_path / "c")
    assert len(database.register_all(manager)) == 2


async def test_the_seeds_program(database: Database, short_dir: Path) -> None:
    """The TUI's integration, as it is printed, but for the imports."""
    database.add_cluster("hpc", "hpc.example.org", username="ada")

    class App:
        def __init__(self) -> None:
            self.db = database

        async def on_mount(self) -> None:
            self.conn_manager = ConnectionManager(pool_size=5, control_dir=short_dir / "c")
            await self.conn_manager.start()
            for cluster in self.db.get_clusters():
                self.conn_manager.register_cluster(
                    cluster_id=cluster.id,
                    host=cluster.host,
                    port=cluster.port,
                    username=cluster.username,
                    key_file=Path(cluster.key_file) if cluster.key_file else None,
                )
            self.remote_runner = sshmux.RemoteRunner(self.conn_manager)

        async def on_unmount(self) -> None:
            await self.conn_manager.stop()

    app = App()
    await app.on_mount()
    await app.on_unmount()
