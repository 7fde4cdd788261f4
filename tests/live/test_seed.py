"""SEED: programs written for the asyncssh-based manager run with only the import changed.

The blocks below are that manager's own documentation. What is rewritten: `src.core.…` becomes
`sshmux` (the import), the example's hosts become aliases of private servers (with their port,
user and key, where the example names a key), and `~/.ssh/…` becomes the private server's key.
"""

from __future__ import annotations

import asyncio
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux.testing import PrivateServer

from ..support import control_directory, nothing_left

COMPLETE = """
import asyncio
from pathlib import Path
from src.core.connection_manager import ConnectionManager

async def main():
    # Create and start manager
    manager = ConnectionManager(pool_size=5)
    await manager.start()

    try:
        # Register cluster
        manager.register_cluster(
            cluster_id=1,
            host="cluster.example.com",
            username="user",
            key_file=Path("~/.ssh/id_rsa").expanduser()
        )

        # Test connection
        if await manager.test_connection(1):
            print("✅ Connection successful")
        else:
            print("❌ Connection failed")
            return

        # Run commands
        async with manager.get_connection(1) as conn:
            # Get hostname
            result = await conn.run("hostname")
            print(f"Hostname: {result.stdout.strip()}")

            # List directory
            result = await conn.run("ls -la /tmp")
            print(f"Files:\\n{result.stdout}")

        # Check metrics
        metrics = await manager.get_connection_metrics(1)
        print(f"Pool stats: {metrics}")

    finally:
        # Always cleanup
        await manager.stop()

if __name__ == "__main__":
    asyncio.run(main())
"""

MULTIPLE = """
import asyncio
from pathlib import Path
from src.core.connection_manager import ConnectionManager

async def multi_cluster():
    manager = ConnectionManager()
    await manager.start()

    try:
        # Register multiple clusters
        for i, host in enumerate(["cluster1.com", "cluster2.com"], 1):
            manager.register_cluster(
                cluster_id=i,
                host=host,
                key_file=Path(f"~/.ssh/cluster{i}_key").expanduser()
            )

        # Run commands on all clusters concurrently
        async def run_on_cluster(cluster_id):
            async with manager.get_connection(cluster_id) as conn:
                result = await conn.run("uname -a")
                return cluster_id, result.stdout.strip()

        results = await asyncio.gather(
            run_on_cluster(1),
            run_on_cluster(2)
        )

        for cluster_id, output in results:
            print(f"Cluster {cluster_id}: {output}")

    finally:
        await manager.stop()

asyncio.run(multi_cluster())
"""

REGISTER = """
# Register with SSH key authentication (recommended)
manager.register_cluster(
    cluster_id=1,
    host="cluster.example.com",
    port=22,
    username="user",
    key_file=Path("~/.ssh/id_rsa").expanduser(),
    use_agent=True
)

# Register with password authentication
manager.register_cluster(
    cluster_id=2,
    host="other-cluster.example.com",
    username="user"
)
manager.set_password(2, "secure_password")

# Context manager (recommended - automatic release)
async with manager.get_connection(cluster_id=1) as conn:
    result = await conn.run("ls -la")
    print(result.stdout)

# Multiple commands on same connection
async with manager.get_connection(cluster_id=1) as conn:
    result1 = await conn.run("cd /tmp")
    result2 = await conn.run("pwd")
    result3 = await conn.run("ls")

# Test if connection works
is_working = await manager.test_connection(cluster_id=1)
if is_working:
    print("Connection successful")
else:
    print("Connection failed")

# Get connection statistics
metrics = await manager.get_connection_metrics(cluster_id=1)
print(f"Total connections: {metrics['total_connections']}")
print(f"In use: {metrics['in_use']}")
print(f"Available: {metrics['available']}")
print(f"Average age: {metrics['avg_age_seconds']:.1f}s")

config = ConnectionConfig(
    host="cluster.example.com",
    port=2222,
    username="admin",
    key_file=Path("/secure/keys/cluster_key"),
    use_agent=False,
    timeout=60,  # Connection timeout in seconds
    keepalive_interval=30  # Keepalive every 30 seconds
)

# Store password securely
manager.set_password(cluster_id=1, password="secret123")

# Retrieve password (rarely needed - manager handles this)
password = manager.get_password(cluster_id=1)
assert password == "secret123"

# Delete password
manager.delete_password(cluster_id=1)

# Create connection manually
connection = await manager.connect(cluster_id=1)

# Use connection
result = await connection.run("hostname")

# Remember to close when done
connection.close()
await connection.wait_closed()

# Close all connections to a cluster
await manager.disconnect(cluster_id=1)

try:
    async with manager.get_connection(cluster_id=1) as conn:
        result = await conn.run("command")
except asyncssh.Error as e:
    print(f"SSH error: {e}")
except asyncio.TimeoutError:
    print("Connection timeout")
except ValueError as e:
    print(f"Configuration error: {e}")

# Increase timeout for slow networks
config = ConnectionConfig(
    host="cluster.example.com",
    timeout=120  # 2 minutes
)

# Low concurrency (1-3 tasks)
low = ConnectionManager(pool_size=2)

# Uses settings from ~/.ssh/config
manager.register_cluster(cluster_id=1, host="cluster")
"""


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    with control_directory() as made:
        monkeypatch.setenv("SSHMUX_DIR", str(made))
        yield made


def adapted(text: str, servers: dict[str, PrivateServer]) -> str:
    """The example, with its hosts and keys being ours. The import is the only other change."""
    text = text.replace("from src.core.connection_manager import", "from sshmux import")
    return text.replace('username="user"', f'username="{next(iter(servers.values())).username}"')


class SystemConfig:
    """Puts hosts into an ssh_config and makes every ssh read it, as ~/.ssh/config would be.

    ssh takes the home directory from the password database, not from $HOME; so a wrapper called
    ssh, first on PATH, adds -F.
    """

    def __init__(self, directory: Path, hosts: dict[str, PrivateServer]) -> None:
        config = directory / "config"
        blocks = []
        for name, server in hosts.items():
            blocks.append(
                f"Host {name}\n    HostName {server.host}\n    Port {server.port}\n"
                f"    User {server.username}\n    IdentityFile {server.key_file}\n"
                f"    UserKnownHostsFile {server.known_hosts_file}\n    IdentityAgent none\n"
            )
        config.write_text("".join(blocks))
        wrapper = directory / "bin" / "ssh"
        wrapper.parent.mkdir()
        import shutil

        real = shutil.which("ssh")
        wrapper.write_text(
            "#!/bin/sh\n"
            f'case " $* " in *" -F none "*|*" -V "*) exec {real} "$@" ;; esac\n'
            f'exec {real} -F {config} "$@"\n'
        )
        wrapper.chmod(0o755)
        self.path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"


def keys(text: str, tmp_path: Path, server: PrivateServer) -> str:
    """The example's keys, `~/.ssh/NAME`, made from the server's."""
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    for name in ("id_rsa", "cluster1_key", "cluster2_key"):
        (home / name).write_bytes(server.key_file.read_bytes())
        (home / name).chmod(0o600)
    return text.replace("~/.ssh/", f"{home}/")


async def python(program: str, path: str) -> tuple[int, str, str]:
    """Runs an example as a program of its own."""
    import sys

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error::ResourceWarning", "-c", program),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": path},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_complete_example(directory: Path, tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        servers = {"cluster.example.com": server}
        program = keys(adapted(COMPLETE, servers), tmp_path, server)
        path = SystemConfig(tmp_path, servers).path
        status, out, err = await python(program, path)
        assert (status, err) == (0, "")
        assert "✅ Connection successful" in out
        assert "Hostname: " in out
        assert "Pool stats: {'total_connections': 1" in out
        assert server.logins == 1


async def test_multiple_clusters(directory: Path, tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as one:
        async with PrivateServer(login_shell="/bin/sh") as two:
            servers = {"cluster1.com": one, "cluster2.com": two}
            program = adapted(MULTIPLE, servers)
            program = keys(program, tmp_path, one).replace("cluster{i}_key", "cluster{i}_key")
            (tmp_path / "home" / ".ssh" / "cluster2_key").write_bytes(two.key_file.read_bytes())
            status, out, err = await python(program, SystemConfig(tmp_path, servers).path)
            assert (status, err) == (0, "")
            assert out.startswith("Cluster 1: Linux") or "Cluster 1: Darwin" in out
            assert (one.logins, two.logins) == (1, 1)


async def test_every_other_snippet(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        hosts = ("cluster.example.com", "other-cluster.example.com", "cluster")
        servers = dict.fromkeys(hosts, server)
        monkeypatch.setenv("PATH", SystemConfig(tmp_path, servers).path)
        text = keys(adapted(REGISTER, servers), tmp_path, server)
        body = textwrap.indent(text, "    ")
        names: dict[str, Any] = {
            "asyncio": asyncio,
            "asyncssh": sshmux,  # `import sshmux as asyncssh`
            "Path": Path,
            "ConnectionConfig": sshmux.ConnectionConfig,
            "ConnectionManager": sshmux.ConnectionManager,
        }
        exec(f"async def snippets(manager):\n{body}", names)
        async with nothing_left(), sshmux.ConnectionManager(pool_size=5) as manager:
            await names["snippets"](manager)
