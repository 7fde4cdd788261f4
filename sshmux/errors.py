"""The exceptions of sshmux.

Names follow asyncssh where the meaning is the same, so that `except asyncssh.PermissionDenied`
becomes `except sshmux.PermissionDenied` and nothing else changes::

Error
    ├── ConfigError (ValueError)                bad input, an unknown cluster
    ├── ControlDirError (OSError)               the control directory cannot be used
    ├── DescriptorLimit (OSError)               nearly all descriptors of this program are open
    ├── ManagerClosed (RuntimeError)            used after stop()
    ├── WrongEventLoop (RuntimeError)           used in another loop, thread or process
    ├── TimeoutError (asyncio.TimeoutError)
    │   ├── AcquireTimeout                      no connection became free in time
    │   ├── ConnectTimeout                      (also a DisconnectError) the log-in took too long
    │   └── ProcessTimeout                      (also a ProcessError) the command took too long
    ├── DisconnectError                         no connection, or no longer
    │   ├── HostNotFound (OSError)              the name does not resolve
    │   ├── HostUnreachable (OSError)           no route, network down
    │   ├── ConnectionRefused (ConnectionRefusedError)
    │   ├── ServerHungUp                        closed before log-in: overload, MaxStartups, a ban
    │   ├── KeyExchangeFailed                   no algorithm in common
    │   ├── PermissionDenied                    the log-in was refused
    │   │   └── PromptDeclined                  ssh asked something, and nobody answered
    │   ├── NotLoggedIn                         dial="never", and nobody has logged in
    │   ├── HostKeyNotVerifiable
    │   │   ├── HostKeyUnknown
    │   │   └── HostKeyChanged
    │   └── ConnectionLost                      an established connection went away
    ├── ChannelOpenError                        no session on a living connection
    │   ├── SessionRefused                      the server's MaxSessions
    │   ├── TerminalRefused                     the server gives this account no terminal
    │   ├── ProtocolMismatch                    engine="mux", and a master that it cannot use
    │   └── ConnectionReleased                  used after its block, or after close()
    ├── ChannelListenError (OSError)            nothing can listen there
    ├── ShellLost                               a shell has ended, and what was set in it
    ├── ProcessError                            check=True, and the command failed
    ├── TransferError                           put(), get() or copy() failed; says what was moved
    │   ├── SourceNotFound (FileNotFoundError)  nothing there to be moved, or nowhere to move it
    │   ├── TransferDenied (PermissionError)
    │   ├── NoSpaceLeft (OSError)               a full disk, a quota, a limit of size
    │   ├── SourceChanged                       it changed while it was moved
    │   ├── VerifyError                         what arrived is not what was sent
    │   └── TransferInterrupted                 (also a ConnectionLost) the connection went down
    ├── StoreError (OSError)                    the file of jobs and clusters cannot be used
    ├── JobError                                something is wrong with one job; has its `handle`
    │   ├── SubmitRefused                       the scheduler did not take it
    │   └── JobNotFound (LookupError)           there is no such job, or nothing is left of it
    └── SFTPError                               the SFTP server refused; has its `code`
        ├── SFTPEOFError                        the end of a file or directory
        ├── SFTPNoSuchFile (FileNotFoundError)
        ├── SFTPPermissionDenied (PermissionError)
        ├── SFTPFailure                         anything that it has no better word for
        │   ├── SFTPNoSpaceOnFilesystem (OSError)
        │   └── SFTPSourceChanged               (also a SourceChanged) a file changed on the way
        ├── SFTPBadMessage                      a name that is too long, or an answer that is none
        ├── SFTPNoConnection                    used after exit()
        ├── SFTPConnectionLost                  (also a ConnectionLost) it went away
        └── SFTPOpUnsupported                   this server cannot do that

`asyncio.TimeoutError` is the builtin `TimeoutError` since Python 3.11, itself an `OSError`.
"""

from __future__ import annotations

import asyncio
import copy
import errno
from collections.abc import Mapping
from typing import TypeVar

from .text import cleaned

__all__ = [
    "AcquireTimeout",
    "ChannelListenError",
    "ChannelOpenError",
    "ConfigError",
    "ConnectTimeout",
    "ConnectionLost",
    "ConnectionRefused",
    "ConnectionReleased",
    "ControlDirError",
    "DescriptorLimit",
    "DisconnectError",
    "Error",
    "HostKeyChanged",
    "HostKeyNotVerifiable",
    "HostKeyUnknown",
    "HostNotFound",
    "HostUnreachable",
    "JobError",
    "JobNotFound",
    "KeyExchangeFailed",
    "ManagerClosed",
    "NoSpaceLeft",
    "NotLoggedIn",
    "PermissionDenied",
    "ProcessError",
    "ProcessTimeout",
    "PromptDeclined",
    "ProtocolMismatch",
    "SFTPBadMessage",
    "SFTPConnectionLost",
    "SFTPEOFError",
    "SFTPError",
    "SFTPFailure",
    "SFTPNoConnection",
    "SFTPNoSpaceOnFilesystem",
    "SFTPNoSuchFile",
    "SFTPOpUnsupported",
    "SFTPPermissionDenied",
    "SFTPSourceChanged",
    "ServerHungUp",
    "SessionRefused",
    "StoreError",
    "SubmitRefused",
    "TerminalRefused",
    "ShellLost",
    "SourceChanged",
    "SourceNotFound",
    "TimeoutError",
    "TransferDenied",
    "TransferError",
    "TransferInterrupted",
    "VerifyError",
    "WrongEventLoop",
]


class Error(Exception):
    """The base of every exception that sshmux raises on purpose."""

    #: Worth another try by itself: trouble that passes (a restarting server, a busy network).
    transient: bool = False

    def __str__(self) -> str:
        """The message, fit for a terminal: it may have words of a server, or names of files."""
        return cleaned(super().__str__())

    @property
    def reason(self) -> str:
        """The message, under asyncssh's name for it."""
        return str(self)


class ConfigError(Error, ValueError):
    """Input that cannot be used, refused before anything was started."""


class ControlDirError(Error, OSError):
    """The directory of the control sockets is missing, unsafe, too long or unfit for sockets."""


class DescriptorLimit(Error, OSError):
    """The program has nearly all the descriptors open that it may have (`ulimit -n`)."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.errno = errno.EMFILE


class ProcessLimit(Error, OSError):
    """The system starts no more processes: `ulimit -u`, a control group's limit, or no memory."""

    transient = True

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.errno = errno.EAGAIN


class ManagerClosed(Error, RuntimeError):
    """The manager was stopped; start a new one."""


class WrongEventLoop(Error, RuntimeError):
    """Used in another event loop, thread or process than its own; nothing was done."""


class TimeoutError(Error, asyncio.TimeoutError):  # asyncssh's own name for it
    """Something took longer than its deadline."""


class AcquireTimeout(TimeoutError):
    """No pooled connection became free within `acquire_timeout`."""


class DisconnectError(Error):
    """A connection could not be made, or is gone."""

    #: What ssh itself wrote, for a log or a bug report.
    stderr: str = ""
    #: Not tried again without being asked for: the next try could lock an account.
    final: bool = False


class ConnectTimeout(DisconnectError, TimeoutError):
    """The log-in (name, connect, key exchange, authentication) took longer than `timeout`."""

    transient = True


class HostNotFound(DisconnectError, OSError):
    """The host name does not resolve."""


class HostUnreachable(DisconnectError, OSError):
    """No route to the host, or the network is down."""

    transient = True

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.errno = errno.EHOSTUNREACH


class ConnectionRefused(DisconnectError, ConnectionRefusedError):
    """The host answered that nothing listens on that port."""

    transient = True

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.errno = errno.ECONNREFUSED


class ServerHungUp(DisconnectError):
    """The server closed the connection before the log-in was done."""

    transient = True


class KeyExchangeFailed(DisconnectError):
    """Client and server have no algorithm in common."""


class PermissionDenied(DisconnectError):
    """The server refused the log-in. It is not tried again without being asked for."""

    final = True


class PromptDeclined(PermissionDenied):
    """ssh asked for something that nobody answered: a user declined, or nobody was there."""


class NotLoggedIn(DisconnectError):
    """`dial="never"`, and there is no living master to use: the message says what to type."""


class HostKeyNotVerifiable(DisconnectError):
    """The server's host key could not be verified."""


class HostKeyUnknown(HostKeyNotVerifiable):
    """No key of this host is on record, and strict checking is on."""


class HostKeyChanged(HostKeyNotVerifiable):
    """The server shows another key than the one on record."""


class ConnectionLost(DisconnectError):
    """An established connection went away.

    `started` says what is known of the command: False means that it never reached the server;
    None that it may or may not have run; True that it had begun.
    """

    started: bool | None = None


class ChannelOpenError(Error):
    """The connection lives, but no session could be opened on it."""


class SessionRefused(ChannelOpenError):
    """The server refused another session on this connection (MaxSessions). Nothing was run."""


class TerminalRefused(ChannelOpenError):
    """The server gave the session no terminal (PermitTTY). Nothing was run."""


class ProtocolMismatch(ChannelOpenError):
    """The master does not speak the multiplexing protocol as the `mux` engine knows it."""


class ConnectionReleased(ChannelOpenError):
    """The connection was given back to the pool, or closed: borrow another one."""


class ChannelListenError(Error, OSError):
    """A forward cannot listen there: the port is busy, or forbidden. `errno` where it is known."""


class ShellLost(Error):
    """A `RemoteShell` has ended, and with it what commands had set in it with `keep=True`."""


class ProcessError(Error):
    """A remote command failed and `check=True` was given. The attributes are asyncssh's."""

    env: Mapping[str, str] | None = None
    command: str | None = None
    subsystem: str | None = None
    exit_status: int | None = None
    exit_signal: tuple[str, bool, str, str] | None = None
    returncode: int | None = None
    stdout: str | bytes = ""
    stderr: str | bytes = ""


class ProcessTimeout(ProcessError, TimeoutError):
    """A remote command ran longer than `timeout`, and was ended with all its process group.

    `stdout` and `stderr` hold what it had written by then.
    """


class TransferError(Error):
    """A copy failed. What the target was before, it still is, but for what `moved` says.

    Attributes:
        moved: the sources that were moved.
        not_moved: those that were not.
        partial: what is there of an interrupted one, to be resumed; None if nothing is.
    """

    moved: tuple[str, ...] = ()
    not_moved: tuple[str, ...] = ()
    partial: str | None = None


class SourceNotFound(TransferError, FileNotFoundError):
    """There is nothing to be moved, or no directory to move it to."""

    errno = errno.ENOENT


class TransferDenied(TransferError, PermissionError):
    """One of the two sides may not read or write that."""

    errno = errno.EACCES


class NoSpaceLeft(TransferError, OSError):
    """The target's file system is full, or a quota or a limit of size is reached."""

    errno = errno.ENOSPC


class SourceChanged(TransferError):
    """The source changed, or went away, while it was moved."""


class VerifyError(TransferError):
    """The checksums of the two sides differ."""


class TransferInterrupted(TransferError, ConnectionLost):
    """The connection went down on the way."""


class StoreError(Error, OSError):
    """The SQLite file with jobs and clusters cannot be opened or used."""


class JobError(Error):
    """Something is wrong with a job. `handle` is its `JobHandle`, if it has one."""

    handle: object = None


class SubmitRefused(JobError):
    """The scheduler did not take the job, and says why. Nothing of it runs.

    `stderr` is what the submit command wrote.
    """

    stderr: str = ""


class JobNotFound(JobError, LookupError):
    """There is no such job: no record of it, no directory, and the scheduler does not know it."""


class SFTPError(Error):
    """The SFTP server could not, or would not. The attributes are asyncssh's.

    Attributes:
        code: the protocol's status code (draft-ietf-secsh-filexfer-02, section 7).
        reason: in words.
        lang: the language of the reason; servers leave it empty.
        srcpath, dstpath: of the file whose copying failed.
    """

    code: int = 4
    srcpath: bytes | None = None
    dstpath: bytes | None = None
    _named = False  # whether the words say which file

    def __init__(self, reason: str, lang: str = "", *, code: int | None = None) -> None:
        super().__init__(reason)
        self.lang = lang
        if code is not None:
            self.code = code


class SFTPEOFError(SFTPError):
    """The end of a file or directory was reached."""

    code = 1


class SFTPNoSuchFile(SFTPError, FileNotFoundError):
    """A file or directory is not there."""

    code = 2
    errno = errno.ENOENT


class SFTPPermissionDenied(SFTPError, PermissionError):
    """The server may not do that as this user."""

    code = 3
    errno = errno.EACCES


class SFTPFailure(SFTPError):
    """The server failed, and has no better word for why: a name exists, or is a directory."""

    code = 4


class SFTPSourceChanged(SFTPFailure, SourceChanged):
    """A file became longer or shorter while SFTP copied it."""


class SFTPNoSpaceOnFilesystem(SFTPFailure, OSError):
    """Writing failed, and the remote file system is full."""

    errno = errno.ENOSPC


class SFTPBadMessage(SFTPError):
    """A message that cannot be read: the server's, or ours (a name that is too long)."""

    code = 5


class SFTPNoConnection(SFTPError):
    """The SFTP client was closed: start another one."""

    code = 6


class SFTPConnectionLost(SFTPError, ConnectionLost):
    """The SFTP session ended while it was in use."""

    code = 7


class SFTPOpUnsupported(SFTPError):
    """The server does not know that operation."""

    code = 8


E = TypeVar("E", bound=Exception)


def fresh_copy(error: E) -> E:
    """A copy to raise somewhere else: one exception in two tasks would mix their tracebacks."""
    if not isinstance(error, Error):
        return error
    other = copy.copy(error)
    other.__cause__ = error.__cause__
    return other


def command_too_long() -> ConfigError:
    """The error for a line that no shell gets whole: an argument has 128 KiB on Linux."""
    return ConfigError(
        "the command is too long for a command line: send it as a script with "
        "run('sh -s', input=script)"
    )
