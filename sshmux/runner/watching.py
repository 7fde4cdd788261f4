"""The jobs of one cluster: what is known of them, who waits for them, how they are ended."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import Error, ManagerClosed
from ..text import logger
from . import scripts
from .cluster import indices_of
from .dialects.base import QueueRow
from .handle import JobHandle
from .journal import Event, JobFiles, Journal, Look, clean
from .records import Record
from .remote import Following
from .states import JobState, JobStatus, Reason
from .submission import Phase
from .submitting import Submissions, status_of
from .verdict import Evidence, judge

log = logger("sshmux.runner")

_FIRST = 0.3  # seconds until a plain host is asked again; then longer and longer
_BUSY = 5.0  # seconds until submissions are looked after that wait for others
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
            found = await self._some(list(records.values()))
            now = {record.token: record for record in found}
            records = {handle: now[handle.token] for handle in wanted if handle.token in now}
        return {handle: status_of(record.status, handle) for handle, record in records.items()}

    async def poll(self, *, refresh: bool = False, also: Sequence[Record] = ()) -> bool:
        """Asks for all jobs that have not ended, in one command; not more often than it may.

        Parameters:
            refresh: ask in any case.
            also: submissions that are uncertain: they go on with what is found.

        Returns whether it has asked.
        """
        least = 0.1 if self.dialect.name == "shell" else self.options.min_interval
        async with self._polling:
            if not refresh and time.monotonic() - self._polled_at < least:
                return False
            self._wanted = False
            unfinished = await self._records.do(self._records.unfinished, self.text)
            submitted = [each for each in unfinished if not each.phase.open]
            if submitted or also:
                look = await self._look([*submitted, *also], queue=True)
                if look.complete:
                    await self._judge(submitted, look)
                    await self._step(also, look)
            self._polled_at = time.monotonic()
            return True

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
                indices=indices_of(record, files),
                now=time.time(),
            )
            status = judge(record.status, evidence)
            if status.final and not status.ok and not status.stderr_tail and not _told(files):
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
                indices=indices_of(record, files),
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
        while (status := await self._ended(handle)) is None:
            waiter: asyncio.Future[JobStatus] = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(handle.token, []).append(waiter)
            try:
                self._wanted = self._wanted or not self._followed
                self.tend()
                await waiter
            finally:
                left = self._waiters.get(handle.token, [])
                if waiter in left:
                    left.remove(waiter)
                if not left:
                    self._waiters.pop(handle.token, None)
        return status

    async def _ended(self, handle: JobHandle) -> JobStatus | None:
        """Its status, if it has ended."""
        status = status_of((await self._known(handle)).status, handle)
        return status if status.final else None

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
                if self._waiters and self._interval() <= 0:
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
        if self._driving.locked():
            due = [_BUSY]
        else:
            going = await self._records.do(self._records.open, self.text)
            due = [record.not_before - time.time() for record in going]
        if self._waiters:
            due.append(self._interval())
        return max(0.1, min(due)) if due else None

    def _interval(self) -> float:
        """Seconds until the next question, while somebody waits.

        The journal tells most ends at once; a scheduler is asked all the same, for what it tells
        nobody else: that it ended a job, or will never begin one.
        """
        if self.dialect.name != "shell":
            least = self.options.min_interval
        elif self._wanted:
            least = 0.1
        else:
            least = _SAFE if self._followed else self._delay
        return self._polled_at + least - time.monotonic()

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
        journal = Journal(begins)
        while self._waiters:
            data = await following.read()
            if not data:
                return
            events = journal.feed(data)
            if journal.begun and not self._followed:
                self._followed = True
                await self.poll(refresh=self.dialect.name == "shell")  # what was missed
            await self._happened(events)

    async def _happened(self, events: Sequence[Event]) -> None:
        """What the journal tells is written down, all of it at once; nobody is asked."""
        if not events:
            return
        tokens = list({event.token for event in events})
        found = await self._records.do(self._records.some, self.text, tokens)
        records = {record.token: record for record in found}
        changed: dict[str, Record] = {}
        for event in events:
            record = changed.get(event.token) or records.get(event.token)
            if record is None or record.status.final or event.kind == "dup":
                continue
            if record.phase.open:
                self._early.add(event.token)
                self._poke.set()
                continue
            changed[event.token] = replace(record, status=self._after(record, event))
        await self._save(*changed.values())
        if self._wanted or any(record.status.final for record in changed.values()):
            self._poke.set()  # a place may be free

    def _after(self, record: Record, event: Event) -> JobStatus:
        """What an event says of a job. How a scheduler's job was ended, that alone knows."""
        files = event.files
        files.alive = "yes"
        evidence = Evidence(
            files,
            scheduled=self.dialect.name != "shell",
            indices=indices_of(record, files),
            now=time.time(),
        )
        status = judge(record.status, evidence)
        one = record.handle if event.index is None else record.handle.task(event.index)
        if event.kind == "start" and not status.final:
            return replace(status, state=JobState.RUNNING, reason=Reason.NONE)
        self._wanted = self._wanted or not status_of(status, one).final
        return status

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


def _told(files: JobFiles | None) -> bool:
    """Whether a look has told the end of its output, too."""
    return files is not None and files.end is not None
