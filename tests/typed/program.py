"""A program as users write it. Never run: type checkers read it (tests/unit/test_types.py)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, assert_type

from sshmux import (
    CompletedProcess,
    Connection,
    ConnectionManager,
    PipedProcess,
    ReadableProcess,
    RemoteProcess,
    RemoteShell,
    SFTPClient,
    TerminalPrompter,
)


async def main() -> None:
    manager = ConnectionManager(
        pool_size=2,
        engine="mux",
        prompter=TerminalPrompter(),
        control_dir="/tmp/x",
        grace=30,
        leak_threshold=None,
        share_jump_hosts=False,
    )
    manager.register_cluster(
        1,
        "hpc",
        key_file="~/.ssh/id",
        config_file=Path("config"),
        ssh_options={"ProxyJump": "bastion", "Compression": True},
        remote_shell="posix",
        control_path="config",
        dial="never",
    )
    async with manager, manager.get_connection(1, timeout=5) as conn:
        assert_type(conn, Connection)
        await results(conn)
        await processes(conn)
        await services(conn)
    async with manager.get_shell(1) as shell:
        assert_type(shell, RemoteShell)
        assert_type((await shell.run("true", keep=True)).stdout, str)
        assert_type((await shell.run("true", encoding=None)).stdout, bytes)


async def results(conn: Connection) -> None:
    result = await conn.run(["ls", "-l"], check=True, timeout=3, env={"A": "1"}, cwd="/")
    assert_type(result, CompletedProcess[str])
    assert_type(result.stdout, str)
    print(result.stdout.splitlines(), result.exit_status + 1)
    raw = await conn.run("cat x", encoding=None, input=b"x")
    assert_type(raw.stdout, bytes)
    assert_type(raw.stderr, bytes)


async def maybe_text(conn: Connection, encoding: str | None) -> None:
    assert_type(await conn.run("cat x", encoding=encoding), CompletedProcess[Any])


async def processes(conn: Connection) -> None:
    async with conn.create_process("bc", env={"A": "1"}) as bc:
        assert_type(bc, PipedProcess[str])
        bc.stdin.write("1+1\n")
        assert_type(await bc.stdout.readline(), str)
        assert_type(await bc.stderr.read(), str)
        assert_type((await bc.wait()).stdout, str)
    raw = await conn.create_process("cat", encoding=None)
    raw.stdin.write(b"x")
    assert_type(await raw.stdout.read(), bytes)
    async with conn.create_process("make", stderr=subprocess.STDOUT) as make:
        assert_type(make, ReadableProcess[str])
        async for line in make.stdout:
            print(line.upper())
    sort = await conn.create_process("sort", stdin="names.txt", stdout=subprocess.DEVNULL)
    assert_type(sort, RemoteProcess[str])
    if sort.stdout is not None:
        assert_type(await sort.stdout.read(), str)


async def services(conn: Connection) -> None:
    async with conn.start_sftp_client() as sftp:
        assert_type(sftp, SFTPClient)
        async with sftp.open("f", "rb") as file:
            await file.read()
    async with conn.forward_local_port("localhost", 0, "node", 80) as listener:
        assert_type(listener.get_port(), int)
    await conn.put("a", "b", recurse=True)
