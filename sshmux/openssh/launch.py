"""Starting ssh for a log-in: plainly, or through the askpass when there is a password to give.

Either way the result is a `Launch`: an exit status to await (0 is "the master is ready") and
what ssh wrote to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass

from .pipes import Reader, Writer
from .processes import Child, spawn

_MAX_STDERR = 64 * 1024  # bytes kept; a banner may be endless
_LAST_WORDS = 0.5  # seconds for the rest of stderr after a failure
_HELPER = (
    "import json,sys; task=json.loads(sys.stdin.readline()); sys.path[:]=task.pop('path'); "
    "from sshmux.openssh import askpass; askpass.main(task)"
)


@dataclass(frozen=True)
class Secret:
    """A password, and the only ones (`user@host`) it may be given to."""

    value: str
    who: frozenset[str]

    def __repr__(self) -> str:
        return f"<Secret for {', '.join(sorted(self.who))}>"


class Launch:
    """One ssh on its way to becoming a master."""

    def __init__(self, child: Child, stderr: Reader) -> None:
        self._child = child
        self._stderr = stderr

    @property
    def stderr(self) -> str:
        """What ssh wrote so far."""
        return self._stderr.text()

    @property
    def asked(self) -> str:
        """The prompt that nobody could answer, if one ended the log-in."""
        return ""

    @property
    def answered(self) -> bool:
        """Whether a password was given."""
        return False

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


class _HelperLaunch(Launch):
    """ssh behind the askpass, whose answer carries ssh's status."""

    def __init__(self, child: Child, stderr: Reader, answer: Reader, task: Writer, stdin: int):
        super().__init__(child, stderr)
        self._answer = answer
        self._task = task
        self._stdin = stdin
        self._asked = ""
        self._answered = False

    @property
    def asked(self) -> str:
        return self._asked

    @property
    def answered(self) -> bool:
        return self._answered

    async def _exit_status(self) -> int:
        helper = await self._child.wait()
        await self._answer.ended()
        try:
            answer = json.loads(self._answer.text())
            self._asked = str(answer["asked"])
            self._answered = bool(answer["answered"])
            return int(answer["status"]) or (255 if self._asked else 0)
        except (ValueError, KeyError, TypeError):
            return helper or 255

    async def end(self) -> None:
        # Its stdin's end tells the helper to end ssh, which is in a session of its own.
        self._hang_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._child.wait()
        await super().end()

    def _hang_up(self) -> None:
        if self._stdin >= 0:
            self._task.close()
            os.close(self._stdin)
            self._stdin = -1

    def close(self) -> None:
        self._hang_up()
        self._answer.close()
        super().close()


def launch(argv: list[str], env: dict[str, str], secret: Secret | None) -> Launch:
    """Starts ssh. With a secret, through the askpass in a helper process."""
    return _plain(argv, env) if secret is None else _with_helper(argv, env, secret)


def _plain(argv: list[str], env: dict[str, str]) -> Launch:
    stderr, writing = Reader.pipe(limit=_MAX_STDERR)
    try:
        return Launch(spawn(argv, stderr=writing, env=env), stderr)
    except BaseException:
        stderr.close()
        raise
    finally:
        os.close(writing)


def _with_helper(argv: list[str], env: dict[str, str], secret: Secret) -> Launch:
    task = {
        "path": [entry for entry in sys.path if entry] or [os.getcwd()],
        "argv": argv,
        "secret": secret.value,
        "who": sorted(secret.who),
    }
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as always:
        stderr, stderr_end = Reader.pipe(limit=_MAX_STDERR)
        undo.callback(stderr.close)
        always.callback(os.close, stderr_end)
        answer, answer_end = Reader.pipe()
        undo.callback(answer.close)
        always.callback(os.close, answer_end)
        task_end, writing = os.pipe()
        undo.callback(os.close, writing)
        always.callback(os.close, task_end)
        child = spawn(
            [sys.executable, "-c", _HELPER],
            stdin=task_end,
            stdout=answer_end,
            stderr=stderr_end,
            env=env,
        )
        # The pipe stays open after the task: its end is the helper's signal to give up.
        writer = Writer(os.dup(writing), (json.dumps(task) + "\n").encode())
        undo.pop_all()
        return _HelperLaunch(child, stderr, answer, writer, writing)
