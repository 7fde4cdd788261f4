"""Submissions to one cluster: each goes on until the scheduler has it, whatever is killed."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from ..errors import ConfigError, JobError, SubmitRefused
from ..system.tasks import Threads
from . import scripts, specs, staging
from .cluster import Cluster
from .dialects.base import Dependency
from .handle import JobHandle, cluster_text
from .job import Job
from .journal import JobFiles, Look, parse_look
from .records import Record
from .states import JobState, JobStatus, Reason
from .submission import Declined, Launch, Phase, Retry, Stage, Submitted, next_step
from .submission import Look as LookAgain

log = logging.getLogger("sshmux.runner")

_SETTLE = 90.0  # seconds for a submit command to end, until the rest is left to the background
_STAGINGS = 3  # tries at putting a job into place

threads = Threads(2, linger=5)  # for archives


class Submissions(Cluster):
    """The jobs that are on their way to the scheduler."""

    async def poll(self, *, refresh: bool = False) -> None:
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
        found = [await self._get(record.token) for record in written]
        self.tend()
        return [record for record in found if record is not None]

    async def drive(self, tokens: Iterable[str] | None, *, patience: float = 0) -> None:
        """Goes on with submissions: those of the tokens, or all that are due."""
        until = time.monotonic() + patience
        only = None if tokens is None else set(tokens)
        async with self._driving:
            while True:
                unfinished = await self._records.do(self._records.unfinished, self.text)
                due = [
                    record
                    for record in unfinished
                    if record.phase.open and (only is None or record.token in only)
                ]
                if only is None or patience == 0:
                    due = [record for record in due if record.not_before <= time.time()]
                due = [
                    record
                    for record in due
                    if record.phase is not Phase.WAITING or record.not_before <= time.time()
                ]
                if not due:
                    return
                await self._drive_some(due, unfinished)
                if time.monotonic() >= until:
                    return
                await asyncio.sleep(0 if patience == 0 else 0.05)

    async def _drive_some(self, due: Sequence[Record], unfinished: Sequence[Record]) -> None:
        new = [record for record in due if record.phase is Phase.PLANNED or record.reason_is_limit]
        new = await self._with_room([r for r in new if r in due], unfinished)
        old = [record for record in due if record not in new and record.phase is not Phase.PLANNED]
        old = [record for record in old if not record.reason_is_limit]
        if new:
            await self._stage(new)
        if old:
            look = await self._look(old, queue=True)
            await self._step(old, look)

    async def _with_room(self, new: Sequence[Record], unfinished: Sequence[Record]) -> list[Record]:
        """Those that may be submitted now; the others wait for a place."""
        limits = [self.options.max_submitted]
        if self.dialect.name == "shell":
            limits.append(self.options.max_running)
        limit = min((each for each in limits if each is not None), default=None)
        if limit is None:
            return list(new)
        taken = sum(
            not (each.phase is Phase.PLANNED or each.reason_is_limit) for each in unfinished
        )
        room = max(0, limit - taken)
        for record in new[room:]:
            status = replace(record.status, reason=Reason.LIMIT, as_of=time.time())
            await self._save(
                replace(record, phase=Phase.WAITING, not_before=time.time() + 1, status=status)
            )
        return list(new[:room])

    async def _stage(self, new: Sequence[Record]) -> None:
        staged = []
        for record in new:
            if record.spec is None:
                continue
            job = specs.from_text(record.spec)
            after = await self._dependencies(record, job)
            if after is not None:
                staged.append(staging.Staged(record.token, record.handle.directory, job, after))
        if not staged:
            return
        nonce, tokens = secrets.token_hex(8), [each.token for each in staged]
        making = partial(staging.archive, self.dialect, staged, nonce, tokens)
        try:
            file = await threads.run(making)
        except (ConfigError, OSError) as error:
            for record in new:
                await self._refuse(record, str(error))
            raise
        with file:
            _, out = await self.remote.run(scripts.unpack(self._root, nonce), stdin=file)
        look = parse_look(out.decode("utf-8", "replace"), nonce)
        known = {each.token for each in staged}
        await self._step([record for record in new if record.token in known], look)

    async def _dependencies(self, record: Record, job: Job) -> list[Dependency] | None:
        """What it waits for, for the scheduler; None if it will never run."""
        found: list[Dependency] = []
        for parent, kind in job.after:
            if self.dialect.name == "shell":
                found.append(Dependency(parent.token, kind, parent.token))
                continue
            status = status_of((await self._known(parent.job)).status, parent)
            if not status.final:
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

    async def _step(self, records: Sequence[Record], look: Look) -> None:
        """Does what follows from a look for each submission."""
        if not look.complete:
            return
        rows = self._rows(look)
        launched: list[str] = []
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
                    await self._submitted(record, native_id, files)
                case Declined(reason):
                    await self._refuse(record, reason)
                case Stage():
                    await self._again(record)
                case Launch():
                    launched.append(record.token)
                case LookAgain(phase, reason, at):
                    status = replace(record.status, reason=reason)
                    await self._save(replace(record, phase=phase, not_before=at, status=status))
                case Retry(lock, reason, at):
                    if record.phase is Phase.WAITING or at <= time.time():
                        await self.remote.script(scripts.retry(self._root, record.token, lock))
                        launched.append(record.token)
                    else:
                        await self._wait_for_room(record, reason, at)
        if launched:
            nonce = secrets.token_hex(8)
            line = f"cd {scripts.quote(self._root)} || exit 53\n"
            text = await self.remote.script(line + scripts.launch(nonce, launched))
            again = [record for record in records if record.token in launched]
            for record in again:
                await self._save(replace(record, phase=Phase.SUBMITTING, not_before=0))
            await self._after_launch(again, parse_look(text, nonce))

    async def _after_launch(self, records: Sequence[Record], look: Look) -> None:
        fresh = [record for each in records if (record := await self._get(each.token))]
        await self._step([record for record in fresh if record.phase.open], look)

    async def _wait_for_room(self, record: Record, reason: str, at: float) -> None:
        status = replace(record.status, reason=Reason.LIMIT, message=reason, as_of=time.time())
        await self._save(
            replace(
                record, phase=Phase.WAITING, tries=record.tries + 1, not_before=at, status=status
            ),
        )

    async def _submitted(self, record: Record, native_id: str, files: JobFiles | None) -> None:
        began = files.submit_time if files is not None else None
        status = replace(
            record.status,
            reason=Reason.NONE,
            native_id=native_id,
            submitted=record.status.submitted or began or time.time(),
            as_of=time.time(),
        )
        self._absences.forget(record.token)
        await self._save(replace(record, phase=Phase.SUBMITTED, spec=None, status=status))

    async def _refuse(self, record: Record, reason: str) -> None:
        status = replace(
            record.status,
            state=JobState.FAILED,
            reason=Reason.REFUSED,
            message=reason,
            as_of=time.time(),
        )
        await self._save(replace(record, phase=Phase.REFUSED, spec=None, status=status))

    async def _again(self, record: Record) -> None:
        if record.tries >= _STAGINGS:
            await self._refuse(record, "its files did not arrive whole on the remote")
            return
        await self._save(replace(record, phase=Phase.PLANNED, tries=record.tries + 1))


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
