"""What a program asks for: a job, its resources, and how its cluster is to be treated."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from ..checks import check_seconds
from ..errors import ConfigError
from .handle import JobHandle

After = Literal["ok", "any", "failed"]
Input = bytes | str | os.PathLike[str]

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_WORD = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.,:@+=/*-]*\Z"
)  # of a scheduler: no blank, no dash first
_ARRAY = re.compile(
    r"(\d{1,7}(-\d{1,7}(:\d{1,7})?)?)(,\d{1,7}(-\d{1,7}(:\d{1,7})?)?)*(%\d{1,7})?\Z"
)
_MEMORY = re.compile(r"(\d{1,15})\s*([KMGT]?)(i?B)?\Z", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d{1,4})-)?(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}))?\Z")
_NAME_LIMIT = 255
_SCRIPT_LIMIT = 2 * 1024 * 1024


@dataclass(frozen=True)
class Resources:
    """What a job asks its scheduler for. Whatever is None is the site's default.

    Parameters:
        nodes, tasks, cpus_per_task, gpus: how many.
        memory: of each node: "4G", "500M", or a number of MiB.
        time: the limit: seconds, or "[D-]HH:MM:SS".
        partition: the queue or partition.
        account, qos: as the scheduler calls them.
        extra: further options of the scheduler's own submit command, each one word, as they are:
            ["--constraint=haswell"].
    """

    nodes: int | None = None
    tasks: int | None = None
    cpus_per_task: int | None = None
    memory: int | str | None = None
    gpus: int | None = None
    time: float | str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    extra: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("nodes", "tasks", "cpus_per_task", "gpus"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 1 <= value <= 10_000_000):
                raise ConfigError(f"{name}={value!r}: use a whole number, 1 or more")
        for name in ("partition", "account", "qos"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and _WORD.match(value)):
                raise ConfigError(f"{name}={value!r}: use a name without blanks or quotes")
        if isinstance(self.extra, str):
            raise ConfigError(f"extra={self.extra!r}: give a list of words, each one option")
        for word in self.extra:
            check_text("extra", word)
        self.memory_mib()
        self.seconds()

    def memory_mib(self) -> int | None:
        """The memory in MiB, rounded up."""
        value = self.memory
        if value is None:
            return None
        if type(value) is int and value > 0:
            return value
        found = _MEMORY.match(value.strip()) if isinstance(value, str) else None
        if found is None or int(found[1]) == 0:
            raise ConfigError(f"memory={value!r}: use a number of MiB, or a text such as '4G'")
        kib = (
            int(found[1])
            * {"K": 1, "": 1024, "M": 1024, "G": 1024**2, "T": 1024**3}[found[2].upper()]
        )
        return -(-kib // 1024)

    def seconds(self) -> int | None:
        """The time limit in seconds, rounded up."""
        value = self.time
        if value is None:
            return None
        if isinstance(value, int | float):
            check_seconds("time", value, positive=True)
            return int(-(-value // 1))
        found = _CLOCK.match(value.strip()) if isinstance(value, str) else None
        if found is None or not any(part and int(part) for part in found.groups()):
            raise ConfigError(f"time={value!r}: use seconds, or a text such as '1-12:00:00'")
        days, first, second, third = (int(part or 0) for part in found.groups())
        if found[1] is not None:  # D-HH[:MM[:SS]]
            return ((days * 24 + first) * 60 + second) * 60 + third
        if found[4] is not None:  # HH:MM:SS
            return (first * 60 + second) * 60 + third
        return first * 60 + second  # MM[:SS], as Slurm reads it


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job to be submitted. Give either `script` or `argv`.

    Parameters:
        script: the text of a script; its first line may say what runs it (`#!/bin/bash`),
            otherwise sh does.
        argv: a command, word by word.
        name: for people. It is carried as it is, and never part of a command.
        inputs: what is put into the job's working directory before it starts: a mapping from
            relative names to bytes, or to local files or directories; or a list of the latter.
        outputs: patterns of what `collect` fetches, relative to the working directory.
        env: variables for the job.
        cwd: a remote directory to run in, instead of the job's own working directory.
        setup: shell lines to run first, such as `module load gcc`.
        resources: what to ask the scheduler for.
        after: jobs that have to end before: (handle, "ok" | "any" | "failed").
        array: indices of tasks: a range, a list of numbers, or a text such as "1-10%2".
        login_shell: run it with the environment of a login shell.
        requeue: whether the scheduler may run it again after a node failed or it was preempted.
        verify: compare checksums of the local files that are put there.
    """

    script: str | None = None
    argv: Sequence[str] | None = None
    name: str = ""
    inputs: Mapping[str, Input] | Sequence[str | os.PathLike[str]] = ()
    outputs: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    setup: str | Sequence[str] = ()
    resources: Resources = Resources()
    after: Sequence[tuple[JobHandle, After]] = ()
    array: str | range | Sequence[int] | None = None
    login_shell: bool = True
    requeue: bool = False
    verify: bool = False

    def __post_init__(self) -> None:
        if (self.script is None) == (self.argv is None):
            raise ConfigError("Job: give either script= (a text) or argv= (a list of words)")
        self._check_payload()
        if not isinstance(self.name, str) or len(self.name) > _NAME_LIMIT or "\0" in self.name:
            raise ConfigError(f"name={self.name!r}: use a text of at most {_NAME_LIMIT} characters")
        _encodable("name", self.name)
        if not isinstance(self.env, Mapping):
            raise ConfigError(f"env={self.env!r}: use a mapping of names to values")
        for name, value in self.env.items():
            if not isinstance(name, str) or not _ENV_NAME.match(name):
                raise ConfigError(f"environment name {name!r}: use letters, digits and '_'")
            check_text(f"environment value of {name}", value, lines=True)
        if self.cwd is not None:
            check_text("cwd", self.cwd)
            if not self.cwd.startswith(("/", "~/")) and self.cwd != "~":
                raise ConfigError(f"cwd={self.cwd!r}: use an absolute path, or one from ~/")
        for line in self.setup_lines():
            check_text("setup", line, lines=True)
        for pattern in _texts("outputs", self.outputs):
            check_relative("outputs", pattern)
        for name in self.input_items():
            check_relative("inputs", name)
        if not isinstance(self.resources, Resources):
            raise ConfigError(f"resources={self.resources!r}: use Resources(…)")
        for parent, kind in self.after:
            if not isinstance(parent, JobHandle) or kind not in get_args(After):
                raise ConfigError(f"after={parent!r}, {kind!r}: use (handle, 'ok'|'any'|'failed')")
        self.array_text()

    def _check_payload(self) -> None:
        if self.script is not None:
            check_text("script", self.script, lines=True)
            if not self.script.strip() or len(self.script.encode()) > _SCRIPT_LIMIT:
                raise ConfigError("script=: use a text of at most 2 MiB that is not empty")
        if self.argv is not None:
            words = _texts("argv", self.argv)
            if not words or not words[0]:
                raise ConfigError("argv=: name a program to run")
            for word in words:
                check_text("argv", word, lines=True)

    def setup_lines(self) -> list[str]:
        """The lines of `setup`."""
        return [self.setup] if isinstance(self.setup, str) else list(self.setup)

    def input_items(self) -> dict[str, Input]:
        """The inputs, by their names in the working directory."""
        if isinstance(self.inputs, Mapping):
            return dict(self.inputs)
        if isinstance(self.inputs, str | bytes):
            raise ConfigError("inputs=: give a list of paths, or a mapping of names")
        items: dict[str, Input] = {}
        for path in self.inputs:
            name = os.path.basename(os.fspath(path).rstrip("/"))
            if name in items:
                raise ConfigError(
                    f"inputs: two of them are called {name!r}: use a mapping of names"
                )
            items[name] = path
        return items

    def array_text(self) -> str | None:
        """The array in words that Slurm takes; None if it is none. Raises `ConfigError`."""
        array = self.array
        if array is None:
            return None
        if isinstance(array, range) and len(array) > 0 and array.step > 0 and array.start >= 0:
            step = f":{array.step}" if array.step > 1 else ""
            text = f"{array.start}-{array[-1]}{step}"
        elif isinstance(array, str):
            text = array
        else:
            numbers: list[Any] = list(array)
            wrong = isinstance(array, bytes | Mapping)
            if wrong or any(type(number) is not int for number in numbers):
                raise ConfigError(f"array={array!r}: use whole numbers")
            text = ",".join(map(str, numbers))
        if not _ARRAY.match(text) or not array_indices(text):
            raise ConfigError(f"array={array!r}: use a range, a list of numbers, or '1-10%2'")
        return text


@dataclass(frozen=True)
class ClusterOptions:
    """How a runner treats a cluster.

    Parameters:
        scheduler: a dialect's name ("shell", "slurm", …); "auto" asks the cluster once.
        directory: where jobs live on the cluster, on a file system that all its nodes share;
            absolute, or from the home (`~/…`).
        min_interval: seconds at least between two questions to the scheduler.
        watch: "auto" follows the jobs' own journal; "poll" only asks, every `min_interval`.
        max_submitted: jobs that may be submitted and not ended at once; further ones wait here.
        max_running: the same for shell jobs, which nobody else queues.
    """

    scheduler: str = "auto"
    directory: str = "~/.sshmux/jobs"
    min_interval: float = 30
    watch: Literal["auto", "poll"] = "auto"
    max_submitted: int | None = None
    max_running: int | None = None

    def __post_init__(self) -> None:
        check_seconds("min_interval", self.min_interval, positive=True)
        name = self.scheduler
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ConfigError(f"scheduler={self.scheduler!r}: use 'auto', 'shell', 'slurm', …")
        if self.watch not in ("auto", "poll"):
            raise ConfigError(f"watch={self.watch!r}: use 'auto' or 'poll'")
        check_text("directory", self.directory)
        tail = self.directory.removeprefix("~/") if self.directory.startswith("~/") else None
        if tail is None and not self.directory.startswith("/"):
            raise ConfigError(f"directory={self.directory!r}: use an absolute path, or ~/…")
        check_relative("directory", (tail if tail is not None else self.directory[1:]).rstrip("/"))
        for name in ("max_submitted", "max_running"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{name}={value!r}: use a whole number, 1 or more, or None")


class Line(NamedTuple):
    """A line of output, without its line end, and the offset in bytes just behind that.

    `output(handle, offset=line.offset)` goes on with the next one.
    """

    text: str
    offset: int


def array_indices(text: str, limit: int = 100_000) -> list[int]:
    """The indices that an array's text means, in order. Raises `ConfigError` for too many."""
    found: set[int] = set()
    for part in text.partition("%")[0].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        numbers = range(int(first), int(last or first) + 1, max(1, int(step or 1)))
        if len(found) + len(numbers) > limit:
            raise ConfigError(f"array={text!r}: at most {limit} tasks")
        found.update(numbers)
    return sorted(found)


def check_text(name: str, value: object, *, lines: bool = False) -> str:
    """A text that can be a word of a command, or with `lines` part of a file."""
    if not isinstance(value, str) or "\0" in value:
        raise ConfigError(f"{name}={value!r}: use a text without NUL")
    if not lines and any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ConfigError(f"{name}={value!r}: no line breaks or control characters")
    return _encodable(name, value)


def check_relative(name: str, path: object) -> str:
    """A path that stays below where it begins."""
    check_text(name, path)
    text = str(path)
    if text.startswith(("/", "~", "-")) or any(part in ("", ".", "..") for part in text.split("/")):
        raise ConfigError(f"{name}: {path!r} has to be a relative path, without .. in it")
    return text


def _encodable(name: str, value: str) -> str:
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ConfigError(f"{name}={value!r}: it cannot be written in UTF-8") from None
    return value


def _texts(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str | bytes):
        raise ConfigError(f"{name}={values!r}: give a list of texts")
    return list(values)
