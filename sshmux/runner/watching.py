"""The jobs of one cluster: what is known of them, who waits for them, how they are ended."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import ConfigError, Error, ManagerClosed
from . import scripts
from .dialects.base import QueueRow
from .handle import JobHandle
from .journal import Event, JobFiles, Look, clean, parse_event
from .records import Record
from .remote import Following
from .states import JobState, JobStatus, Reason
from .submission import Phase
from .submitting import Submissions, status_of
from .verdict import Evidence, judge

log = logging.getLogger("sshmux.runner")

_FIRST = 0.3  # seconds until a plain host is asked again; then longer and longer
_SAFE = 30.0  # seconds between two questions while the journal is followed


class ClusterJobs(Submissions):
    """The jobs of one cluster, submitted and watched."""

    async def statuses(
        self, handles: Iterable[JobHandle], *, refresh: bool = False
    ) -> dict[JobHandle, JobStatus]:
        """What is known of jobs, asked anew if that is due."""
        await self.ready()
        wanted = list(handles)
        records = {handle: await self._known(handle) for handle in wanted}
        if any(not record.status.final for record in records.values()):
            await self.drive(None)
            await self.poll(refresh=refresh)
            records = {handle: await self._known(handle) for handle in wanted}
        return {handle: status_of(record.status, handle) for handle, record in records.items()}

    async def poll(self, *, refresh: bool = False) -> None:
        """Asks for all jobs that have not ended, in one command; not more often than it may."""
        least = 0.1 if self.dialect.name == "shell" else self.options.min_interval
        async with self._polling:
            if not refresh and time.monotonic() - self._polled_at < least:
                return
            unfinished = await self._records.do(self._records.unfinished, self.text)
            submitted = [each for each in unfinished if not each.phase.open]
            if submitted:
                look = await self._look(submitted, queue=True)
                if look.complete:
                    await self._judge(submitted, look)
            self._polled_at = time.monotonic()
            self._polls += 1

    async def _judge(self, records: Sequence[Record], look: Look) -> None:
        rows = self._rows(look)
        past: dict[str, list[QueueRow]] = {}
        for row in self.dialect.parse_history(look.history or ""):
            if row.user not in ("", self._user):
                continue  # anybody may call a job as one of ours
            past.setdefault(row.name, []).append(row)
        failed, never, news, seen = list[Record](), list[Record](), list[Record](), list[Record]()
        scheduled = self.dialect.name != "shell"
        now = time.monotonic()
        for record in records:
            files = look.jobs.get(record.token)
            mine = None if rows is None else rows.get(record.token, [])
            absences = 0
            if scheduled and mine is not None:
                owner = None if files is None else files.owner
                there = any(owner in (None, row.native_id) for row in mine)
                absences = self._absences.seen(record.token, there, now)
            elif not scheduled and files is not None:
                absences = self._absences.seen(record.token, files.present, now)
            evidence = Evidence(
                *(files, mine, past.get(record.token), absences, scheduled),
                indices=_indices(record, files),
                now=time.time(),
            )
            status = judge(record.status, evidence)
            if status.final and status.state is not JobState.COMPLETED and not status.stderr_tail:
                failed.append(record)
            elif not status.final and status.reason == Reason.DEPENDENCY_NEVER:
                never.append(replace(record, status=status))
            elif replace(status, as_of=record.status.as_of) != record.status:
                news.append(replace(record, status=status))
            else:
                seen.append(replace(record, status=status))
        await self._records.do(self._records.update, *seen)
        await self._save(*[await self._explained(record) for record in news])
        if never:
            await self._end_hopeless(never)
        if failed:
            await self._with_tails(failed, rows, past)

    async def _explained(self, record: Record) -> Record:
        """Why a scheduler has put a job aside: its list does not say."""
        status = record.status
        if status.reason != Reason.ERROR or status.message or not status.native_id:
            return record
        words = self.dialect.details(status.native_id)
        text = await self.remote.script(scripts.ask(words))
        why = (text for name, text in self.dialect.parse_details(text).items() if "error" in name)
        return replace(record, status=replace(status, message=clean(next(why, ""))))

    async def _end_hopeless(self, records: Sequence[Record]) -> None:
        """Some schedulers keep for ever what waits for a job that has ended otherwise."""
        ids = [record.status.native_id for record in records if record.status.native_id]
        if words := self.dialect.cancel(ids):
            await self.remote.script(scripts.ask(words))
        never = {"state": JobState.CANCELLED, "reason": Reason.DEPENDENCY_NEVER}
        ended = [replace(each.status, ended=time.time(), **never) for each in records]  # type: ignore[arg-type]
        await self._save(
            *(replace(each, status=status) for each, status in zip(records, ended, strict=True))
        )

    async def _with_tails(
        self,
        records: Sequence[Record],
        rows: Mapping[str, list[QueueRow]] | None,
        past: Mapping[str, list[QueueRow]],
    ) -> None:
        """What has failed is looked at once more, for the end of its stderr and the log."""
        look = await self._look(records, queue=False, tails=True)
        for record in records:
            files = look.jobs.get(record.token) if look.complete else None
            if files is None:
                continue
            mine = None if rows is None else rows.get(record.token, [])
            evidence = Evidence(
                *(files, mine, past.get(record.token)),
                absences=self._absences.count(record.token),
                scheduled=self.dialect.name != "shell",
                indices=_indices(record, files),
                now=time.time(),
            )
            status = judge(record.status, evidence)
            await self._save(replace(record, status=status))
            if status.final:
                self._absences.forget(record.token)

    # Waiting

    async def wait(self, handle: JobHandle) -> JobStatus:
        """Waits until a job has ended."""
        await self.ready()
        while True:
            record = await self._known(handle)
            status = status_of(record.status, handle)
            if status.final:
                return status
            waiter: asyncio.Future[JobStatus] = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(handle.token, []).append(waiter)
            try:
                self.tend()
                await waiter
            finally:
                left = self._waiters.get(handle.token, [])
                if waiter in left:
                    left.remove(waiter)
                if not left:
                    self._waiters.pop(handle.token, None)

    def tend(self) -> None:
        """Goes on in the background with what is not done."""
        self._poke.set()
        if self._tending is None or self._tending.done():
            self._tending = self._tasks.start(self._tend())
        watched = self._watching is not None and not self._watching.done()
        if self._waiters and self.options.watch == "auto" and not watched:
            self._watching = self._tasks.start(self._watch())

    async def _tend(self) -> None:
        self._delay = _FIRST
        trouble = 0.0
        while True:
            self._poke.clear()
            try:
                await self.drive(None)
                if self._waiters:
                    await self.poll()
                trouble = 0.0
            except ManagerClosed:
                return
            except (Error, OSError) as error:
                trouble = min(60.0, 2 * trouble or 1.0)
                log.warning(
                    "%r: its jobs cannot be asked about now: %s", self.remote.cluster_id, error
                )
            delay = await self._until_next()
            if delay is None:
                return
            try:
                async with asyncio.timeout(max(delay, trouble)):
                    await self._poke.wait()
                self._delay = _FIRST
                await asyncio.sleep(trouble)
            except TimeoutError:
                self._delay = min(self._delay * 1.5, self.options.min_interval)

    async def _until_next(self) -> float | None:
        """Seconds until something is to be done; None: nothing is."""
        unfinished = await self._records.do(self._records.unfinished, self.text)
        due = [record.not_before - time.time() for record in unfinished if record.phase.open]
        if self._waiters:
            due.append(self._interval())
        return max(0.1, min(due)) if due else None

    def _interval(self) -> float:
        """Seconds between two questions, while somebody waits.

        The journal tells most ends at once; a scheduler is asked all the same, for what it tells
        nobody else: that it ended a job, or will never begin one.
        """
        if self.dialect.name != "shell":
            return self.options.min_interval
        return _SAFE if self._followed else self._delay

    async def _watch(self) -> None:
        """Follows the journal while somebody waits; what it tells is acted upon at once."""
        pause = 1.0
        while self._waiters:
            following: Following | None = None
            try:
                nonce = secrets.token_hex(8)
                following = await self.remote.follow(scripts.watch(self._root, nonce))
                if following is None:
                    return
                await self._follow(following, f"=watching {nonce}")
                pause = 1.0
            except ManagerClosed:
                return
            except (Error, OSError) as error:
                log.info(
                    "%r: the journal of jobs is not followed: %s", self.remote.cluster_id, error
                )
            finally:
                self._followed = False
                if following is not None:
                    await following.close()
            await asyncio.sleep(pause)
            pause = min(30.0, pause * 2)

    async def _follow(self, following: Following, begins: str) -> None:
        rest = b""
        while self._waiters:
            data = await following.read()
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-4096:]
            for line in lines:
                text = line.decode("utf-8", "replace")
                if text == begins:
                    self._followed = True
                    await self.poll(refresh=self.dialect.name == "shell")  # what was missed
                elif (event := parse_event(text)) is not None:
                    await self._happened(event)

    async def _happened(self, event: Event) -> None:
        record = await self._get(event.token)
        if record is None or record.status.final or record.phase.open:
            self._poke.set()
            return
        clean = event.end is not None and event.end.clean
        if event.kind == "start" or (clean and event.index is None):
            files = JobFiles(
                starts={event.index: event.start} if event.start else {},
                ends={event.index: event.end} if event.end else {},
                alive="yes",
            )
            good = (
                clean and event.end is not None and event.end.code == 0 and not event.end.oom_kills
            )
            if good or event.kind == "start":
                evidence = Evidence(
                    files,
                    scheduled=self.dialect.name != "shell",
                    indices=_indices(record, files),
                    now=time.time(),
                )
                status = judge(record.status, evidence)
                if event.kind == "start" and not status.final:
                    status = replace(status, state=JobState.RUNNING, reason=Reason.NONE)
                await self._save(replace(record, status=status))
                self._poke.set()  # a place may be free
                return
        await self._ended(record)

    async def _ended(self, record: Record) -> None:
        """Something has ended otherwise than well: a scheduler knows why, in a moment."""
        look = await self._look([record], queue=self.dialect.name != "shell", tails=True)
        if look.complete:
            await self._judge([record], look)
        self._poke.set()

    async def close(self) -> None:
        """Ends what goes on in the background. The jobs go on."""
        await self._tasks.cancel()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.cancel()

    # Ending

    async def cancel(self, handle: JobHandle, grace: float) -> None:
        """Ends a job, or a task of one."""
        record = await self._known(handle)
        if status_of(record.status, handle).final:
            return
        text = await self.remote.script(scripts.cancel_file(self._root, handle.token, handle.index))
        if self.dialect.name == "shell":
            text = await self.remote.script(scripts.kill(self._root, handle.token, grace))
        elif record.status.native_id is not None:
            task = "" if handle.index is None else f"_{handle.index}"
            words = self.dialect.cancel([f"{record.status.native_id}{task}"])
            text = await self.remote.script(scripts.ask(words))
        del text
        if record.phase.open and record.status.native_id is None:
            await self._cancelled_before(record)
        await self.poll(refresh=True)
        self._poke.set()

    async def _cancelled_before(self, record: Record) -> None:
        """It was not submitted, as far as is known: its directory tells whether it was."""
        look = await self._look([record], queue=True)
        files = look.jobs.get(record.token)
        unsent = files is None or not files.present or files.lock is None or files.owner is None
        if look.complete and unsent and not (self._rows(look) or {}).get(record.token):
            status = replace(
                record.status, state=JobState.CANCELLED, reason=Reason.NONE, as_of=time.time()
            )
            await self._save(replace(record, phase=Phase.REFUSED, spec=None, status=status))


def _indices(record: Record, files: JobFiles | None) -> list[int] | None:
    known = sorted(record.status.tasks)
    if known:
        return known
    if files is not None and '"array": "' in files.meta:
        import json

        from .job import array_indices

        try:
            return array_indices(json.loads(files.meta)["array"])
        except (ValueError, KeyError, ConfigError, TypeError):
            return None
    return None
