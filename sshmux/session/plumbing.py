"""What lies between a session's descriptors and what the caller of a process gets, or gave."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from ..errors import ConfigError
from ..system.pipes import Writer
from ..system.pty import Pty
from .execution import Execution, ExecutionOptions, Scope
from .objects import Inlet, Outlet, Writable, check_kind, is_inlet, is_outlet
from .pumps import Pumps
from .redirect import Target, closing, descriptor_of, stands_for_itself
from .streams import AnyStr, StreamReader, StreamWriter

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL

Source = Target | StreamReader[Any] | Inlet
Sink = Target | StreamWriter[Any] | Writable


@dataclass
class Streams:
    """Where a process's streams lead, as the caller said it.

    Attributes:
        input: bytes for stdin, and then its end.
        bufsize: how much is read at once from an object; 0 for what is usual here.
        send_eof: the end of what stdin is led from is the process's end of input.
        recv_eof: the end of the process's output is the end of what it is led to.
    """

    stdin: Source
    stdout: Sink
    stderr: Sink
    encoding: str | None
    errors: str
    input: bytes | None = None
    bufsize: int = 0
    send_eof: bool = True
    recv_eof: bool = True


class Plumbing(Generic[AnyStr]):
    """The streams of one process, and what moves their data."""

    def __init__(self, wanted: Streams, request: ExecutionOptions, scope: Scope) -> None:
        self.pumps = Pumps(scope.outlets)
        self._wanted = wanted
        self._request = request
        self._stdin: StreamWriter[AnyStr] | None = None
        self._stdout: StreamReader[AnyStr] | None = None
        self._stderr: StreamReader[AnyStr] | None = None
        self._own: list[StreamReader[Any]] = []  # that end with the process
        self._writers: list[Writer] = []
        self._given: list[Callable[[], None]] = []  # closes what was given for output
        self._feeding: Writer | Pty | None = None
        self._connected = False

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
        self._lay_stdin(files)
        self._lay_stdout(files)
        if self._wanted.stderr == STDOUT:
            self._request.stderr = self._merged()
        else:
            self._request.stderr = self._lay_stderr()

    def _lay_stdin(self, files: contextlib.ExitStack) -> None:
        wanted, request = self._wanted, self._request
        source: Any = wanted.stdin
        if wanted.input is not None and source != PIPE:
            raise ConfigError(f"input= and stdin={source!r}: give one of them")
        if source == DEVNULL and wanted.send_eof:
            return
        if source in (PIPE, DEVNULL) or self._feeds(source):
            request.feed = True
            return
        if request.terminal is not None:
            raise ConfigError(
                f"stdin={source!r}: what is typed on a terminal comes from PIPE, DEVNULL, an "
                "object that Python reads, or another process's stdout"
            )
        request.stdin = files.enter_context(descriptor_of(source, "stdin", reading=True))
        request.feed = not wanted.send_eof

    def _feeds(self, source: Any) -> bool:
        """Whether stdin is fed by a task of ours."""
        if isinstance(source, StreamReader):
            return True
        if stands_for_itself(source, reading=True) or not is_inlet(source):
            return False
        check_kind(source, "stdin", self._wanted.encoding)
        return True

    def _lay_stdout(self, files: contextlib.ExitStack) -> None:
        wanted, request = self._wanted, self._request
        if wanted.stdout == STDOUT:
            raise ConfigError("stdout=STDOUT: only stderr can go to stdout")
        if wanted.stdout == PIPE:
            self._stdout = self._reader()
            request.stdout = self._stdout.feed_data
        elif (pumped := self._lay_pump(wanted.stdout, "stdout")) is not None:
            request.stdout = pumped
        elif request.terminal is not None:
            request.stdout = self._lay_through(wanted.stdout, "stdout")
        else:
            request.stdout = files.enter_context(self._descriptor_of(wanted.stdout, "stdout"))

    def _lay_stderr(self) -> Callable[[bytes], object]:
        """Stderr comes through us in any case: the announcement is on it."""
        target = self._wanted.stderr
        if target == PIPE:
            self._stderr = self._reader()
            return self._stderr.feed_data
        return self._lay_pump(target, "stderr") or self._lay_through(target, "stderr")

    def _lay_through(self, target: Any, name: str) -> Callable[[bytes], object]:
        """For what has the announcement in it: to its target through us."""
        if target == DEVNULL:
            return _nothing
        with self._descriptor_of(target, name) as descriptor:
            return self._write_to(descriptor)

    def _descriptor_of(self, target: Any, name: str) -> contextlib.AbstractContextManager[int]:
        if self._wanted.recv_eof and (close := closing(target)) is not None:
            self._given.append(close)
        return descriptor_of(target, name)

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

    def _lay_pump(self, target: Any, name: str) -> Callable[[bytes], object] | None:
        """For what a task of ours writes to; None if that is none."""
        wanted = self._wanted
        stream: StreamReader[bytes] = StreamReader(b"", None, "strict")
        if isinstance(target, StreamWriter):
            end = wanted.send_eof and wanted.recv_eof
            self.pumps.to_process(stream, target, end=end)
        elif not stands_for_itself(target, reading=False) and is_outlet(target):
            check_kind(target, name, wanted.encoding)
            keep = not wanted.recv_eof
            outlet = Outlet(target, wanted.encoding, wanted.errors, keep=keep)
            self.pumps.to_object(stream, outlet)
        else:
            return None
        self._own.append(stream)
        return stream.feed_data

    # Once it has begun: what the caller gets

    def connect(
        self, execution: Execution
    ) -> tuple[
        StreamWriter[AnyStr] | None, StreamReader[AnyStr] | None, StreamReader[AnyStr] | None
    ]:
        """Connects the streams with the session's pipes."""
        self._connected = True
        self.pumps.serve(execution)
        if self._request.feed:
            self._feed(execution.pty or _writer(execution.take_stdin()))
        for reader, own in zip(execution.readers, self._own_by_reader(execution), strict=True):
            if own is not None:
                own.feed_from(reader)
                reader.on_end(partial(self._output_ended, execution, own))
        return self._stdin, self._stdout, self._stderr

    def _feed(self, feeding: Writer | Pty) -> None:
        self._feeding = feeding
        wanted, source = self._wanted, self._wanted.stdin
        stream: StreamWriter[AnyStr] = StreamWriter(feeding, wanted.encoding, wanted.errors)
        if source == PIPE or not wanted.send_eof:
            self._stdin = stream
        if wanted.input is not None:
            with contextlib.suppress(BrokenPipeError):  # it is over already
                stream.write_bytes(wanted.input)
            stream.write_eof()
        elif isinstance(source, StreamReader):
            self.pumps.from_process(source, stream, end=wanted.send_eof)
        elif source not in (PIPE, DEVNULL) and self._request.stdin is None:
            given: Any = source
            self.pumps.from_object(given, stream, size=wanted.bufsize, end=wanted.send_eof)

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

    def end(self, error: BaseException | None, *, given_up: bool) -> None:
        """The process is over, or was never begun."""
        for stream in self._own:
            stream.feed_eof(error if isinstance(error, Exception) else None)
        self.pumps.over(given_up=given_up)
        if self._feeding is not None:
            self._feeding.close()
        for writer in self._writers:
            writer.end()
        if self._connected:
            for close in self._given:
                close()


def _writer(stdin: int) -> Writer:
    if stdin < 0:  # it is over already
        nobody, stdin = os.pipe()
        os.close(nobody)
    return Writer(stdin)


def _nothing(_: bytes) -> None:
    """Nobody wants it."""
