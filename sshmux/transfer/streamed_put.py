"""One large file to there, over several sessions at once."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence

from . import files, holes, reports, scripts, stream_scripts
from .files import opened, verify_there
from .lanes import Lanes
from .options import TransferOptions
from .pieces import MIB, SMALL, Piece, chunk_of, divided, missing
from .progress import report_progress
from .remote import Remote, ScriptResult
from .streams import Job, checksums, divisible, told_sums


class _Put(Job):
    part = ""  # on the remote, once it is made
    name = ""  # what it becomes
    flags = "-"

    def learn(self, said: ScriptResult) -> bool:
        """Whether it is known where the part is."""
        if not self.part and len(said.names) == 2:
            self.part, self.name = said.names
        return bool(self.part)

    async def session(self, remote: Remote, piece: Piece, file: int) -> ScriptResult:
        words = self.part, piece.start // MIB, piece.length, self.flags
        command = scripts.words(stream_scripts.PUT_PIECE, *words)
        return await remote.run(command, stdin=file, stdin_most=piece.length)

    def check(self, said: ScriptResult) -> None:
        super().check(said)
        if "moved" not in said.words:
            raise reports.failure(said.stderr, said.status, self.source, self.target)


async def put_file(lanes: Lanes, source: str, target: str, options: TransferOptions) -> int:
    """As `files.put_file`, over several sessions if it is large."""
    if divisible(lanes, options):
        with opened(source, os.O_RDONLY, source, target) as file:
            found = os.fstat(file)
            single = options.sparse and holes.has_holes(found)
            if found.st_size > SMALL and not single:
                job = _Put(lanes, source, target, source, file, os.O_RDONLY)
                if await _send(job, found, options):
                    await _finish(job, file, found, options)
                    return found.st_size
    return await files.put_file(lanes.own, source, target, options)


async def _send(job: _Put, found: os.stat_result, options: TransferOptions) -> bool:
    """Brings it all into the part. False where it cannot go in pieces: the target is a device."""
    job.flags = options.flags
    name, token = os.path.basename(job.source), secrets.token_hex(6)
    place = scripts.place(job.target, name, token, options.flags)
    if options.resume and not await _find_part(job, place, found.st_size):
        return False
    with report_progress(options.progress, job.source, job.target, found.st_size, job.position):
        try:
            if not options.resume:
                return await _make_part(job, place, found.st_size)
            await job.move()
            return True
        except BaseException:
            await _tidy(job)
            raise


async def _make_part(job: _Put, place: Sequence[str], size: int) -> bool:
    """The first session makes the part, and the others begin as soon as it has told where it is."""
    piece, *_ = divided([Piece(0, size)], len(job.lanes.remotes))
    made = asyncio.Event()
    single = False

    def heard(said: ScriptResult) -> None:
        if not made.is_set() and job.learn(said):
            rest = [Piece(piece.end, size - piece.end)]
            job.queue.extend(divided(rest, len(job.lanes.remotes), begun=piece.length))
            made.set()

    async def session(file: int) -> ScriptResult:
        command = scripts.words(stream_scripts.PUT_FIRST, *place, piece.length)
        said = await job.lanes.own.run(command, stdin=file, stdin_most=piece.length, heard=heard)
        heard(said)
        return said

    async def first() -> None:
        nonlocal single
        try:
            said = await job.one(piece, session)
        finally:
            made.set()
        if "single" in said.words:
            single = True
            return
        job.check(said)
        await job.take(job.lanes.own)

    await job.begin(first, made)
    return not single


async def _find_part(job: _Put, place: Sequence[str], size: int) -> bool:
    """Looks what there is of an interrupted one: what is missing is in the queue then."""
    chunk = chunk_of(size)
    words = scripts.words(stream_scripts.PUT_SUMS, *place, size, chunk // MIB)
    said, data = await job.lanes.own.output(words)
    if "single" in said.words:
        return False
    have = reports.number(said.words.get("part", ""))
    if said.status != 0 or not job.learn(said) or have is None or have > size:
        raise reports.failure(said.stderr, said.status, job.source, job.target)
    count = -(-have // chunk)
    want = await checksums(job.file, chunk, count)
    lacking = missing(size, chunk, told_sums(data, count), want)
    job.queue.extend(divided(lacking, len(job.lanes.remotes)))
    job.done = size - sum(piece.length for piece in lacking)
    return True


async def _finish(job: _Put, file: int, found: os.stat_result, options: TransferOptions) -> None:
    """Lets the part take its place."""
    try:
        now = os.fstat(file)
        if (now.st_size, now.st_mtime_ns) != (found.st_size, found.st_mtime_ns):
            raise job.changed("the file changed while it was sent")
        mode, when = f"{found.st_mode & 0o777:o}", scripts.stamp(found.st_mtime)
        words = job.part, job.name, found.st_size, mode, when, job.flags
        said = await job.lanes.own.run(scripts.words(stream_scripts.PUT_LAST, *words))
        if said.status != 0:
            raise reports.failure(said.stderr, said.status, job.source, job.target)
    except BaseException:
        await _tidy(job)
        raise
    if options.verify:
        await verify_there(job.lanes.own, said, file, job.source, job.target)
    elif "done" not in said.words:
        raise reports.failure(said.stderr, said.status, job.source, job.target)


async def _tidy(job: _Put) -> None:
    """Removes the part. Sessions that were cut off have done so themselves, on the remote."""
    if not job.part or "r" in job.flags:
        return
    living = [each for each in job.lanes.remotes if each.link.master.alive]
    if living:
        await living[0].tidy(job.part, "")
