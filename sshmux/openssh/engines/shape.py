"""What every engine offers, and how a session of any engine ends.

A session is a command, three descriptors that we made, and an end to wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

UNANSWERED = "its control socket gave no answer"


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended, as far as its engine can tell.

    Attributes:
        kind: "exited": on the remote, with `status`.
            "unclear": with ssh's 255, which is the command's own, ssh's, or a signal's.
            "silent": without any status: by a signal on the remote, or the link was lost; or, with
                `why`, it was not even opened.
            "refused": the server opened no session; `why` has the words.
            "denied": the master's owner was asked (ControlMaster=ask), and refused.
            "failed": it could not be had on this side; `why` has the words.
            "odd": the master does not speak as it should; `why` has the words.
        status: the exit status.
    """

    kind: Literal["exited", "unclear", "silent", "refused", "denied", "failed", "odd"]
    status: int = -1
    why: str = ""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session is to have besides its command.

    Attributes:
        subsystem: the command is the name of a subsystem of the server (RFC 4254, section 6.5).
        forward_agent: the agent, as far as the master forwards it.
        send_env: patterns of environment variables that go along, as far as the master sends them.
        terminal: it gets a terminal, with this TERM, and the modes and size of its stdin, which is
            one as well.
    """

    forward_agent: bool = False
    send_env: tuple[str, ...] = ()
    subsystem: bool = False
    terminal: str | None = None


NO_OPTIONS = SessionOptions()


class Session(Protocol):
    """One session."""

    @property
    def end(self) -> End | None:
        """How it ended; None while it runs."""

    def on_end(self, callback: Callable[[], object]) -> None:
        """Calls back, once, when it has ended."""

    def outputs_ended(self) -> None:
        """Tells it that its outputs were read to their end: what is left to come is its own."""

    async def stop(self) -> None:
        """Ends our side of it. The remote command is not ended by that."""

    def close(self) -> None:
        """Lets go of what it has open here; it is over. Safe to call twice."""


class Engine(Protocol):
    """A way to use one master."""

    def open_session(
        self,
        command: str,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        options: SessionOptions = NO_OPTIONS,
    ) -> Session:
        """Starts a command. The descriptors stay the caller's. Never dials.

        Raises:
            ConfigError: the command cannot be sent.
            OSError: the master is not to be reached; nothing was started.
        """

    @property
    def usable(self) -> bool:
        """Whether a session can be opened, as far as can be known without asking anybody."""

    async def check(self, timeout: float) -> None:
        """Raises `ConnectionLost` unless the master answers within `timeout` seconds."""

    async def ask(self, operation: Literal["stop", "exit"], timeout: float) -> bool:
        """Asks the master to take no new clients, or to exit. Whether it agreed in time."""
