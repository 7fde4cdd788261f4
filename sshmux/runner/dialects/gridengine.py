"""Grid Engine: qsub, qstat, qacct, qdel, qconf. Measured on 8.1.9 (Son of Grid Engine).

qstat has jobs that wait or run, and no others; qacct those that ran, some seconds after their end;
a job that is deleted before it starts is in neither. Both print local times: TZ makes them UTC.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from ...errors import ConfigError
from ..job import Resources
from ..states import JobState, Reason
from .base import (
    Accepted,
    Partition,
    QueueRow,
    Refused,
    Submission,
    SubmitAnswer,
    Uncertain,
    Waiting,
)
from .times import ctime, iso, number, span_of

_UTC = "TZ=UTC0"
_PARALLEL = "smp"  # the parallel environment for more than one slot on one host
_CLOCKS = 3600.0  # seconds that the clocks of this machine and the cluster may differ

_ID = re.compile(r"([0-9]{1,12})(?:\.[0-9]{1,9}-[0-9]{1,9}:[0-9]{1,9})?\Z")
_TASK_SPAN = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?\Z")
_MOST_TASKS = 100_000

# Of qstat's XML: each job by itself, so that one that cannot be read spoils no other.
_JOB = re.compile(r"<job_list\b[^>]*>(.*?)</job_list>", re.DOTALL)
_VALUE = re.compile(r"<([A-Za-z_]{1,40})(?:\s[^<>]*)?>([^<]*)</\1>")

_FULL = re.compile(r"Only \d+ jobs are allowed", re.IGNORECASE)
_AWAY = re.compile(
    r"Connection refused|unable to (?:contact|connect to) qmaster|can't resolve|host not found",
    re.IGNORECASE,
)
_UNCERTAIN = re.compile(
    r"got (?:read|receive) error|timed? ?out|timeout|lost|gdi request", re.IGNORECASE
)
_CERTAIN = re.compile(r"Unable to run job:|qsub: |Unknown option|ERROR!", re.IGNORECASE)
_NOISE = re.compile(r"Exiting\.|.*: warning: ")

# What `failed` of the accounting means (sge_status(5)).
_LIMIT = 37
_RESCHEDULED = frozenset((24, 25))
_SIGNAL = 100
_AFTER_START = frozenset((0, 12, 15, 30, 100))
_SIGNALLED = 128  # and the signal


class GridEngine:
    """See `Dialect`."""

    name: ClassVar[str] = "sge"
    # PBS has a qstat, too: this one's help begins with its name and version.
    probe: ClassVar[str] = (
        "command -v qconf >/dev/null && qstat -help | head -n 1 | "
        "grep -E '^ *([A-Z]*/?GE|[SUAO]GE|OCS|GCS|Univa|Altair) '"
    )
    identity: ClassVar[str] = (
        "id=${JOB_ID:-}\n"
        'task=${SGE_TASK_ID:-}; [ "$task" != undefined ] || task=\n'
        "restarts=${RESTARTED:-0}\n"
    )
    script_on_stdin: ClassVar[bool] = False
    reserved_codes: ClassVar[frozenset[int]] = frozenset((99, 100))  # "again", "error state"
    acceptance_delay: ClassVar[float] = 30.0
    history_delay: ClassVar[float] = 20.0  # accounting_flush_time is 15 seconds
    knows_results: ClassVar[bool] = False  # -hold_jid waits for an end, whatever it is

    def check(self, array: str | None, resources: Resources) -> None:
        """Raises `ConfigError` for what Grid Engine has no word for."""
        if array is not None:
            span_of(array, "Grid Engine", 1)
        if resources.gpus is not None:
            raise ConfigError(
                "gpus=: each Grid Engine site has its own name for GPUs: see `qconf -sc`, and say "
                'extra=["-l", "gpu=1"]'
            )
        if resources.qos is not None:
            raise ConfigError("qos=: Grid Engine has none; account= is its project (-P)")
        if (resources.nodes or 1) > 1 or (resources.tasks or 1) > 1:
            raise ConfigError(
                "nodes=, tasks=: Grid Engine has parallel environments of the site's own instead: "
                'see `qconf -spl`, and say extra=["-pe", "mpi", "16"]'
            )

    def submit(self, job: Submission) -> list[str]:
        """Qsub. The script's own lines are no options (-C), the defaults' of the site are."""
        self.check(job.array, job.resources)
        words = ["qsub", "-terse", "-N", job.token, "-wd", job.directory, "-o", "log", "-j", "y"]
        words += ["-S", "/bin/sh", "-C", "", "-sync", "n", "-now", "n"]
        words += ["-r", "y" if job.requeue else "n"]
        if job.array is not None:
            span, most = span_of(job.array, "Grid Engine", 1)
            words += ["-t", span, *(["-tc", most] if most else [])]
        words += self._resources(job.resources)
        if job.after:
            ids = {each.native_id.partition("_")[0]: None for each in job.after}
            words += ["-hold_jid", ",".join(ids)]
        return [*words, *job.resources.extra, job.script]

    def _resources(self, wanted: Resources) -> list[str]:
        slots = wanted.cpus_per_task or 1
        words = ["-pe", _PARALLEL, str(slots)] if slots > 1 else []
        limits = []
        if (seconds := wanted.seconds()) is not None:
            limits.append(f"h_rt={seconds}")
        if (memory := wanted.memory_mib()) is not None:
            limits.append(f"h_vmem={-(-memory // slots)}M")  # of each slot
        words += ["-l", ",".join(limits)] if limits else []
        words += ["-q", wanted.partition] if wanted.partition is not None else []
        words += ["-P", wanted.account] if wanted.account is not None else []
        return words

    def submitted(self, status: int, stdout: str, stderr: str) -> SubmitAnswer:
        """-terse prints the id last, and warnings before it."""
        if status == 0:
            for line in reversed(stdout.splitlines()):
                if found := _ID.match(line.strip()):
                    return Accepted(found[1])
            return Uncertain("qsub printed no id")
        said = _reason(stderr or stdout)
        if status in (124, 129, 130, 137, 141, 143):
            return Uncertain(said or "qsub was ended before it had an answer")
        if _FULL.search(stderr) or _AWAY.search(stderr):
            return Waiting(said)
        if _UNCERTAIN.search(stderr):
            return Uncertain(said)
        if status in (126, 127) or _CERTAIN.search(stderr):
            return Refused(said or f"qsub ended with {status}")
        return Uncertain(said or f"qsub ended with {status} and said nothing")

    def queue(self, user: str | None) -> list[str]:
        """Qstat in XML: elsewhere it cuts names off after ten characters."""
        return [
            "env",
            _UTC,
            "qstat",
            "-xml",
            "-r",
            "-s",
            "prs",
            "-u",
            "*" if user is None else user,
        ]

    def parse_queue(self, stdout: str) -> list[QueueRow]:
        """A row a job, and a row a task of an array."""
        rows: list[QueueRow] = []
        for found in _JOB.finditer(stdout):
            values = {name: html.unescape(text) for name, text in _VALUE.findall(found[1])}
            native_id = values.get("JB_job_number", "")
            if not _ID.match(native_id) or "." in native_id:
                continue
            rows += (_queue_row(native_id, values, index) for index in _tasks(values.get("tasks")))
        return rows

    def history(self, tokens: Sequence[str], native_ids: Sequence[str], since: float) -> list[str]:
        """qacct, once for all of our jobs: each call reads the whole accounting file."""
        begin = datetime.fromtimestamp(max(0.0, since - _CLOCKS), UTC).strftime("%Y%m%d%H%M")
        return ["env", _UTC, "qacct", "-b", begin, "-j", "sm????????????"]

    def parse_history(self, stdout: str) -> list[QueueRow]:
        """A row a record: one that was run again has several."""
        rows = (_history_row(_record(text)) for text in re.split(r"(?m)^=+ *$", stdout))
        return [row for row in rows if row is not None]

    def cancel(self, native_ids: Sequence[str]) -> list[str]:
        """Qdel: SIGKILL at once. It says which ids it does not know; what counts is their state."""
        return ["qdel", *(each.replace("_", ".") for each in native_ids)] if native_ids else []

    def details(self, native_id: str) -> list[str]:
        """Qstat -j."""
        return ["env", _UTC, "qstat", "-j", native_id]

    def parse_details(self, stdout: str) -> dict[str, str]:
        """Its lines; what a line begins with may be there for each task."""
        found: dict[str, str] = {}
        for line in stdout.split("\n"):
            name, colon, value = line.partition(":")
            name = " ".join(name.split())
            if colon and name and len(found) < 200:
                found.setdefault(name, value.strip())
        return found

    def partitions(self) -> list[str]:
        """Qstat -g c."""
        return ["qstat", "-g", "c"]

    def parse_partitions(self, stdout: str) -> list[Partition]:
        """Its cluster queues. What it counts is slots."""
        found = []
        for line in stdout.split("\n"):
            cells = line.split()
            numbers = [number(cell) for cell in cells[2:]]
            if len(cells) != 8 or None in numbers:
                continue
            used, reserved, free, total, _, disabled = (each or 0 for each in numbers)
            found.append(
                Partition(
                    name=cells[0],
                    available=total > disabled,
                    details={
                        "slots": str(total),
                        "slots_used": str(used),
                        "slots_reserved": str(reserved),
                        "slots_available": str(free),
                        "load": cells[1],
                    },
                )
            )
        return found


def _tasks(text: str | None) -> Iterator[int | None]:
    """The indices of "3", "1-7:2" or "3,5,9-11:1"; None for a job that is no array."""
    if not text:
        yield None
        return
    count = 0
    for part in text.split(","):
        if not (found := _TASK_SPAN.match(part.strip())):
            continue
        first = int(found[1])
        for index in range(first, int(found[2] or first) + 1, max(1, int(found[3] or 1))):
            if (count := count + 1) > _MOST_TASKS:
                return
            yield index


def _queue_row(native_id: str, values: dict[str, str], index: int | None) -> QueueRow:
    word = values.get("state", "")
    started = iso(values.get("JAT_start_time", ""))
    state, reason = _state(word, started, held_by_job="predecessor_jobs" in values)
    queue, _, host = values.get("queue_name", "").partition("@")
    return QueueRow(
        native_id=native_id,
        name=values.get("full_job_name") or values.get("JB_name", ""),
        state=state,
        reason=reason,
        index=index,
        submitted=iso(values.get("JB_submission_time", "")),
        started=started,
        nodes=host,
        restarts=1 if "R" in word else None,
        partition=queue,
        native_state=word,
        user=values.get("JB_owner", ""),
    )


def _state(word: str, started: float | None, *, held_by_job: bool) -> tuple[JobState, str]:
    """The letters of a state. What is not known is "still there"."""
    letters = set(word)
    if "E" in letters:
        return JobState.PENDING, Reason.ERROR
    if letters & set("sST"):
        return JobState.RUNNING, Reason.SUSPENDED
    if "w" in letters or "q" in letters:
        if "h" in letters:
            return JobState.PENDING, Reason.DEPENDENCY if held_by_job else Reason.HELD
        return JobState.PENDING, Reason.REQUEUED if "R" in letters else ""
    if letters & set("rt") or started is not None:
        return JobState.RUNNING, Reason.COMPLETING if "d" in letters else ""
    return JobState.PENDING, "" if not word else word[:20]


def _record(text: str) -> dict[str, str]:
    """The lines of one record; the first of a name counts."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(" ")
        if name and len(found) < 200:
            found.setdefault(name, value.strip())
    return found


def _history_row(values: dict[str, str]) -> QueueRow | None:
    native_id, name = values.get("jobnumber", ""), values.get("jobname", "")
    failed = number(values.get("failed", "").partition(" ")[0])
    status = number(values.get("exit_status", "").partition(" ")[0])
    if not _ID.match(native_id) or "." in native_id or failed is None or status is None:
        return None
    state, reason, code, signal = _end(failed, status)
    return QueueRow(
        native_id=native_id,
        name=name,
        state=state,
        reason=reason,
        index=number(values.get("taskid", "")),
        exit_code=code,
        signal=signal,
        submitted=ctime(values.get("qsub_time", "")),
        started=ctime(values.get("start_time", "")),
        ended=ctime(values.get("end_time", "")) if state.final else None,
        nodes=values.get("hostname", ""),
        partition=values.get("qname", ""),
        native_state=f"failed {failed}" if failed else "",
        user=values.get("owner", ""),
        message=values.get("failed", "").partition(":")[2].strip() if failed else "",
    )


def _end(failed: int, status: int) -> tuple[JobState, str, int | None, int | None]:
    """State, reason, exit code and signal of a record."""
    signal = status - _SIGNALLED if status > _SIGNALLED else None
    if failed == _LIMIT:
        return JobState.TIMEOUT, Reason.NONE, None, signal
    if failed in _RESCHEDULED:
        return JobState.PENDING, Reason.REQUEUED, None, None
    if failed not in _AFTER_START:
        return JobState.FAILED, Reason.LAUNCH_FAILED, None, None
    if failed == 0 and status == 0:
        return JobState.COMPLETED, Reason.NONE, 0, None
    return JobState.FAILED, Reason.NONE, status, signal if failed == _SIGNAL else None


def _reason(text: str) -> str:
    """The line that says why, in its own words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [line for line in lines if not _NOISE.match(line)]
    why = [line for line in found if line.startswith("Unable to run job")] or found
    last = (why or [""])[-1].removeprefix("Unable to run job:").strip()
    return last.removeprefix("job rejected:").strip()[:300]
