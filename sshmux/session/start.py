"""Starting a process: its streams, where they lead, and the wait until it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ..errors import ConfigError, Error
from ..system.contexts import AwaitableContext
from ..system.pipes import Writer
from ..system.pty import Pty, Terminal
from ..system.tasks import TaskGroup
from .execution import Execution, ExecutionOptions, Scope
from .link import Link
from .process import ProcessTask, RemoteProcess, kind_of
from .redirect import Target, descriptor_of
from .streams import AnyStr, StreamReader, StreamWriter

log = logging.getLogger("sshmux.process")

PIPE, STDOUT = subprocess.PIPE, subprocess.STDOUT
_PIECE = 64 * 1024  # of what goes from one process to another

Source = Target | StreamReader[Any]
Sink = Target | StreamWriter[Any]


@dataclass
class ProcessOptions:
    """What a process is to be, as the caller said it."""

    command: str
    line: Callable[[], Awaitable[str]]
    env: Mapping[str, str] | None
    stdin: Source
    stdout: Sink
    stderr: Sink
    encoding: str | None
    errors: str
    terminal: Terminal | None = None


Started = TypeVar("Started", bound=RemoteProcess[Any])


class ProcessContext(AwaitableContext[Started]):
    """To be awaited for a `RemoteProcess`, or entered as an `async with` block."""

    def __init__(self, link: Link, scope: Scope, wanted: ProcessOptions) -> None:
        super().__init__(self._begin)
        self._link = link
        self._scope = scope
        self._wanted = wanted

    async def _begin(self) -> Any:
        wanted = self._wanted
        request = ExecutionOptions(await wanted.line(), live=True, terminal=wanted.terminal)
        plumbing = _Redirections[Any](wanted, request)
        with contextlib.ExitStack() as files:
            plumbing.lay(files)
            life = ProcessTask(self._link, request, self._scope)
            try:
                execution = await life.begin()
            except BaseException:
                plumbing.end(None)
                raise
        streams = plumbing.connect(execution)
        life.task.add_done_callback(lambda _: plumbing.end(life.error))
        kind = kind_of(streams)
        return kind(wanted.command, wanted.env, life, streams, execution.pty)


class _Redirections(Generic[AnyStr]):
    """What lies between a session's descriptors and what the caller gets or gave."""

    def __init__(self, wanted: ProcessOptions, request: ExecutionOptions) -> None:
        self._wanted = wanted
        self._request = request
        self._stdin: StreamWriter[AnyStr] | None = None
        self._stdout: StreamReader[AnyStr] | None = None
        self._stderr: StreamReader[AnyStr] | None = None
        self._own: list[StreamReader[Any]] = []  # that end with the process
        self._writers: list[Writer] = []
        self._feeding: Writer | Pty | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._pumps = TaskGroup()

    def _reader(self) -> StreamReader[Any]:
        encoding = self._wanted.encoding
        stream: StreamReader[Any] = StreamReader(
            b"" if encoding is None else "", encoding, self._wanted.errors
        )
        self._own.append(stream)
        return stream

    # Before the session: what it gets

    def lay(self, files: contextlib.ExitStack) -> None:
        """Fills the request in. What is opened for it stays open as long as `files`."""
        wanted, request = self._wanted, self._request
        if wanted.stdin == PIPE or isinstance(wanted.stdin, StreamReader):
            request.feed = True
        elif wanted.stdin != subprocess.DEVNULL:
            if request.terminal is not None:
                raise ConfigError(
                    f"stdin={wanted.stdin!r}: what is typed on a terminal comes from PIPE, DEVNULL "
                    "or another process's stdout"
                )
            source = descriptor_of(wanted.stdin, "stdin", reading=True)
            request.stdin = files.enter_context(source)
        self._lay_stdout(files)
        if wanted.stderr == STDOUT:
            request.stderr = self._merged()
        else:
            request.stderr = self._lay_stderr()

    def _lay_stdout(self, files: contextlib.ExitStack) -> None:
        wanted, request = self._wanted, self._request
        if wanted.stdout == STDOUT:
            raise ConfigError("stdout=STDOUT: only stderr can go to stdout")
        if wanted.stdout == PIPE:
            self._stdout = self._reader()
            request.stdout = self._stdout.feed_data
        elif isinstance(wanted.stdout, StreamWriter):
            request.stdout = self._pump_to(wanted.stdout)
        elif request.terminal is not None:
            request.stdout = self._lay_through(wanted.stdout, "stdout")
        else:
            request.stdout = files.enter_context(descriptor_of(wanted.stdout, "stdout"))

    def _lay_stderr(self) -> Callable[[bytes], object]:
        """Stderr comes through us in any case: the announcement is on it."""
        target = self._wanted.stderr
        if target == PIPE:
            self._stderr = self._reader()
            return self._stderr.feed_data
        if isinstance(target, StreamWriter):
            return self._pump_to(target)
        return self._lay_through(target, "stderr")

    def _lay_through(self, target: Target, name: str) -> Callable[[bytes], object]:
        """For what has the announcement in it: to its target through us."""
        if target == subprocess.DEVNULL:
            return _nothing
        with descriptor_of(target, name) as descriptor:
            return self._write_to(descriptor)

    def _merged(self) -> Callable[[bytes], object]:
        """stderr, where stdout goes: in the order in which it arrives here."""
        stdout = self._request.stdout
        return self._write_to(stdout) if isinstance(stdout, int) else stdout  # type: ignore[return-value]

    def _write_to(self, descriptor: int) -> Callable[[bytes], object]:
        writer = Writer(os.dup(descriptor))
        self._writers.append(writer)

        def write(data: bytes) -> None:
            with contextlib.suppress(BrokenPipeError):
                writer.write(data)

        return write

    def _pump_to(self, target: StreamWriter[Any]) -> Callable[[bytes], object]:
        stream: StreamReader[bytes] = StreamReader(b"", None, "strict")
        self._own.append(stream)
        self._pumps.start(_pump(stream, target))
        return stream.feed_data

    # Once it has begun: what the caller gets

    def connect(
        self, execution: Execution
    ) -> tuple[
        StreamWriter[AnyStr] | None, StreamReader[AnyStr] | None, StreamReader[AnyStr] | None
    ]:
        """Connects the streams with the session's pipes."""
        if self._request.feed:
            self._feed(execution.pty or _writer(execution.take_stdin()))
        for reader, own in zip(execution.readers, self._own_by_reader(execution), strict=True):
            if own is not None:
                own.feed_from(reader)
                reader.on_end(partial(self._output_ended, execution, own))
        return self._stdin, self._stdout, self._stderr

    def _feed(self, feeding: Writer | Pty) -> None:
        self._feeding = feeding
        stream: StreamWriter[AnyStr] = StreamWriter(
            feeding, self._wanted.encoding, self._wanted.errors
        )
        if isinstance(self._wanted.stdin, StreamReader):
            self._feeder = self._pumps.start(_pump(self._wanted.stdin, stream))
        else:
            self._stdin = stream

    def _own_by_reader(self, execution: Execution) -> list[StreamReader[Any] | None]:
        fed: dict[Any, StreamReader[Any]] = {stream.feed_data: stream for stream in self._own}
        stdout, stderr = fed.get(self._request.stdout), fed.get(self._request.stderr)
        if self._wanted.stderr == STDOUT:
            stderr = None  # its end is not stdout's
        return [stdout, stderr] if len(execution.readers) == 2 else [stderr]

    def _output_ended(self, execution: Execution, stream: StreamReader[Any]) -> None:
        # If it was the last, the process is over, and its task says how; so it does if we end it.
        if execution.aborted is None and not all(each.closed for each in execution.readers):
            stream.feed_eof()

    def end(self, error: BaseException | None) -> None:
        """The process is over."""
        for stream in self._own:
            stream.feed_eof(error if isinstance(error, Exception) else None)
        if self._feeder is not None:
            self._feeder.cancel()
        if self._feeding is not None:
            self._feeding.close()
        for writer in self._writers:
            writer.end()


async def _pump(source: StreamReader[Any], target: StreamWriter[Any]) -> None:
    """From one process to another. How each of them ends is for its own caller to see."""
    source.become_bytes()
    try:
        while piece := await source.read(_PIECE):
            target.write_bytes(piece)
            await target.drain()
    except (OSError, Error) as error:
        log.debug("what one process writes does not reach another any more: %s", error)
    finally:
        source.close()
        target.write_eof()


def _writer(stdin: int) -> Writer:
    if stdin < 0:  # it is over already
        nobody, stdin = os.pipe()
        os.close(nobody)
    return Writer(stdin)


def _nothing(_: bytes) -> None:
    """Nobody wants it."""
