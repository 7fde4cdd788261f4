"""Starting a process: its streams, where they lead, and the wait until it has begun."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..system.contexts import AwaitableContext
from ..system.pty import Terminal
from .execution import ExecutionOptions, Scope
from .link import Link
from .plumbing import Plumbing, Streams
from .process import ProcessTask, RemoteProcess, kind_of


@dataclass
class ProcessOptions:
    """What a process is to be, as the caller said it."""

    command: str
    line: Callable[[], Awaitable[str]]
    env: Mapping[str, str] | None
    streams: Streams
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
        plumbing = Plumbing[Any](wanted.streams, request, self._scope)
        with contextlib.ExitStack() as files:
            plumbing.lay(files)
            life = ProcessTask(self._link, request, self._scope)
            try:
                execution = await life.begin()
            except BaseException:
                plumbing.end(None, given_up=True)
                raise
        streams = plumbing.connect(execution)
        life.task.add_done_callback(
            lambda task: plumbing.end(
                life.error, given_up=task.cancelled() or life.error is not None
            )
        )
        kind = kind_of(streams)
        empty = b"" if wanted.streams.encoding is None else ""
        return kind(
            *(wanted.command, wanted.env, life, streams, plumbing.pumps, empty), execution.pty
        )
