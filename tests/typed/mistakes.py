"""Mistakes that a type checker has to find, each marked. Never run."""

from __future__ import annotations

import subprocess

from sshmux import Connection, ConnectionManager


async def main(conn: Connection) -> None:
    ConnectionManager(pool_sise=3)  # WRONG
    ConnectionManager(grace="long")  # WRONG
    manager = ConnectionManager()
    manager.register_cluster(1, "hpc", keyfile="x")  # WRONG
    manager.register_cluster(1, "hpc", dial="sometimes")  # WRONG
    (await conn.run("x")).stdout.decode()  # WRONG
    (await conn.run("x", encoding=None)).stdout.encode()  # WRONG
    await conn.run("x", timout=3)  # WRONG
    process = await conn.create_process("x", stdout=subprocess.DEVNULL)
    await process.stdout.read()  # WRONG
    piped = await conn.create_process("x")
    piped.stdin.write(b"x")  # WRONG
