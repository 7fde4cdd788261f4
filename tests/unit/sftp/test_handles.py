"""Cancelled callers leave nothing open: neither on the remote nor here."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sshmux import SFTPConnectionLost, SFTPFailure
from sshmux.sftp.attrs import SFTPAttrs
from sshmux.sftp.copy_options import CopyOptions
from sshmux.sftp.copying import Item
from sshmux.sftp.file_copier import SFTPFileCopier
from sshmux.sftp.listing import scan
from sshmux.sftp.local_file import files
from sshmux.sftp.messages import CLOSE, FXF_READ, OPENDIR
from sshmux.sftp.operations import Operations

from .peer import Peer, handle, status, turns


async def scanned(server: Operations) -> None:
    async for _ in scan(server, b"d"):
        pass


async def fetched(server: Operations) -> None:
    await SFTPFileCopier(server, CopyOptions()).get(item(b"f", 10), nowhere, None)


def item(path: bytes, size: int) -> Item:
    return Item(path, path, SFTPAttrs(size=size), path, 0, True)


async def nowhere() -> Any:
    raise AssertionError("the source comes first")


async def opened(server: Operations) -> None:
    await server.open(b"f", FXF_READ, SFTPAttrs())


@pytest.mark.parametrize("how", [scanned, fetched, opened])
@pytest.mark.parametrize("late", [False, True])
async def test_a_handle_that_arrives_for_nobody_is_closed(
    how: Callable[[Operations], Awaitable[None]], late: bool
) -> None:
    peer = Peer()
    task = asyncio.ensure_future(how(peer.server))
    await turns()
    assert len(peer.requests) == 1
    if late:
        peer.say(handle(peer.number(0), b"h"))  # in the same turn as the cancellation
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if not late:
        peer.say(handle(peer.number(0), b"h"))
    await turns()
    assert [bytes(request.body.string()) for request in peer.of(CLOSE)] == [b"h"]


async def test_an_answer_that_is_no_handle_needs_no_closing() -> None:
    peer = Peer()
    task = asyncio.ensure_future(opened(peer.server))
    await turns()
    task.cancel()
    await asyncio.wait((task,))
    peer.say(status(peer.number(0), 2, b"No such file"))
    await turns()
    assert len(peer.requests) == 1


async def test_the_session_ends_before_the_answer() -> None:
    peer = Peer()
    task = asyncio.ensure_future(opened(peer.server))
    await turns()
    task.cancel()
    await asyncio.wait((task,))
    peer.channel.fail(SFTPConnectionLost("over"))
    await turns()
    assert peer.closed


async def test_a_file_here_that_is_opened_for_nobody_is_closed(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    leave, entered = threading.Event(), threading.Event()
    submit = files.submit

    def slowly(function: Callable[[], object]) -> object:
        def work() -> object:
            entered.set()
            leave.wait()
            return function()

        return submit(work)

    before = len(os.listdir("/proc/self/fd"))
    files.submit = slowly  # type: ignore[assignment, method-assign]
    try:
        moving = SFTPFileCopier(Peer().server, CopyOptions())
        task = asyncio.ensure_future(moving.put(item(bytes(tmp_path / "f"), 0), nowhere, None))
        await asyncio.to_thread(entered.wait)
        task.cancel()
        await asyncio.wait((task,))
    finally:
        del files.submit  # type: ignore[method-assign]
    assert task.cancelled()
    leave.set()
    await asyncio.wrap_future(submit(lambda: None))
    while len(os.listdir("/proc/self/fd")) > before + 1:
        await asyncio.sleep(0)


async def test_a_fifo_here_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    peer = Peer(lambda request: handle(request.number, b"h"))
    moving = SFTPFileCopier(peer.server, CopyOptions())
    with pytest.raises(SFTPFailure, match="is a FIFO"):
        await moving.put(item(bytes(tmp_path / "fifo"), 0), nowhere, None)
    assert peer.requests == []


async def test_what_is_given_up_waits_for_no_answer() -> None:
    """A server that hangs answers nothing any more; whoever is cancelled is back all the same."""
    peer = Peer(lambda request: handle(request.number, b"h") if request.kind == OPENDIR else None)
    task = asyncio.ensure_future(scanned(peer.server))
    await turns(20)
    task.cancel()
    await asyncio.wait((task,), timeout=5)
    assert task.cancelled()
    assert len(peer.of(CLOSE)) == 1
