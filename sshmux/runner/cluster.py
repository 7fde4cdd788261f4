"""What there is to know of one cluster, and how its jobs' files and scheduler are looked at."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..errors import ConfigError, JobError
from ..system.tasks import TaskGroup
from ..text import logger
from . import scripts
from .dialects.base import Dialect, QueueRow
from .handle import JobHandle, check_directory, cluster_text
from .job import ClusterOptions, array_indices
from .journal import JobFiles, Look, parse_look
from .records import Record, Records
from .registry import detected, dialect, dialects
from .remote import Remote, facts
from .states import JobState, JobStatus
from .submission import Phase
from .verdict import Absences

log = logger("sshmux.runner")

_FIRST = 0.3  # seconds until a plain host is asked again; then longer and longer


class Cluster:
    """One cluster: what it is, and what is known of its jobs, written down and looked at."""

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
        self._waiters: dict[str, list[asyncio.Future[JobStatus]]] = {}
        self._absences = Absences()
        self._poke = asyncio.Event()
        self._tasks = TaskGroup()
        self._tending: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._followed = False
        self._wanted = False  # what is not known is not told by the journal: somebody is to ask
        self._early: set[str] = set()  # events that came before their submission was over
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
                self._absences.delay = self._dialect.history_delay
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

    async def _get(self, token: str) -> Record | None:
        return await self._records.do(self._records.get, self.text, token)

    async def _some(self, records: Sequence[Record]) -> list[Record]:
        """What is known of them now."""
        tokens = [record.token for record in records]
        return await self._records.do(self._records.some, self.text, tokens)

    async def _save(self, *records: Record) -> None:
        if not records:
            return
        await self._records.do(self._records.update, *records)
        for record in records:
            if record.status.final:
                for waiter in self._waiters.pop(record.token, []):
                    if not waiter.done():
                        waiter.set_result(record.status)
            self._changed(record.status)

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
        self._wanted = True
        return record

    async def _look(self, records: Sequence[Record], *, queue: bool, tails: bool = False) -> Look:
        nonce, spoken = secrets.token_hex(8), self.dialect
        absent = [r for r in records if self._absences.count(r.token) > 0]
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
        if not self.dialect.queue(self._user):
            return {}  # nobody has a queue there: what the files say is all there is
        if look.queue is None:
            return None
        found: dict[str, list[QueueRow]] = {}
        for row in self.dialect.parse_queue(look.queue):
            if row.user not in ("", self._user):
                continue
            found.setdefault(row.name, []).append(row)
        return found


def indices_of(record: Record, files: JobFiles | None) -> list[int] | None:
    """The tasks of an array; None for what is none."""
    if known := sorted(record.status.tasks):
        return known
    if files is not None and '"array": "' in files.meta:
        try:
            return array_indices(json.loads(files.meta)["array"])
        except (ValueError, KeyError, ConfigError, TypeError):
            return None
    return None
