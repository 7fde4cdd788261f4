"""Five gigabytes with holes, there and back, each way: the same checksum, and flat memory.

One gigabyte in a soak of less than five minutes, as CI is: sizes beyond 32 bits take a long one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from .test_sftp import lent

pytestmark = [pytest.mark.soak, pytest.mark.both_engines, pytest.mark.timeout(600)]

LONG = float(os.environ.get("SSHMUX_SOAK_SECONDS", "600")) >= 300
SIZE = (5 if LONG else 1) * 1024**3
FLAT = 64 * 1024**2  # bytes that a transfer may take, whatever its size; a busy machine holds more


def plant(path: Path) -> str:
    with path.open("wb") as file:
        for at in (0, 1_000_000_007, min(2**32 - 5, SIZE // 2), SIZE - 3):
            file.seek(at)
            file.write(os.urandom(min(10_000, SIZE - at)))
    assert path.stat().st_size == SIZE
    return digest(path)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def test_gigabytes(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 3 * SIZE:
        pytest.skip(f"needs {3 * SIZE / 2**30:.0f} GiB in {tmp_path}")
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    try:
        await _moved(source, there, back)
    finally:
        for path in (source, there, back):
            path.unlink(missing_ok=True)  # pytest would keep them


async def _moved(source: Path, there: Path, back: Path) -> None:
    small = source.with_name("small")
    expected = plant(source)
    async with lent() as connection, connection.start_sftp_client() as sftp:
        ways: dict[str, tuple[Callable[[], Awaitable[object]], Path]] = {
            "put": (lambda: connection.put(source, there, verify="sha256"), there),
            "get": (lambda: connection.get(there, back), back),
            "SFTP's put": (lambda: sftp.put(source, there), there),
            "SFTP's get": (lambda: sftp.get(there, back), back),
        }
        # What is loaded once for all is no growth.
        small.write_bytes(os.urandom(3_000_000))
        await connection.put(small, there, verify="sha256")
        await sftp.get(there, back)
        before = psutil.Process().memory_info().rss
        for way, (move, target) in ways.items():
            target.unlink()
            most = await _watched(move())
            assert digest(target) == expected, way
            assert most - before <= FLAT, way


async def _watched(work: Awaitable[object]) -> int:
    """Waits for it; the most memory that this process had meanwhile."""
    task, most = asyncio.ensure_future(work), 0
    while not task.done():
        await asyncio.wait((task,), timeout=0.1)
        most = max(most, psutil.Process().memory_info().rss)
    await task
    return most
