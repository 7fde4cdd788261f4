"""Many requests under way: what a real server or disk does only now and then."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshmux import SFTPBadMessage, SFTPSourceChanged, SourceChanged
from sshmux.sftp import bulk, local_file
from sshmux.sftp.local_file import LocalFile, files
from sshmux.sftp.messages import READ

from .peer import Peer, Request, data, status

CONTENT = bytes(range(1, 256)) * 16448  # 4 MiB and a little, without a zero


def serving(content: bytes, most: int = 1 << 20) -> Peer:
    """A peer with one file, that gives at most so much of it at once."""

    def answers(request: Request) -> bytes | None:
        if request.kind != READ:
            return status(request.number)
        request.body.string()
        at, size = request.body.u64(), request.body.u32()
        piece = content[at : at + min(size, most)]
        return data(request.number, piece) if piece else status(request.number, 1)

    return Peer(answers)


@pytest.fixture
def full_at_half_a_megabyte() -> Iterator[None]:
    """This process may write no longer files (Python ignores the signal that goes with it)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def fetch(peer: Peer, path: Path, size: int | None, *, block: int, sparse: bool) -> int:
    file = LocalFile(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), bytes(path))
    try:
        await bulk.download(
            *(peer.server, b"h", bulk.Size(size), file),
            block=block,
            most=bulk.requests_for(block),
            sparse=sparse,
            progress=None,
        )
    finally:
        await file.close()
    return path.stat().st_size


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("size", [1024 * 1024, 1024 * 1024 + 1, 2 * 1024 * 1024, 600_000])
async def test_a_write_that_fails_in_the_background_fails_the_download(
    tmp_path: Path, size: int, sparse: bool, full_at_half_a_megabyte: None
) -> None:
    content = CONTENT[:size]
    with pytest.raises(OSError) as failed:
        await fetch(serving(content), tmp_path / "f", size, block=32768, sparse=sparse)
    assert failed.value.errno == errno.EFBIG


@pytest.mark.parametrize("most", [1, 7, 100, 4096, 1 << 20])
@pytest.mark.parametrize("block", [300, 32768, 261120])
@pytest.mark.parametrize("sparse", [False, True])
async def test_a_server_that_gives_less_than_it_is_asked_for(
    tmp_path: Path, most: int, block: int, sparse: bool
) -> None:
    content = CONTENT[: min(1_200_000, 500 * most, 3000 * block)]
    size = await fetch(
        serving(content, most), tmp_path / "f", len(content), block=block, sparse=sparse
    )
    assert size == len(content)
    assert (tmp_path / "f").read_bytes() == content


@pytest.mark.parametrize("told", [None, 0, 10_000])
async def test_the_end_is_where_the_server_says_it_is(tmp_path: Path, told: int | None) -> None:
    content = CONTENT[:10_000]
    assert await fetch(serving(content), tmp_path / "f", told, block=1000, sparse=True) == 10_000
    assert (tmp_path / "f").read_bytes() == content


@pytest.mark.parametrize("told", [1, 999, 1000, 1001, 5000, 9999, 10_001, 11_000, 20_000])
@pytest.mark.parametrize("sparse", [False, True])
async def test_a_file_that_is_longer_or_shorter_than_it_was(
    tmp_path: Path, told: int, sparse: bool
) -> None:
    content = CONTENT[:10_000]
    with pytest.raises(SFTPSourceChanged, match="longer" if told < 10_000 else "shorter") as caught:
        await fetch(serving(content), tmp_path / "f", told, block=1000, sparse=sparse)
    assert isinstance(caught.value, SourceChanged)
    assert (tmp_path / "f").read_bytes() == content[:told]


async def test_whether_there_is_more_costs_no_round_trip(tmp_path: Path) -> None:
    """The byte after the end is asked for with the rest."""
    for size, requests in ((10, 1), (999, 1), (1000, 2), (1001, 2), (3000, 4)):
        peer = serving(CONTENT[:size])
        await fetch(peer, tmp_path / "f", size, block=1000, sparse=False)
        assert len(peer.of(READ)) == requests


async def test_more_than_was_asked_for(tmp_path: Path) -> None:
    def answers(request: Request) -> bytes:
        return data(request.number, bytes(5000))

    with pytest.raises(SFTPBadMessage, match="5000 bytes where"):
        await fetch(Peer(answers), tmp_path / "f", 100, block=1000, sparse=False)
    assert (tmp_path / "f").stat().st_size == 0


async def test_a_file_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says it has no bytes may be of /proc, but is no device that never ends."""
    monkeypatch.setattr(bulk, "_UNTOLD", 100_000)
    with pytest.raises(SFTPSourceChanged, match="longer"):
        await fetch(serving(CONTENT), tmp_path / "f", 0, block=1000, sparse=False)
    assert (tmp_path / "f").stat().st_size == 100_000


async def test_cancelled_twice_a_thread_is_still_waited_for(tmp_path: Path) -> None:
    entered, leave, left = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(_: int) -> None:
        loop.call_soon_threadsafe(entered.set)
        leave.wait()
        left.set()

    async def use() -> None:
        file = LocalFile(os.open(tmp_path, os.O_RDONLY), b"")
        try:
            await file.do(work)
        finally:
            await file.close()

    task = asyncio.ensure_future(use())
    await entered.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()


async def test_a_thread_that_hangs_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_file, "_HUNG", 0.05)
    leave, descriptor = threading.Event(), os.open(tmp_path, os.O_RDONLY)
    file = LocalFile(descriptor, b"")
    work = file.begin(lambda _: leave.wait())
    await file.close()
    os.fstat(descriptor)  # the thread may still use it
    leave.set()
    await work
    async with asyncio.timeout(5):
        with contextlib.suppress(OSError):
            while True:
                os.fstat(descriptor)
                await asyncio.sleep(0.001)


async def test_a_download_that_is_cancelled_leaves_no_write_behind(tmp_path: Path) -> None:
    # All the threads are taken: the write waits for one when the cancellation comes.
    leave = threading.Event()
    taken = [files.submit(leave.wait) for _ in range(4)]
    content = CONTENT[: 1024 * 1024]
    fetching = fetch(serving(content), tmp_path / "f", len(content), block=262000, sparse=False)
    task = asyncio.ensure_future(fetching)
    for _ in range(100):
        await asyncio.sleep(0)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(future.result() for future in taken)
