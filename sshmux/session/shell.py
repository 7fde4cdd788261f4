"""A remote shell that stays open: a command costs one round trip instead of two and more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any, Self, Unpack, overload

from ..checks import check_seconds
from ..errors import ConfigError, ConnectionReleased, ShellLost
from ..openssh import remote
from ..system.contexts import OwnContext
from ..system.tasks import TaskGroup, run_to_end
from .arguments import check_encoding, check_request, input_bytes
from .completed import SOME_SIGNAL, CompletedProcess, command_text, decoded, timed_out
from .execution import Fate, Scope
from .keywords import ShellRunKeywords
from .link import SIGNALLED, Link
from .shell_session import ShellSession


class RemoteShell(OwnContext):
    """A shell on the remote, for one command after the other. Made by `Connection.create_shell`.

    It is a POSIX `sh` that the login shell has started, so it has the user's environment, and the
    login shell's start-up files were run once. Several tasks may use it: they take turns.
    """

    def __init__(self, link: Link, scope: Scope, session: ShellSession | None = None) -> None:
        self._link = link
        self._scope = scope
        self._session = session
        self._turn = asyncio.Lock()
        self._closed: Callable[[], Exception] | None = None
        self._closing = TaskGroup()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed() else "busy" if self._turn.locked() else "idle"
        return f"<RemoteShell {self._link.config.address} {state}>"

    async def start(self) -> Self:
        """Starts the shell now, not with the first command."""
        await self._ready()
        return self

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        encoding: str = "utf-8",
        **keywords: Unpack[ShellRunKeywords],
    ) -> CompletedProcess[str]: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        encoding: None,
        **keywords: Unpack[ShellRunKeywords],
    ) -> CompletedProcess[bytes]: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        encoding: str | None,
        **keywords: Unpack[ShellRunKeywords],
    ) -> CompletedProcess[Any]: ...

    async def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = False,
        timeout: float | None = None,
        input: str | bytes | None = None,
        encoding: str | None = "utf-8",
        errors: str = "replace",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        keep: bool = False,
    ) -> CompletedProcess[Any]:
        """Runs a command and returns when it has ended and all its output was read.

        It runs in a subshell, and leaves nothing behind in the shell. Cancelling the caller, or
        running out of time, ends what the command runs; the shell stays, or is replaced.

        Parameters:
            command: a str is read by a POSIX shell, whatever the login shell is; a sequence of
                words is quoted.
            check: raise `ProcessError` when the exit status is not 0.
            timeout: seconds for everything, waiting for a turn included; None for ever.
            input: what the command reads on stdin, of any size; None gives it the null device.
            encoding: of stdout and stderr; None for bytes.
            errors: how to decode what is not valid in that encoding.
            env, cwd: variables to set, and a directory to change to, before the command.
            keep: run it in the shell itself: `cd`, `export`, `module load` last. Not with `input`.

        The exit status of what a signal ended is 128 and the signal's number, as a shell tells
        it. A command that ends the shell (`keep=True` and `exit 3`) returns the shell's status.

        Raises what `Connection.run` raises, and:
            ShellLost: the shell in which commands were run with `keep=True` has ended, and what
                they had set with it (told once; the next command gets a new shell). Or the command
                closed the shell's own stdout or stderr.
            ChannelOpenError: the remote has no `sh`.
        """
        check_request(command, env, cwd)
        data = self._checked(input, encoding, errors, keep)
        if timeout is not None:
            check_seconds("timeout", timeout)
        line = remote.command_line(command, shell="posix", env=env, cwd=cwd)  # noqa: S604
        out, err = BytesIO(), BytesIO()
        fate: list[Fate] = ["unsent"]
        self._link.check_loop()
        try:
            async with asyncio.timeout(timeout) as deadline, self._turn:
                status = await self._run(line, out, err, keep, data, fate)
        except TimeoutError:
            if timeout is None or not deadline.expired():
                raise
            outputs = decoded(out, encoding, errors), decoded(err, encoding, errors)
            raise timed_out(command_text(command), timeout, *outputs, fate=fate[0]) from None
        result: CompletedProcess[Any] = CompletedProcess(
            command_text(command),
            status,
            decoded(out, encoding, errors),
            decoded(err, encoding, errors),
            env,
            exit_signal=SOME_SIGNAL if status == SIGNALLED else None,
        )
        if check:
            result.check_returncode()
        return result

    def _checked(
        self,
        input: str | bytes | None,
        encoding: str | None,
        errors: str,
        keep: bool,
    ) -> bytes | None:
        """The input as bytes. Raises `ConfigError` for arguments that nothing can be run with."""
        check_encoding(encoding, errors)
        if keep and input is not None:
            raise ConfigError(
                "input= does not go with keep=True: the shell itself reads its commands from stdin"
            )
        return input_bytes(input, encoding, errors)

    async def _run(
        self,
        line: str,
        out: BytesIO,
        err: BytesIO,
        keep: bool,
        input: bytes | None,
        fate: list[Fate],
    ) -> int:
        session = await self._ready()
        fate[0] = "unknown"
        try:
            return await session.run(line, out.write, err.write, keep=keep, input=input)
        except asyncio.CancelledError:

            async def end() -> None:
                # What was not read of an input would be left for the next command.
                if input:
                    await session.kill()
                elif await session.end_command():
                    fate[0] = "ended"
                    return
                fate[0] = session.options.fate

            await run_to_end(end)
            raise

    async def _ready(self) -> ShellSession:
        """The shell's session; a new one unless it is usable."""
        self._check()
        session = self._session
        if session is not None and session.usable:
            return session
        self._session = None
        if session is not None and session.stateful:
            raise ShellLost(
                f"the shell on {self._link.config.address} has ended, and with it what was set "
                "with keep=True. Set it again: the next command gets a new shell"
            )
        self._session = session = ShellSession(self._link, self._scope)
        await session.start()
        return session

    def _check(self) -> None:
        if self._closed is not None:
            raise self._closed()
        self._scope.check()

    def detach(self, why: str) -> ShellSession | None:
        """Makes this face of the shell unusable; returns the session, for another one."""
        self._closed = lambda: ConnectionReleased(
            f"the shell on {self._link.config.address} cannot be used any more: {why}"
        )
        session, self._session = self._session, None
        return session

    @property
    def busy(self) -> bool:
        """Whether a command runs in it."""
        return self._turn.locked()

    def close(self) -> None:
        """Ends the shell, with the command that runs in it. See `wait_closed`."""
        session = self.detach("it was closed")
        if session is not None:
            self._closing.start(session.close())

    async def wait_closed(self) -> None:
        """Waits until nothing of it is left."""
        await self._closing.wait()

    def is_closed(self) -> bool:
        """Whether it was closed, or its connection cannot be used any more."""
        return self._closed is not None or self._scope.closed or self._link.closed

    async def _leave(self, error: BaseException | None) -> None:
        self.close()
        await run_to_end(partial(self.wait_closed))

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None:
            session.abandon()
