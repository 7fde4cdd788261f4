"""One large file from there, over several sessions at once."""

from __future__ import annotations

import asyncio
import os
from functools import partial

from ..errors import NoSpaceLeft
from . import files, reports, scripts, stream_scripts
from .lanes import Lanes
from .options import TransferOptions
from .pieces import MIB, SMALL, Piece, chunk_of, divided, missing
from .progress import report_progress
from .remote import Remote, ScriptResult
from .streams import Job, checksums, divisible, told_sums


class _Get(Job):
    state = ""  # of the file, once it is known to be large

    async def session(self, remote: Remote, piece: Piece, file: int) -> ScriptResult:
        words = self.source, self.state, piece.start // MIB, piece.length
        return await remote.run(scripts.words(stream_scripts.GET_PIECE, *words), stdout=file)

    def check(self, said: ScriptResult) -> None:
        if said.status != 0:
            self._check_room()
        super().check(said)

    def _check_room(self) -> None:
        if os.fstatvfs(self.file).f_bavail == 0:
            raise NoSpaceLeft(f"{self.source} to {self.target}: no space left on this machine")

    def check_moved(self, piece: Piece, moved: int) -> None:
        if moved < piece.length:
            self._check_room()
        super().check_moved(piece, moved)
        if moved > piece.length:
            raise self.changed(
                f"{moved} bytes arrived of a piece of {piece.length}: a start-up file of the "
                "remote account prints something"
            )

    def learn(self, said: ScriptResult) -> int | None:
        """The size, once it was told."""
        told = said.words.get("size", "").partition(" ")[0]
        size = reports.number(told)
        if size is not None and size > SMALL:
            self.state = said.words.get("state", "")
        return size


async def get_file(lanes: Lanes, source: str, target: str, options: TransferOptions) -> int:
    """As `files.get_file`, over several sessions if it is large."""
    fetch = partial(_fetch, lanes) if divisible(lanes, options) else None
    return await files.get_file(lanes.own, source, target, options, fetch)


async def _fetch(
    lanes: Lanes,
    remote: Remote,
    source: str,
    target: str,
    file: int,
    part: str,
    options: TransferOptions,
) -> ScriptResult:
    job = _Get(lanes, source, target, part, file, os.O_WRONLY | os.O_NOFOLLOW)
    flags = options.flags + "z" * options.sparse
    if options.progress is None and not options.resume:
        said = await _fetch_unseen(job, remote, flags)
        if "single" in said.words:
            return await files.fetch_whole(remote, source, target, file, part, options)
        return said
    said = await remote.run(scripts.words(stream_scripts.GET_FIRST, source, flags + "n", SMALL))
    if (size := job.learn(said)) is None or not job.state:
        return await files.fetch_whole(remote, source, target, file, part, options)
    lacking = await _lacking_here(job, remote, file, size) if options.resume else [Piece(0, size)]
    job.queue.extend(divided(lacking, len(lanes.remotes)))
    job.done = size - sum(piece.length for piece in lacking)
    with report_progress(options.progress, source, target, size, job.position):
        await job.move()
    return said


async def _fetch_unseen(job: _Get, remote: Remote, flags: str) -> ScriptResult:
    """The first session tells the size while it moves the first piece: a small file needs no more.

    The others begin as soon as it has told, if there is more.
    """
    told = asyncio.Event()
    found: list[ScriptResult] = []

    def heard(said: ScriptResult) -> None:
        if not told.is_set() and (size := job.learn(said)) is not None:
            told.set()
            if job.state:
                rest = [Piece(SMALL, size - SMALL)]
                job.queue.extend(divided(rest, len(job.lanes.remotes), begun=SMALL))

    async def session(file: int) -> ScriptResult:
        words = job.source, flags, SMALL
        command = scripts.words(stream_scripts.GET_FIRST, *words)
        said = await remote.run(command, stdout=file, heard=heard)
        heard(said)
        found.append(said)
        # Of a small one `files.get_file` judges.
        return said if job.state else ScriptResult(-1, "")

    async def first() -> None:
        try:
            said = await job.one(Piece(0, SMALL), session)
        finally:
            told.set()
        if job.state:
            job.check(said)
            await job.take(remote)

    await job.begin(first, told)
    return found[0]


async def _lacking_here(job: _Get, remote: Remote, file: int, size: int) -> list[Piece]:
    """What is not in the part yet. Checksums tell: one that was interrupted has holes."""
    have = os.fstat(file).st_size
    if not 0 < have <= size:
        os.ftruncate(file, 0)
        return [Piece(0, size)]
    chunk = chunk_of(size)
    count = -(-have // chunk)
    words = job.source, job.state, chunk // MIB, count
    said, data = await remote.output(scripts.words(stream_scripts.GET_SUMS, *words))
    job.check(said)
    return missing(size, chunk, await checksums(file, chunk, count), told_sums(data, count))
