"""What the end of a session means: a command's own status, a refusal, or a lost link."""

from __future__ import annotations

from ..errors import (
    ChannelOpenError,
    ConnectionLost,
    ProtocolMismatch,
    SessionRefused,
    TerminalRefused,
    fresh_copy,
)
from ..openssh.askpass.prompts import sanitise
from ..openssh.control.master import Master
from ..openssh.diagnostics import expired, session_failure
from .execution import Execution
from .health import LinkHealth, no_room
from .termination import RemoteTerminator

_PING_DEADLINE = 2.0  # seconds for the master to say whether a 255 was a lost link


class Verdict:
    """Judges the sessions of one master once they are over."""

    def __init__(self, master: Master, health: LinkHealth, terminator: RemoteTerminator) -> None:
        self._master = master
        self._health = health
        self._terminator = terminator

    def refused(self, execution: Execution) -> bool:
        """Whether the server opened no session."""
        end = execution.end
        assert end is not None  # noqa: S101 - it is over
        if end.kind != "unclear" or execution.preamble.pid is not None:
            return end.kind == "refused"
        return session_failure(_early(execution)) == "refused"

    def check_terminal(self, execution: Execution) -> None:
        """Raises `TerminalRefused` for a command that was to have a terminal, and got none."""
        if execution.terminal_refused:
            raise TerminalRefused(
                f"{self._master.config.address} gives no terminal (PermitTTY, or `restrict` or "
                "`no-pty` in authorized_keys). Nothing was run: leave term_type= out for a command "
                "that needs none"
            )

    async def judge(self, execution: Execution) -> int:
        """The exit status of a session that is over. Raises what `Link.execute` raises."""
        end = execution.end
        assert end is not None  # noqa: S101 - it is over
        if execution.aborted is not None:
            raise fresh_copy(execution.aborted)
        started = True if execution.preamble.pid is not None else None
        if end.kind == "odd":
            self._health.retire("its master speaks another protocol")
            raise ProtocolMismatch(
                f"the master of {self._master.config.address} does not speak the multiplexing "
                f"protocol as sshmux knows it: {end.why}. "
                'Use ConnectionManager(engine="ssh")'
            )
        if end.kind == "denied":
            raise SessionRefused(
                f"the master of {self._master.config.address} asks before it opens a session "
                f"(ControlMaster), and the answer was no: {end.why}"
            )
        if end.kind == "failed":
            if execution.preamble.pid is not None:
                await self._terminator.start(
                    execution.preamble.pid, terminal=execution.pty is not None
                )
            raise self._health.lost(end.why, started)
        if end.kind == "exited":
            await self._check_exited(execution, end.status)
        elif not self._master.usable or not await self._master.ping(_PING_DEADLINE):
            gone = self._health.gone
            self._health.retire(gone)
            unreached = not started and session_failure(_early(execution)) == "unreachable"
            raise self._health.lost(gone, False if unreached else started)
        else:
            self._check_begun(execution, end.why)
        execution.release()
        return end.status

    def _check_begun(self, execution: Execution, why: str) -> None:
        """Raises `ConnectionLost` for an end without a status of a command that never began.

        The master is well: but its socket may be another's by now, or it has no descriptors left.
        """
        if execution.preamble.pid is not None or execution.subsystem:
            return
        words = _early(execution)
        unreached = session_failure(words) == "unreachable"
        full = no_room(self._master)
        if execution.tells or unreached or full or why:
            said = why or sanitise(words.strip().partition("\n")[0], 200)
            untold = f"nothing tells that the command began{f' ({said})' if said else ''}"
            if full or unreached or why:
                self._health.retire(full or untold)
            sent = "read from master failed" in words  # it may have had it by then
            raise self._health.lost(full or untold, False if unreached and not sent else None)

    def check_answered(self, execution: Execution) -> None:
        """Raises `ConnectionLost` unless the server has answered to a session, in any way.

        An expired password is a `PermissionDenied`.
        """
        end = execution.end
        assert end is not None  # noqa: S101 - it is over
        words = _early(execution)
        if end.kind == "exited" and end.status == 1 and session_failure(words) == "expired":
            raise expired(self._master.config)  # it is answered, and nothing will ever run
        if end.kind == "exited" or self.refused(execution):
            why = no_room(self._master) if end.kind != "exited" else ""
        elif end.kind in ("unclear", "silent") and not end.why:
            why = words if session_failure(words) == "unreachable" else ""
            why = why or ("" if self._master.standing else self._health.gone)
        else:
            why = end.why or end.kind
        if why:
            said = sanitise(why.strip().partition("\n")[0], 200)
            raise ConnectionLost(f"no session on {self._master.config.address}: {said}")

    async def _check_exited(self, execution: Execution, status: int) -> None:
        if status == 0 and execution.preamble.pid is None and execution.tells and execution.mute:
            raise ChannelOpenError(
                f"{self._master.config.address} ended a session with status 0, and nothing tells "
                "that the command was run. Does a start-up file of the account (.bashrc, .cshrc) "
                "start another shell (exec)? For a forced command that says nothing, register the "
                'cluster with remote_shell="none"'
            )
        unannounced = status == 1 and execution.preamble.pid is None
        if unannounced and session_failure(_early(execution)) == "expired":
            self._health.retire("the password has expired")
            raise expired(self._master.config)
        if not await self._master.stands(_PING_DEADLINE):
            # The status comes ahead of the last output, which went down with the master.
            self._health.retire("the master is gone")
            raise self._health.lost(f"it went down as a command ended with {status}", True)


def _early(execution: Execution) -> str:
    """What came on stderr before the command told of its beginning."""
    return execution.early_stderr.decode("utf-8", "replace")
