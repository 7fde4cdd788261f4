"""The words, errors and records that old programs know."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from ...errors import JobError, JobNotFound
from ..job import Resources
from ..states import JobState

JobNotFoundError = JobNotFound


class JobSubmissionError(JobError):
    """A job could not be submitted; the cause is the error's `__cause__`."""


class JobStatus(enum.StrEnum):
    """What `get_status` tells; each is also its word."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """Whether it is an end."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


WORDS = {
    JobState.PENDING: JobStatus.PENDING,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.COMPLETED: JobStatus.COMPLETED,
    JobState.FAILED: JobStatus.FAILED,
    JobState.TIMEOUT: JobStatus.FAILED,
    JobState.CANCELLED: JobStatus.CANCELLED,
    JobState.LOST: JobStatus.UNKNOWN,
}


@dataclass
class JobResult:
    """What `retrieve_results` gives. What a code's own parser would find is left to that."""

    success: bool
    final_energy: float | None = None
    convergence_status: str = "UNKNOWN"
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class SLURMJobConfig:
    """What a job of `SLURMRunner` asks for."""

    job_name: str = "crystal_job"
    nodes: int = 1
    ntasks: int = 1
    cpus_per_task: int = 4
    time_limit: str = "24:00:00"
    partition: str | None = None
    memory: str | None = None
    account: str | None = None
    qos: str | None = None
    email: str | None = None
    email_type: str | None = None
    dependencies: list[str] = field(default_factory=list)
    array: str | None = None
    constraint: str | None = None
    exclusive: bool = False
    modules: list[str] = field(default_factory=lambda: ["crystal23"])
    environment_setup: str = ""

    def resources(self) -> Resources:
        """The same for a `Job`."""
        extra = [f"--mail-user={self.email}"] if self.email else []
        extra += [f"--mail-type={self.email_type}"] if self.email and self.email_type else []
        extra += [f"--constraint={self.constraint}"] if self.constraint else []
        extra += ["--exclusive"] if self.exclusive else []
        return Resources(
            nodes=self.nodes,
            tasks=self.ntasks,
            cpus_per_task=self.cpus_per_task,
            time=self.time_limit,
            memory=self.memory,
            partition=self.partition,
            account=self.account,
            qos=self.qos,
            extra=extra,
        )
