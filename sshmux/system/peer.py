"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

# Linux: struct ucred, man 7 unix. macOS: struct xucred, sys/ucred.h: version, uid, groups.
_LINUX_CREDENTIALS = struct.Struct("iII")
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_XUCRED = struct.Struct("II")
_XUCRED_SIZE = 76


def peer_uid(connected: socket.socket) -> int:
    """The user who listens at the other end: as the kernel noted it, at the time of listen()."""
    if sys.platform == "darwin":
        found = connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE)
        return int(_XUCRED.unpack_from(found)[1])
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX_CREDENTIALS.size)
    return int(_LINUX_CREDENTIALS.unpack(found)[1])


def check_peer(connected: socket.socket, path: str) -> None:
    """Raises `PermissionError` unless whoever listens at `path` is the user who runs this.

    The file's own owner says less: it can be changed by renaming between a look and a connect.
    """
    uid = peer_uid(connected)
    if uid != os.geteuid():
        raise PermissionError(
            errno.EPERM, f"whoever listens there is user {uid}, and not you", path
        )
