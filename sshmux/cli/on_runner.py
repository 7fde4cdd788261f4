"""What the commands for jobs share: a runner, and the clusters of the catalogue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from ..manager import ConnectionManager
from ..runner.database import Database
from ..runner.handle import JobHandle
from ..runner.runner import RemoteRunner
from ..runner.states import JobState, JobStatus
from . import target

F = TypeVar("F", bound=Callable[..., Any])

_PERSIST = 600  # seconds that a connection stays for the next command
_LOST = 255
_TIMED_OUT = 124  # as timeout(1) has it
_CANCELLED = 130


class Jobs:
    """A runner, and what a word on the command line means to it."""

    def __init__(
        self, runner: RemoteRunner, manager: ConnectionManager, ids: dict[str, Any]
    ) -> None:
        self.runner = runner
        self._manager = manager
        self._ids = ids

    def cluster(self, word: str) -> Any:
        """A cluster of the catalogue by its name or id; else a host as ssh knows it."""
        if word not in self._ids:
            self._manager.register_cluster(word, word, strict_host_key_checking="config")
            self._ids[word] = word
        return self._ids[word]

    async def handle(self, word: str) -> JobHandle:
        """A job: by its handle, its token, or the scheduler's id."""
        if ":" in word:
            cluster = JobHandle.parse(word).cluster_id
            if cluster not in self._ids.values():
                self.cluster(str(cluster))
        else:
            await self._know_clusters()
        return await self.runner.attach(word)

    async def _know_clusters(self) -> None:
        for status in await self.runner.list():
            if status.handle.cluster_id not in self._ids.values():
                self.cluster(str(status.handle.cluster_id))

    async def refresh(self) -> None:
        """Makes all clusters known that have jobs."""
        await self._know_clusters()


def with_jobs(work: Callable[[Jobs], Awaitable[int]]) -> int:
    """Does something with a runner; Ctrl-C ends it, and no job."""

    async def main() -> int:
        manager = ConnectionManager(pool_size=2, persist=_PERSIST, prompter=target.terminal())
        with Database() as database:
            rows = database.register_all(manager)
        ids: dict[str, Any] = {str(row.id): row.id for row in rows}
        ids.update({row.name: row.id for row in rows})
        async with manager, RemoteRunner(manager) as runner:
            return await work(Jobs(runner, manager, ids))

    return target.until_signalled(main())


def exit_status(status: JobStatus) -> int:
    """The job's own, where it has one."""
    if status.state is JobState.COMPLETED:
        return 0
    if status.state is JobState.TIMEOUT:
        return _TIMED_OUT
    if status.state is JobState.CANCELLED:
        return _CANCELLED
    if status.state is JobState.LOST:
        return _LOST
    return status.exit_code or 1


def json_option(function: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="As JSON, all fields.")(function)


def row(status: JobStatus) -> tuple[str, ...]:
    """The cells of a job in a table."""
    code = "-" if status.exit_code is None else str(status.exit_code)
    return (
        *(status.handle.token, str(status.handle.cluster_id), status.name, status.state.value),
        *(str(status.reason), code, status.native_id or "-", status.nodes),
    )


COLUMNS = ("TOKEN", "CLUSTER", "NAME", "STATE", "REASON", ">EXIT", "ID", "NODES")
