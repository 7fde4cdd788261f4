"""Starting ssh for a log-in: plainly, or behind the askpass when somebody can answer prompts.

Either way the result is a `Launch`: an exit status to await (0 is "the master is ready"), ssh's own
log, and what else came on its stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from ...system.pipes import Reader
from ...system.processes import Child, spawn
from ...system.sockets import has_connection
from .own_log import OwnLog

MAX_STDERR = 64 * 1024  # bytes kept; a banner may be endless
_LAST_WORDS = 0.5  # seconds for the rest of stderr after a failure


Listener = Callable[[bytes], object]


def output_pipe(listener: Listener | None) -> tuple[Reader, int]:
    """A pipe for ssh's log, or its stderr. What comes is kept, and a listener hears it at once."""
    reader, writing = Reader.pipe(limit=MAX_STDERR)
    if listener is not None:
        reader.tee(listener)
    return reader, writing


def log_pipe(listener: Listener | None) -> tuple[OwnLog, Reader, int]:
    """The same for ssh's own log, with what it says."""
    log = OwnLog(MAX_STDERR)
    reader, writing = Reader.pipe(log.feed)
    if listener is not None:
        reader.tee(listener)
    return log, reader, writing


class Launch:
    """One ssh on its way to becoming a master."""

    def __init__(self, child: Child, own_log: OwnLog, log: Reader, stderr: Reader) -> None:
        self._child = child
        self._own_log = own_log
        self._log = log
        self._stderr = stderr

    @property
    def log(self) -> str:
        """What ssh itself has told so far."""
        return self._own_log.text

    @property
    def greeting(self) -> list[str]:
        """What the server sent before its version."""
        return self._own_log.greeting

    @property
    def stderr(self) -> str:
        """What else came on its stderr: banners, and the words of a ProxyCommand."""
        return self._stderr.text()

    async def wait(self) -> int:
        """Ssh's exit status; after a failure its words are complete."""
        status = await self._exit_status()
        if status != 0:
            # A ProxyCommand may hold the pipe; its words are welcome, but not for long.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._log.ended()
                    await self._stderr.ended()
        return status

    async def _exit_status(self) -> int:
        return await self._child.wait()

    def connected(self) -> bool | None:
        """Whether ssh has a TCP connection; None if that cannot be seen, or it needs none."""
        return has_connection(self._child.pid)

    async def end(self) -> None:
        """Ends ssh and its group, and waits for that."""
        await self._child.end()

    def close(self) -> None:
        """Lets go of every descriptor; the process has ended by now."""
        self._log.close()
        self._stderr.close()


def launch(argv: list[str], env: dict[str, str], listener: Listener | None = None) -> Launch:
    """Starts ssh plainly: it has no terminal, and can ask nobody."""
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as always:
        own_log, log, log_end = log_pipe(listener)
        undo.callback(log.close)
        always.callback(os.close, log_end)
        stderr, stderr_end = output_pipe(listener)
        undo.callback(stderr.close)
        always.callback(os.close, stderr_end)
        child = spawn(argv, stdout=log_end, stderr=stderr_end, env=env)
        started = Launch(child, own_log, log, stderr)
        undo.pop_all()
        return started
