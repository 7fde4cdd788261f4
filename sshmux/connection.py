"""Connection: what a program holds while it uses a master."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, Literal, Unpack, overload

from .checks import check_int, check_seconds
from .errors import ConfigError, ConnectionReleased
from .forwards.methods import ForwardMethods
from .openssh.control.master import Master
from .openssh.remote import LOGIN_SHELL, merged, needs_shell, tied
from .session.arguments import check_encoding, check_request, input_bytes
from .session.completed import SOME_SIGNAL, CompletedProcess, command_text, decoded, timed_out
from .session.execution import ExecutionOptions, Scope
from .session.keywords import ProcessKeywords, RunKeywords
from .session.link import SIGNALLED, Link
from .session.plumbing import PIPE, STDOUT, Sink, Source, Streams
from .session.process import PipedProcess, ReadableProcess, RemoteProcess
from .session.pumps import let_go
from .session.redirect import Target, check_descriptor, descriptor_of
from .session.shell import RemoteShell
from .session.start import ProcessContext, ProcessOptions
from .sftp.context import SFTPClientContext
from .system.contexts import AwaitableContext, OwnContext
from .system.ownership import check_loop
from .system.pty import USUAL_SIZE, Terminal, wanted_terminal
from .system.tasks import run_to_end
from .transfer.helpers import Helpers
from .transfer.methods import TransferMethods

Command = str | Sequence[str]
MOST_AT_ONCE = 1 << 30  # bytes or characters, of what is led from an object


class Connection(ForwardMethods, TransferMethods, OwnContext):
    """An open connection to a cluster: run commands on it, as many at once as the server takes.

    From `get_connection()` it is lent: at the end of the block it goes dead, and says so when it
    is used. From `connect()` it is the caller's own, to be closed with `close()` and
    `wait_closed()`, or by using it as an async context manager.
    """

    def __init__(self, link: Link, *, owned: bool = False, helpers: Helpers | None = None) -> None:
        self._link = link
        self._helpers = helpers
        self._owned = owned
        self._scope = Scope()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self.is_closed() else "open"
        kind = "own" if self._owned else "lent"
        return f"<Connection {self._link.config.address} {kind} {state}>"

    @overload
    async def run(
        self, command: Command, *, encoding: str = "utf-8", **keywords: Unpack[RunKeywords]
    ) -> CompletedProcess[str]: ...

    @overload
    async def run(
        self, command: Command, *, encoding: None, **keywords: Unpack[RunKeywords]
    ) -> CompletedProcess[bytes]: ...

    @overload
    async def run(
        self, command: Command, *, encoding: str | None, **keywords: Unpack[RunKeywords]
    ) -> CompletedProcess[Any]: ...

    async def run(
        self,
        command: Command,
        *,
        check: bool = False,
        timeout: float | None = None,
        input: str | bytes | None = None,
        encoding: str | None = "utf-8",
        errors: str = "replace",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdout: Target | None = None,
        term_type: str | None = None,
        term_size: Sequence[int] = USUAL_SIZE,
        on_lost: Literal["leave", "end"] = "leave",
    ) -> CompletedProcess[Any]:
        """Runs a command and returns when it has ended and all its output was read.

        Cancelling the caller, or running out of time, ends the command's remote process group
        (SIGTERM, then SIGKILL after 2 s) before it returns.

        Parameters:
            command: a str goes to the login shell as it is; a sequence of words is quoted.
            check: raise `ProcessError` when the exit status is not 0.
            timeout: seconds for everything, waiting for a session's turn included; None for ever.
            input: what the command reads on stdin; None gives it the null device.
            encoding: of stdout and stderr; None for bytes.
            errors: how to decode what is not valid in that encoding.
            env: variables set by the login shell before the command. They are part of the
                command line, which other users of both machines can see: a secret goes into
                `input`.
            cwd: a directory to change to first; the exit status is 1 when that fails.
            stdout: where stdout goes instead of into memory: a path (created, or emptied), an
                open file or its descriptor, or `subprocess.DEVNULL`. The bytes do not pass
                through Python; a pipe or socket given here becomes non-blocking. The result's
                `stdout` is empty then. Not with a terminal.
            term_type, term_size: a terminal for it, as for `create_process`. All it writes is in
                `stdout`, with the terminal's line ends (CR LF); `input` is typed, with Ctrl-D.
            on_lost: what becomes of the command when the link is lost. "leave": it runs on, as
                with ssh. "end": a watcher beside it on the remote (a shell that looks every
                second) ends its process group once the server has noticed the loss.

        Raises:
            ProcessError: `check` is set and the command failed.
            ProcessTimeout: it ran longer than `timeout`; it has what was written so far.
            ConnectionLost: the link went down; the message and `started` say what is known.
            SessionRefused: the server takes no session at all.
            TerminalRefused: a terminal was asked for, and the server gives none.
            ConnectionReleased: this connection was given back, or closed.
            ProtocolMismatch: engine="mux" cannot use this master.
            DescriptorLimit: nearly all descriptors of this program are open.
            ProcessLimit: the system starts no more processes (engine="mux" needs none).
            ConfigError: the command cannot be sent as it is.
        """
        check_request(command, env, cwd)
        check_encoding(encoding, errors)
        out, err = BytesIO(), BytesIO()
        request = ExecutionOptions("", stdout=out, stderr=err.write)
        request.input = input_bytes(input, encoding)
        request.terminal = self._terminal(term_type, term_size, True)
        if request.terminal is not None and stdout is not None:
            raise ConfigError("stdout= does not go with term_type=: use create_process()")
        if timeout is not None:
            check_seconds("timeout", timeout)
        if on_lost not in ("leave", "end"):
            raise ConfigError(f"on_lost={on_lost!r}: use 'leave' or 'end'")
        if on_lost == "end" and self._link.shell == "none":
            raise ConfigError('on_lost="end" needs a login shell: not with remote_shell="none"')
        tie = on_lost == "end"
        try:
            if timeout is None:
                status = await self._run(request, command, env, cwd, stdout, tie)
            else:
                async with asyncio.timeout(timeout) as deadline:
                    status = await self._run(request, command, env, cwd, stdout, tie)
        except TimeoutError:
            if timeout is None or not deadline.expired():
                raise
            outputs = decoded(out, encoding, errors), decoded(err, encoding, errors)
            raise timed_out(command_text(command), timeout, *outputs, fate=request.fate) from None
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

    async def relay(
        self,
        command: Command,
        *,
        stdin: int | None = None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> int:
        """Runs a command with live streams, and returns its exit status.

        Parameters:
            stdin: the reading end of a pipe, or a file of one's own, as a descriptor; it becomes
                non-blocking in the master, so never the process's own stdin. None: null device.
            stdout, stderr: called in the event loop with each piece of output as it arrives.

        Raises what `run` raises, but for `ProcessError` and `ProcessTimeout`.
        """
        check_request(command, env, cwd)
        if stdin is not None:
            check_descriptor("stdin", stdin)
        for name, call in (("stdout", stdout), ("stderr", stderr)):
            if not callable(call):
                raise ConfigError(f"{name}={call!r}: give a function of bytes")
        line = await self._line(command, env, cwd)
        request = ExecutionOptions(line, stdin=stdin, stdout=stdout, stderr=stderr, live=True)
        return await self._link.execute(request, self._scope)

    @overload  # no stream is led elsewhere
    def create_process(
        self,
        command: Command | None = None,
        *,
        encoding: str = "utf-8",
        **keywords: Unpack[ProcessKeywords],
    ) -> ProcessContext[PipedProcess[str]]: ...

    @overload
    def create_process(
        self,
        command: Command | None = None,
        *,
        encoding: None,
        **keywords: Unpack[ProcessKeywords],
    ) -> ProcessContext[PipedProcess[bytes]]: ...

    @overload  # stderr is, at most
    def create_process(
        self,
        command: Command | None = None,
        *,
        stderr: Sink,
        encoding: str = "utf-8",
        **keywords: Unpack[ProcessKeywords],
    ) -> ProcessContext[ReadableProcess[str]]: ...

    @overload
    def create_process(
        self,
        command: Command | None = None,
        *,
        stderr: Sink,
        encoding: None,
        **keywords: Unpack[ProcessKeywords],
    ) -> ProcessContext[ReadableProcess[bytes]]: ...

    @overload  # any of them is
    def create_process(
        self,
        command: Command | None = None,
        *,
        stdin: Source = PIPE,
        stdout: Sink = PIPE,
        stderr: Sink = PIPE,
        encoding: str = "utf-8",
        **keywords: Unpack[ProcessKeywords],
    ) -> ProcessContext[RemoteProcess[str]]: ...

    @overload
    def create_process(
        self,
        command: Command | None = None,
        *,
        stdin: Source = PIPE,
        stdout: Sink = PIPE,
        stderr: Sink = PIPE,
        encoding: None,
        **keywords: Unpack[ProcessKeywords],
    ) -> ProcessContext[RemoteProcess[bytes]]: ...

    @overload
    def create_process(
        self,
        command: Command | None = None,
        *,
        stdin: Source = PIPE,
        stdout: Sink = PIPE,
        stderr: Sink = PIPE,
        encoding: str | None,
        **keywords: Unpack[ProcessKeywords],
    ) -> ProcessContext[RemoteProcess[Any]]: ...

    def create_process(
        self,
        command: Command | None = None,
        *,
        stdin: Source = PIPE,
        stdout: Sink = PIPE,
        stderr: Sink = PIPE,
        encoding: str | None = "utf-8",
        errors: str = "strict",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        term_type: str | None = None,
        term_size: Sequence[int] = USUAL_SIZE,
        request_pty: bool | str = True,
        input: str | bytes | None = None,
        bufsize: int = 0,
        send_eof: bool = True,
        recv_eof: bool = True,
    ) -> ProcessContext[Any]:
        """Starts a command: `async with conn.create_process(…) as process`, or `await` it.

        Leaving the block ends the command's process group on the remote, unless it has ended.

        Parameters:
            command, env, cwd: as for `run`. None is the login shell itself.
            stdin: `PIPE` for `process.stdin`; `subprocess.DEVNULL`; a path, an open file or its
                descriptor; another process's `stdout`; or an object with a `read`, perhaps one to
                be awaited (`BytesIO`, `StringIO`, `asyncio.StreamReader`, a file of SFTP), or an
                asynchronous iterable.
            stdout: `PIPE` for `process.stdout`; `DEVNULL`; a path (created, or emptied), an open
                file or its descriptor, which the session writes to by itself; another process's
                `stdin`; or an object with a `write`. A pipe or socket is closed at the end.
            stderr: the same, through this program; or `subprocess.STDOUT`.
            encoding: of the streams; None for bytes.
            errors: how to encode and decode what is not valid in that encoding.
            term_type: gives it a terminal, with this TERM ("xterm-256color"). All it writes is on
                `stdout` then, as a terminal shows it: with CR LF, and with what is typed, as long
                as it echoes. `stdin.write_eof()` types Ctrl-D.
            term_size: of the terminal: columns, rows, and perhaps the same in pixels.
            request_pty: False for no terminal, whatever `term_type` says; "force" for one without
                a `term_type`, too; "auto" for one for the login shell.
            input: what it reads first and last: `process.stdin` is at its end then.
            bufsize: how much is read from an object at once; 0 for 64 KiB.
            send_eof: False: its input stays open when what `stdin` leads from has ended, and
                `process.stdin` can be written to.
            recv_eof: False: what `stdout` and `stderr` lead to stays open when it has ended.

        Raises, when awaited or entered, what `run` raises, but for `ProcessError` and
        `ProcessTimeout`.
        """
        check_encoding(encoding, errors)
        check_request(LOGIN_SHELL if command is None else command, env, cwd)
        terminal = self._terminal(term_type, term_size, request_pty, shell=command is None)
        check_int("bufsize", bufsize, 0, MOST_AT_ONCE)
        data = input_bytes(input, encoding, errors)
        streams = Streams(
            stdin, stdout, stderr, encoding, errors, data, bufsize, send_eof, recv_eof
        )
        merge = stderr == STDOUT and terminal is None
        words = LOGIN_SHELL if command is None else command
        wanted = ProcessOptions(
            "" if command is None else command_text(command),
            lambda: self._process_line(words, env, cwd, merge=merge),
            *(env, streams, terminal),
        )
        return ProcessContext(self._link, self._scope, wanted)

    def _terminal(
        self,
        term_type: str | None,
        term_size: Sequence[int],
        request_pty: bool | str,
        *,
        shell: bool = False,
    ) -> Terminal | None:
        terminal = wanted_terminal(term_type, term_size, request_pty, shell=shell)
        if self._link.shell == "none" and (shell or terminal is not None):
            raise ConfigError(
                "a terminal, or the login shell itself, needs a login shell that tells when it has "
                'begun: not with remote_shell="none"'
            )
        return terminal

    async def _process_line(
        self, command: Command, env: Mapping[str, str] | None, cwd: str | None, *, merge: bool
    ) -> str:
        if merge:
            self._scope.check()
            await self._link.learn_shell()
        line = await self._line(command, env, cwd)
        return merged(line, self._link.shell) if merge else line

    def create_shell(self) -> AwaitableContext[RemoteShell]:
        """A shell that stays open: `async with conn.create_shell() as shell`, or `await` it.

        A command sent to it costs one round trip, and the login shell's start-up files run once,
        not for each command. It takes one of the server's MaxSessions places, and ends with its
        block or with the connection.

        Raises, when awaited or entered, what `run` raises, but for `ProcessError` and
        `ProcessTimeout`; and `ChannelOpenError` where there is no POSIX `sh`.
        """

        async def start() -> RemoteShell:
            self._scope.check()
            if self._link.shell == "none":
                raise ConfigError(
                    'a shell needs a login shell that starts it: not with remote_shell="none"'
                )
            return await RemoteShell(self._link, self._scope).start()

        return AwaitableContext(start)

    @property
    def link(self) -> Link:
        """The link that this connection is a face of. For the rooms above; not for programs."""
        return self._link

    def start_sftp_client(
        self,
        *,
        path_encoding: str | None = "utf-8",
        path_errors: str = "surrogateescape",
        server: Command | None = None,
    ) -> SFTPClientContext:
        """Starts an SFTP client: `async with conn.start_sftp_client() as sftp`, or `await` it.

        It is a session like any other: it takes one of the server's MaxSessions places, and ends
        with the connection, with its block, or when nobody holds the client any more.

        Parameters:
            path_encoding: of paths given as str; None to take and give bytes only.
            path_errors: how to encode and decode what is not valid in that encoding; as it is,
                every name can be read and given back.
            server: a command to be the server, in place of the subsystem: for instance
                `["sudo", "-n", "/usr/lib/openssh/sftp-server"]`.

        Raises, when awaited or entered, what `run` raises, but for `ProcessError` and
        `ProcessTimeout`; and `ChannelOpenError` where there is no SFTP.
        """
        if server is not None:
            check_request(server, None, None)
        check_encoding(path_encoding, path_errors, "path_")

        async def line() -> str | None:
            self._scope.check()
            return None if server is None else await self._line(server, None, None)

        return SFTPClientContext(self._link, self._scope, line, path_encoding, path_errors)

    async def check(self, timeout: float = 10) -> None:
        """Checks the master and the link, each within `timeout` seconds.

        Raises `ConnectionLost`.
        """
        check_seconds("timeout", timeout, positive=True)
        self._scope.check()
        await self._link.check(timeout)

    def close(self) -> None:
        """Closes the connection, its commands included. A lent one is not used again."""
        check_loop(self._link.loop, repr(self))
        if self._owned:
            if self._closing is None:
                self._die("it was closed")
                self._closing = asyncio.ensure_future(self._link.close(leave=None))
        else:
            self._link.retire("closed by its borrower")
            self._die("it was closed")

    async def wait_closed(self) -> None:
        """Waits until nothing of it is left: no process, no socket."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def is_closed(self) -> bool:
        """Whether it can no longer be used: closed, given back, or its master is gone."""
        link = self._link
        return self._scope.closed or link.broken is not None or not link.master.alive

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`host`, `port`, `username` (as configured), `control_path`, `master_pid`, `config`."""
        config = self._link.config
        known = {
            "host": config.host,
            "port": config.port,
            "username": config.username,
            "control_path": self._link.master.entry.socket,
            "master_pid": self._link.master.pid,
            "config": config,
        }
        return known.get(name, default)

    @property
    def master(self) -> Master:
        """The ControlMaster behind it."""
        return self._link.master

    async def _leave(self, error: BaseException | None) -> None:
        self.close()
        await self.wait_closed()

    def __del__(self) -> None:
        if self._owned and not self._scope.closed and self._link.master.alive:
            warnings.warn(
                f"{self!r} was never closed: call close() and await wait_closed()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    async def _run(
        self,
        request: ExecutionOptions,
        command: Command,
        env: Mapping[str, str] | None,
        cwd: str | None,
        stdout: Target | None,
        tie: bool,
    ) -> int:
        line = await self._line(command, env, cwd)
        request.line = tied(line) if tie else line
        if stdout is None:
            return await self._link.execute(request, self._scope)
        with descriptor_of(stdout) as request.stdout:
            return await self._link.execute(request, self._scope)

    async def _line(self, command: Command, env: Mapping[str, str] | None, cwd: str | None) -> str:
        self._scope.check()
        if needs_shell(command, env):
            await self._link.learn_shell()
        return self._link.line(command, env, cwd)

    def _die(self, why: str) -> None:
        address = self._link.config.address
        self._scope.close(
            lambda: ConnectionReleased(
                f"the connection to {address} cannot be used any more: {why}. "
                "Borrow another one with get_connection()"
            )
        )

    async def _release(self) -> None:
        """The end of a borrow: dead from here on, and nothing of it keeps running."""
        self._die("it was given back to the pool")
        if self._scope.running:
            error = ConnectionReleased(
                f"the connection to {self._link.config.address} was given back to the pool "
                "while this command ran on it"
            )
            # Cancelled or not: a command that nobody waits for must not live on.
            await run_to_end(lambda: self._link.end(list(self._scope.running), error))
        if self._scope.outlets:
            await run_to_end(lambda: let_go(self._scope.outlets))
        if self._link.attachments:
            await run_to_end(lambda: self._link.end_attachments(self._scope))
