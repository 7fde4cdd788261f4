"""Submissions to one cluster: each goes on until the scheduler has it, whatever is killed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import ConfigError, JobError, SubmitRefused
from ..system.tasks import Threads
from ..text import logger
from . import launching, specs, staging
from .cluster import Cluster, indices_of
from .dialects.base import Dependency
from .handle import JobHandle, cluster_text
from .job import Job
from .journal import JobFiles, Look, clean, parse_look
from .records import Record
from .states import JobState, JobStatus, Reason
from .submission import POLL, Cancelled, Declined, Launch, Phase, Retry, Stage, Submitted, next_step
from .submission import Look as LookAgain
from .verdict import Evidence, judge

log = logger("sshmux.runner")

_SETTLE = 90.0  # seconds for a submit command to end, until the rest is left to the background
_STAGINGS = 3  # tries at putting a job into place

threads = Threads(2, linger=5)  # for archives


class Submissions(Cluster):
    """The jobs that are on their way to the scheduler."""

    async def poll(self, *, refresh: bool = False, also: Sequence[Record] = ()) -> bool:
        """See `ClusterJobs.poll`."""
        raise NotImplementedError

    def tend(self) -> None:
        """See `ClusterJobs.tend`."""
        raise NotImplementedError

    async def submit(
        self, jobs: Sequence[Job], tokens: Sequence[str], keys: Sequence[str | None]
    ) -> list[Record]:
        """Writes jobs down and submits them. What a key names already is not submitted again."""
        spoken = await self.ready()
        planned = []
        for job in jobs:
            spoken.check(job.array_text(), job.resources)
            for parent, _ in job.after:
                if cluster_text(parent.cluster_id) != self.text:
                    raise ConfigError(f"after={parent}: that job is on another cluster")
        for job, token, key in zip(jobs, tokens, keys, strict=True):
            handle = JobHandle(spoken.name, self.remote.cluster_id, token, f"{self._root}/{token}")
            text = specs.to_text(job)
            status = JobStatus(handle, JobState.PENDING, reason=Reason.SUBMITTING, name=job.name)
            planned.append(
                Record(
                    handle,
                    self.text,
                    specs.digest(text),
                    job.name,
                    Phase.PLANNED,
                    status,
                    key,
                    text,
                )
            )
        written = await self._records.do(self._records.plan, planned)
        for wanted, record in zip(planned, written, strict=True):
            if wanted.digest != record.digest:
                raise ConfigError(f"key={record.key!r} is another job's already: {record.handle}")
        await self.drive([record.token for record in written], patience=_SETTLE)
        self.tend()
        return await self._some(written)

    async def drive(self, tokens: Iterable[str] | None, *, patience: float = 0) -> None:
        """Goes on with submissions: those of the tokens, or all that are due."""
        until = time.monotonic() + patience
        only = None if tokens is None else set(tokens)
        if only is None and self._driving.locked():
            return  # who goes on with some of them looks after the others later
        async with self._driving:
            turns = 0
            while True:
                going = await self._records.do(self._records.open, self.text)
                mine = [each for each in going if only is None or each.token in only]
                now = time.time()
                if due := [each for each in mine if each.not_before <= now]:
                    await self._drive_some(due)
                # For a place, or for another job, nobody waits here.
                soon = [each.not_before for each in mine if each.phase is not Phase.WAITING]
                left = until - time.monotonic()
                if not soon or left <= 0:
                    return
                turns += 1
                if not due or turns > 2:
                    await asyncio.sleep(min(left, max(0.05, min(soon) - now)))

    async def _drive_some(self, due: Sequence[Record]) -> None:
        new = [each for each in due if each.phase is Phase.PLANNED or each.reason_is_limit]
        if new and (some := await self._with_room(new)):
            await self._stage(some)
        old = [each for each in due if not (each.phase is Phase.PLANNED or each.reason_is_limit)]
        if not old:
            return
        # Its files tell of most of them. The queue is asked about what they cannot tell, together
        # with all other jobs, and not more often than it may be.
        if any(each.phase is Phase.UNCERTAIN for each in old) and await self.poll(also=old):
            return
        await self._step(old, await self._look(old, queue=False))

    async def _with_room(self, new: Sequence[Record]) -> list[Record]:
        """Those that may be submitted now; the others wait for a place."""
        limits = [self.options.max_submitted]
        if self.dialect.name == "shell":
            limits.append(self.options.max_running)
        limit = min((each for each in limits if each is not None), default=None)
        if limit is None:
            return list(new)
        room = max(0, limit - await self._records.do(self._records.taken, self.text))
        await self._save(
            *(
                replace(
                    record,
                    phase=Phase.WAITING,
                    not_before=time.time() + 1,
                    status=replace(record.status, reason=Reason.LIMIT, as_of=time.time()),
                )
                for record in new[room:]
            )
        )
        return list(new[:room])

    async def _stage(self, new: Sequence[Record]) -> None:
        staged, began = [], time.monotonic()
        for record in new:
            if record.spec is None:
                continue
            job = specs.from_text(record.spec)
            after = await self._dependencies(record, job, began)
            if after is not None:
                staged.append(staging.Staged(record.token, record.handle.directory, job, after))
        if not staged:
            return
        nonce, tokens = secrets.token_hex(8), [each.token for each in staged]
        making = partial(staging.archive, self.dialect, staged, nonce, tokens)
        try:
            file = await threads.run(making)
        except (ConfigError, OSError) as error:
            await self._save(*(_refusal(record, str(error)) for record in new))
            raise
        with file:
            _, out = await self.remote.run(launching.unpack(self._root, nonce), stdin=file)
        text, known = out.decode("utf-8", "replace"), {each.token for each in staged}
        look = parse_look(text, nonce)
        why = "" if look.complete else clean(text.strip().rpartition("\n")[2])
        sent = [
            replace(each, phase=Phase.STAGED, status=replace(each.status, message=why))
            for each in new
            if each.token in known
        ]
        await self._step(sent, look, again=False)

    async def _dependencies(
        self, record: Record, job: Job, since: float
    ) -> list[Dependency] | None:
        """What it waits for, for the scheduler; None if it will never run.

        The scheduler is asked once for all that are put into place together: `since` is when that
        was begun.
        """
        found: list[Dependency] = []
        for parent, kind in job.after:
            if self.dialect.name == "shell":
                found.append(Dependency(parent.token, kind, parent.token))
                continue
            status = status_of((await self._known(parent.job)).status, parent)
            if not status.final and self._polled_at < since:
                await self.poll(refresh=True)
                status = status_of((await self._known(parent.job)).status, parent)
            if not status.final:
                if status.native_id is None:
                    raise JobError(f"after={parent}: it is not submitted yet")
                task = "" if parent.index is None else f"_{parent.index}"
                native_id = f"{status.native_id}{task}"
                found.append(Dependency(native_id, kind, parent.token, parent.index))
            elif not _satisfied(kind, status):
                never = replace(
                    record.status,
                    state=JobState.CANCELLED,
                    reason=Reason.DEPENDENCY_NEVER,
                    ended=time.time(),
                    as_of=time.time(),
                )
                await self._save(replace(record, phase=Phase.REFUSED, status=never))
                return None
        return found

    async def _step(self, records: Sequence[Record], look: Look, *, again: bool = True) -> None:
        """Does what follows from a look for each submission; `again`: it may be launched."""
        if not look.complete:
            later = time.time() + POLL
            await self._save(*(replace(record, not_before=later) for record in records))
            return
        rows = self._rows(look)
        changed: list[Record] = []
        launched: list[Record] = []
        locks: dict[str, str] = {}
        for record in records:
            files = look.jobs.get(record.token)
            mine = None if rows is None else rows.get(record.token, [])
            if rows is not None:
                self._absences.seen(record.token, bool(mine), time.monotonic())
            twice = self._absences.count(record.token) > 1
            step = next_step(
                *(files, mine, self.dialect), now=time.time(), tries=record.tries, asked_twice=twice
            )
            match step:
                case Submitted(native_id):
                    changed.append(self._submitted(record, native_id, files))
                case Declined(reason):
                    changed.append(_refusal(record, reason))
                case Cancelled(at):
                    changed.append(_over(record, JobState.CANCELLED, Reason.NONE, ended=at))
                case Stage():
                    changed.append(_again(record))
                case Launch() if again:
                    launched.append(record)
                case Launch():  # its turn did not come
                    changed.append(replace(record, phase=Phase.STAGED, not_before=time.time() + 1))
                case LookAgain(phase, reason, at):
                    status = replace(record.status, reason=reason)
                    changed.append(replace(record, phase=phase, not_before=at, status=status))
                case Retry(lock, reason, at):
                    if again and (record.phase is Phase.WAITING or at <= time.time()):
                        locks[record.token] = lock
                        launched.append(record)
                    else:
                        changed.append(_waiting(record, reason, at))
        await self._save(*changed)
        if launched:
            await self._launch(launched, locks)

    async def _launch(self, records: Sequence[Record], locks: Mapping[str, str]) -> None:
        """Runs their submit commands, in one go; `locks` of former ones are put aside first."""
        nonce, tokens = secrets.token_hex(8), [record.token for record in records]
        text = await self.remote.script(launching.retry(self._root, nonce, tokens, locks))
        await self._save(
            *(replace(record, phase=Phase.SUBMITTING, not_before=0) for record in records)
        )
        fresh = [record for record in await self._some(records) if record.phase.open]
        await self._step(fresh, parse_look(text, nonce), again=False)

    def _submitted(self, record: Record, native_id: str, files: JobFiles | None) -> Record:
        began = None if files is None else files.submit_time or files.lock_time
        status = replace(
            record.status,
            reason=Reason.NONE,
            message="",
            native_id=native_id,
            submitted=record.status.submitted or began or time.time(),
            as_of=time.time(),
        )
        self._absences.forget(record.token)
        if files is not None:  # it may have ended by now
            evidence = Evidence(
                files,
                scheduled=self.dialect.name != "shell",
                indices=indices_of(record, files),
                now=time.time(),
            )
            status = judge(status, evidence)
        if record.token in self._early:
            self._early.discard(record.token)
            self._wanted = not status.final or self._wanted
        return replace(record, phase=Phase.SUBMITTED, spec=None, status=status)


def _over(record: Record, state: JobState, reason: Reason, **more: Any) -> Record:
    """It is not submitted, for good."""
    status = replace(record.status, state=state, reason=reason, as_of=time.time(), **more)
    return replace(record, phase=Phase.REFUSED, spec=None, status=status)


def _refusal(record: Record, reason: str) -> Record:
    return _over(record, JobState.FAILED, Reason.REFUSED, message=reason)


def _waiting(record: Record, reason: str, at: float) -> Record:
    status = replace(record.status, reason=Reason.LIMIT, message=reason, as_of=time.time())
    return replace(
        record, phase=Phase.WAITING, tries=record.tries + 1, not_before=at, status=status
    )


def _again(record: Record) -> Record:
    """It is put into place once more."""
    if record.spec is None:  # another program's, and nothing of it is there
        return _over(record, JobState.LOST, Reason.NOT_FOUND)
    if record.tries >= _STAGINGS:
        why = f": {record.status.message}" if record.status.message else ""
        return _refusal(record, f"its files did not arrive whole on the remote{why}")
    return replace(record, phase=Phase.PLANNED, tries=record.tries + 1)


def status_of(status: JobStatus, handle: JobHandle) -> JobStatus:
    """The status of a job, or of the task that is meant."""
    if handle.index is None:
        return status
    return status.tasks.get(handle.index) or replace(status, handle=handle, tasks={})


def _satisfied(kind: str, status: JobStatus) -> bool:
    if kind == "any":
        return True
    return status.ok if kind == "ok" else not status.ok


def refused(record: Record) -> SubmitRefused | None:
    """The error for a job that the scheduler did not take."""
    if record.phase is not Phase.REFUSED or record.status.reason != Reason.REFUSED:
        return None
    error = SubmitRefused(f"{record.handle.cluster_id!r} refuses the job: {record.status.message}")
    error.handle, error.stderr = record.handle, record.status.message
    return error
