"""What the remote says of jobs: the answer to a look, and the lines of the journal. Pure.

All of it is a stranger's text: what does not fit is left out, and never more is kept than a job can
need.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .handle import TOKEN

_NUMBER = re.compile(r"\d{1,18}\Z")
_NATIVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\[\]-]{0,99}\Z")
_TEXT_LINES = 30
_LINE = 400


@dataclass(frozen=True)
class Start:
    """The file `start`: the payload runs, or ran."""

    native_id: str
    restarts: int
    host: str
    time: float


@dataclass(frozen=True)
class End:
    """The file `end`. `code` is None for a job that never began, since another had failed."""

    code: int | None
    signalled: bool  # whether the wrapper was sent a signal
    native_id: str
    time: float
    oom_kills: int = 0

    @property
    def clean(self) -> bool:
        """Whether this is the payload's own end, and nobody else has to be asked."""
        return self.code is not None and self.code <= 128 and not self.signalled


@dataclass
class JobFiles:
    """What the files of one job say."""

    present: bool = True
    owner: str | None = None
    lock: str | None = None  # when its submission was begun, by the remote's clock
    submit_status: int | None = None
    submit_time: float | None = None
    submit_out: list[str] = field(default_factory=list)
    submit_err: list[str] = field(default_factory=list)
    remote_now: float | None = None
    cancels: dict[int | None, float] = field(default_factory=dict)  # of all of it, of tasks
    timeout: float | None = None
    alive: str = ""  # yes, no, orphans, rebooted, elsewhere
    starts: dict[int | None, Start] = field(default_factory=dict)
    ends: dict[int | None, End] = field(default_factory=dict)
    err_tail: list[str] = field(default_factory=list)
    log_tail: list[str] = field(default_factory=list)
    meta: str = ""

    @property
    def lock_time(self) -> float | None:
        """The same as a number."""
        return None if self.lock is None else _number(self.lock)

    def cancelled(self, index: int | None) -> float | None:
        """When it was said that the job, or this task of it, is to be cancelled."""
        return self.cancels.get(None) or self.cancels.get(index)

    @property
    def start(self) -> Start | None:
        """Of a job that is no array."""
        return self.starts.get(None)

    @property
    def end(self) -> End | None:
        """Of a job that is no array."""
        return self.ends.get(None)


@dataclass
class Look:
    """The answer to a look.

    Attributes:
        jobs: what was looked at, by token.
        queue, history: what the scheduler's commands printed; None if they were not run, or
            failed.
        complete: whether the answer is whole.
    """

    jobs: dict[str, JobFiles] = field(default_factory=dict)
    queue: str | None = None
    history: str | None = None
    queue_status: int | None = None
    complete: bool = False


def parse_look(text: str, nonce: str) -> Look:
    """Takes an answer apart. A piece of one is no error: it is not `complete`."""
    look = Look()
    lines = iter(text.split("\n"))
    for line in lines:
        word = line.partition(" ")[0]
        if word in ("=queue", "=history") and line == f"{word} {nonce}":
            _take_output(look, word[1:], nonce, lines)
        elif word.startswith("@") and TOKEN.match(word[1:]) and word == line:
            current = look.jobs.setdefault(word[1:], JobFiles())
            for inner in lines:
                if inner.startswith("@"):
                    name = inner[1:]
                    if not TOKEN.match(name):
                        break
                    current = look.jobs.setdefault(name, JobFiles())
                elif inner == f"=done {nonce}":
                    look.complete = True
                    return look
                else:
                    _fact(current, *_split(inner))
        elif line == f"=done {nonce}":
            look.complete = True
            return look
    return look


def _take_output(look: Look, name: str, nonce: str, lines: Iterator[str]) -> None:
    kept: list[str] = []
    for line in lines:
        if line.startswith(f"={name} {nonce} "):
            status = _number(line.rpartition(" ")[2])
            if name == "queue":
                look.queue_status = status
            if status == 0:
                setattr(look, name, "\n".join(kept) + "\n")
            return
        kept.append(line)


def _split(line: str) -> tuple[str, str]:
    word, _, value = line.partition(" ")
    return word, value


def _fact(job: JobFiles, word: str, value: str) -> None:
    if word == "absent":
        job.present = False
    elif word == "owner":
        job.owner = value if _NATIVE.match(value) else None
    elif word == "lock":
        job.lock = None if _number(value) is None else value
    elif word == "rc":
        status, time = [*value.split(" "), "", ""][:2]
        job.submit_status, job.submit_time = _number(status), _number(time)
    elif word == "timeout":
        job.timeout = float(_number(value) or 0)
    elif word == "now":
        job.remote_now = _number(value)
    elif word == "alive":
        job.alive = value.partition(" ")[0][:20]
    elif word == "meta":
        job.meta = value
    elif (lines := _texts(job).get(word)) is not None:
        if len(lines) < _TEXT_LINES:
            lines.append(clean(value))
    else:
        _start_or_end(job, word, value)


def _texts(job: JobFiles) -> dict[str, list[str]]:
    return {
        "submitout": job.submit_out,
        "submiterr": job.submit_err,
        "tailerr": job.err_tail,
        "taillog": job.log_tail,
    }


def _start_or_end(job: JobFiles, word: str, value: str) -> None:
    kind, _, task = word.partition(".")
    index = _number(task) if task else None
    if task and index is None:
        return
    if kind == "cancel":
        job.cancels[index] = float(_number(value) or 1)
    elif kind == "start" and (start := parse_start(value)) is not None:
        job.starts[index] = start
    elif kind == "end" and (end := parse_end(value)) is not None:
        job.ends[index] = end


def parse_start(value: str) -> Start | None:
    """The line of a `start` file; None for what is none."""
    words = value.split(" ")
    if len(words) != 4 or not _NATIVE.match(words[0]):
        return None
    restarts, time = _number(words[1]), _number(words[3])
    if restarts is None or time is None:
        return None
    return Start(words[0], restarts, clean(words[2])[:100], float(time))


def parse_end(value: str) -> End | None:
    """The line of an `end` file; None for what is none."""
    words = value.split(" ")
    if len(words) != 5:
        return None
    code, time = _number(words[0]), _number(words[3])
    if time is None or not (words[0] == "never" or (code is not None and code <= 255)):
        return None
    return End(code, words[1] != "-", words[2][:100], float(time), _number(words[4]) or 0)


@dataclass(frozen=True)
class Event:
    """A line of the journal, with what the job's own files said when it was written."""

    kind: str
    token: str
    index: int | None
    files: JobFiles

    @property
    def end(self) -> End | None:
        """What it tells of an end."""
        return self.files.ends.get(self.index)


class Journal:
    """What the watch prints, as it comes: the events in it. Whatever else is in it is left out.

    Parameters:
        begins: the line that says that it is followed from now on.

    Attributes:
        begun: whether that has come.
    """

    def __init__(self, begins: str) -> None:
        self.begun = False
        self._begins = begins
        self._rest = b""
        self._name = ""
        self._files = JobFiles()  # of what the next event will be about

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole now."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-4096:]
        events = (self._line(line.decode("utf-8", "replace")) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: str) -> Event | None:
        if line == self._begins:
            self.begun = True
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        token, dot, task = name.partition(".")
        index = _number(task) if dot else None
        if not TOKEN.match(token) or (dot and index is None):
            return None
        if name != self._name:
            self._name, self._files = name, JobFiles()
        if kind == "more":
            word, _, text = value.partition(" ")
            if word in ("cancel", f"cancel.{task}", "timeout", "tailerr", "taillog"):
                _fact(self._files, word, text)
        if kind not in ("start", "end", "dup"):
            return None
        files, self._name = self._files, ""
        if kind == "start" and (start := parse_start(value)) is not None:
            files.starts[index] = start
        if kind == "end" and (end := parse_end(value)) is not None:
            files.ends[index] = end
        return Event(kind, token, index, files)


def clean(text: str) -> str:
    """One line of a stranger's text, fit for a terminal and a log."""
    shown = (c if c.isprintable() or c == "\t" else "�" for c in text[:_LINE])
    return "".join(shown)


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.match(text) else None
