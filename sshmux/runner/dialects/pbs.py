"""PBS: qsub, qselect, qstat, qdel, of OpenPBS and PBS Professional, and of Torque.

Not run live: there is no package of it to run. Written from its manuals and its published output.
Ended jobs are told by qstat, while the server keeps them (`job_history_enable`, `keep_completed`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from ...errors import ConfigError
from ..job import Resources, array_indices
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
from .times import ctime, number, seconds_of, span_of

_DEPENDENCY = {"ok": "afterok", "any": "afterany", "failed": "afternotok"}
_ID = re.compile(r"([0-9]{1,12}(?:\[\])?)(?:\.[A-Za-z0-9_.-]+)?\Z")
_ROW_ID = re.compile(r"([0-9]{1,12})(?:\[([0-9]{0,9})\])?(?:\.[A-Za-z0-9_.-]+)?\Z")
_HEAD = re.compile(r"(Job Id|Queue): ?(\S+)\Z")
_MOST_VALUES = 200

_FULL = re.compile(r"exceed|limit|too many", re.IGNORECASE)
_FOR_EVER = re.compile(r"Resource_List|resource limits|walltime", re.IGNORECASE)
_AWAY = re.compile(
    r"cannot connect to server|Connection refused|could not connect|"
    r"No Permission to connect|server is shutting down|not accepting",
    re.IGNORECASE,
)
_UNCERTAIN = re.compile(
    r"premature end|end of file|recv data|timed? ?out|Communication failure|protocol", re.IGNORECASE
)

_TERMINATED = 91  # substate of a job that was deleted
_KILLED_FOR_MEMORY = frozenset((-26, -27))
_KILLED_FOR_TIME = frozenset((-28, -29))
_BY_SIGNAL = 256  # and the signal

# Selects the user's jobs, and tells all about each: there is no format to choose.
_QUEUE = 'j=$(qselect {history}-u "$1") || exit; [ -z "$j" ] || exec env TZ=UTC0 qstat {show}-f $j'


class Pbs:
    """OpenPBS and PBS Professional. See `Dialect`."""

    name: ClassVar[str] = "pbs"
    probe: ClassVar[str] = "command -v qselect >/dev/null && qstat --version | grep -i pbs_version"
    identity: ClassVar[str] = (
        "id=${PBS_JOBID:-}; id=${id%%.*}\n"
        'case $id in *\\[*) id="${id%%\\[*}[]" ;; esac\n'
        "task=${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-}}\n"
        "restarts=0\n"
    )
    script_on_stdin: ClassVar[bool] = False
    reserved_codes: ClassVar[frozenset[int]] = frozenset()
    acceptance_delay: ClassVar[float] = 60.0
    history_delay: ClassVar[float] = 0.0
    knows_results: ClassVar[bool] = True
    _history: ClassVar[str] = "-x "  # ended jobs, too
    _show: ClassVar[str] = "-x -t "  # and the tasks of arrays

    def check(self, array: str | None, resources: Resources) -> None:
        """Raises `ConfigError` for what PBS has no word for."""
        if array is not None:
            span_of(array, "PBS", 0)
        if resources.qos is not None:
            raise ConfigError(
                'qos=: PBS has none; where the site has, say it in extra=["-l", "qos=…"]'
            )

    def submit(self, job: Submission) -> list[str]:
        """Qsub, in the job's directory: `log` is there. The script's lines are no options (-C)."""
        self.check(job.array, job.resources)
        words = ["qsub", "-N", job.token, "-o", "log", "-j", "oe", "-S", "/bin/sh", "-C", ""]
        words += ["-r", "y" if job.requeue else "n"]
        words += self._array(job.array)
        words += self._resources(job.resources)
        if job.after:
            kinds = (f"{_DEPENDENCY[each.kind]}:{_task(each.native_id)}" for each in job.after)
            words += ["-W", f"depend={','.join(kinds)}"]
        return [*words, *job.resources.extra, job.script]

    def _array(self, array: str | None) -> list[str]:
        if array is None:
            return []
        span, most = span_of(array, "PBS", 0)
        return ["-J", f"{span}%{most}" if most else span]

    def _resources(self, wanted: Resources) -> list[str]:
        words = []
        if any((wanted.nodes, wanted.tasks, wanted.cpus_per_task, wanted.gpus, wanted.memory)):
            nodes = wanted.nodes or 1
            each = -(-(wanted.tasks or nodes) // nodes)
            chunk = f"select={nodes}:ncpus={each * (wanted.cpus_per_task or 1)}:mpiprocs={each}"
            if (memory := wanted.memory_mib()) is not None:
                chunk += f":mem={memory}mb"
            if wanted.gpus is not None:
                chunk += f":ngpus={wanted.gpus}"
            words += ["-l", chunk]
        return words + self._common(wanted)

    def _common(self, wanted: Resources) -> list[str]:
        words = []
        if (seconds := wanted.seconds()) is not None:
            hours, rest = divmod(seconds, 3600)
            words += ["-l", f"walltime={hours}:{rest // 60:02}:{rest % 60:02}"]
        words += ["-q", wanted.partition] if wanted.partition is not None else []
        words += ["-A", wanted.account] if wanted.account is not None else []
        return words

    def submitted(self, status: int, stdout: str, stderr: str) -> SubmitAnswer:
        """It prints `123.server`. Its status is one of the server's numbers, or a truncation."""
        if status == 0:
            for line in reversed(stdout.splitlines()):
                if found := _ID.match(line.strip()):
                    return Accepted(found[1])
            return Uncertain("qsub printed no id")
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        said = (lines or [""])[-1].removeprefix("qsub: ")[:300]
        if status in (124, 129, 130, 137, 141, 143):
            return Uncertain(said or "qsub was ended before it had an answer")
        if _AWAY.search(stderr):
            return Waiting(said)
        if _UNCERTAIN.search(stderr):
            return Uncertain(said)
        if _FULL.search(stderr) and not _FOR_EVER.search(stderr):
            return Waiting(said)
        if status in (126, 127) or said:
            return Refused(said or f"qsub ended with {status}")
        return Uncertain(f"qsub ended with {status} and said nothing")

    def queue(self, user: str | None) -> list[str]:
        """Qselect, and qstat -f of what it found."""
        if user is None:
            return ["env", "TZ=UTC0", "qstat", *self._show.split(), "-f"]
        return ["sh", "-c", _QUEUE.format(history=self._history, show=self._show), "sh", user]

    def parse_queue(self, stdout: str) -> list[QueueRow]:
        """A row a job, and a row a task."""
        rows = (self._row(head, values) for head, values in _blocks(stdout, "Job Id"))
        return [row for row in rows if row is not None]

    def _row(self, head: str, values: dict[str, str]) -> QueueRow | None:
        if not (found := _ROW_ID.match(head)):
            return None
        array = found[2] is not None  # it, or a task of it
        state, reason, code, signal = _state(values)
        return QueueRow(
            native_id=f"{found[1]}[]" if array else found[1],
            name=values.get("Job_Name", ""),
            state=state,
            reason=reason,
            index=number(found[2]) if found[2] else None,
            exit_code=code,
            signal=signal,
            submitted=ctime(values.get("ctime", "")),
            started=ctime(values.get("stime", values.get("start_time", ""))),
            ended=ctime(values.get("obittime", values.get("comp_time", ""))),
            nodes=values.get("exec_host", "")[:400],
            restarts=_again(values),
            partition=values.get("queue", ""),
            native_state=values.get("job_state", ""),
            user=values.get("Job_Owner", "").partition("@")[0],
            message=values.get("comment", "")[:400],
        )

    def history(self, tokens: Sequence[str], native_ids: Sequence[str], since: float) -> list[str]:
        """No command: the queue tells of ended jobs, and nothing else does."""
        return []

    def parse_history(self, stdout: str) -> list[QueueRow]:
        """Nothing."""
        return []

    def cancel(self, native_ids: Sequence[str]) -> list[str]:
        """Qdel: SIGTERM, and SIGKILL after the server's `kill_delay`."""
        return ["qdel", *(_task(each) for each in native_ids)] if native_ids else []

    def details(self, native_id: str) -> list[str]:
        """Qstat -f."""
        return ["env", "TZ=UTC0", "qstat", *self._history.split(), "-f", _task(native_id)]

    def parse_details(self, stdout: str) -> dict[str, str]:
        """Its values."""
        return next((values for _, values in _blocks(stdout, "Job Id")), {})

    def partitions(self) -> list[str]:
        """Qstat -Q -f."""
        return ["qstat", "-Q", "-f"]

    def parse_partitions(self, stdout: str) -> list[Partition]:
        """Its queues."""
        return [
            Partition(
                name=name,
                available=values.get("enabled") == "True" and values.get("started") == "True",
                time_limit=seconds_of(values.get("resources_max.walltime", "")),
                details=values,
            )
            for name, values in _blocks(stdout, "Queue")
        ]


class Torque(Pbs):
    """Torque, which has other words for arrays and nodes."""

    name: ClassVar[str] = "torque"
    probe: ClassVar[str] = (
        "command -v qselect >/dev/null && qstat --version 2>&1 | grep -iE '^version: *[0-9]'"
    )
    _history: ClassVar[str] = ""
    _show: ClassVar[str] = "-t "

    def check(self, array: str | None, resources: Resources) -> None:
        """Torque takes any list of indices."""
        if array is not None:
            array_indices(array)

    def _array(self, array: str | None) -> list[str]:
        if array is None:
            return []
        indices, most = array_indices(array), array.partition("%")[2]
        text = array.partition("%")[0]
        if ":" in text:  # it knows no steps
            text = ",".join(map(str, indices))
        return ["-t", f"{text}%{most}" if most else text]

    def _resources(self, wanted: Resources) -> list[str]:
        words, nodes = [], wanted.nodes or 1
        if any((wanted.nodes, wanted.tasks, wanted.cpus_per_task, wanted.gpus)):
            each = -(-(wanted.tasks or nodes) // nodes) * (wanted.cpus_per_task or 1)
            gpus = "" if wanted.gpus is None else f":gpus={wanted.gpus}"
            words += ["-l", f"nodes={nodes}:ppn={each}{gpus}"]
        if (memory := wanted.memory_mib()) is not None:
            words += ["-l", f"mem={memory * nodes}mb"]  # of the whole job
        words += ["-l", f"qos={wanted.qos}"] if wanted.qos is not None else []
        return words + self._common(wanted)


def _task(native_id: str) -> str:
    """`123[]_4` is what the runner calls task 4 of array `123[]`; here it is `123[4]`."""
    array, _, index = native_id.partition("_")
    return f"{array.removesuffix('[]')}[{index}]" if index else array


def _blocks(text: str, kind: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The blocks of `qstat -f`: a head, and values; long ones go on after a line end and a tab.

    The first of a name counts: the environment of a job, which comes late, may hold anything.
    """
    head, values = "", dict[str, str]()
    for line in text.replace("\n\t", "").split("\n"):
        if (found := _HEAD.match(line.strip())) and not line.startswith(" "):
            if head:
                yield head, values
            head, values = (found[2] if found[1] == kind else ""), {}
        elif head and line.startswith("    ") and len(values) < _MOST_VALUES:
            name, equals, value = line.strip().partition(" = ")
            if equals:
                values.setdefault(name, value.strip())
    if head:
        yield head, values


def _again(values: dict[str, str]) -> int | None:
    """How often it was started again."""
    count = number(values.get("run_count", values.get("start_count", "")))
    return None if count is None else max(0, count - 1)


def _state(values: dict[str, str]) -> tuple[JobState, str, int | None, int | None]:
    """State, reason, exit code and signal."""
    word = values.get("job_state", "")
    if word in ("F", "C", "X"):
        return _end(values)
    if word == "H":
        waits = "depend" in values and "s" in values.get("Hold_Types", "")
        return JobState.PENDING, Reason.DEPENDENCY if waits else Reason.HELD, None, None
    if word in ("S", "U"):
        return JobState.RUNNING, Reason.SUSPENDED, None, None
    if word in ("R", "E", "B"):
        return JobState.RUNNING, Reason.COMPLETING if word == "E" else "", None, None
    if word == "W":
        return JobState.PENDING, Reason.BEGIN_TIME, None, None
    return JobState.PENDING, "" if word in ("Q", "T", "M") else word[:20], None, None


def _end(values: dict[str, str]) -> tuple[JobState, str, int | None, int | None]:
    text = values.get("Exit_status", values.get("exit_status", ""))
    negative = text.startswith("-")
    size = number(text.removeprefix("-"))
    deleted = number(values.get("substate", "")) == _TERMINATED
    if size is None:
        # One that was deleted, or never could begin, has none.
        return JobState.CANCELLED if deleted else JobState.LOST, Reason.NONE, None, None
    if negative:
        return *_killed(-size), None, None
    if "walltime" in values.get("comment", ""):
        return JobState.TIMEOUT, Reason.NONE, None, None
    if size >= _BY_SIGNAL:
        state = JobState.CANCELLED if deleted else JobState.FAILED
        return state, Reason.NONE, None, size - _BY_SIGNAL or None
    if size == 0:
        return JobState.COMPLETED, Reason.NONE, 0, None
    return JobState.CANCELLED if deleted else JobState.FAILED, Reason.NONE, size, None


def _killed(status: int) -> tuple[JobState, str]:
    """A negative status is the server's own."""
    if status in _KILLED_FOR_TIME:
        return JobState.TIMEOUT, Reason.NONE
    if status in _KILLED_FOR_MEMORY:
        return JobState.FAILED, Reason.OUT_OF_MEMORY
    return JobState.FAILED, Reason.LAUNCH_FAILED
