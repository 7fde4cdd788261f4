"""A pipe that is fed from a descriptor of any kind, when its time has come."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sshmux.system.feeding import Feed
from sshmux.system.pipes import Reader

DATA = os.urandom(3_000_000)


def _file(directory: Path) -> int:
    (directory / "data").write_bytes(DATA)
    return os.open(directory / "data", os.O_RDONLY)


def _pipe(directory: Path) -> int:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(DATA)

    threading.Thread(target=write).start()
    return reading


def _socket(directory: Path) -> int:
    one, other = socket.socketpair()

    def write() -> None:
        with other:
            other.sendall(DATA)

    threading.Thread(target=write).start()
    return one.detach()


def _appended(directory: Path) -> int:
    (directory / "log").write_bytes(DATA)
    return os.open(directory / "log", os.O_RDWR | os.O_APPEND)


@pytest.mark.parametrize("splice", [True, False])
@pytest.mark.parametrize("kind", [_file, _pipe, _socket, _appended])
async def test_everything_arrives(
    kind: Callable[[Path], int], splice: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not splice:
        monkeypatch.delattr(os, "splice", raising=False)
    reader, writing = Reader.pipe()
    feed = Feed(kind(tmp_path), writing)
    await asyncio.sleep(0.05)
    assert reader.bytes() == b""  # nothing before its time
    feed.begin()
    async with asyncio.timeout(20):
        await reader.ended()
    assert reader.bytes() == DATA


async def test_a_terminal_and_the_null_device() -> None:
    ours, theirs = pty.openpty()
    reader, writing = Reader.pipe()
    feed = Feed(theirs, writing)
    feed.begin()
    os.write(ours, b"typed\n")
    async with asyncio.timeout(5):
        while reader.bytes() != b"typed\n":
            await asyncio.sleep(0.01)
    feed.close()
    os.close(ours)
    await reader.ended()
    reader, writing = Reader.pipe()
    Feed(os.open(os.devnull, os.O_RDONLY), writing).begin()
    async with asyncio.timeout(5):
        await reader.ended()
    assert reader.bytes() == b""


async def test_a_reader_that_leaves_ends_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    feed = Feed(_file(tmp_path), writing)
    feed.begin()
    await asyncio.sleep(0.05)
    os.close(reading)
    await asyncio.sleep(0.05)
    assert repr(feed)  # it is closed: nothing is watched, and no descriptor is left
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
    feed.close()
    after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
    assert before == after
