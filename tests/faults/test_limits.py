"""A program at its limits: descriptors, processes, file sizes, memory, a full disk.

Each cell is a program of its own: it reaches the limit, does one thing, and gets over the limit
again. What it did is finished, or ends in an error of ours, soon; afterwards everything works as
before, and nothing is left. A tenth of the cells by default: see `choice`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshmux.testing import PrivateServer

from ..support import control_directory, masters, until
from .choice import SEED, chosen

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits as Linux has them"
)

PROGRAM = textwrap.dedent(
    """
    import asyncio, contextlib, json, os, resource, sys, time
    import sshmux
    from sshmux import ConnectionManager

    limit, doing, engine, directory, here, there, server = sys.argv[1:]
    server = json.loads(server)
    NAMES = {
        "descriptors": resource.RLIMIT_NOFILE,
        "processes": resource.RLIMIT_NPROC,
        "file sizes": resource.RLIMIT_FSIZE,
        "memory": resource.RLIMIT_AS,
    }

    @contextlib.contextmanager
    def limited():
        name = NAMES.get(limit)
        held = []
        if name is None:  # the disk with the control directory, or the one for the files here
            full = os.path.join(directory if limit == "control directory" else here, "filler")
            with open(full, "wb", buffering=0) as file:
                for size in (4096, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(b"x" * size)
            try:
                yield
            finally:
                os.unlink(full)
            return
        soft, hard = resource.getrlimit(name)
        if limit == "descriptors":
            low = max(map(int, os.listdir("/proc/self/fd"))) + 1
        elif limit == "memory":
            with open("/proc/self/statm") as file:
                low = int(file.read().split()[0]) * resource.getpagesize() + 300_000
        else:
            low = {"processes": 1, "file sizes": 100}[limit]
        resource.setrlimit(name, (low, hard))
        try:
            if limit == "descriptors":
                with contextlib.suppress(OSError):
                    while True:
                        held.append(os.open("/dev/null", os.O_RDONLY))
            yield
        finally:
            resource.setrlimit(name, (soft, hard))
            for each in held:
                os.close(each)

    async def dial(manager):
        async with manager.get_connection("new", timeout=20) as connection:
            return (await connection.run("echo done")).stdout

    async def run(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            return (await connection.run("echo done", timeout=20)).stdout

    async def much(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            got = await connection.run("head -c 30000000 /dev/zero", timeout=20)
            assert len(got.stdout) == 30_000_000
            return "done\\n"

    async def stream(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            async with connection.create_process("cat") as process:
                process.stdin.write("done\\n")
                return await process.stdout.readline()

    async def put(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            await connection.put(f"{here}/source", f"{there}/target")
            assert os.path.getsize(f"{there}/target") == 300_000
            return "done\\n"

    async def get(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            await connection.get(f"{there}/source", f"{here}/target")
            assert os.path.getsize(f"{here}/target") == 300_000
            return "done\\n"

    async def get_tree(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            await connection.get(f"{there}/tree", f"{here}/tree", recurse=True)
            assert os.path.getsize(f"{here}/tree/source") == 300_000
            return "done\\n"

    async def sftp(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            async with connection.start_sftp_client() as client:
                await client.get(f"{there}/source", f"{here}/target")
            assert os.path.getsize(f"{here}/target") == 300_000
            return "done\\n"

    async def forward(manager):
        async with manager.get_connection("old", timeout=20) as connection:
            reader, writer = await connection.open_connection(server["host"], server["port"])
            try:
                assert (await reader.readline()).startswith(b"SSH-2")
            finally:
                writer.close()
            return "done\\n"

    async def relogin(manager):
        await manager.disconnect("old")
        return await run(manager)

    async def main():
        told = {}
        async with ConnectionManager(
            1, engine=engine, control_dir=directory, drain_timeout=0.5
        ) as manager:
            for cluster in ("old", "new"):
                manager.register_cluster(cluster, timeout=6, **server)
            if doing != "dial":
                await run(manager)
            with limited():
                started = time.monotonic()
                try:
                    told["outcome"] = await asyncio.wait_for(globals()[doing](manager), 30)
                except (sshmux.Error, MemoryError, OSError) as error:
                    # A file here that SFTP cannot write is the system's own error, and named.
                    local = doing == "sftp" and getattr(error, "filename", None)
                    assert local or isinstance(error, (sshmux.Error, MemoryError)), error
                    told["outcome"] = type(error).__name__
                    told["words"] = str(error)
                    told["started"] = getattr(error, "started", None)
                told["seconds"] = time.monotonic() - started
            for name in ("target", "tree"):
                path = os.path.join(here, name)
                if told["outcome"] != "done\\n" and doing != "sftp":  # which writes in place
                    assert not os.path.exists(path), f"{name} is there, after {told}"
            assert await dial(manager) == "done\\n"
            assert await run(manager) == "done\\n"
            assert await globals()[doing](manager) == "done\\n"
        print(json.dumps(told))

    asyncio.run(main())
    """
)

LIMITS = {
    "descriptors": ("DescriptorLimit",),
    "processes": ("ProcessLimit",),
    "file sizes": ("NoSpaceLeft", "ControlDirError", "OSError"),
    "memory": ("MemoryError", "ProcessLimit", "ControlDirError"),
    "control directory": ("ControlDirError",),
    "disk": ("NoSpaceLeft", "OSError"),
}
SITUATIONS = ("dial", "run", "much", "stream", "put", "get", "get_tree", "sftp", "forward")
ENGINES = ("ssh", "mux")
CELLS = [(limit, doing, engine) for limit in LIMITS for doing in SITUATIONS for engine in ENGINES]


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sx"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", path],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        path.rmdir()
        pytest.skip(f"no disk of our own can be mounted: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)
        path.rmdir()


@pytest.mark.parametrize(("limit", "doing", "engine"), chosen(CELLS))
async def test_at_the_limit(limit: str, doing: str, engine: str, tmp_path: Path) -> None:
    print(f"SSHMUX_FAULTS={SEED}")
    if limit == "processes" and os.geteuid() == 0:
        pytest.skip("root may have as many processes as it likes: run this as a user")
    there = tmp_path / "there"
    (there / "tree").mkdir(parents=True)
    (there / "source").write_bytes(os.urandom(300_000))
    shutil.copy(there / "source", there / "tree")
    with control_directory() as directory:
        if limit in ("control directory", "disk"):
            with small_disk("1m") as disk:
                where = (
                    (disk, tmp_path / "here") if limit == "control directory" else (directory, disk)
                )
                where[1].mkdir(exist_ok=True)
                await _cell(limit, doing, engine, where[0], where[1], there)
        else:
            (tmp_path / "here").mkdir()
            await _cell(limit, doing, engine, directory, tmp_path / "here", there)


async def _cell(
    limit: str, doing: str, engine: str, directory: Path, here: Path, there: Path
) -> None:
    (here / "source").write_bytes(os.urandom(300_000))
    async with PrivateServer(login_shell="/bin/sh") as server:
        files = {"key_file": server.key_file, "known_hosts_file": server.known_hosts_file}
        words = {name: str(path) for name, path in files.items()}
        words |= {"host": server.host, "username": server.username}
        known = {**words, "port": server.port, "config_file": str(server.config_file)}
        line = [sys.executable, "-c", PROGRAM, limit, doing, engine]
        arguments = [str(directory), str(here), str(there), json.dumps(known)]
        done = await asyncio.to_thread(
            subprocess.run,
            [*line, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        told = json.loads(done.stdout)
        print(limit, doing, engine, told)
        await until(lambda: not masters(directory))
        assert list(directory.iterdir()) == []
        assert {path.name for path in here.iterdir()} <= {"source", "target", "tree"}
        assert {path.name for path in there.iterdir()} <= {"source", "target", "tree"}
    assert told["seconds"] < 15, told
    assert told["outcome"] in ("done\n", *LIMITS[limit]), told
