"""Copies between two hosts, through this machine as a pipe."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import Protocol

from ..errors import ConfigError, TransferError, VerifyError
from ..system.selection import Patterns, Selection
from ..system.tasks import run_to_end
from . import finding, reports, scripts, unpack_scripts
from .options import TransferOptions
from .patterns import last_name
from .remote import Remote, ScriptResult
from .sources import DIRECTORIES, FILE, Source, check_names, check_sources, selected, streams
from .transfers import TransferResult
from .trees import complete, look, packing


class Host(Protocol):
    """A connection to one of the two hosts."""

    def transfers(self) -> Remote:
        """What runs our scripts on that host."""


async def copy(
    source: Host,
    source_path: str | bytes | os.PathLike[str],
    target: Host,
    target_path: str | bytes | os.PathLike[str],
    *,
    recurse: bool = False,
    preserve: bool = False,
    verify: str | None = None,
    parents: bool = False,
    exclude: Patterns = (),
    include: Patterns = (),
) -> TransferResult:
    """Copies a file or directory from one host to another (or within one).

    What one session writes, the other reads: by a pipe, so nothing is stored here, and no byte
    passes through Python. A file, or a directory, takes its place when it is whole.

    Parameters:
        source, target: a `Connection` each.
        recurse: copy a directory. It goes as a stream; both hosts need `tar`.
        preserve: keep permissions and times.
        verify: "sha256" compares checksums before a file takes its place.
        parents: make the directories that are missing.
        exclude, include: patterns of what is left out, and of the only files that are taken.

    Raises what `Connection.put` raises.
    """
    if verify not in (None, "sha256") or (verify and recurse):
        raise ConfigError(f'verify={verify!r}: use "sha256", for single files; or None')
    for name, host in (("source", source), ("target", target)):
        if not callable(getattr(host, "transfers", None)):
            raise ConfigError(f"{name}={host!r}: give a Connection")
    selection = Selection.of(exclude, include)
    begun = time.monotonic()
    one, two = source.transfers(), target.transfers()
    path, place = scripts.remote_path(source_path), scripts.remote_path(target_path)
    check_names([path])
    flags = "-" + "p" * preserve + "v" * bool(verify) + "m" * parents
    if recurse and (found := (await look(one, [path], place))[0]).kind in DIRECTORIES:
        check_sources(selected([found], selection, place), place, recurse=True)
        files, size = await _tree(one, found, selection, two, place, flags)
    else:
        selected([Source(FILE, path)], selection, place)
        where = scripts.place(place, last_name(path), secrets.token_hex(6), flags + "s")
        files, size = 1, await _file(one, path, two, place, where)
    return TransferResult((path,), files, size, time.monotonic() - begun)


async def _file(one: Remote, path: str, two: Remote, place: str, where: tuple[str, ...]) -> int:
    asked = await one.run(scripts.words(scripts.GET, path, 0, "np"))
    told, mode, when, *_ = [*asked.words.get("size", "").split(" "), "", "", ""]
    size, permissions, seconds = (
        reports.number(told),
        reports.number(mode, 8),
        reports.number(when),
    )
    if size is None:
        raise reports.failure(asked.stderr, asked.status, path, place)
    mode = f"{(0o644 if permissions is None else permissions) & 0o777:o}"
    stamp = scripts.stamp(time.time() if seconds is None else seconds)
    sent, got = await _pipe(
        *(one, scripts.words(scripts.GET, path, 0, "-")),
        *(two, scripts.words(scripts.PUT, *where, size, mode, stamp, 0)),
    )
    if sent.status != 0 or got.status != 0:
        raise _failure(sent, got, path, place)
    if "sum" in got.words:
        await _verify(one, path, two, place, got)
    return size


async def _verify(one: Remote, path: str, two: Remote, place: str, got: ScriptResult) -> None:
    try:
        sums = await one.run(scripts.words(scripts.SUM, path))
        if sums.words.get("sum") != got.words["sum"]:
            raise VerifyError(f"{path} to {place}: the checksums differ; nothing was changed")
        done = await two.run(scripts.words(scripts.FINISH, *got.names))
    except BaseException:
        await two.tidy(*got.names[:1], "")
        raise
    if "done" not in done.words:
        raise reports.failure(done.stderr, done.status, path, place)


async def _tree(
    one: Remote,
    source: Source,
    selection: Selection | None,
    two: Remote,
    place: str,
    flags: str,
) -> tuple[int, int]:
    (stream,) = streams([source], None, selection)
    flags += "sn" + "c" * stream.contents  # strictly, and counted
    where = scripts.place(place, source.name or ".", secrets.token_hex(6), flags)
    refused = finding.foreign(stream.selection) if stream.selection is not None else ()
    sent, got = await _pipe(
        *(one, packing(stream, TransferOptions(), holes=False)),
        *(two, scripts.words(unpack_scripts.UNPACK, *where, *refused)),
    )
    names = got.names
    whole = sent.status == 0 and complete(stream, sent)
    if not whole or got.status != 0 or len(names) != 2:
        if len(names) == 2:
            await two.tidy(*names)
        if sent.status == got.status == 0 and not whole:
            raise reports.failure(sent.stderr, sent.status, source.path, place)
        raise _failure(sent, got, source.path, place)
    try:
        done = await two.run(scripts.words(unpack_scripts.MERGE, *names))
    except BaseException:
        await two.tidy(*names)
        raise
    if "done" not in done.words:
        raise reports.failure(done.stderr, done.status, source.path, place)
    files, _, size = got.words.get("count", "").partition(" ")
    return reports.number(files) or 0, reports.number(size) or 0


def _failure(sent: ScriptResult, got: ScriptResult, path: str, place: str) -> TransferError:
    """Of two that failed, one mostly only saw the end of the pipe."""
    first = sent.status == 0 or (got.status != 0 and "short" not in got.words)
    failed = got if first else sent
    return reports.failure(failed.stderr, failed.status, path, place)


async def _pipe(
    one: Remote, sending: list[str], two: Remote, receiving: list[str]
) -> tuple[ScriptResult, ScriptResult]:
    """Runs both, with a pipe between them. When one fails the other sees the end of the pipe."""
    reading, writing = os.pipe()
    ends = [reading, writing]

    async def send() -> ScriptResult:
        try:
            return await one.run(sending, stdout=writing)
        finally:
            ends.remove(writing)
            os.close(writing)

    async def receive() -> ScriptResult:
        try:
            return await two.run(receiving, stdin=reading)
        finally:
            ends.remove(reading)
            os.close(reading)

    tasks = [asyncio.ensure_future(send()), asyncio.ensure_future(receive())]

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        while ends:  # of what was cancelled before it began
            os.close(ends.pop())

    try:
        await asyncio.wait(tasks)
    finally:
        await run_to_end(end)
    return tasks[0].result(), tasks[1].result()
