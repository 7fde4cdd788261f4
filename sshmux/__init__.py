"""sshmux: an asyncio connection manager on the system's own OpenSSH.

The public names are here; they are loaded when first used, so that the command and the askpass
helper pay only for what they need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asyncssh_names import DEVNULL as DEVNULL
    from .asyncssh_names import PIPE as PIPE
    from .asyncssh_names import SEEK_CUR as SEEK_CUR
    from .asyncssh_names import SEEK_END as SEEK_END
    from .asyncssh_names import SEEK_SET as SEEK_SET
    from .asyncssh_names import STDOUT as STDOUT
    from .asyncssh_names import BreakReceived as BreakReceived
    from .asyncssh_names import CompressionError as CompressionError
    from .asyncssh_names import ConfigParseError as ConfigParseError
    from .asyncssh_names import IllegalUserName as IllegalUserName
    from .asyncssh_names import KeyEncryptionError as KeyEncryptionError
    from .asyncssh_names import KeyExportError as KeyExportError
    from .asyncssh_names import KeyGenerationError as KeyGenerationError
    from .asyncssh_names import KeyImportError as KeyImportError
    from .asyncssh_names import MACError as MACError
    from .asyncssh_names import PasswordChangeRequired as PasswordChangeRequired
    from .asyncssh_names import ProtocolError as ProtocolError
    from .asyncssh_names import ProtocolNotSupported as ProtocolNotSupported
    from .asyncssh_names import ServiceNotAvailable as ServiceNotAvailable
    from .asyncssh_names import SignalReceived as SignalReceived
    from .asyncssh_names import TerminalSizeChanged as TerminalSizeChanged
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
    from .errors import WrongEventLoop as WrongEventLoop
    from .forwards.listener import Listener as Listener
    from .login.terminal import TerminalPrompter as TerminalPrompter
    from .manager import ConnectionManager as ConnectionManager
    from .openssh.askpass.prompts import Prompt as Prompt
    from .pool.events import Event as Event
    from .pool.events import State as State
    from .pool.slots import PooledConnection as PooledConnection
    from .runner.database import ClusterRow as ClusterRow
    from .runner.database import Database as Database
    from .runner.dialects.base import Partition as Partition
    from .runner.dialects.base import QueueRow as QueueRow
    from .runner.handle import JobHandle as JobHandle
    from .runner.job import ClusterOptions as ClusterOptions
    from .runner.job import Job as Job
    from .runner.job import Line as Line
    from .runner.job import Resources as Resources
    from .runner.runner import RemoteRunner as RemoteRunner
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
    from .sftp.statuses import FX_BAD_MESSAGE as FX_BAD_MESSAGE
    from .sftp.statuses import FX_BYTE_RANGE_LOCK_CONFLICT as FX_BYTE_RANGE_LOCK_CONFLICT
    from .sftp.statuses import FX_BYTE_RANGE_LOCK_REFUSED as FX_BYTE_RANGE_LOCK_REFUSED
    from .sftp.statuses import FX_CANNOT_DELETE as FX_CANNOT_DELETE
    from .sftp.statuses import FX_CONNECTION_LOST as FX_CONNECTION_LOST
    from .sftp.statuses import FX_DELETE_PENDING as FX_DELETE_PENDING
    from .sftp.statuses import FX_DIR_NOT_EMPTY as FX_DIR_NOT_EMPTY
    from .sftp.statuses import FX_EOF as FX_EOF
    from .sftp.statuses import FX_FAILURE as FX_FAILURE
    from .sftp.statuses import FX_FILE_ALREADY_EXISTS as FX_FILE_ALREADY_EXISTS
    from .sftp.statuses import FX_FILE_CORRUPT as FX_FILE_CORRUPT
    from .sftp.statuses import FX_FILE_IS_A_DIRECTORY as FX_FILE_IS_A_DIRECTORY
    from .sftp.statuses import FX_GROUP_INVALID as FX_GROUP_INVALID
    from .sftp.statuses import FX_INVALID_FILENAME as FX_INVALID_FILENAME
    from .sftp.statuses import FX_INVALID_HANDLE as FX_INVALID_HANDLE
    from .sftp.statuses import FX_INVALID_PARAMETER as FX_INVALID_PARAMETER
    from .sftp.statuses import FX_LINK_LOOP as FX_LINK_LOOP
    from .sftp.statuses import FX_LOCK_CONFLICT as FX_LOCK_CONFLICT
    from .sftp.statuses import FX_NO_CONNECTION as FX_NO_CONNECTION
    from .sftp.statuses import FX_NO_MATCHING_BYTE_RANGE_LOCK as FX_NO_MATCHING_BYTE_RANGE_LOCK
    from .sftp.statuses import FX_NO_MEDIA as FX_NO_MEDIA
    from .sftp.statuses import FX_NO_SPACE_ON_FILESYSTEM as FX_NO_SPACE_ON_FILESYSTEM
    from .sftp.statuses import FX_NO_SUCH_FILE as FX_NO_SUCH_FILE
    from .sftp.statuses import FX_NO_SUCH_PATH as FX_NO_SUCH_PATH
    from .sftp.statuses import FX_NOT_A_DIRECTORY as FX_NOT_A_DIRECTORY
    from .sftp.statuses import FX_OK as FX_OK
    from .sftp.statuses import FX_OP_UNSUPPORTED as FX_OP_UNSUPPORTED
    from .sftp.statuses import FX_OWNER_INVALID as FX_OWNER_INVALID
    from .sftp.statuses import FX_PERMISSION_DENIED as FX_PERMISSION_DENIED
    from .sftp.statuses import FX_QUOTA_EXCEEDED as FX_QUOTA_EXCEEDED
    from .sftp.statuses import FX_UNKNOWN_PRINCIPAL as FX_UNKNOWN_PRINCIPAL
    from .sftp.statuses import FX_WRITE_PROTECT as FX_WRITE_PROTECT
    from .sftp.statuses import SFTPByteRangeLockConflict as SFTPByteRangeLockConflict
    from .sftp.statuses import SFTPByteRangeLockRefused as SFTPByteRangeLockRefused
    from .sftp.statuses import SFTPCannotDelete as SFTPCannotDelete
    from .sftp.statuses import SFTPDeletePending as SFTPDeletePending
    from .sftp.statuses import SFTPDirNotEmpty as SFTPDirNotEmpty
    from .sftp.statuses import SFTPFileAlreadyExists as SFTPFileAlreadyExists
    from .sftp.statuses import SFTPFileCorrupt as SFTPFileCorrupt
    from .sftp.statuses import SFTPFileIsADirectory as SFTPFileIsADirectory
    from .sftp.statuses import SFTPGroupInvalid as SFTPGroupInvalid
    from .sftp.statuses import SFTPInvalidFilename as SFTPInvalidFilename
    from .sftp.statuses import SFTPInvalidHandle as SFTPInvalidHandle
    from .sftp.statuses import SFTPInvalidParameter as SFTPInvalidParameter
    from .sftp.statuses import SFTPLinkLoop as SFTPLinkLoop
    from .sftp.statuses import SFTPLockConflict as SFTPLockConflict
    from .sftp.statuses import SFTPNoMatchingByteRangeLock as SFTPNoMatchingByteRangeLock
    from .sftp.statuses import SFTPNoMedia as SFTPNoMedia
    from .sftp.statuses import SFTPNoSuchPath as SFTPNoSuchPath
    from .sftp.statuses import SFTPNotADirectory as SFTPNotADirectory
    from .sftp.statuses import SFTPOwnerInvalid as SFTPOwnerInvalid
    from .sftp.statuses import SFTPQuotaExceeded as SFTPQuotaExceeded
    from .sftp.statuses import SFTPUnknownPrincipal as SFTPUnknownPrincipal
    from .sftp.statuses import SFTPWriteProtect as SFTPWriteProtect
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
    "WrongEventLoop": "errors",
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
    "RemoteRunner": "runner.runner",
    "Database": "runner.database",
    "ClusterRow": "runner.database",
    "QueueRow": "runner.dialects.base",
    "Partition": "runner.dialects.base",
    "Job": "runner.job",
    "Resources": "runner.job",
    "ClusterOptions": "runner.job",
    "Line": "runner.job",
    "JobHandle": "runner.handle",
    "JobStatus": "runner.states",
    "JobState": "runner.states",
    "Reason": "runner.states",
    "SFTPInvalidHandle": "sftp.statuses",
    "SFTPNoSuchPath": "sftp.statuses",
    "SFTPFileAlreadyExists": "sftp.statuses",
    "SFTPWriteProtect": "sftp.statuses",
    "SFTPNoMedia": "sftp.statuses",
    "SFTPQuotaExceeded": "sftp.statuses",
    "SFTPUnknownPrincipal": "sftp.statuses",
    "SFTPLockConflict": "sftp.statuses",
    "SFTPDirNotEmpty": "sftp.statuses",
    "SFTPNotADirectory": "sftp.statuses",
    "SFTPInvalidFilename": "sftp.statuses",
    "SFTPLinkLoop": "sftp.statuses",
    "SFTPCannotDelete": "sftp.statuses",
    "SFTPInvalidParameter": "sftp.statuses",
    "SFTPFileIsADirectory": "sftp.statuses",
    "SFTPByteRangeLockConflict": "sftp.statuses",
    "SFTPByteRangeLockRefused": "sftp.statuses",
    "SFTPDeletePending": "sftp.statuses",
    "SFTPFileCorrupt": "sftp.statuses",
    "SFTPOwnerInvalid": "sftp.statuses",
    "SFTPGroupInvalid": "sftp.statuses",
    "SFTPNoMatchingByteRangeLock": "sftp.statuses",
    "FX_OK": "sftp.statuses",
    "FX_EOF": "sftp.statuses",
    "FX_NO_SUCH_FILE": "sftp.statuses",
    "FX_PERMISSION_DENIED": "sftp.statuses",
    "FX_FAILURE": "sftp.statuses",
    "FX_BAD_MESSAGE": "sftp.statuses",
    "FX_NO_CONNECTION": "sftp.statuses",
    "FX_CONNECTION_LOST": "sftp.statuses",
    "FX_OP_UNSUPPORTED": "sftp.statuses",
    "FX_INVALID_HANDLE": "sftp.statuses",
    "FX_NO_SUCH_PATH": "sftp.statuses",
    "FX_FILE_ALREADY_EXISTS": "sftp.statuses",
    "FX_WRITE_PROTECT": "sftp.statuses",
    "FX_NO_MEDIA": "sftp.statuses",
    "FX_NO_SPACE_ON_FILESYSTEM": "sftp.statuses",
    "FX_QUOTA_EXCEEDED": "sftp.statuses",
    "FX_UNKNOWN_PRINCIPAL": "sftp.statuses",
    "FX_LOCK_CONFLICT": "sftp.statuses",
    "FX_DIR_NOT_EMPTY": "sftp.statuses",
    "FX_NOT_A_DIRECTORY": "sftp.statuses",
    "FX_INVALID_FILENAME": "sftp.statuses",
    "FX_LINK_LOOP": "sftp.statuses",
    "FX_CANNOT_DELETE": "sftp.statuses",
    "FX_INVALID_PARAMETER": "sftp.statuses",
    "FX_FILE_IS_A_DIRECTORY": "sftp.statuses",
    "FX_BYTE_RANGE_LOCK_CONFLICT": "sftp.statuses",
    "FX_BYTE_RANGE_LOCK_REFUSED": "sftp.statuses",
    "FX_DELETE_PENDING": "sftp.statuses",
    "FX_FILE_CORRUPT": "sftp.statuses",
    "FX_OWNER_INVALID": "sftp.statuses",
    "FX_GROUP_INVALID": "sftp.statuses",
    "FX_NO_MATCHING_BYTE_RANGE_LOCK": "sftp.statuses",
    "DEVNULL": "asyncssh_names",
    "PIPE": "asyncssh_names",
    "SEEK_CUR": "asyncssh_names",
    "SEEK_END": "asyncssh_names",
    "SEEK_SET": "asyncssh_names",
    "STDOUT": "asyncssh_names",
    "CompressionError": "asyncssh_names",
    "IllegalUserName": "asyncssh_names",
    "MACError": "asyncssh_names",
    "ProtocolError": "asyncssh_names",
    "ProtocolNotSupported": "asyncssh_names",
    "ServiceNotAvailable": "asyncssh_names",
    "ConfigParseError": "asyncssh_names",
    "KeyEncryptionError": "asyncssh_names",
    "KeyExportError": "asyncssh_names",
    "KeyGenerationError": "asyncssh_names",
    "KeyImportError": "asyncssh_names",
    "PasswordChangeRequired": "asyncssh_names",
    "BreakReceived": "asyncssh_names",
    "SignalReceived": "asyncssh_names",
    "TerminalSizeChanged": "asyncssh_names",
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
