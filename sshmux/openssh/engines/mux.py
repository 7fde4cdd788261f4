"""The `mux` engine: sessions without a process, by the master's own protocol.

We say on the control socket what `ssh -S` would say, and pass the descriptors ourselves. It cannot
dial: a Unix socket leads to the master, or nowhere. And it tells the exact end of a session.

What makes it quick: everything is said in one go, the master's greeting is not waited for, and
the control socket is not watched while a command runs. The session's end shows on its outputs, and
the status lies ready by then.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from typing import Literal

from ...errors import ConfigError, ConnectionLost, command_too_long
from ..control.master import Master
from ..mux.conversation import Conversation
from ..mux.decoder import ordinary_exit
from ..mux.fields import Unsendable
from ..mux.operations import ask
from ..mux.protocol import (
    VERSION,
    Denied,
    ExitMessage,
    Failure,
    Hello,
    Message,
    NewSession,
    SessionOpened,
    TerminalRefused,
)
from .shape import NO_OPTIONS, UNANSWERED, End, SessionOptions

_REQUEST = 1  # every conversation has one
_MAX_COMMAND = 128 * 1024  # of one argument on Linux (MAX_ARG_STRLEN): the shell's, on the remote


class MuxSession:
    """One session: a conversation about it."""

    __slots__ = ("_callbacks", "_conversation", "_opened", "_outputs_ended", "_status", "end")

    def __init__(self, conversation: Conversation) -> None:
        self.end: End | None = None
        self._conversation = conversation
        self._callbacks: list[Callable[[], object]] = []
        self._status: int | None = None
        self._outputs_ended = self._opened = False
        conversation.listen(self._heard, self._ended)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Calls back when it is known how the session ended."""
        if self.end is not None:
            callback()
        else:
            self._callbacks.append(callback)

    def watch(self) -> None:
        """For a session none of whose outputs is read by us."""
        self._conversation.watch()

    def outputs_ended(self) -> None:
        """The master has closed them, so the session is over (channels.c: channel_free)."""
        self._outputs_ended = True
        data = self._conversation.receive()
        if self._status is None:
            self._status = ordinary_exit(data)
        if self._status is not None:
            self._finish(End("exited", self._status))
            return
        self._conversation.hear(data)
        if self.end is None:
            self._conversation.watch()

    async def stop(self) -> None:
        """Leaves. The master then closes the descriptors, and the channel."""
        self._finish(End("silent"))

    def close(self) -> None:
        """Leaves, if it has not been left."""
        self._conversation.close()

    def _heard(self, message: Message) -> None:
        match message:
            case Hello() if message.version == VERSION:
                pass
            case SessionOpened() | TerminalRefused():
                self._opened = True
            case ExitMessage():
                self._status = message.value
                if self._outputs_ended:
                    self._finish(End("exited", message.value))
            case Hello(version=version):
                self._finish(End("odd", why=f"version {version} of it, not {VERSION}"))
            case Failure(reason=reason) if "unsupported" not in reason:
                self._finish(End("refused", why=reason))
            case Denied(reason=reason):
                self._finish(End("denied", why=reason))
            case _:
                self._finish(End("odd", why=f"it said {message}"))

    def _ended(self, error: Exception | None) -> None:
        if self._status is not None:
            self._finish(End("exited", self._status))
        elif error is None or isinstance(error, OSError):
            self._finish(End("silent", why="" if self._opened else UNANSWERED))
        else:
            self._finish(End("odd", why=str(error)))

    def _finish(self, end: End) -> None:
        self._conversation.close()
        if self.end is None:
            self.end = end
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()


class MuxEngine:
    """Uses a master by its protocol."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._socket = os.fspath(master.entry.socket)

    def open_session(
        self,
        command: str,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        options: SessionOptions = NO_OPTIONS,
    ) -> MuxSession:
        """Asks for a session, with nothing to wait for."""
        message = NewSession(
            _REQUEST,
            command,
            agent=options.forward_agent,
            subsystem=options.subsystem,
            tty=options.terminal is not None,
            term=options.terminal or "",
            env=_environment(options.send_env) if options.send_env else (),
        )
        if len(command) > _MAX_COMMAND // 4 and len(os.fsencode(command)) >= _MAX_COMMAND:
            raise command_too_long()
        if stdin == subprocess.DEVNULL:
            stdin = _null()
        conversation = self._converse()
        try:
            conversation.send(message, (stdin, stdout, stderr))
        except BaseException as error:
            conversation.close()
            if isinstance(error, Unsendable):
                raise ConfigError(f"the command cannot be sent: {error}") from error
            raise
        return MuxSession(conversation)

    def _converse(self) -> Conversation:
        return Conversation(self._socket, _nothing, _nothing)

    @property
    def usable(self) -> bool:
        """Whether the master lives. A socket that is missing shows when it is needed."""
        return self._master.alive

    async def check(self, timeout: float) -> None:
        """The protocol's alive check, with a deadline."""
        if not await self._master.ping(timeout):
            raise ConnectionLost(
                f"the master of {self._master.config.address} (pid {self._master.pid}) does not "
                f"answer within {timeout:g} s"
            )

    async def ask(self, operation: Literal["stop", "exit"], timeout: float) -> bool:
        """Stop listening, or terminate."""
        return await ask(self._master.entry.socket, operation, timeout)


class SpareEngine(MuxEngine):
    """One session more, on a master whose control socket is gone: to end what runs there.

    The master keeps a conversation ready for that: no connection can be made later.
    """

    def _converse(self) -> Conversation:
        conversation = self._master.take_spare()
        if conversation is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return conversation


_null_device = -1


def _null() -> int:
    """The null device, opened once: a master gets a copy of the descriptor."""
    global _null_device
    if _null_device < 0:
        _null_device = os.open(os.devnull, os.O_RDWR)
    return _null_device


def _environment(patterns: Iterable[str]) -> tuple[str, ...]:
    """What SendEnv names of our environment (man ssh_config: PATTERNS; only `*` and `?`)."""
    words = [re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns]
    wanted = re.compile("|".join(words))
    return tuple(f"{name}={value}" for name, value in os.environ.items() if wanted.fullmatch(name))


def _nothing(_: object) -> None:
    """Nobody listens yet."""
