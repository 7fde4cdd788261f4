"""The runners of programs written for asyncssh, by their old names, over `RemoteRunner`.

`SSHRunner` and `SLURMRunner` have the constructors, methods, status words and handle texts that
such programs know (`CLUSTER:ID:/remote/directory`). What they could not do is as in `RemoteRunner`:
a job runs once, outlives the program, and is found again by its handle. See
docs/moving-from-crystal-tui.md.
"""

from __future__ import annotations

from .data import JobNotFoundError, JobResult, JobStatus, JobSubmissionError, SLURMJobConfig
from .slurm import SLURMRunner
from .ssh import SSHRunner

__all__ = [
    "JobNotFoundError",
    "JobResult",
    "JobStatus",
    "JobSubmissionError",
    "SLURMJobConfig",
    "SLURMRunner",
    "SSHRunner",
]
