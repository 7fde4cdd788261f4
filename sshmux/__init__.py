"""sshmux: an asyncio connection manager on the system's own OpenSSH.

The public names are here; they are loaded when first used, so that the command and the askpass
helper pay only for what they need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import ConnectionConfig as ConnectionConfig
    from .config import PoolConfig as PoolConfig
    from .connection import Connection as Connection
    from .errors import AcquireTimeout as AcquireTimeout
    from .errors import ChannelListenError as ChannelListenError
    from .errors import ChannelOpenError as ChannelOpenError
    from .errors import ConfigError as ConfigError
    from .errors import ConnectionLost as ConnectionLost
    from .errors import ConnectionRefused as ConnectionRefused
    from .errors import ConnectionReleased as ConnectionReleased
    from .errors import ConnectTimeout as ConnectTimeout
    from .errors import ControlDirError as ControlDirError
    from .errors import DescriptorLimit as DescriptorLimit
    from .errors import DisconnectError as DisconnectError
    from .errors import Error as Error
    from .errors import HostKeyChanged as HostKeyChanged
    from .errors import HostKeyNotVerifiable as HostKeyNotVerifiable
    from .errors import HostKeyUnknown as HostKeyUnknown
    from .errors import HostNotFound as HostNotFound
    from .errors import HostUnreachable as HostUnreachable
    from .errors import JobError as JobError
    from .errors import JobNotFound as JobNotFound
    from .errors import KeyExchangeFailed as KeyExchangeFailed
    from .errors import ManagerClosed as ManagerClosed
    from .errors import NoSpaceLeft as NoSpaceLeft
    from .errors import NotLoggedIn as NotLoggedIn
    from .errors import PermissionDenied as PermissionDenied
    from .errors import ProcessError as ProcessError
    from .errors import ProcessLimit as ProcessLimit
    from .errors import ProcessTimeout as ProcessTimeout
    from .errors import PromptDeclined as PromptDeclined
    from .errors import ProtocolMismatch as ProtocolMismatch
    from .errors import ServerHungUp as ServerHungUp
    from .errors import SessionRefused as SessionRefused
    from .errors import SFTPBadMessage as SFTPBadMessage
    from .errors import SFTPConnectionLost as SFTPConnectionLost
    from .errors import SFTPEOFError as SFTPEOFError
    from .errors import SFTPError as SFTPError
    from .errors import SFTPFailure as SFTPFailure
    from .errors import SFTPNoConnection as SFTPNoConnection
    from .errors import SFTPNoSpaceOnFilesystem as SFTPNoSpaceOnFilesystem
    from .errors import SFTPNoSuchFile as SFTPNoSuchFile
    from .errors import SFTPOpUnsupported as SFTPOpUnsupported
    from .errors import SFTPPermissionDenied as SFTPPermissionDenied
    from .errors import SFTPSourceChanged as SFTPSourceChanged
    from .errors import ShellLost as ShellLost
    from .errors import SourceChanged as SourceChanged
    from .errors import SourceNotFound as SourceNotFound
    from .errors import StoreError as StoreError
    from .errors import SubmitRefused as SubmitRefused
    from .errors import TerminalRefused as TerminalRefused
    from .errors import TimeoutError as TimeoutError
    from .errors import TransferDenied as TransferDenied
    from .errors import TransferError as TransferError
    from .errors import TransferInterrupted as TransferInterrupted
    from .errors import VerifyError as VerifyError
    from .forwards.listener import Listener as Listener
    from .login.terminal import TerminalPrompter as TerminalPrompter
    from .manager import ConnectionManager as ConnectionManager
    from .openssh.askpass.prompts import Prompt as Prompt
    from .pool.events import Event as Event
    from .pool.events import State as State
    from .pool.slots import PooledConnection as PooledConnection
    from .runner.handle import JobHandle as JobHandle
    from .runner.job import ClusterOptions as ClusterOptions
    from .runner.job import Job as Job
    from .runner.job import Line as Line
    from .runner.job import Resources as Resources
    from .runner.states import JobState as JobState
    from .runner.states import JobStatus as JobStatus
    from .runner.states import Reason as Reason
    from .session.completed import CompletedProcess as CompletedProcess
    from .session.process import PipedProcess as PipedProcess
    from .session.process import ReadableProcess as ReadableProcess
    from .session.process import RemoteProcess as RemoteProcess
    from .session.shell import RemoteShell as RemoteShell
    from .session.streams import StreamReader as StreamReader
    from .session.streams import StreamWriter as StreamWriter
    from .sftp.attrs import FILEXFER_TYPE_BLOCK_DEVICE as FILEXFER_TYPE_BLOCK_DEVICE
    from .sftp.attrs import FILEXFER_TYPE_CHAR_DEVICE as FILEXFER_TYPE_CHAR_DEVICE
    from .sftp.attrs import FILEXFER_TYPE_DIRECTORY as FILEXFER_TYPE_DIRECTORY
    from .sftp.attrs import FILEXFER_TYPE_FIFO as FILEXFER_TYPE_FIFO
    from .sftp.attrs import FILEXFER_TYPE_REGULAR as FILEXFER_TYPE_REGULAR
    from .sftp.attrs import FILEXFER_TYPE_SOCKET as FILEXFER_TYPE_SOCKET
    from .sftp.attrs import FILEXFER_TYPE_SPECIAL as FILEXFER_TYPE_SPECIAL
    from .sftp.attrs import FILEXFER_TYPE_SYMLINK as FILEXFER_TYPE_SYMLINK
    from .sftp.attrs import FILEXFER_TYPE_UNKNOWN as FILEXFER_TYPE_UNKNOWN
    from .sftp.attrs import SFTPAttrs as SFTPAttrs
    from .sftp.attrs import SFTPLimits as SFTPLimits
    from .sftp.attrs import SFTPName as SFTPName
    from .sftp.attrs import SFTPVFSAttrs as SFTPVFSAttrs
    from .sftp.client import SFTPClient as SFTPClient
    from .sftp.file import SFTPClientFile as SFTPClientFile
    from .sftp.messages import FXF_APPEND as FXF_APPEND
    from .sftp.messages import FXF_CREAT as FXF_CREAT
    from .sftp.messages import FXF_EXCL as FXF_EXCL
    from .sftp.messages import FXF_READ as FXF_READ
    from .sftp.messages import FXF_TRUNC as FXF_TRUNC
    from .sftp.messages import FXF_WRITE as FXF_WRITE
    from .sftp.messages import FXR_OVERWRITE as FXR_OVERWRITE
    from .transfer.copy import copy as copy
    from .transfer.transfers import TransferResult as TransferResult

__version__ = "0.1.0"

_HOMES = {
    "ConnectionManager": "manager",
    "ConnectionConfig": "config",
    "PoolConfig": "config",
    "Connection": "connection",
    "CompletedProcess": "session.completed",
    "RemoteProcess": "session.process",
    "ReadableProcess": "session.process",
    "PipedProcess": "session.process",
    "RemoteShell": "session.shell",
    "Listener": "forwards.listener",
    "StreamReader": "session.streams",
    "StreamWriter": "session.streams",
    "PooledConnection": "pool.slots",
    "State": "pool.events",
    "Event": "pool.events",
    "Prompt": "openssh.askpass.prompts",
    "TerminalPrompter": "login.terminal",
    "Error": "errors",
    "ConfigError": "errors",
    "ControlDirError": "errors",
    "DescriptorLimit": "errors",
    "ProcessLimit": "errors",
    "ManagerClosed": "errors",
    "TimeoutError": "errors",
    "AcquireTimeout": "errors",
    "ConnectTimeout": "errors",
    "ProcessTimeout": "errors",
    "DisconnectError": "errors",
    "HostNotFound": "errors",
    "HostUnreachable": "errors",
    "ConnectionRefused": "errors",
    "ServerHungUp": "errors",
    "KeyExchangeFailed": "errors",
    "PermissionDenied": "errors",
    "PromptDeclined": "errors",
    "NotLoggedIn": "errors",
    "HostKeyNotVerifiable": "errors",
    "HostKeyUnknown": "errors",
    "HostKeyChanged": "errors",
    "ConnectionLost": "errors",
    "ChannelOpenError": "errors",
    "ChannelListenError": "errors",
    "SessionRefused": "errors",
    "TerminalRefused": "errors",
    "ProtocolMismatch": "errors",
    "ConnectionReleased": "errors",
    "ShellLost": "errors",
    "ProcessError": "errors",
    "TransferError": "errors",
    "SourceNotFound": "errors",
    "TransferDenied": "errors",
    "NoSpaceLeft": "errors",
    "SourceChanged": "errors",
    "VerifyError": "errors",
    "TransferInterrupted": "errors",
    "TransferResult": "transfer.transfers",
    "copy": "transfer.copy",
    "SFTPError": "errors",
    "SFTPEOFError": "errors",
    "SFTPNoSuchFile": "errors",
    "SFTPPermissionDenied": "errors",
    "SFTPFailure": "errors",
    "SFTPNoSpaceOnFilesystem": "errors",
    "SFTPSourceChanged": "errors",
    "SFTPBadMessage": "errors",
    "SFTPNoConnection": "errors",
    "SFTPConnectionLost": "errors",
    "SFTPOpUnsupported": "errors",
    "SFTPClient": "sftp.client",
    "SFTPClientFile": "sftp.file",
    "SFTPAttrs": "sftp.attrs",
    "SFTPName": "sftp.attrs",
    "SFTPVFSAttrs": "sftp.attrs",
    "SFTPLimits": "sftp.attrs",
    "FILEXFER_TYPE_REGULAR": "sftp.attrs",
    "FILEXFER_TYPE_DIRECTORY": "sftp.attrs",
    "FILEXFER_TYPE_SYMLINK": "sftp.attrs",
    "FILEXFER_TYPE_SPECIAL": "sftp.attrs",
    "FILEXFER_TYPE_UNKNOWN": "sftp.attrs",
    "FILEXFER_TYPE_SOCKET": "sftp.attrs",
    "FILEXFER_TYPE_CHAR_DEVICE": "sftp.attrs",
    "FILEXFER_TYPE_BLOCK_DEVICE": "sftp.attrs",
    "FILEXFER_TYPE_FIFO": "sftp.attrs",
    "FXF_READ": "sftp.messages",
    "FXF_WRITE": "sftp.messages",
    "FXF_APPEND": "sftp.messages",
    "FXF_CREAT": "sftp.messages",
    "FXF_TRUNC": "sftp.messages",
    "FXF_EXCL": "sftp.messages",
    "FXR_OVERWRITE": "sftp.messages",
    "StoreError": "errors",
    "JobError": "errors",
    "SubmitRefused": "errors",
    "JobNotFound": "errors",
    "Job": "runner.job",
    "Resources": "runner.job",
    "ClusterOptions": "runner.job",
    "Line": "runner.job",
    "JobHandle": "runner.handle",
    "JobStatus": "runner.states",
    "JobState": "runner.states",
    "Reason": "runner.states",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sshmux' has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
