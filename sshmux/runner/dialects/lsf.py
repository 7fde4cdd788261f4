"""LSF: bsub, bjobs, bkill, bqueues, of 9.1 and later.

Not run live: there is no package of it to run. Written from its manuals and its published output.
bjobs has ended jobs for CLEAN_PERIOD (an hour by default); after that the job's own files tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
from .times import number

_FIELDS = "jobid jobindex stat exit_code exit_reason exec_host queue user job_name delimiter='|'"
_DEPENDENCY = {"ok": "done", "any": "ended", "failed": "exit"}

_TAKEN = re.compile(r"Job <([0-9]{1,12})> is submitted to (?:default )?queue")
_FULL = re.compile(r"job limit|pending job threshold|Job slot limit", re.IGNORECASE)
_UNCERTAIN = re.compile(
    r"Cannot connect to LSF|LSF is down|timed? ?out|Failed in .*(?:read|recv)|communication",
    re.IGNORECASE,
)
_NAME = re.compile(r"(.*?)(?:\[[^\[\]]*\](?:%[0-9]+)?)?\Z", re.DOTALL)
_DETAIL = re.compile(r"(?:^|, |;\s)([A-Z][A-Za-z /]{0,40}) <([^<>]*)>")

_PENDING = {"PEND": "", "PSUSP": Reason.HELD, "WAIT": "", "PROV": ""}
_RUNNING = {"RUN": "", "USUSP": Reason.SUSPENDED, "SSUSP": Reason.SUSPENDED}
_ENDS: dict[str, tuple[JobState, str]] = {
    "TERM_RUNLIMIT": (JobState.TIMEOUT, ""),
    "TERM_CPULIMIT": (JobState.TIMEOUT, ""),
    "TERM_DEADLINE": (JobState.TIMEOUT, Reason.DEADLINE),
    "TERM_MEMLIMIT": (JobState.FAILED, Reason.OUT_OF_MEMORY),
    "TERM_SWAP": (JobState.FAILED, Reason.OUT_OF_MEMORY),
    "TERM_OWNER": (JobState.CANCELLED, ""),
    "TERM_ADMIN": (JobState.CANCELLED, ""),
    "TERM_FORCE_OWNER": (JobState.CANCELLED, ""),
    "TERM_FORCE_ADMIN": (JobState.CANCELLED, ""),
    "TERM_PREEMPT": (JobState.CANCELLED, Reason.PREEMPTED),
    "TERM_ORPHAN_SYSTEM": (JobState.CANCELLED, Reason.DEPENDENCY_NEVER),
    "TERM_CWD_NOTEXIST": (JobState.FAILED, Reason.LAUNCH_FAILED),
}
_BY_SIGNAL = 128  # and the signal

# No jobs are no failure; but its status is, in some versions and settings.
_QUEUE = (
    'e=$(bjobs "$@" 2>&1 >&3); s=$?; '
    'case $e in *"No job found"*|*"No unfinished job found"*) s=0 ;; esac; exit $s'
)


class Lsf:
    """See `Dialect`."""

    name: ClassVar[str] = "lsf"
    probe: ClassVar[str] = "command -v bsub >/dev/null && bjobs -V 2>&1 | grep -E 'LSF|Lava'"
    identity: ClassVar[str] = (
        "id=${LSB_JOBID:-}\n"
        'task=${LSB_JOBINDEX:-}; [ "$task" != 0 ] || task=\n'
        "restarts=0; case ${LSB_RESTART:-N} in [Yy]) restarts=1 ;; esac\n"
    )
    script_on_stdin: ClassVar[bool] = True
    reserved_codes: ClassVar[frozenset[int]] = frozenset()
    acceptance_delay: ClassVar[float] = 90.0
    history_delay: ClassVar[float] = 0.0
    knows_results: ClassVar[bool] = True

    def check(self, array: str | None, resources: Resources) -> None:
        """Raises `ConfigError` for what LSF has no word for."""
        if array is not None and array_indices(array)[0] < 1:
            raise ConfigError(f"array={array!r}: the indices of LSF begin with 1")
        if resources.qos is not None:
            raise ConfigError('qos=: LSF has service classes instead: extra=["-sla", "NAME"]')

    def submit(self, job: Submission) -> list[str]:
        """Bsub, which reads the script from its stdin. A variable may make it silent."""
        self.check(job.array, job.resources)
        name = job.token
        if job.array is not None:
            span, _, most = job.array.partition("%")
            name += f"[{span}]" + (f"%{most}" if most else "")
        words = ["env", "-u", "BSUB_QUIET", "-u", "BSUB_QUIET2", "bsub", "-J", name]
        words += ["-cwd", job.directory, "-o", "log"]
        words += ["-r"] if job.requeue else ["-rn"]
        words += self._resources(job.resources)
        if job.after:
            kinds = (f"{_DEPENDENCY[each.kind]}({_task(each.native_id)})" for each in job.after)
            words += ["-w", " && ".join(kinds), "-ti"]  # ended, too, when it can never begin
        return [*words, *job.resources.extra]

    def _resources(self, wanted: Resources) -> list[str]:
        words: list[str] = []
        nodes, slots = wanted.nodes or 1, (wanted.tasks or wanted.nodes or 1)
        slots *= wanted.cpus_per_task or 1
        if slots > 1:
            span = f"ptile={-(-slots // nodes)}" if nodes > 1 else "hosts=1"
            words += ["-n", str(slots), "-R", f"span[{span}]"]
        if (memory := wanted.memory_mib()) is not None:
            words += ["-M", f"{memory}MB", "-R", f"rusage[mem={memory}MB]"]
        if (seconds := wanted.seconds()) is not None:
            words += ["-W", str(-(-seconds // 60))]  # in minutes
        words += ["-gpu", f"num={wanted.gpus}"] if wanted.gpus is not None else []
        words += ["-q", wanted.partition] if wanted.partition is not None else []
        words += ["-P", wanted.account] if wanted.account is not None else []
        return words

    def submitted(self, status: int, stdout: str, stderr: str) -> SubmitAnswer:
        """Other lines are around the one with the id; a refusal may have the status 0."""
        if found := _TAKEN.search(stdout) or _TAKEN.search(stderr):
            return Accepted(found[1])
        both = f"{stderr}\n{stdout}"
        lines = [line.strip() for line in both.splitlines() if line.strip()]
        why = [line for line in lines if "not submitted" in line] or lines
        said = (why or [""])[-1][:300]
        if status in (124, 129, 130, 137, 141, 143):
            return Uncertain(said or "bsub was ended before it had an answer")
        if _FULL.search(both):
            return Waiting(said)
        if "not submitted" in both or status in (126, 127):
            return Refused(said or f"bsub ended with {status}")
        if _UNCERTAIN.search(both) or not said:
            return Uncertain(said or f"bsub ended with {status} and said nothing")
        return Refused(said) if status else Uncertain(said)

    def queue(self, user: str | None) -> list[str]:
        """bjobs, of ended jobs, too, with the name last: it may hold anything."""
        words = ["bjobs", "-a", "-noheader", "-u", "all" if user is None else user, "-o", _FIELDS]
        return ["sh", "-c", f"{{ {_QUEUE}; }} 3>&1", *words]

    def parse_queue(self, stdout: str) -> list[QueueRow]:
        """A row a line."""
        rows = (self._row(line.split("|", 8)) for line in stdout.split("\n"))
        return [row for row in rows if row is not None]

    def _row(self, cells: list[str]) -> QueueRow | None:
        if len(cells) != 9 or number(cells[0]) is None:
            return None
        native_id, index, word, code, why, nodes, queue, user, name = (c.strip() for c in cells)
        state, reason, status = _state(word, number(code), why)
        signal = status - _BY_SIGNAL if status and status > _BY_SIGNAL else None
        found = _NAME.match(name)
        return QueueRow(
            native_id=native_id,
            name=found[1] if found else name,
            state=state,
            reason=reason,
            index=number(index) or None,
            exit_code=status,
            signal=signal if signal and signal < 65 else None,
            nodes="" if nodes == "-" else nodes[:400],
            partition=queue,
            native_state=word,
            user=user,
            message="" if why == "-" else why[:400],
        )

    def history(self, tokens: Sequence[str], native_ids: Sequence[str], since: float) -> list[str]:
        """No command: what bhist prints is for people."""
        return []

    def parse_history(self, stdout: str) -> list[QueueRow]:
        """Nothing."""
        return []

    def cancel(self, native_ids: Sequence[str]) -> list[str]:
        """Bkill: SIGINT, SIGTERM, and SIGKILL after JOB_TERMINATE_INTERVAL."""
        return ["bkill", *(_task(each) for each in native_ids)] if native_ids else []

    def details(self, native_id: str) -> list[str]:
        """Bjobs -UF."""
        return ["bjobs", "-UF", _task(native_id)]

    def parse_details(self, stdout: str) -> dict[str, str]:
        """What is named in it: `Status <RUN>`. The first of a name counts."""
        found: dict[str, str] = {}
        for line in stdout.split("\n"):
            for name, value in _DETAIL.findall(line):
                if len(found) < 200:
                    found.setdefault(name, value)
        return found

    def partitions(self) -> list[str]:
        """Bqueues."""
        return ["bqueues"]

    def parse_partitions(self, stdout: str) -> list[Partition]:
        """Its table. What it counts is slots."""
        found = []
        for line in stdout.split("\n"):
            cells = line.split()
            if len(cells) != 11 or number(cells[1]) is None:
                continue
            names = ("status", "max", "slots", "pending", "running", "suspended")
            values = (cells[2], cells[3], *cells[7:11])
            found.append(
                Partition(
                    name=cells[0],
                    available=cells[2] == "Open:Active",
                    details=dict(zip(names, values, strict=True)),
                )
            )
        return found


def _task(native_id: str) -> str:
    array, _, index = native_id.partition("_")
    return f"{array}[{index}]" if index else array


def _state(word: str, code: int | None, why: str) -> tuple[JobState, str, int | None]:
    """State, reason and exit code. A word that is not known (UNKWN, …) is "still there"."""
    if word == "DONE":
        return JobState.COMPLETED, Reason.NONE, 0
    if word in ("EXIT", "ZOMBI"):
        for text, (state, reason) in _ENDS.items():
            if why.startswith(text) and not why.removeprefix(text)[:1].isalnum():
                return state, reason, code
        return JobState.FAILED, Reason.NONE, code
    if word in _PENDING:
        return JobState.PENDING, _PENDING[word], None
    return JobState.RUNNING, _RUNNING.get(word, word[:20]), None
