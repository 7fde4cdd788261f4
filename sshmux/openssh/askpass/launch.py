"""Starting ssh for a log-in: plainly, or behind the askpass when somebody can answer prompts.

Either way the result is a `Launch`: an exit status to await (0 is "the master is ready") and
what ssh wrote to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from ...system.pipes import Reader
from ...system.processes import Child, spawn

MAX_STDERR = 64 * 1024  # bytes kept; a banner may be endless
_LAST_WORDS = 0.5  # seconds for the rest of stderr after a failure


Listener = Callable[[bytes], object]


def stderr_pipe(listener: Listener | None) -> tuple[Reader, int]:
    """A pipe for ssh's stderr. What comes is kept, and a listener hears it at once."""
    reader, writing = Reader.pipe(limit=MAX_STDERR)
    if listener is not None:
        reader.tee(listener)
    return reader, writing


class Launch:
    """One ssh on its way to becoming a master."""

    def __init__(self, child: Child, stderr: Reader) -> None:
        self._child = child
        self._stderr = stderr

    @property
    def stderr(self) -> str:
        """What ssh wrote so far."""
        return self._stderr.text()

    async def wait(self) -> int:
        """Ssh's exit status; after a failure stderr is complete."""
        status = await self._exit_status()
        if status != 0:
            # A ProxyCommand may hold the pipe; its words are welcome, but not for long.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._stderr.ended()
        return status

    async def _exit_status(self) -> int:
        return await self._child.wait()

    async def end(self) -> None:
        """Ends ssh and its group, and waits for that."""
        await self._child.end()

    def close(self) -> None:
        """Lets go of every descriptor; the process has ended by now."""
        self._stderr.close()


def launch(argv: list[str], env: dict[str, str], listener: Listener | None = None) -> Launch:
    """Starts ssh plainly: it has no terminal, and can ask nobody."""
    stderr, writing = stderr_pipe(listener)
    try:
        return Launch(spawn(argv, stderr=writing, env=env), stderr)
    except BaseException:
        stderr.close()
        raise
    finally:
        os.close(writing)
