"""What a job writes: lines of its output, and the files that it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from ..errors import ConfigError, Error, JobError
from ..system.tasks import Threads
from ..transfer import local_tar
from ..transfer.arrival import Arrival
from ..transfer.files import mask
from ..transfer.part import Part, make_part, remove
from ..transfer.patterns import wildcard
from . import scripts
from .handle import JobHandle
from .job import Line, check_relative
from .states import JobStatus
from .watching import ClusterJobs

_PIECE = 4 * 1024 * 1024  # bytes that are read at once
_LONGEST = 1024 * 1024  # bytes of a line; a longer one comes in pieces
_MOST_NAMES = 100_000
_PAUSE = 1.0  # seconds, doubled, until a connection is tried again for the second time

threads = Threads(2, linger=5)


class OutputReader:
    """Reads one file of a job line by line, each once and in order, whatever is lost meanwhile."""

    def __init__(self, cluster: ClusterJobs, handle: JobHandle, name: str, offset: int) -> None:
        if type(offset) is not int or offset < 0:
            raise ConfigError(f"offset={offset!r}: use a whole number, 0 or more")
        self._cluster = cluster
        self._handle = handle
        self._name = name
        self._offset = offset  # of what was given out
        self._rest = b""

    async def lines(self, *, follow: bool) -> AsyncIterator[Iterator[Line]]:
        """The lines, some at a time, each lot to be read before the next is asked for.

        With `follow` until the job has ended.
        """
        if follow:
            async for some in self._followed():
                yield some
        more = True
        while more:
            data = await self._piece()
            more = len(data) == _PIECE
            yield self._split(data)
        if self._rest:
            yield iter((self._line(self._rest),))
            self._rest = b""

    async def _piece(self) -> bytes:
        nonce = secrets.token_hex(8)
        at = self._offset + len(self._rest)
        script = scripts.chunk(
            *(self._cluster.root, [(self._handle.token, self._name, at)], _PIECE, nonce)
        )
        with tempfile.TemporaryFile() as file:
            file.write(script.encode())
            file.seek(0)
            _, out = await self._cluster.remote.run(["sh", "-s"], stdin=file)
        head, _, data = out.partition(b"\n")
        size = re.fullmatch(rb"=%b (\d{1,9})" % nonce.encode(), head)
        return data[: int(size[1])] if size else b""

    def _split(self, data: bytes) -> Iterator[Line]:
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:  # there may be millions of them
            self._offset += len(line) + 1
            yield Line(line.removesuffix(b"\r").decode("utf-8", "replace"), self._offset)
        while len(rest) > _LONGEST:
            yield self._line(rest[:_LONGEST])
            rest = rest[_LONGEST:]
        self._rest = rest

    def _line(self, data: bytes) -> Line:
        """A piece of a line, or one without an end."""
        self._offset += len(data)
        return Line(data.removesuffix(b"\r").decode("utf-8", "replace"), self._offset)

    async def _followed(self) -> AsyncIterator[Iterator[Line]]:
        """What comes until the job has ended; the end of it is read afterwards."""
        ended = asyncio.ensure_future(self._cluster.wait(self._handle))
        pause = 0.0
        try:
            while not ended.done():
                try:
                    async for some in self._stream(ended):
                        pause = 0.0
                        yield some
                except (Error, OSError):
                    if pause:
                        await asyncio.wait((ended,), timeout=pause)
                    pause = min(30.0, pause * 2 or _PAUSE)
            ended.result()
        finally:
            ended.cancel()

    async def _stream(self, ended: asyncio.Future[JobStatus]) -> AsyncIterator[Iterator[Line]]:
        at = self._offset + len(self._rest)
        script = scripts.follow(self._cluster.root, self._handle.token, self._name, at)
        following = await self._cluster.remote.follow(script)
        if following is None:  # no session to spare: it is asked now and then
            yield self._split(await self._piece())
            await asyncio.wait((ended,), timeout=_PAUSE)
            return
        try:
            while not ended.done():
                reading = asyncio.ensure_future(following.read())
                await asyncio.wait((reading, ended), return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    return
                data = reading.result()
                if not data:
                    return
                yield self._split(data)
        finally:
            await following.close()


async def collect(
    cluster: ClusterJobs, handle: JobHandle, into: Path, patterns: Sequence[str] | None
) -> list[Path]:
    """See `RemoteRunner.collect`."""
    if isinstance(patterns, str):
        raise ConfigError(f"patterns={patterns!r}: give a list of patterns")
    for pattern in patterns or ():
        check_relative("patterns", pattern)
    wanted = list(patterns) if patterns is not None else await _outputs_of(cluster, handle)
    files, directories = await _listing(cluster, handle)
    chosen = [name for name in files if not wanted or any(fits(name, each) for each in wanted)]
    missing = [each for each in wanted if not any(fits(name, each) for name in files)]
    if missing:
        error = JobError(f"{handle}: no file fits {missing[0]!r}")
        error.handle = handle
        raise error
    if not chosen:
        return []
    parents = sorted({parent for name in chosen for parent in _parents(name)} & set(directories))
    await _fetch(cluster, handle, into, [*parents, *chosen])
    return [into / name for name in chosen]


async def _outputs_of(cluster: ClusterJobs, handle: JobHandle) -> list[str]:
    nonce = secrets.token_hex(8)
    from .journal import parse_look

    text = await cluster.remote.script(scripts.look(cluster.root, nonce, [handle.token]))
    files = parse_look(text, nonce).jobs.get(handle.token)
    try:
        found = json.loads(files.meta)["outputs"] if files is not None else []
        return [check_relative("outputs", each) for each in found]
    except (ValueError, KeyError, TypeError):
        return []


async def _listing(cluster: ClusterJobs, handle: JobHandle) -> tuple[list[str], list[str]]:
    """The files below its working directory, and the directories; no link is followed."""
    script = scripts.listing(cluster.root, handle.token)
    with tempfile.TemporaryFile() as file:
        file.write(script.encode())
        file.seek(0)
        status, out = await cluster.remote.run(["sh", "-s"], stdin=file)
    if status != 0:
        raise JobError(f"{handle}: its working directory cannot be read")
    if out.count(b"\0") > 2 * _MOST_NAMES:
        raise JobError(f"{handle}: more than {_MOST_NAMES} files")
    names = [os.fsdecode(name).removeprefix("./") for name in out.split(b"\0")[:-1]]
    files: list[str] = []
    directories: list[str] = []
    for name in names:
        kind, path = name[:1], name[1:].removeprefix("./")
        if path in (".", "") or any(part in ("", ".", "..") for part in path.split("/")):
            continue
        (directories if kind == "d" else files).append(path)
    return files, directories


async def _fetch(cluster: ClusterJobs, handle: JobHandle, into: Path, names: Sequence[str]) -> None:
    """Fetches them as one stream into a private directory, and then into their places."""
    part = await threads.run(partial(_make_part, into))
    try:
        with tempfile.TemporaryFile() as asked:
            asked.write(b"".join(os.fsencode(f"./{name}") + b"\0" for name in names))
            asked.seek(0)
            words = local_tar.unpacking(part.place, preserve=False)
            async with (
                cluster.remote.connection() as connection,
                local_tar.running(words, packs=False, keep=part.descriptor) as tar,
            ):
                with tar.pipe() as pipe:
                    said = await connection.transfers().run(
                        scripts.archive(cluster.root, handle.token),
                        stdin=asked.fileno(),
                        stdout=pipe,
                    )
                _, why = await tar.failure()
        if said.status != 0 or why:
            raise JobError(f"{handle}: its files cannot be fetched: {why or said.stderr.strip()}")
        what = f"{handle} to {into}"
        arrived = Arrival(what, preserve=False, mask=mask(), links=False, directories=True)
        tops = {name.partition("/")[0] for name in names}
        await threads.run(partial(_put_in_place, arrived, part.place, into, tops))
    finally:
        await threads.run(partial(remove, part))


def _make_part(into: Path) -> Part:
    into.mkdir(parents=True, exist_ok=True)
    return make_part(str(into))


def _put_in_place(arrived: Arrival, part: str, into: Path, tops: set[str]) -> None:
    arrived.check(part, tops)
    arrived.move(part, str(into))


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern (`**` goes across directories), or is below what does."""
    parts = pattern.split("/")
    if parts[-1] == "**":
        parts.append("*")  # what is below, and not the directory itself
    done = {0}  # how many parts of the pattern the name's parts so far may have fitted
    for word in name.split("/"):
        after: set[int] = set()
        for at in done:
            while parts[at] == "**":  # none, or one more, of any number
                after.add(at)
                at += 1
            if _part(parts[at]).fullmatch(word):
                after.add(at + 1)
        if len(parts) in after:
            return True
        done = after
    return False


@lru_cache(maxsize=256)
def _part(part: str) -> re.Pattern[str]:
    pieces = [re.escape(piece).replace(r"\?", ".") for piece in part.split("*")]
    return re.compile(wildcard(pieces), re.DOTALL)
