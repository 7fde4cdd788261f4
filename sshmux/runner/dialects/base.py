"""The protocol of a dialect: how one batch scheduler is spoken to.

A dialect is a handful of pure functions. It starts nothing and asks nobody: it makes command lines
(lists of words, never a line of shell, so that no name can be read as a command) and reads what
they printed. A program of one's own becomes a dialect by a class with these methods, and an entry
point in the group `sshmux.schedulers` (see docs/schedulers.md).

What is common to all stays with the runner: the job's directory and its wrapper, which writes
`start` and `end`; the submit lock and the owner lock; the question whether a job that is absent
has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from ...text import one_line
from ..job import Resources
from ..states import JobState

_MOST_TEXT = 4000  # characters of a cell


@dataclass(frozen=True)
class Dependency:
    """Another job that has to end before.

    Attributes:
        native_id: by the scheduler's id; of a task of an array, `ID_INDEX`.
        kind: "ok", "any" or "failed".
        token, index: by its directory, which is beside the job's own, and the task's index.
    """

    native_id: str
    kind: str
    token: str = ""
    index: int | None = None


@dataclass(frozen=True)
class Submission:
    """What a submit command is made from. All of it was checked.

    Attributes:
        token: the job's name for the scheduler; it is found again by this.
        directory: the job's own directory, absolute. The command is run in it.
        script: the wrapper's absolute path, which is what to submit.
        log: the absolute path of a file for what the scheduler itself writes about the job.
        title: the program's own name for the job, one line, for people (a comment); "" for none.
        array: "1-10:2%4"; None if it is none.
        resources, requeue: as in `Job`.
        after: only jobs that the scheduler still knows, and that have not ended.
    """

    token: str
    directory: str
    script: str
    log: str
    title: str = ""
    array: str | None = None
    resources: Resources = field(default_factory=Resources)
    requeue: bool = False
    after: Sequence[Dependency] = ()


@dataclass(frozen=True)
class Accepted:
    """The scheduler took it."""

    native_id: str


@dataclass(frozen=True)
class Refused:
    """The scheduler did not take it, and will not: the reason, in its own words."""

    reason: str


@dataclass(frozen=True)
class Waiting:
    """It did not take it now (a submit limit, a closed queue); trying again makes sense."""

    reason: str


@dataclass(frozen=True)
class Uncertain:
    """It may have taken it: a timeout on the way, a killed command, an answer that is none."""

    why: str


SubmitAnswer = Accepted | Refused | Waiting | Uncertain


@dataclass(frozen=True)
class QueueRow:
    """One job, or one task of an array, as the scheduler tells it.

    Attributes:
        native_id: of the job; the array's own id for a task.
        name: the job's name; a token if it is one of ours.
        state: what its state means. A word that is not known is RUNNING if it has a start, and
            PENDING otherwise: it is "still there".
        reason: one of `Reason` where it means that, otherwise the scheduler's word; "" for none.
        index: of a task; None for a job that is no array.
        exit_code, signal: None where this command does not tell, or cannot be believed.
        submitted, started, ended: seconds since 1970; None if not known.
        nodes: where it runs.
        restarts: how often it was started again; None where this does not tell.
        partition: the queue or partition.
        native_state: the scheduler's own word.
        user: whose it is, where it tells.
        message: more, in words.

    The scheduler's words are bounded, one line each, and fit for a terminal; `name` is as it is.
    """

    native_id: str
    name: str
    state: JobState
    reason: str = ""
    index: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None
    nodes: str = ""
    restarts: int | None = None
    partition: str = ""
    native_state: str = ""
    user: str = ""
    message: str = ""

    def __post_init__(self) -> None:
        for cell in ("reason", "nodes", "partition", "native_state", "user", "message"):
            text = getattr(self, cell)
            if len(text) > _MOST_TEXT or not text.isprintable():
                object.__setattr__(self, cell, one_line(text[:_MOST_TEXT]))


@dataclass(frozen=True)
class Partition:
    """A queue or partition: its name, whether it takes jobs, and what it has."""

    name: str
    available: bool
    default: bool = False
    time_limit: float | None = None  # seconds; None for none
    nodes: int | None = None
    nodes_idle: int | None = None
    details: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Dialect(Protocol):
    """How a scheduler is spoken to. Every method is pure."""

    #: Its name, as in a handle: "slurm".
    name: ClassVar[str]

    #: A line of POSIX shell that succeeds where this scheduler is, and prints its version.
    probe: ClassVar[str]

    #: Lines of POSIX shell for the top of the wrapper, in the job: they set `id` to what
    #: `Accepted.native_id` was, `task` to the array's index or nothing, `restarts` to a number.
    identity: ClassVar[str]

    #: Whether the wrapper goes into the submit command's stdin, not on its command line.
    script_on_stdin: ClassVar[bool]

    #: Exit codes that mean something else to the scheduler: the wrapper ends with 1 instead
    #: (its `end` file has the truth).
    reserved_codes: ClassVar[frozenset[int]]

    #: Seconds after a submit command was ended until what it sent cannot be accepted any more.
    acceptance_delay: ClassVar[float]

    #: Seconds after a job has left the queue until `history` has it at the latest.
    history_delay: ClassVar[float]

    #: Whether a job can be told to wait for how another ends. Where the scheduler only waits for
    #: its end, the wrapper looks at the other's `end` file.
    knows_results: ClassVar[bool]

    def check(self, array: str | None, resources: Resources) -> None:
        """Raises `ConfigError` for what this scheduler has no word for, before anything is done."""

    def submit(self, job: Submission) -> list[str]:
        """The submit command."""

    def submitted(self, status: int, stdout: str, stderr: str) -> SubmitAnswer:
        """What its end means. `status` is 124 if it was ended for taking too long."""

    def queue(self, user: str | None) -> list[str]:
        """One command for all jobs of a user, ended ones that are still known included.

        None: of all users.
        """

    def parse_queue(self, stdout: str) -> list[QueueRow]:
        """Its rows. A line that cannot be read is left out, and spoils no other."""

    def history(self, tokens: Sequence[str], native_ids: Sequence[str], since: float) -> list[str]:
        """A command for jobs that have ended; empty if there is none.

        Parameters:
            tokens, native_ids: of the same jobs; an id is "" where it is not known.
            since: when the oldest of them was submitted, seconds since 1970.
        """

    def parse_history(self, stdout: str) -> list[QueueRow]:
        """Its rows."""

    def cancel(self, native_ids: Sequence[str]) -> list[str]:
        """A command that ends jobs. What counts is their state afterwards.

        An id of a task is `ID_INDEX`, whatever the scheduler writes.
        """

    def details(self, native_id: str) -> list[str]:
        """A command that tells all about a job."""

    def parse_details(self, stdout: str) -> dict[str, str]:
        """What it told, by the scheduler's own names; empty if it does not know the job."""

    def partitions(self) -> list[str]:
        """A command that lists queues or partitions; empty if there are none."""

    def parse_partitions(self, stdout: str) -> list[Partition]:
        """Them."""
