"""What an SFTP server's status codes mean, those of later versions of the protocol included.

Version 3 ends with `FX_OP_UNSUPPORTED` (draft-ietf-secsh-filexfer-02, section 7; the others are of
version 13, section 9.1). Some servers send the later ones in version 3 as well.
"""

from __future__ import annotations

import errno

from ..errors import SFTPError

FX_OK = 0
FX_EOF = 1
FX_NO_SUCH_FILE = 2
FX_PERMISSION_DENIED = 3
FX_FAILURE = 4
FX_BAD_MESSAGE = 5
FX_NO_CONNECTION = 6
FX_CONNECTION_LOST = 7
FX_OP_UNSUPPORTED = 8
FX_INVALID_HANDLE = 9
FX_NO_SUCH_PATH = 10
FX_FILE_ALREADY_EXISTS = 11
FX_WRITE_PROTECT = 12
FX_NO_MEDIA = 13
FX_NO_SPACE_ON_FILESYSTEM = 14
FX_QUOTA_EXCEEDED = 15
FX_UNKNOWN_PRINCIPAL = 16
FX_LOCK_CONFLICT = 17
FX_DIR_NOT_EMPTY = 18
FX_NOT_A_DIRECTORY = 19
FX_INVALID_FILENAME = 20
FX_LINK_LOOP = 21
FX_CANNOT_DELETE = 22
FX_INVALID_PARAMETER = 23
FX_FILE_IS_A_DIRECTORY = 24
FX_BYTE_RANGE_LOCK_CONFLICT = 25
FX_BYTE_RANGE_LOCK_REFUSED = 26
FX_DELETE_PENDING = 27
FX_FILE_CORRUPT = 28
FX_OWNER_INVALID = 29
FX_GROUP_INVALID = 30
FX_NO_MATCHING_BYTE_RANGE_LOCK = 31


class SFTPInvalidHandle(SFTPError):
    """A handle that the server does not know."""

    code = FX_INVALID_HANDLE


class SFTPNoSuchPath(SFTPError, FileNotFoundError):
    """A directory of the path is not there."""

    code = FX_NO_SUCH_PATH
    errno = errno.ENOENT


class SFTPFileAlreadyExists(SFTPError, FileExistsError):
    """There is a file of that name."""

    code = FX_FILE_ALREADY_EXISTS
    errno = errno.EEXIST


class SFTPWriteProtect(SFTPError):
    """The file system is read-only."""

    code = FX_WRITE_PROTECT


class SFTPNoMedia(SFTPError):
    """There is no medium in the drive."""

    code = FX_NO_MEDIA


class SFTPQuotaExceeded(SFTPError):
    """The quota of the account is used up."""

    code = FX_QUOTA_EXCEEDED


class SFTPUnknownPrincipal(SFTPError):
    """There is no such user or group."""

    code = FX_UNKNOWN_PRINCIPAL
    unknown_names: tuple[str, ...] = ()


class SFTPLockConflict(SFTPError):
    """Somebody else has locked the file."""

    code = FX_LOCK_CONFLICT


class SFTPDirNotEmpty(SFTPError):
    """The directory is not empty."""

    code = FX_DIR_NOT_EMPTY


class SFTPNotADirectory(SFTPError, NotADirectoryError):
    """A directory is wanted there."""

    code = FX_NOT_A_DIRECTORY
    errno = errno.ENOTDIR


class SFTPInvalidFilename(SFTPError):
    """The file system takes no such name."""

    code = FX_INVALID_FILENAME


class SFTPLinkLoop(SFTPError):
    """Links lead to each other, or too many to one another."""

    code = FX_LINK_LOOP


class SFTPCannotDelete(SFTPError):
    """The file cannot be removed."""

    code = FX_CANNOT_DELETE


class SFTPInvalidParameter(SFTPError):
    """A field of the request cannot be used."""

    code = FX_INVALID_PARAMETER


class SFTPFileIsADirectory(SFTPError, IsADirectoryError):
    """A file is wanted there."""

    code = FX_FILE_IS_A_DIRECTORY
    errno = errno.EISDIR


class SFTPByteRangeLockConflict(SFTPError):
    """Somebody else has locked that part of the file."""

    code = FX_BYTE_RANGE_LOCK_CONFLICT


class SFTPByteRangeLockRefused(SFTPError):
    """The lock was refused."""

    code = FX_BYTE_RANGE_LOCK_REFUSED


class SFTPDeletePending(SFTPError):
    """The file is about to be removed."""

    code = FX_DELETE_PENDING


class SFTPFileCorrupt(SFTPError):
    """The file system is damaged."""

    code = FX_FILE_CORRUPT


class SFTPOwnerInvalid(SFTPError):
    """That cannot be the owner."""

    code = FX_OWNER_INVALID


class SFTPGroupInvalid(SFTPError):
    """That cannot be the group."""

    code = FX_GROUP_INVALID


class SFTPNoMatchingByteRangeLock(SFTPError):
    """There is no such lock."""

    code = FX_NO_MATCHING_BYTE_RANGE_LOCK


LATER = (
    SFTPInvalidHandle,
    SFTPNoSuchPath,
    SFTPFileAlreadyExists,
    SFTPWriteProtect,
    SFTPNoMedia,
    SFTPQuotaExceeded,
    SFTPUnknownPrincipal,
    SFTPLockConflict,
    SFTPDirNotEmpty,
    SFTPNotADirectory,
    SFTPInvalidFilename,
    SFTPLinkLoop,
    SFTPCannotDelete,
    SFTPInvalidParameter,
    SFTPFileIsADirectory,
    SFTPByteRangeLockConflict,
    SFTPByteRangeLockRefused,
    SFTPDeletePending,
    SFTPFileCorrupt,
    SFTPOwnerInvalid,
    SFTPGroupInvalid,
    SFTPNoMatchingByteRangeLock,
)
