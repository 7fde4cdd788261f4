"""What every part of the client has: the session, the server, and how paths are written."""

from __future__ import annotations

from typing import Any

from ..errors import SFTPNoSuchFile, SFTPPermissionDenied
from .filesystems import LocalFiles, RemoteFiles
from .operations import Operations
from .paths import Paths, SFTPPath, basename
from .session import Session


class ClientBase:
    """The ground of `SFTPClient`, whose parts are classes by subject."""

    def __init__(self, session: Session, server: Operations, paths: Paths) -> None:
        self._session = session
        self._server = server
        self._paths = paths
        self._here, self._there = LocalFiles(), RemoteFiles(server, paths)

    def encode(self, path: SFTPPath) -> bytes:
        """A path in bytes. Raises `TypeError`, and `ValueError` for a NUL in it."""
        return self._paths.encode(path)

    def decode(self, path: bytes, want_string: bool = True) -> bytes | str:
        """A path as str, unless bytes are wanted."""
        if not isinstance(path, bytes):
            raise TypeError(f"path {path!r}: give bytes")
        return self._paths.decode(path, want_string)

    def basename(self, path: bytes) -> bytes:
        """The last name in a path."""
        return basename(self._paths.encode(path))

    def compose_path(self, path: SFTPPath, parent: bytes | None = None) -> bytes:
        """A path in bytes, from the working directory, or from `parent`."""
        return self._paths.compose(path, parent)

    def _back(self, path: bytes, like: object) -> Any:
        return self._paths.decode(path, not isinstance(like, bytes))

    async def _file_type(self, path: SFTPPath, *, follow_symlinks: bool = True) -> int | None:
        try:
            there = self.compose_path(path)
            return (await self._server.stat(there, follow_symlinks=follow_symlinks)).type
        except (SFTPNoSuchFile, SFTPPermissionDenied):
            return None
