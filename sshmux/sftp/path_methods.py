"""Paths on the remote, the attributes of files, and their names."""

from __future__ import annotations

import posixpath
import time
from typing import Any

from ..checks import check_int
from ..errors import SFTPFailure
from .attrs import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SYMLINK,
    SFTPAttrs,
    SFTPVFSAttrs,
)
from .changes import mode_of, owners, size_of, times_of, told_attrs
from .client_base import ClientBase
from .messages import FXR_OVERWRITE
from .paths import SFTPPath, shown

_FXR_ATOMIC, _FXR_NATIVE = 2, 4  # asyncssh's other two, which version 3 does not know


class PathMethods(ClientBase):
    """Paths, attributes and names: a part of `SFTPClient`."""

    # Paths

    async def chdir(self, path: SFTPPath) -> None:
        """Sets the working directory. Raises `SFTPNoSuchFile`, and `SFTPFailure` for a file."""
        there = await self._server.realpath(self.compose_path(path))
        if (await self._server.stat(there)).type != FILEXFER_TYPE_DIRECTORY:
            raise SFTPFailure(f"{shown(there)} is not a directory")
        self._paths.cwd = there

    async def getcwd(self) -> Any:
        """The working directory, absolute."""
        if self._paths.cwd is None:
            self._paths.cwd = await self._server.realpath(b".")
        return self._paths.decode(self._paths.cwd)

    async def realpath(self, path: SFTPPath, *compose_paths: SFTPPath) -> Any:
        """The absolute path, without links, of a path and further ones below it."""
        composed = posixpath.join(self.compose_path(path), *map(self.encode, compose_paths))
        return self._back(await self._server.realpath(composed), path)

    async def expand_path(self, path: SFTPPath) -> Any:
        """The same, of a path that may begin with `~` or `~user` (OpenSSH 8.7 and later)."""
        return self._back(await self._server.expand_path(self.encode(path)), path)

    # Looking

    async def stat(self, path: SFTPPath, *, follow_symlinks: bool = True) -> SFTPAttrs:
        """What a file is; of a link, what it leads to."""
        return await self._server.stat(self.compose_path(path), follow_symlinks=follow_symlinks)

    async def lstat(self, path: SFTPPath) -> SFTPAttrs:
        """What a file is; of a link, the link's own."""
        return await self.stat(path, follow_symlinks=False)

    async def statvfs(self, path: SFTPPath) -> SFTPVFSAttrs:
        """The file system that a path is on."""
        return await self._server.statvfs(self.compose_path(path))

    async def exists(self, path: SFTPPath) -> bool:
        """Whether there is such a file; of a link, what it leads to."""
        return await self._file_type(path) is not None

    async def lexists(self, path: SFTPPath) -> bool:
        """Whether there is such a name, be it a link that leads nowhere."""
        return await self._file_type(path, follow_symlinks=False) is not None

    async def isdir(self, path: SFTPPath) -> bool:
        """Whether it is a directory, or leads to one."""
        return await self._file_type(path) == FILEXFER_TYPE_DIRECTORY

    async def isfile(self, path: SFTPPath) -> bool:
        """Whether it is a regular file, or leads to one."""
        return await self._file_type(path) == FILEXFER_TYPE_REGULAR

    async def islink(self, path: SFTPPath) -> bool:
        """Whether it is a symbolic link."""
        return await self._file_type(path, follow_symlinks=False) == FILEXFER_TYPE_SYMLINK

    async def getsize(self, path: SFTPPath) -> int | None:
        """The size of a file, in bytes."""
        return (await self.stat(path)).size

    async def getatime(self, path: SFTPPath) -> float | None:
        """When it was last read, in seconds since 1970."""
        return _float((await self.stat(path)).atime)

    async def getatime_ns(self, path: SFTPPath) -> int | None:
        """The same in nanoseconds; the protocol has whole seconds only."""
        return (await self.stat(path)).atime_ns

    async def getmtime(self, path: SFTPPath) -> float | None:
        """When it was last changed, in seconds since 1970."""
        return _float((await self.stat(path)).mtime)

    async def getmtime_ns(self, path: SFTPPath) -> int | None:
        """The same in nanoseconds; the protocol has whole seconds only."""
        return (await self.stat(path)).mtime_ns

    # Changing

    async def setstat(
        self, path: SFTPPath, attrs: SFTPAttrs, *, follow_symlinks: bool = True
    ) -> None:
        """Sets the attributes that are not None."""
        there = self.compose_path(path)
        await self._server.setstat(there, told_attrs(attrs), follow_symlinks=follow_symlinks)

    async def chmod(self, path: SFTPPath, mode: int, *, follow_symlinks: bool = True) -> None:
        """Sets the permissions."""
        await self.setstat(path, mode_of(mode), follow_symlinks=follow_symlinks)

    async def chown(
        self,
        path: SFTPPath,
        uid_or_owner: int | str | None = None,
        gid_or_group: int | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        owner: str | None = None,
        group: str | None = None,
        *,
        follow_symlinks: bool = True,
    ) -> None:
        """Sets the owner and the group, by number. Raises `SFTPOpUnsupported` for names."""
        wanted = owners(uid_or_owner, gid_or_group, uid, gid, owner, group)
        now = await self.stat(path, follow_symlinks=follow_symlinks) if wanted.half else None
        await self.setstat(path, wanted.filled(now), follow_symlinks=follow_symlinks)

    async def utime(
        self,
        path: SFTPPath,
        times: tuple[float, float] | None = None,
        ns: tuple[int, int] | None = None,
        *,
        follow_symlinks: bool = True,
    ) -> None:
        """Sets the times of access and change: seconds, or nanoseconds; or both to now."""
        attrs = times_of(times, ns, time.time())
        await self.setstat(path, attrs, follow_symlinks=follow_symlinks)

    async def truncate(self, path: SFTPPath, size: int) -> None:
        """Cuts a file, or makes it longer."""
        await self.setstat(path, size_of(size))

    # Names

    async def remove(self, path: SFTPPath) -> None:
        """Removes a file or a link."""
        await self._server.remove(self.compose_path(path))

    async def unlink(self, path: SFTPPath) -> None:
        """The same as `remove`."""
        await self.remove(path)

    async def rename(self, oldpath: SFTPPath, newpath: SFTPPath, flags: int = 0) -> None:
        """Renames; if the new name is taken that fails, unless `flags` has FXR_OVERWRITE."""
        check_int("flags", flags, 0, FXR_OVERWRITE | _FXR_ATOMIC | _FXR_NATIVE)
        if flags & FXR_OVERWRITE:
            await self.posix_rename(oldpath, newpath)
        else:
            await self._server.rename(self.compose_path(oldpath), self.compose_path(newpath))

    async def posix_rename(self, oldpath: SFTPPath, newpath: SFTPPath) -> None:
        """Renames, in one step; what had the new name is gone."""
        await self._server.posix_rename(self.compose_path(oldpath), self.compose_path(newpath))

    async def readlink(self, path: SFTPPath) -> Any:
        """Where a symbolic link leads."""
        return self._back(await self._server.readlink(self.compose_path(path)), path)

    async def symlink(self, oldpath: SFTPPath, newpath: SFTPPath) -> None:
        """Makes a symbolic link at `newpath`, which leads to `oldpath` as it is written."""
        await self._server.symlink(self.encode(oldpath), self.compose_path(newpath))

    async def link(self, oldpath: SFTPPath, newpath: SFTPPath) -> None:
        """Gives a file one more name."""
        await self._server.link(self.compose_path(oldpath), self.compose_path(newpath))


def _float(seconds: float | None) -> float | None:
    return None if seconds is None else float(seconds)
