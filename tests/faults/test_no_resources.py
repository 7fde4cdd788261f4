"""No descriptor, no process to be had: log-ins say it, and stop() ends everything all the same."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest

from sshmux.testing import PrivateServer

from ..support import control_directory, masters, until

PROGRAM = textwrap.dedent(
    """
    import asyncio, os, resource, sys
    import sshmux
    from sshmux import ConnectionManager

    async def main(what, engine, directory, host, port, user, key, known, config):
        manager = ConnectionManager(1, engine=engine, control_dir=directory, grace=60)
        await manager.start()
        for cluster in range(12):
            manager.register_cluster(
                cluster, host, int(port), user, key, known_hosts_file=known, config_file=config,
            )

        async def borrow(cluster):
            async with manager.get_connection(cluster) as connection:
                return (await connection.run("echo x")).stdout

        for cluster in range(5):
            assert await borrow(cluster) == "x\\n"
        if what == "descriptors":
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            used = max(map(int, os.listdir("/proc/self/fd")))
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
            held = []
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
        else:
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        got = await asyncio.gather(*map(borrow, range(5, 12)), return_exceptions=True)
        odd = [each for each in got if not isinstance(each, (sshmux.Error, str))]
        assert not odd, odd
        await asyncio.wait_for(manager.stop(), 30)

    asyncio.run(main(*sys.argv[1:]))
    """
)


@pytest.mark.both_engines
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("what", ["descriptors", "processes"])
async def test_stop_needs_nothing_new(what: str, engine: str) -> None:
    if what == "processes" and os.geteuid() == 0:
        pytest.skip("root may have as many processes as it likes: run this as a user")
    async with PrivateServer(login_shell="/bin/sh") as server:
        with control_directory() as directory:
            words = (what, engine, directory, server.host, server.port, server.username)
            files = (server.key_file, server.known_hosts_file, server.config_file)
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", PROGRAM, *map(str, (*words, *files))],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            await until(lambda: not masters(directory))
            assert not list(directory.glob("*.json")), done.stderr
