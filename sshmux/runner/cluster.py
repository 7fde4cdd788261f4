"""The jobs of one cluster: their submission, and what is known of them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..errors import ConfigError, Error, JobError, SubmitRefused
from ..system.tasks import TaskGroup, Threads
from . import scripts, specs, staging
from .dialects.base import Dependency, Dialect, QueueRow
from .handle import JobHandle, check_directory, cluster_text
from .job import ClusterOptions, Job
from .journal import Event, JobFiles, Look, parse_event, parse_look
from .records import Record, Records
from .registry import detected, dialect, dialects
from .remote import Following, Remote, facts
from .states import JobState, JobStatus, Reason
from .submission import Declined, Launch, Phase, Retry, Stage, Submitted, next_step
from .submission import Look as LookAgain
from .verdict import Absences, Evidence, judge

log = logging.getLogger("sshmux.runner")

_SETTLE = 90.0  # seconds for a submit command to end, until the rest is left to the background
_FIRST = 0.3  # seconds until a plain host is asked again; then longer and longer
_SAFE = 30.0  # seconds between two questions while the journal is followed
_STAGINGS = 3  # tries at putting a job into place

threads = Threads(2, linger=5)  # for archives


class ClusterJobs:
    """The jobs of one cluster, submitted and watched."""

    def __init__(
        self,
        remote: Remote,
        records: Records,
        options: ClusterOptions,
        changed: Callable[[JobStatus], object],
    ) -> None:
        self.remote = remote
        self.options = options
        self.text = cluster_text(remote.cluster_id)
        self._records = records
        self._changed = changed
        self._dialect: Dialect | None = None
        self._root = self._user = ""
        self._asking = asyncio.Lock()
        self._driving = asyncio.Lock()
        self._polling = asyncio.Lock()
        self._polled_at = float("-inf")
        self._polls = 0
        self._waiters: dict[str, list[asyncio.Future[JobStatus]]] = {}
        self._absences = Absences()
        self._poke = asyncio.Event()
        self._tasks = TaskGroup()
        self._tending: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._followed = False
        self._delay = _FIRST

    # What kind of cluster it is

    async def ready(self) -> Dialect:
        """Asks once who we are there, and which scheduler there is."""
        async with self._asking:
            if self._dialect is None:
                wanted = self.options.scheduler
                names = dialects() if wanted == "auto" else {wanted: dialect(wanted)}
                probes = {name: each.probe for name, each in names.items()}
                told = facts(
                    await self.remote.script(scripts.hello(self.options.directory, probes))
                )
                if not told.get("done"):
                    raise JobError(
                        f"{self.remote.cluster_id!r}: the directory {self.options.directory!r} for "
                        "jobs cannot be made or used there"
                    )
                if wanted != "auto" and wanted not in told["schedulers"]:
                    raise ConfigError(
                        f"{self.remote.cluster_id!r} has no {wanted} (not on its PATH)"
                    )
                self._root = check_directory(told["root"])
                self._user = told["user"]
                self._dialect = (
                    detected(told["schedulers"]) if wanted == "auto" else dialect(wanted)
                )
        return self._dialect

    @property
    def dialect(self) -> Dialect:
        """Known once it is `ready`."""
        assert self._dialect is not None  # noqa: S101 - ready() comes first
        return self._dialect

    @property
    def root(self) -> str:
        """The directory of all jobs."""
        return self._root

    @property
    def user(self) -> str:
        """The account's name there."""
        return self._user

    # Submitting

    async def submit(
        self, jobs: Sequence[Job], tokens: Sequence[str], keys: Sequence[str | None]
    ) -> list[Record]:
        """Writes jobs down and submits them. What a key names already is not submitted again."""
        spoken = await self.ready()
        planned = []
        for job, token, key in zip(jobs, tokens, keys, strict=True):
            if spoken.name == "shell" and job.array_text() is not None:
                raise ConfigError("array=: a plain host has none; submit the jobs one by one")
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

    async def _get(self, token: str) -> Record | None:
        return await self._records.do(self._records.get, self.text, token)

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
            if cluster_text(parent.cluster_id) != self.text:
                raise ConfigError(f"after={parent}: that job is on another cluster")
            if self.dialect.name == "shell":
                found.append(Dependency(parent.token, kind))
                continue
            status = (await self.statuses([parent.job]))[parent.job]
            if not status.final:
                if status.native_id is None:
                    raise JobError(f"after={parent}: it is not submitted yet")
                found.append(Dependency(status.native_id, kind))
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
                self._absences.seen(record.token, bool(mine))
            twice = self._absences.counts.get(record.token, 0) > 1
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

    async def _save(self, record: Record) -> None:
        await self._records.do(self._records.update, record)
        if record.status.final:
            for waiter in self._waiters.pop(record.token, []):
                if not waiter.done():
                    waiter.set_result(record.status)
        self._changed(record.status)

    # What is known

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
        return {handle: _of(record.status, handle) for handle, record in records.items()}

    async def _known(self, handle: JobHandle) -> Record:
        record = await self._get(handle.token)
        return record or await self.attach(handle.job)

    async def attach(self, handle: JobHandle) -> Record:
        """Looks for a job that this store does not know."""
        await self.ready()
        status = JobStatus(handle, JobState.PENDING, as_of=0)
        record = Record(handle, self.text, "", "", Phase.SUBMITTED, status)
        look = await self._look([record], queue=False)
        files = look.jobs.get(handle.token)
        if not look.complete or files is None or not files.present:
            from ..errors import JobNotFound

            error = JobNotFound(f"{handle}: nothing is left of that job")
            error.handle = handle
            raise error
        if files.lock is None or files.owner is None:
            record = replace(record, phase=Phase.SUBMITTING)
        await self._records.do(self._records.put, record)
        return record

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

    async def _look(self, records: Sequence[Record], *, queue: bool, tails: bool = False) -> Look:
        nonce, spoken = secrets.token_hex(8), self.dialect
        absent = [r for r in records if self._absences.counts.get(r.token, 0) > 0]
        history: list[str] = []
        if queue and absent:
            since = min(record.status.submitted or time.time() for record in absent)
            ids = [record.status.native_id or "" for record in absent]
            history = spoken.history([record.token for record in absent], ids, since)
        text = await self.remote.script(
            scripts.look(
                *(self._root, nonce, [record.token for record in records]),
                queue=spoken.queue(self._user) if queue else (),
                history=history,
                tails=tails,
            )
        )
        return parse_look(text, nonce)

    def _rows(self, look: Look) -> Mapping[str, list[QueueRow]] | None:
        if look.queue is None:
            return None
        found: dict[str, list[QueueRow]] = {}
        for row in self.dialect.parse_queue(look.queue):
            found.setdefault(row.name, []).append(row)
        return found

    async def _judge(self, records: Sequence[Record], look: Look) -> None:
        rows = self._rows(look)
        past: dict[str, list[QueueRow]] = {}
        for row in self.dialect.parse_history(look.history or ""):
            past.setdefault(row.name, []).append(row)
        failed = []
        scheduled = self.dialect.name != "shell"
        for record in records:
            files = look.jobs.get(record.token)
            mine = None if rows is None else rows.get(record.token, [])
            absences = 0
            if scheduled and mine is not None:
                absences = self._absences.seen(record.token, bool(mine))
            elif not scheduled and files is not None:
                absences = self._absences.seen(record.token, files.present)
            evidence = Evidence(
                *(files, mine, past.get(record.token), absences, scheduled),
                indices=_indices(record, files),
                now=time.time(),
            )
            status = judge(record.status, evidence)
            if status != record.status:
                if (
                    status.final
                    and status.state is not JobState.COMPLETED
                    and not status.stderr_tail
                ):
                    failed.append(record)
                    continue
                await self._save(replace(record, status=status))
        if failed:
            await self._with_tails(failed, rows, past)

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
                absences=self._absences.counts.get(record.token, 0),
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
            status = _of(record.status, handle)
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
            if self._followed:
                due.append(max(_SAFE, self.options.min_interval))
            else:
                due.append(
                    self._delay if self.dialect.name == "shell" else self.options.min_interval
                )
        return max(0.1, min(due)) if due else None

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
        if _of(record.status, handle).final:
            return
        text = await self.remote.script(scripts.cancel_files(self._root, [handle.token]))
        if self.dialect.name == "shell":
            text = await self.remote.script(scripts.kill(self._root, handle.token, grace))
        elif record.status.native_id is not None:
            task = "" if handle.index is None else f"_{handle.index}"
            words = self.dialect.cancel([f"{record.status.native_id}{task}"])
            text = await self.remote.script(" ".join(map(scripts.quote, words)) + "\n")
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


def _of(status: JobStatus, handle: JobHandle) -> JobStatus:
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


def cluster_key(cluster_id: Hashable) -> str:
    """Its id, as records have it."""
    return cluster_text(cluster_id)
