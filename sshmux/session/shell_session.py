"""One open shell on one session: it runs one command at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from ..errors import ChannelOpenError, Error, ShellLost
from ..openssh import remote_shell
from ..system.pipes import Writer
from ..system.tasks import settle
from .execution import ExecutionOptions, Scope
from .link import Link
from .process import ProcessTask

_LATE = 2.0  # seconds for the end of one stream once the other has told the command's end
_END_DEADLINE = 4.0  # seconds for ending a command: SIGTERM, 2 s, SIGKILL
_END_SEEN = 1.0  # seconds for the shell to tell of that end
_EXIT = 1.0  # seconds for the shell to exit once its stdin has ended

Sink = Callable[[bytes], object]


class ShellSession:
    """A remote `sh` on a session, started by the login shell.

    Attributes:
        stateful: a command was run in the shell itself: its directory and variables matter.
    """

    def __init__(self, link: Link, scope: Scope) -> None:
        self.link = link
        self.stateful = False
        self.options = ExecutionOptions(
            remote_shell.start_line(),
            stdout=self._on_stdout,
            stderr=self._on_stderr,
            live=True,
            feed=True,
        )
        self._stdout = remote_shell.OutputSplitter()
        self._stderr = remote_shell.OutputSplitter()
        self._key = remote_shell.new_key()
        self._greeted = False
        self._retired = False
        self._stdin: Writer | None = None
        self._status: int | None = None
        self._pending = 0  # streams on which the command's end has not come yet
        self._waiter: asyncio.Future[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._process = ProcessTask(link, self.options, scope)
        self._process.task.add_done_callback(self._session_over)

    async def start(self) -> None:
        """Waits until the login shell has begun; what is sent to the shell may follow at once.

        Raises what `Link.execute` raises.
        """
        execution = await self._process.begin()
        stdin = execution.take_stdin()
        if stdin < 0:  # it is over already
            await self._process.task
            raise self._no_shell()
        self._stdin = Writer(stdin)
        token = remote_shell.new_key()
        # What comes before its end is the noise of start-up files.
        self._stdout.expect(token, _nothing, self._on_greeting, with_status=True)
        self._stderr.expect(token, _nothing, _nothing)
        self._write(remote_shell.greeting(self._key, token))

    def _on_greeting(self, _: int | None) -> None:
        self._greeted = True

    def _on_stdout(self, data: bytes) -> None:
        self._stdout.feed(data)

    def _on_stderr(self, data: bytes) -> None:
        self._stderr.feed(data)

    @property
    def usable(self) -> bool:
        """Whether another command can be run in it, as far as is known."""
        over = self._process.task.done() or self._process.task.cancelling() > 0
        return not self._retired and not over and self._stdin is not None

    @property
    def over(self) -> bool:
        """Whether its session has ended."""
        return self._process.task.done()

    async def run(
        self, line: str, stdout: Sink, stderr: Sink, *, keep: bool, input: bytes | None
    ) -> int:
        """Runs one command and returns its exit status; its own if it ended the shell as well.

        Raises what `Link.execute` raises, `ChannelOpenError` where there is no `sh`, and
        `ShellLost` when the command left the shell unusable.
        """
        token = remote_shell.new_key()
        size = None if input is None else len(input)
        data = remote_shell.command_line(line, self._key, token, keep=keep, input_size=size)
        if keep:
            self.stateful = True
        self._pending, self._status = 2, None
        self._stdout.expect(token, stdout, self._on_end, with_status=True)
        self._stderr.expect(token, stderr, self._on_end)
        self._write(data)
        if input:
            self._write(input)
        await self._end_of_command()
        status = self._told_status()
        if status is None:
            return await self._end_of_shell()
        if not keep and remote_shell.starts_background(line):
            self.retire()
        return status

    def _told_status(self) -> int | None:
        """The command's exit status, once both streams have told its end."""
        return None if self._pending else self._status

    def _write(self, data: bytes) -> None:
        assert self._stdin is not None  # noqa: S101 - it was started
        with contextlib.suppress(BrokenPipeError):  # the end of the session tells why
            self._stdin.write(data)

    def _on_end(self, status: int | None) -> None:
        """The command's end has come on one of the two streams."""
        if status is not None:
            self._status = status
        self._pending -= 1
        if self._pending == 0:
            self._wake()
        elif self._late is None:
            self._late = self.link.loop.call_later(_LATE, self._wake)

    def _wake(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._waiter is not None:
            settle(self._waiter)

    async def _end_of_command(self) -> None:
        if self._pending and not self.over:
            self._waiter = self.link.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def _end_of_shell(self) -> int:
        """The command ended the shell, or left it with a stream closed."""
        if not self.over:
            await self.kill()
            raise ShellLost(
                f"a command closed stdout or stderr of the shell on {self.link.config.address}: "
                "what it wrote is incomplete, and the shell was ended"
            )
        status = await self._process.task
        self._stdout.flush()
        self._stderr.flush()
        if not self._greeted:
            raise self._no_shell()
        return status

    def _no_shell(self) -> Error:
        return ChannelOpenError(
            f"{self.link.config.address}: no shell could be started: the login shell did not run "
            "`exec sh`. Use run(), which needs none"
        )

    def _session_over(self, _: object) -> None:
        if self._stdin is not None:
            self._stdin.close()
        self._wake()

    def retire(self) -> None:
        """Ends the shell at the end of its stdin; what it left in the background runs on."""
        self._retired = True
        if self._stdin is not None:
            self._stdin.end()

    async def end_command(self) -> bool:
        """Ends the command that runs, and leaves the shell. False if the shell had to go, too."""
        pid = self._process.pid
        if self.usable and pid is not None and self._greeted:
            with contextlib.suppress(Error, TimeoutError, OSError):
                line = remote_shell.end_commands(pid)
                gone = await self.link.control(line, _END_DEADLINE) == 0
                if gone and await self._settled(_END_SEEN):
                    return True
        await self.kill()
        return False

    async def _settled(self, timeout: float) -> bool:
        """Whether the shell has told the command's end, within `timeout`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._end_of_command()
        return self._pending == 0

    async def kill(self) -> None:
        """Ends the shell with all it runs."""
        self._retired = True
        if not self.over:
            self._process.task.cancel()
            await asyncio.wait((self._process.task,))

    async def close(self) -> None:
        """Ends the shell: by the end of its stdin; with all it runs when that does not do."""
        self.retire()
        if not self.over and not self._pending:
            await asyncio.wait((self._process.task,), timeout=_EXIT)
        await self.kill()

    @property
    def error(self) -> BaseException | None:
        """What ended its session otherwise than by itself."""
        return self._process.error

    def abandon(self) -> None:
        """Nobody holds it any more; may be called from anywhere."""
        if not self.over:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.link.loop.call_soon_threadsafe(partial(self._process.task.cancel))


def _nothing(_: object) -> None:
    """Noise of start-up files."""
