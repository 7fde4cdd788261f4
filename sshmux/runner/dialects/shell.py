"""No scheduler: a job is a process of its own session. The wrapper does what a scheduler would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ...errors import ConfigError
from ..job import Resources
from .base import Accepted, Partition, QueueRow, Refused, Submission, SubmitAnswer, Uncertain


class Shell:
    """A plain host. There is nothing to ask: the jobs' files and their processes tell all."""

    name: ClassVar[str] = "shell"
    probe: ClassVar[str] = "echo sh"
    identity: ClassVar[str] = "id=$$ task= restarts=0; [ -e pid ] || [ ! -e start ] || exit 0\n"
    script_on_stdin: ClassVar[bool] = False
    reserved_codes: ClassVar[frozenset[int]] = frozenset()
    acceptance_delay: ClassVar[float] = 5.0
    history_delay: ClassVar[float] = 0.0
    knows_results: ClassVar[bool] = False

    def check(self, array: str | None, resources: Resources) -> None:
        """Raises `ConfigError` for arrays. What a host cannot limit is not looked at."""
        if array is not None:
            raise ConfigError("array=: a plain host has none; submit the jobs one by one")

    def submit(self, job: Submission) -> list[str]:
        """No command: the wrapper is started as it is."""
        return []

    def submitted(self, status: int, stdout: str, stderr: str) -> SubmitAnswer:
        """The process id."""
        text = stdout.strip()
        if text.isascii() and text.isdigit() and int(text) > 1:
            return Accepted(text)
        if status == 0 and not text and not stderr.strip():
            return Uncertain("its process id was not told")
        return Refused(stderr.strip() or "the job's process could not be started")

    def queue(self, user: str | None) -> list[str]:
        """No command."""
        return []

    def parse_queue(self, stdout: str) -> list[QueueRow]:
        """Nothing."""
        return []

    def history(self, tokens: Sequence[str], native_ids: Sequence[str], since: float) -> list[str]:
        """No command."""
        return []

    def parse_history(self, stdout: str) -> list[QueueRow]:
        """Nothing."""
        return []

    def cancel(self, native_ids: Sequence[str]) -> list[str]:
        """No command: see `scripts.kill`."""
        return []

    def details(self, native_id: str) -> list[str]:
        """What `ps` says of the process."""
        return ["ps", "-o", "pid=,ppid=,stat=,etime=,time=,vsz=,rss=,args=", "-p", native_id]

    def parse_details(self, stdout: str) -> dict[str, str]:
        """By names."""
        values = stdout.strip().split(None, 7)
        names = ("pid", "ppid", "stat", "elapsed", "cpu_time", "vsz_kib", "rss_kib", "command")
        return dict(zip(names, values, strict=False)) if len(values) >= 7 else {}

    def partitions(self) -> list[str]:
        """No command."""
        return []

    def parse_partitions(self, stdout: str) -> list[Partition]:
        """Nothing."""
        return []
