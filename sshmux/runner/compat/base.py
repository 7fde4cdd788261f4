"""What both old runners have in common: a job by its text."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...errors import ConfigError, Error
from ...errors import TimeoutError as Timeout
from ...manager import ConnectionManager
from .. import states
from ..dialects.base import QueueRow
from ..handle import TOKEN, JobHandle, cluster_of, cluster_text
from ..job import ClusterOptions, Input, Job
from ..runner import RemoteRunner
from ..states import JobState
from .data import WORDS, JobNotFoundError, JobResult, JobStatus, JobSubmissionError

_HANDLE = re.compile(r"([^:]+):([^:]+):(/.*)\Z", re.DOTALL)


class OldRunner:
    """What both have in common."""

    _scheduler = "shell"
    _waiting = JobStatus.PENDING
    _log = "output.log"  # the name that a job's output gets here

    def __init__(
        self,
        connection_manager: ConnectionManager,
        cluster_id: Hashable,
        directory: str,
        *,
        min_interval: float,
        store: str | os.PathLike[str] | None,
    ) -> None:
        self.connection_manager = connection_manager
        self.cluster_id = cluster_id
        if cluster_id not in connection_manager.clusters:
            raise ConfigError(f"cluster {cluster_id!r} is not registered: register_cluster() it")
        options = ClusterOptions(
            scheduler=self._scheduler, directory=directory, min_interval=min_interval
        )
        self.runner = RemoteRunner(connection_manager, store=store, clusters={cluster_id: options})
        self._words: dict[str, JobStatus] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.cleanup()

    async def connect(self) -> None:
        """Nothing: the manager has the connections."""

    # Handles: CLUSTER:ID:/the/job's/own/directory/work

    def _text(self, handle: JobHandle, native_id: str | None) -> str:
        return f"{cluster_text(handle.cluster_id)}:{native_id or '-'}:{handle.directory}/work"

    def _handle(self, text: str) -> JobHandle:
        found = _HANDLE.match(text) if isinstance(text, str) else None
        directory = found[3].removesuffix("/work") if found else ""
        token = directory.rpartition("/")[2]
        if found is None or not TOKEN.match(token):
            raise JobNotFoundError(f"{text!r} is no handle of a job of this runner")
        return JobHandle(self._scheduler, cluster_of(found[1]), token, directory)

    # A job

    async def _submit(self, script: str, **options: Any) -> str:
        try:
            job = Job(script=script, **options)
            handle = await self.runner.submit(self.cluster_id, job)
            status = await self.runner.status(handle)
        except (Error, OSError) as error:
            raise JobSubmissionError(f"Failed to submit job: {error}") from error
        text = self._text(handle, status.native_id)
        self._note(text, status)
        return text

    def _note(self, text: str, status: states.JobStatus) -> JobStatus:
        word = WORDS[status.state]
        word = self._waiting if word is JobStatus.PENDING else word
        self._words[text] = word
        return word

    async def get_status(self, job_handle: str) -> JobStatus:
        """Where a job is; UNKNOWN if the cluster cannot be asked. Raises `JobNotFound`."""
        handle = self._handle(job_handle)
        try:
            return self._note(job_handle, await self.runner.status(handle))
        except JobNotFoundError:
            raise
        except (Error, OSError):
            return JobStatus.UNKNOWN

    def is_job_running(self, job_handle: str) -> bool:
        """Whether it waited or ran when it was last asked about."""
        word = self._words.get(job_handle)
        return word is not None and not word.final and word is not JobStatus.UNKNOWN

    async def cancel_job(self, job_handle: str, timeout: float = 10.0) -> bool:
        """Ends a job: SIGTERM, and SIGKILL after `timeout` seconds. False if it had ended."""
        handle = self._handle(job_handle)
        if (await self.runner.status(handle)).final:
            return False
        status = await self.runner.cancel(handle, grace=timeout)
        self._note(job_handle, status)
        return status.state is JobState.CANCELLED

    async def get_output(self, job_handle: str) -> AsyncIterator[str]:
        """The lines of its output, until it has ended."""
        async for line in self.runner.output(self._handle(job_handle), follow=True):
            yield line.text

    async def wait_for_completion(
        self, job_handle: str, poll_interval: float = 1.0, timeout: float | None = None
    ) -> JobStatus:
        """Waits for its end. `poll_interval` is of no use any more: nothing is polled.

        Raises `sshmux.TimeoutError` after `timeout` seconds.
        """
        del poll_interval
        try:
            return self._note(job_handle, await self.runner.wait(self._handle(job_handle), timeout))
        except Timeout as error:
            raise Timeout(f"Job did not complete within {timeout} seconds") from error

    async def retrieve_results(
        self, job_handle: str, work_dir: str | os.PathLike[str], cleanup: bool | None = None
    ) -> JobResult:
        """Fetches all files of a job that has ended, and its output as one more.

        Parameters:
            work_dir: the directory here.
            cleanup: remove the remote directory; None for what the runner was told.

        Raises `ValueError` for a job that has not ended.
        """
        handle = self._handle(job_handle)
        status = await self.runner.status(handle)
        if not status.final:
            raise ValueError("Job is still running, cannot retrieve results yet")
        await self.runner.collect(handle, work_dir, ["*"])
        lines = [line.text async for line in self.runner.output(handle)]
        await asyncio.to_thread(self._write_log, Path(work_dir), lines)
        metadata = {"job_handle": job_handle, "status": str(self._note(job_handle, status))}
        failed = [] if status.ok else [status.message or status.stderr_tail or str(status.state)]
        result = JobResult(status.ok, errors=failed, metadata={**status.as_dict(), **metadata})
        if self._cleans_up(status.ok) if cleanup is None else cleanup:
            await self.cleanup(job_handle)
        return result

    def _write_log(self, directory: Path, lines: Sequence[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(directory / self._log, flags, 0o666), "w", encoding="utf-8") as file:
            file.write(text)

    def _cleans_up(self, ok: bool) -> bool:
        return False

    async def cleanup(self, job_handle: str | None = None) -> None:
        """Removes a job that has ended from its cluster; without a handle, closes the runner."""
        if job_handle is None:
            await self.runner.close()
        else:
            await self.runner.cleanup(self._handle(job_handle))

    # The cluster

    async def get_queue_status(self, partition: str | None = None) -> list[dict[str, Any]]:
        """What is in the queue, of all users; perhaps only of one partition."""
        rows: Sequence[QueueRow] = await self.runner.queue(self.cluster_id)
        return [asdict(row) for row in rows if partition in (None, row.partition)]

    async def get_job_details(self, job_handle: str) -> dict[str, str]:
        """All that the scheduler tells of a job."""
        return await self.runner.details(self._handle(job_handle))

    async def get_partition_info(self) -> list[dict[str, Any]]:
        """The partitions."""
        return [asdict(each) for each in await self.runner.partitions(self.cluster_id)]


def inputs_of(
    work_dir: str | os.PathLike[str], input_file: str | os.PathLike[str]
) -> tuple[dict[str, Input], str]:
    """What goes with a job, and the input's name. The two were given in either order."""
    directory, file = Path(work_dir), Path(input_file)
    if directory.is_file() and file.is_dir():
        directory, file = file, directory
    if not file.is_file() and (directory / file).is_file():
        file = directory / file
    if not file.is_file():
        raise FileNotFoundError(f"Input file not found: {file}")
    found: dict[str, Input] = {
        each.name: each for each in sorted(directory.iterdir()) if each.is_file()
    }
    found[file.name] = file
    return found, file.name
