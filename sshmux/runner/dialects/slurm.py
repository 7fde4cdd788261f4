"""Slurm: sbatch, squeue, sacct, scontrol, scancel, sinfo. Measured on 22.05; no JSON: it changes.

What an ended job's exit code was is not asked here if it can be helped: the wrapper's `end` has it.
sacct keeps seven bits of it (200 is told as 72, 137 as 9), squeue tells none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

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
from .times import number, seconds_of

_DAY = 86400.0
_QUEUE = "%i|%F|%K|%T|%r|%V|%S|%e|%P|%N|%u|%j"  # the name last: it may hold anything
_HISTORY = "JobID,State,ExitCode,Reason,Submit,Start,End,NodeList,Partition,JobName"
_DEPENDENCY = {"ok": "afterok", "any": "afterany", "failed": "afternotok"}

_ID = re.compile(r"([0-9]{1,12})(?:;[A-Za-z0-9_.-]+)?\Z")
_ROW_ID = re.compile(r"([0-9]{1,12})(?:_([0-9]{1,12})|_\[.*\])?(?:\+[0-9]+)?\Z")
_STEP_ID = re.compile(r"([0-9]{1,12})(?:_([0-9]{1,12}))?(?:\+[0-9]+)?(?:\.(\S+))?\Z")

_P, _R = JobState.PENDING, JobState.RUNNING
_STATES: dict[str, tuple[JobState, str]] = {
    "PENDING": (_P, ""),
    "CONFIGURING": (_P, ""),
    "REQUEUED": (_P, Reason.REQUEUED),
    "REQUEUE_FED": (_P, Reason.REQUEUED),
    "REQUEUE_HOLD": (_P, Reason.HELD),
    "SPECIAL_EXIT": (_P, Reason.HELD),
    "RESV_DEL_HOLD": (_P, Reason.HELD),
    "RUNNING": (_R, ""),
    "COMPLETING": (_R, Reason.COMPLETING),
    "STAGE_OUT": (_R, Reason.COMPLETING),
    "SUSPENDED": (_R, Reason.SUSPENDED),
    "STOPPED": (_R, Reason.SUSPENDED),
    "COMPLETED": (JobState.COMPLETED, ""),
    "FAILED": (JobState.FAILED, ""),
    "LAUNCH_FAILED": (JobState.FAILED, Reason.LAUNCH_FAILED),
    "RECONFIG_FAIL": (JobState.FAILED, Reason.LAUNCH_FAILED),
    "OUT_OF_MEMORY": (JobState.FAILED, Reason.OUT_OF_MEMORY),
    "NODE_FAIL": (JobState.FAILED, Reason.NODE_FAIL),
    "BOOT_FAIL": (JobState.FAILED, Reason.NODE_FAIL),
    "CANCELLED": (JobState.CANCELLED, ""),
    "REVOKED": (JobState.CANCELLED, ""),
    "PREEMPTED": (JobState.CANCELLED, Reason.PREEMPTED),
    "TIMEOUT": (JobState.TIMEOUT, ""),
    "DEADLINE": (JobState.TIMEOUT, Reason.DEADLINE),
}
_REASONS: dict[str, str] = {
    **dict.fromkeys(("", "None", "NonZeroExitCode", "TimeLimit", "Priority", "Resources"), ""),
    "Dependency": Reason.DEPENDENCY,
    "DependencyNeverSatisfied": Reason.DEPENDENCY_NEVER,
    "JobHeldUser": Reason.HELD,
    "JobHeldAdmin": Reason.HELD,
    "BeginTime": Reason.BEGIN_TIME,
    "JobLaunchFailure": Reason.LAUNCH_FAILED,
    "launch failed requeued held": Reason.HELD,
    "BadConstraints": Reason.REFUSED,
    "OutOfMemory": Reason.OUT_OF_MEMORY,
    "NodeDown": Reason.NODE_FAIL,
    "JobArrayTaskLimit": Reason.LIMIT,
    **dict.fromkeys(
        ("PartitionDown", "PartitionInactive", "PartitionNodeLimit", "PartitionTimeLimit"),
        Reason.UNAVAILABLE,
    ),
    **dict.fromkeys(
        ("PartitionConfig", "ReqNodeNotAvail", "AccountNotAllowed", "QOSNotAllowed"),
        Reason.UNAVAILABLE,
    ),
}
_SIGNAL_IS_SLURMS = 53  # ExitCode 0:53 is no signal: a path could not be opened

_SUBMIT_LIMIT = re.compile(r"MaxSubmit|job submit limit|Reached MaxJobCount", re.IGNORECASE)
_AWAY = re.compile(r"Unable to contact slurm controller|connect failure", re.IGNORECASE)
_UNCERTAIN = re.compile(
    r"timed out|temporarily unable|Zero Bytes|Connection reset|Transport endpoint|Broken pipe|"
    r"Unexpected message|Communication connection failure|Socket",
    re.IGNORECASE,
)
_CERTAIN = re.compile(r"Batch job submission failed:|sbatch: (?:error|fatal|unrecognized|invalid)")


class Slurm:
    """See `Dialect`."""

    name: ClassVar[str] = "slurm"
    probe: ClassVar[str] = "command -v squeue >/dev/null && sbatch --version"
    identity: ClassVar[str] = (
        "id=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}}\n"
        "task=${SLURM_ARRAY_TASK_ID:-}\n"
        "restarts=${SLURM_RESTART_COUNT:-0}\n"
    )
    script_on_stdin: ClassVar[bool] = False
    reserved_codes: ClassVar[frozenset[int]] = frozenset()
    acceptance_delay: ClassVar[float] = (
        30.0  # the request lies in a socket: three times MessageTimeout
    )
    history_delay: ClassVar[float] = 1.0
    knows_results: ClassVar[bool] = True

    def check(self, array: str | None, resources: Resources) -> None:
        """Slurm has a word for all of it."""

    def submit(self, job: Submission) -> list[str]:
        """Sbatch. Options on its command line beat the account's SBATCH_ variables."""
        words = [
            "sbatch",
            "--parsable",
            f"--job-name={job.token}",
            f"--chdir={job.directory}",
            "--output=log",  # below the directory: a % in a path would be read as a pattern
            "--error=log",
            "--open-mode=append",
            "--input=/dev/null",
            "--export=ALL",
            "--requeue" if job.requeue else "--no-requeue",
        ]
        if job.title:
            words.append(f"--comment={job.title}")
        if job.array is not None:
            words.append(f"--array={job.array}")
        words += self._resources(job)
        if job.after:
            kinds = (f"{_DEPENDENCY[each.kind]}:{each.native_id}" for each in job.after)
            words.append(f"--dependency={','.join(kinds)}")
        return [*words, *job.resources.extra, job.script]

    def _resources(self, job: Submission) -> list[str]:
        wanted = job.resources
        values: dict[str, object] = {
            "nodes": wanted.nodes,
            "ntasks": wanted.tasks,
            "cpus-per-task": wanted.cpus_per_task,
            "gpus": wanted.gpus,
            "partition": wanted.partition,
            "account": wanted.account,
            "qos": wanted.qos,
        }
        words = [f"--{name}={value}" for name, value in values.items() if value is not None]
        if (memory := wanted.memory_mib()) is not None:
            words.append(f"--mem={memory}M")
        if (seconds := wanted.seconds()) is not None:
            hours, rest = divmod(seconds, 3600)
            words.append(f"--time={hours}:{rest // 60:02}:{rest % 60:02}")
        return words

    def submitted(self, status: int, stdout: str, stderr: str) -> SubmitAnswer:
        """A status of 1 does not say that the job was not submitted: the words do."""
        if status == 0:
            for line in stdout.splitlines():
                if found := _ID.match(line.strip()):
                    return Accepted(found[1])
            return Uncertain("sbatch printed no id")
        said = _last(stderr)
        if status in (124, 129, 130, 137, 141, 143):
            return Uncertain(said or "sbatch was ended before it had an answer")
        if _SUBMIT_LIMIT.search(stderr):
            return Waiting(said)
        if _AWAY.search(stderr):
            return Waiting(said)
        if _UNCERTAIN.search(stderr):
            return Uncertain(said)
        if status in (126, 127, 255) or _CERTAIN.search(stderr):
            return Refused(said or f"sbatch ended with {status}")
        return Uncertain(said or f"sbatch ended with {status} and said nothing")

    def queue(self, user: str | None) -> list[str]:
        """squeue, of ended jobs too, whatever SQUEUE_ variables the account has."""
        whose = [] if user is None else ["-u", user]
        return [
            *["env", "SLURM_TIME_FORMAT=%s", "squeue", "-h", "-r", "-t", "all"],
            *[*whose, "-o", _QUEUE],
        ]

    def parse_queue(self, stdout: str) -> list[QueueRow]:
        """A row a line."""
        rows = (self._queue_row(line) for line in stdout.split("\n"))
        return [row for row in rows if row is not None]

    def _queue_row(self, line: str) -> QueueRow | None:
        cells = line.split("|", 11)
        if len(cells) != 12 or not (found := _ROW_ID.match(cells[0])):
            return None
        array, task, word, why = cells[1:5]
        submitted, started, ended, partition, nodes, user, name = cells[5:]
        state, reason = _state(word, why, _time(started))
        return QueueRow(
            native_id=found[1] if number(array) is None else array,
            name=name,
            state=state,
            reason=reason,
            index=number(task),
            submitted=_time(submitted),
            started=_time(started),
            ended=_time(ended) if state.final else None,
            nodes=nodes,
            partition=partition,
            native_state=word,
            user=user,
            message="" if why == "None" else why,
        )

    def history(self, tokens: Sequence[str], native_ids: Sequence[str], since: float) -> list[str]:
        """sacct, by names. It knows local times only: a day and a half more is asked for."""
        day = datetime.fromtimestamp(max(0.0, since - 1.5 * _DAY), UTC).strftime("%Y-%m-%d")
        return [
            *["env", "SLURM_TIME_FORMAT=%s", "sacct", "-n", "-P", "-D", "-S", day],
            *[f"--name={','.join(tokens)}", "-o", _HISTORY],
        ]

    def parse_history(self, stdout: str) -> list[QueueRow]:
        """A row a job, with what its steps tell."""
        rows: list[QueueRow] = []
        oom: set[tuple[str, int | None]] = set()
        for line in stdout.split("\n"):
            cells = line.split("|", 9)
            if len(cells) != 10 or not (found := _STEP_ID.match(cells[0])):
                continue
            index = int(found[2]) if found[2] else None
            if found[3]:
                if cells[1].startswith("OUT_OF_ME"):
                    oom.add((found[1], index))
            else:
                rows.append(self._history_row(found[1], index, cells))
        return [
            _replace_reason(row)
            if (row.native_id, row.index) in oom and row.state is JobState.FAILED
            else row
            for row in rows
        ]

    def _history_row(self, native_id: str, index: int | None, cells: list[str]) -> QueueRow:
        _, word, exit_code, why, submitted, started, ended, nodes, partition, name = cells
        native = word.partition(" ")[0]
        state, reason = _state(native, why if native != "FAILED" else "", _time(started))
        code, signal = _exit(exit_code)
        if state is JobState.FAILED and signal == _SIGNAL_IS_SLURMS:
            reason, signal = Reason.LAUNCH_FAILED, None
        if state is JobState.FAILED and _time(started) is not None and nodes == "None assigned":
            reason = Reason.REFUSED
        return QueueRow(
            native_id=native_id,
            name=name,
            state=state,
            reason=reason,
            index=index,
            # Seven bits: what is not 0 may be 128 more, and what is 0 may have been 128.
            exit_code=code if state is JobState.COMPLETED else None,
            signal=signal if signal and signal < 65 else None,
            submitted=_time(submitted),
            started=_time(started),
            ended=_time(ended),
            nodes="" if nodes == "None assigned" else nodes,
            partition=partition,
            native_state=native,
            message=word if native != word else "",
        )

    def cancel(self, native_ids: Sequence[str]) -> list[str]:
        """Scancel. It says nothing, and 0, for whatever it is given."""
        return ["scancel", "--", *native_ids] if native_ids else []

    def details(self, native_id: str) -> list[str]:
        """Scontrol show job."""
        return ["env", "SLURM_TIME_FORMAT=%s", "scontrol", "-o", "show", "job", native_id]

    def parse_details(self, stdout: str) -> dict[str, str]:
        """Its keys; values hold blanks, so only known keys begin a new one."""
        line = stdout.split("\n", 1)[0]
        found = list(_KEY.finditer(line))
        ends = [match.start() for match in found[1:]] + [len(line)]
        return {
            match[1]: line[match.end() : end].strip()
            for match, end in zip(found, ends, strict=True)
        }

    def partitions(self) -> list[str]:
        """Sinfo."""
        return ["sinfo", "-h", "-o", "%P|%a|%l|%D|%t|%N"]

    def parse_partitions(self, stdout: str) -> list[Partition]:
        """Sinfo has a line for each state of nodes."""
        found: dict[str, Partition] = {}
        for line in stdout.split("\n"):
            cells = line.split("|")
            if len(cells) != 6 or (count := number(cells[3])) is None:
                continue
            name = cells[0].rstrip("*")
            idle = count if cells[4].rstrip("*~#!%$@+^-") == "idle" else 0
            before = found.get(name)
            found[name] = Partition(
                name=name,
                available=cells[1] == "up",
                default=cells[0].endswith("*"),
                time_limit=seconds_of(cells[2]),
                nodes=count + (before.nodes or 0 if before else 0),
                nodes_idle=idle + (before.nodes_idle or 0 if before else 0),
                details={**(before.details if before else {}), cells[4]: cells[5]},
            )
        return list(found.values())


def _state(word: str, why: str, started: float | None) -> tuple[JobState, str]:
    """A word that is not known is "still there"."""
    known = _STATES.get(word)
    state, reason = known or (_R if started else _P, word)
    said = _REASONS.get(why)
    if state is JobState.PENDING and not reason:
        reason = why if said is None else said
        if said is None and why.startswith(("QOS", "Assoc", "Max")):
            reason = Reason.LIMIT
    elif state is JobState.FAILED and not reason and said is not None:
        reason = said
    elif state is JobState.CANCELLED and why in ("Dependency", "DependencyNeverSatisfied"):
        reason = Reason.DEPENDENCY_NEVER
    return state, reason


def _replace_reason(row: QueueRow) -> QueueRow:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return QueueRow(**{**values, "reason": Reason.OUT_OF_MEMORY})


def _time(text: str) -> float | None:
    seconds = number(text)
    return None if seconds is None else float(seconds)


def _exit(text: str) -> tuple[int | None, int | None]:
    code, _, signal = text.partition(":")
    status, by = number(code), number(signal)
    return (None, None) if status is None or by is None else (status, by or None)


def _last(stderr: str) -> str:
    """The line that says most."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line or "sbatch:" in line]
    last = (errors or lines or [""])[-1]
    return last.removeprefix("sbatch: ").removeprefix("error: ")[:300]


_KEY = re.compile(
    r"(?:^| )((?:"
    "JobId|ArrayJobId|ArrayTaskId|ArrayTaskThrottle|JobName|UserId|GroupId|MCS_label|Priority|Nice|"
    "Account|QOS|WCKey|JobState|Reason|FailedNode|Dependency|Requeue|Restarts|BatchFlag|Reboot|"
    "ExitCode|DerivedExitCode|RunTime|TimeLimit|TimeMin|SubmitTime|EligibleTime|AccrueTime|"
    "StartTime|EndTime|Deadline|PreemptEligibleTime|PreemptTime|SuspendTime|SecsPreSuspend|"
    "LastSchedEval|Scheduler|Partition|AllocNode:Sid|ReqNodeList|ExcNodeList|NodeList|SchedNodeList|"
    "BatchHost|NumNodes|NumCPUs|NumTasks|CPUs/Task|ReqB:S:C:T|TRES|ReqTRES|AllocTRES|Socks/Node|"
    "NtasksPerN:B:S:C|CoreSpec|MinCPUsNode|MinMemoryCPU|MinMemoryNode|MinTmpDiskNode|Features|"
    "DelayBoot|OverSubscribe|Contiguous|Licenses|Network|Command|WorkDir|Comment|AdminComment|"
    "SystemComment|StdErr|StdIn|StdOut|Power|MailUser|MailType|TresPerNode|TresPerJob|TresPerTask|"
    "TresPerSocket|Reservation|BurstBuffer|Cluster|ResvPorts|SubmitLine|Container|HetJobId|"
    "HetJobOffset|HetJobIdSet|KillOInInvalidDependent|NtasksPerTRES:\\S*?|CpusPerTres|MemPerTres|"
    "GresEnforceBind"
    r"))="
)
