"""What is known of each job, in the store. It blocks: used from one thread of its own."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError, StoreError
from ..system.tasks import Threads
from .handle import JobHandle, cluster_text
from .states import JobState, JobStatus
from .store import connect, transaction
from .submission import Phase

T = TypeVar("T")

_OVER = tuple(phase.value for phase in Phase if not phase.open)


@dataclass(frozen=True)
class Record:
    """One job.

    Attributes:
        spec: the job itself, until it is submitted.
        digest: see `specs.digest`.
        phase: how far its submission is.
        tries, not_before: of a submission that waits.
        status: what was last seen.
    """

    handle: JobHandle
    cluster: str
    digest: str
    name: str
    phase: Phase
    status: JobStatus
    key: str | None = None
    spec: str | None = None
    tries: int = 0
    not_before: float = 0.0

    @property
    def token(self) -> str:
        """The job's token."""
        return self.handle.token

    @property
    def reason_is_limit(self) -> bool:
        """Whether it waits for a place here, and is not on the remote yet."""
        return self.phase is Phase.WAITING and self.spec is not None and not self.tries


class Records:
    """The records of all jobs. Every method may be called from any thread, one at a time.

    Parameters:
        path: of the file; None for the platform's place for it.
    """

    def __init__(self, path: str | Path | None) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._threads = Threads(1, linger=5)

    async def do(self, work: Callable[..., T], *arguments: Any) -> T:
        """Does something with them in their thread. Raises `StoreError`."""
        try:
            return await self._threads.run(partial(work, *arguments))
        except sqlite3.Error as error:
            raise StoreError(f"the store of jobs cannot be used: {error}") from error

    def close(self) -> Future[None]:
        """Closes the file, after what is under way."""
        return self._threads.submit(self._close)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = connect(self._path)
        return self._database

    # Blocking

    def plan(self, records: Sequence[Record]) -> list[Record]:
        """Writes new jobs down, all or none. For a key that is known: the job that has it."""
        planned = []
        with transaction(self._open):
            for record in records:
                known = self._by_key(record.cluster, record.key)
                if known is None:
                    self._insert(record)
                planned.append(known or record)
        return planned

    def put(self, record: Record) -> None:
        """A job that another program has submitted."""
        with transaction(self._open):
            self._open.execute(
                "DELETE FROM jobs WHERE cluster = ? AND token = ?", (record.cluster, record.token)
            )
            self._insert(record)

    def update(self, *records: Record) -> None:
        """What is known now, in one write. What is final stays as it is."""
        with transaction(self._open):
            self._open.executemany(
                "UPDATE jobs SET handle = ?, spec = ?, phase = ?, tries = ?, not_before = ?,"
                " native_id = ?, final = ?, status = ?, updated = ?"
                " WHERE cluster = ? AND token = ? AND final = 0",
                [
                    (
                        *(str(record.handle), record.spec, record.phase.value, record.tries),
                        *(record.not_before, record.status.native_id, int(record.status.final)),
                        *(json.dumps(record.status.as_dict()), time.time()),
                        *(record.cluster, record.token),
                    )
                    for record in records
                ],
            )

    def get(self, cluster: str, token: str) -> Record | None:
        """One of them."""
        found = self._select("cluster = ? AND token = ?", cluster, token)
        return found[0] if found else None

    def all(self, cluster: str | None = None) -> list[Record]:
        """All of them, or those of a cluster; the oldest first."""
        return self._select("1") if cluster is None else self._select("cluster = ?", cluster)

    def unfinished(self, cluster: str) -> list[Record]:
        """Those that have not ended."""
        return self._select("cluster = ? AND final = 0", cluster)

    def open(self, cluster: str) -> list[Record]:
        """Those whose submission goes on."""
        return self._select("cluster = ? AND final = 0 AND phase NOT IN (?, ?)", cluster, *_OVER)

    def taken(self, cluster: str) -> int:
        """How many are there, or on their way, and have not ended: not those that wait here."""
        (count,) = self._open.execute(
            "SELECT count(*) FROM jobs WHERE cluster = ? AND final = 0 AND phase != ?"
            " AND NOT (phase = ? AND spec IS NOT NULL AND tries = 0)",
            (cluster, Phase.PLANNED.value, Phase.WAITING.value),
        ).fetchone()
        return int(count)

    def some(self, cluster: str, tokens: Sequence[str]) -> list[Record]:
        """Those of the tokens, in their order; what is not known is left out."""
        found = (self.get(cluster, token) for token in tokens)
        return [record for record in found if record is not None]

    def remove(self, cluster: str, token: str) -> None:
        """Forgets one."""
        with transaction(self._open):
            self._open.execute("DELETE FROM jobs WHERE cluster = ? AND token = ?", (cluster, token))

    def _by_key(self, cluster: str, key: str | None) -> Record | None:
        if key is None:
            return None
        found = self._select("cluster = ? AND key = ?", cluster, key)
        return found[0] if found else None

    def _insert(self, record: Record) -> None:
        now = time.time()
        self._open.execute(
            "INSERT INTO jobs (token, cluster, handle, key, digest, name, spec, phase, tries,"
            " not_before, native_id, final, status, created, updated)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(record.token, record.cluster, str(record.handle), record.key, record.digest),
                *(record.name, record.spec, record.phase.value, record.tries, record.not_before),
                *(record.status.native_id, int(record.status.final)),
                *(json.dumps(record.status.as_dict()), now, now),
            ),
        )

    def _select(self, where: str, *values: object) -> list[Record]:
        rows = self._open.execute(
            f"SELECT * FROM jobs WHERE {where} ORDER BY created, token",  # noqa: S608 - ours
            values,
        )
        return [_checked(row) for row in rows]


def _checked(row: sqlite3.Row) -> Record:
    """The record of a row, whoever wrote that. Raises `StoreError`."""
    try:
        record = _record(row)
        if (record.token, cluster_text(record.handle.cluster_id)) != (row["token"], row["cluster"]):
            raise ValueError("its handle is of another job")
    except (ConfigError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as why:
        raise StoreError(
            f"the store of jobs has a row that cannot be read, of job {row['token']!r}: {why}"
        ) from why
    return record


def _record(row: sqlite3.Row) -> Record:
    handle = JobHandle.parse(row["handle"])
    status = JobStatus(handle, JobState.PENDING)
    if row["status"]:
        status = JobStatus.from_dict(json.loads(row["status"]))
    return Record(
        handle=handle,
        cluster=row["cluster"],
        digest=row["digest"],
        name=row["name"],
        phase=Phase(row["phase"]),
        status=replace(status, handle=handle),
        key=row["key"],
        spec=row["spec"],
        tries=row["tries"],
        not_before=row["not_before"],
    )
