"""Jobs on clusters: submitted once, found again for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from ..checks import check_function, check_seconds
from ..errors import ConfigError, JobError, JobNotFound
from ..errors import TimeoutError as Timeout
from . import outputs, scripts
from .dialects.base import Partition, QueueRow
from .handle import JobHandle, cluster_of, cluster_text, new_token, token_of_key
from .job import ClusterOptions, Job, Line
from .records import Records
from .remote import Lends, Remote
from .states import JobStatus
from .submitting import refused
from .watching import ClusterJobs

Stream = Literal["stdout", "stderr"]


class RemoteRunner:
    """Submits jobs and finds them again: after a lost connection, from another program or machine.

    Everything about a job is in a directory of its own on its cluster; a file here (SQLite, which
    several programs may use at once) knows which jobs there are. It uses the manager's connections
    and keeps none of them.

    Parameters:
        manager: a `ConnectionManager`; it stays the caller's.
        store: the file; None for the platform's place for it (`$SSHMUX_STORE`).
        clusters: how clusters are treated, by their ids; `ClusterOptions()` for others.

    Used as an `async with` block, or until `close()`. Jobs go on, whatever happens to it.
    """

    def __init__(
        self,
        manager: Lends,
        *,
        store: str | os.PathLike[str] | None = None,
        clusters: Mapping[Hashable, ClusterOptions] | None = None,
    ) -> None:
        self._manager = manager
        self._records = Records(None if store is None else Path(store))
        self._options = dict(clusters or {})
        for options in self._options.values():
            if not isinstance(options, ClusterOptions):
                raise ConfigError(f"clusters=: {options!r}: use ClusterOptions(…)")
        self._clusters: dict[str, ClusterJobs] = {}
        self._subscribers: list[Callable[[JobStatus], object]] = []
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends what goes on in the background. The jobs go on."""
        self._closed = True
        for cluster in self._clusters.values():
            await cluster.close()
        await asyncio.wrap_future(self._records.close())

    def _cluster(self, cluster_id: Hashable) -> ClusterJobs:
        if self._closed:
            raise ConfigError("this runner was closed")
        text = cluster_text(cluster_id)
        if text not in self._clusters:
            options = self._options.get(cluster_id, ClusterOptions())
            remote = Remote(self._manager, cluster_id)
            self._clusters[text] = ClusterJobs(remote, self._records, options, self._tell)
        return self._clusters[text]

    # Submitting

    async def submit(self, cluster_id: Hashable, job: Job, *, key: str | None = None) -> JobHandle:
        """Submits a job; it returns once the cluster has it, or it waits for a place.

        Parameters:
            key: a name for this submission. Repeated with the same key, also by another program
                after this one was killed, the job is submitted once.

        Raises:
            SubmitRefused: the scheduler does not take it.
            ConfigError: the job cannot be run there, or the key is another job's.
            What `ConnectionManager.get_connection` and `Connection.run` raise: then `recover()`,
            or the same call with the same key, goes on.
        """
        if key is not None and not isinstance(key, str):
            raise ConfigError(f"key={key!r}: use a text")
        keys = None if key is None else [key]
        (handle,) = await self.submit_many(cluster_id, [job], keys=keys)
        return handle

    async def submit_many(
        self, cluster_id: Hashable, jobs: Iterable[Job], *, keys: Sequence[str] | None = None
    ) -> list[JobHandle]:
        """Submits jobs, all of them in one go: see `submit`."""
        wanted = list(jobs)
        for job in wanted:
            if not isinstance(job, Job):
                raise ConfigError(f"{job!r}: give a Job")
        given: list[str | None] = [None] * len(wanted) if keys is None else list(keys)
        if isinstance(keys, str) or not all(key is None or isinstance(key, str) for key in given):
            raise ConfigError(f"keys={keys!r}: use a list of texts")
        if len(given) != len(wanted) or len(set(given) - {None}) != len([k for k in given if k]):
            raise ConfigError("keys=: give one for each job, and no two the same")
        if not wanted:
            return []
        tokens = [new_token() if key is None else token_of_key(key) for key in given]
        records = await self._cluster(cluster_id).submit(wanted, tokens, given)
        for record in records:
            if (error := refused(record)) is not None:
                raise error
        return [record.handle for record in records]

    async def recover(self) -> list[JobHandle]:
        """Goes on with what a killed program had begun to submit; the jobs concerned."""
        known = await self._records.do(self._records.all)
        found = [record for record in known if record.phase.open]
        for text in {record.cluster for record in found}:
            cluster = self._cluster(cluster_of(text))
            await cluster.ready()
            await cluster.drive([each.token for each in found if each.cluster == text], patience=90)
            cluster.tend()
        return [record.handle for record in found]

    # What is known

    async def status(self, handle: JobHandle) -> JobStatus:
        """What is known of a job, asked anew if that is due (`ClusterOptions.min_interval`).

        Raises `JobNotFound` for a job of which nothing is left.
        """
        return (await self.statuses([handle]))[handle]

    async def statuses(self, handles: Iterable[JobHandle]) -> dict[JobHandle, JobStatus]:
        """The same of many jobs: one command a cluster."""
        by_cluster: dict[str, list[JobHandle]] = {}
        for handle in handles:
            by_cluster.setdefault(cluster_text(_checked(handle).cluster_id), []).append(handle)
        found: dict[JobHandle, JobStatus] = {}
        asked = [
            self._cluster(cluster_of(text)).statuses(some) for text, some in by_cluster.items()
        ]
        for each in await asyncio.gather(*asked):
            found.update(each)
        return found

    async def wait(self, handle: JobHandle, timeout: float | None = None) -> JobStatus:
        """Waits until a job has ended. Raises `sshmux.TimeoutError` after `timeout` seconds."""
        cluster = self._cluster(_checked(handle).cluster_id)
        if timeout is None:
            return await cluster.wait(handle)
        check_seconds("timeout", timeout)
        try:
            async with asyncio.timeout(timeout) as limit:
                return await cluster.wait(handle)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Timeout(f"{handle} has not ended within {timeout:g} s") from None

    async def as_completed(
        self, handles: Iterable[JobHandle], timeout: float | None = None
    ) -> AsyncIterator[JobStatus]:
        """The jobs as they end. Raises `sshmux.TimeoutError` when they do not in time."""
        if timeout is not None:
            check_seconds("timeout", timeout)
        wanted = [_checked(handle) for handle in handles]
        until = None if timeout is None else time.monotonic() + timeout
        ended: asyncio.Queue[asyncio.Task[JobStatus]] = asyncio.Queue()
        waiting = {asyncio.ensure_future(self.wait(handle)) for handle in wanted}
        for task in waiting:
            task.add_done_callback(ended.put_nowait)
        try:
            while waiting:
                left = None if until is None else max(0.0, until - time.monotonic())
                try:
                    async with asyncio.timeout(left) as limit:
                        task = await ended.get()
                except TimeoutError:
                    if not limit.expired():
                        raise
                    raise Timeout(
                        f"{len(waiting)} jobs have not ended within {timeout:g} s"
                    ) from None
                waiting.discard(task)
                yield task.result()
        finally:
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)

    async def list(
        self, cluster_id: Hashable | None = None, *, refresh: bool = False
    ) -> list[JobStatus]:
        """All jobs that the store knows, the oldest first; with `refresh` asked anew."""
        text = None if cluster_id is None else cluster_text(cluster_id)
        records = await self._records.do(self._records.all, text)
        if refresh:
            await self.statuses([each.handle for each in records if not each.status.final])
            records = await self._records.do(self._records.all, text)
        return [record.status for record in records]

    async def attach(
        self, text_or_native_id: str | int, cluster_id: Hashable | None = None
    ) -> JobHandle:
        """The handle of a job: by its text, its token, or the scheduler's id.

        Parameters:
            cluster_id: the cluster that it is on, where an id alone may mean several jobs.

        Raises `JobNotFound`.
        """
        given = text_or_native_id
        if isinstance(given, bool) or not isinstance(given, str | int):
            raise ConfigError(f"{given!r}: give a handle's text, or the scheduler's id")
        text = str(given)
        cluster = None if cluster_id is None else cluster_text(cluster_id)
        if ":" in text:
            handle = JobHandle.parse(text)
            if cluster_id is not None and cluster != cluster_text(handle.cluster_id):
                raise ConfigError(f"cluster_id={cluster_id!r}: {text} is on {handle.cluster_id!r}")
            await self.statuses([handle])
            return handle
        records = await self._records.do(self._records.all, cluster)
        found = [each for each in records if text in (each.token, each.status.native_id)]
        if len(found) > 1:
            raise ConfigError(f"{text!r} means {len(found)} jobs: give cluster_id=, or a handle")
        if not found:
            raise JobNotFound(f"no job is called {text!r} in the store")
        return found[0].handle

    def subscribe(self, callback: Callable[[JobStatus], object]) -> Callable[[], None]:
        """Calls back whenever something new is known of a job; what it returns ends that."""
        check_function("callback", callback)
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def _tell(self, status: JobStatus) -> None:
        for subscriber in list(self._subscribers):
            subscriber(status)

    # Ends

    async def cancel(self, handle: JobHandle, *, grace: float = 10) -> JobStatus:
        """Ends a job: SIGTERM, and SIGKILL after `grace` seconds. What has ended stays as it is."""
        check_seconds("grace", grace)
        cluster = self._cluster(_checked(handle).cluster_id)
        await cluster.ready()
        await cluster.cancel(handle, grace)
        with contextlib.suppress(Timeout):
            return await self.wait(handle, grace + 60)
        return await self.status(handle)

    async def cleanup(self, handle: JobHandle) -> None:
        """Removes a job that has ended: its directory there, and its record here."""
        status = await self.status(_checked(handle).job)
        if not status.final:
            error = JobError(f"{handle} has not ended: cancel() it first")
            error.handle = handle
            raise error
        cluster = self._cluster(handle.cluster_id)
        directory = os.path.dirname(handle.directory)
        await cluster.remote.script(scripts.remove(directory, handle.token))
        await self._records.do(self._records.remove, cluster.text, handle.token)

    # What it wrote

    async def output(
        self, handle: JobHandle, *, stream: Stream = "stdout", follow: bool = False, offset: int = 0
    ) -> AsyncIterator[Line]:
        """The lines that a job writes, from an offset in bytes on.

        Parameters:
            follow: go on until the job has ended; a lost connection is made good for.
            offset: a `Line`'s, to go on behind it.
        """
        if stream not in ("stdout", "stderr"):
            raise ConfigError(f"stream={stream!r}: use 'stdout' or 'stderr'")
        cluster = self._cluster(_checked(handle).cluster_id)
        await cluster.ready()
        name = {"stdout": "out", "stderr": "err"}[stream]
        file = name if handle.index is None else f"{name}.{handle.index}"
        reader = outputs.OutputReader(cluster, handle, file, offset)
        async for some in reader.lines(follow=follow):
            for line in some:
                yield line

    async def collect(
        self,
        handle: JobHandle,
        into: str | os.PathLike[str],
        patterns: Sequence[str] | None = None,
    ) -> Sequence[Path]:
        """Fetches a job's outputs into a directory here, all or none; their paths.

        Parameters:
            patterns: of names below its working directory; None for the job's own `outputs`, and
                everything if it has none.
        """
        cluster, where = self._cluster(_checked(handle).cluster_id), os.fspath(into)
        if not isinstance(where, str) or not where or "\0" in where:
            raise ConfigError(f"into={into!r}: use the path of a directory here")
        await cluster.ready()
        return await outputs.collect(cluster, handle, Path(where), patterns)

    # The cluster

    async def queue(self, cluster_id: Hashable) -> Sequence[QueueRow]:
        """All that the cluster's scheduler has, of all users; nothing for a plain host."""
        cluster = self._cluster(cluster_id)
        dialect = await cluster.ready()
        return dialect.parse_queue(await _ask(cluster, dialect.queue(None)))

    async def partitions(self, cluster_id: Hashable) -> Sequence[Partition]:
        """Its queues or partitions."""
        cluster = self._cluster(cluster_id)
        dialect = await cluster.ready()
        return dialect.parse_partitions(await _ask(cluster, dialect.partitions()))

    async def details(self, handle: JobHandle) -> dict[str, str]:
        """All that the scheduler tells of a job, by its own names."""
        cluster = self._cluster(_checked(handle).cluster_id)
        dialect = await cluster.ready()
        status = await self.status(handle.job)
        if status.native_id is None:
            return {}
        return dialect.parse_details(await _ask(cluster, dialect.details(status.native_id)))


def _checked(handle: JobHandle) -> JobHandle:
    if not isinstance(handle, JobHandle):
        raise ConfigError(f"{handle!r}: give a JobHandle (JobHandle.parse(text) makes one)")
    return handle


async def _ask(cluster: ClusterJobs, words: Sequence[str]) -> str:
    if not words:
        return ""
    return await cluster.remote.script(scripts.ask(words))
