"""SFTPClient: the remote files, in the shape of asyncssh's client of that name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack, cast

from ..errors import SFTPError, SFTPFailure, SFTPNoSuchFile, SFTPOpUnsupported, SFTPPermissionDenied
from .attrs import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SYMLINK,
    SFTPAttrs,
    SFTPLimits,
    SFTPName,
    SFTPVFSAttrs,
)
from .changes import flags_of, owners, times_of
from .copying import Copy, CopyKeywords, CopyOptions, ErrorHandler, SFTPPaths, unique
from .file import SFTPClientFile
from .file_copier import SFTPFileCopier
from .filesystems import LocalFiles, RemoteFiles, scan
from .globbing import search
from .messages import FXF_APPEND, FXR_OVERWRITE, VERSION
from .operations import COPY_DATA, Operations
from .paths import Paths, SFTPPath, basename
from .session import Session

_REMOVALS = 256  # at once

OnError = Callable[[Callable[..., Any], bytes, Any], object]


class SFTPClient:
    """Files on the remote. Made by `Connection.start_sftp_client`.

    Paths are str, bytes or pathlib's; what is given back is str, or bytes for a path in bytes.
    Relative ones are in the directory that `chdir` was last called with, else in the home.
    """

    def __init__(self, session: Session, server: Operations, paths: Paths) -> None:
        self._session = session
        self._server = server
        self._paths = paths
        self._here, self._there = LocalFiles(), RemoteFiles(server, paths)

    def __repr__(self) -> str:
        return f"<SFTPClient of {self._session.address} {self._session.state}>"

    # What the server is

    @property
    def version(self) -> int:
        """The version of the protocol in use."""
        return VERSION

    @property
    def limits(self) -> SFTPLimits:
        """The largest that the server takes."""
        return self._server.limits

    @property
    def supports_remote_copy(self) -> bool:
        """Whether the server can copy a file by itself (OpenSSH 9.0 and later)."""
        return self._server.has(COPY_DATA)

    @property
    def extensions(self) -> dict[str, str]:
        """The protocol's extensions that the server has, with their versions."""
        known = self._server.extensions.items()
        return {
            name.decode("utf-8", "replace"): text.decode("utf-8", "replace") for name, text in known
        }

    # Paths

    def encode(self, path: SFTPPath) -> bytes:
        """A path in bytes. Raises `TypeError`, and `ValueError` for a NUL in it."""
        return self._paths.encode(path)

    def decode(self, path: bytes, want_string: bool = True) -> bytes | str:
        """A path as str, unless bytes are wanted."""
        return self._paths.decode(path, want_string)

    def basename(self, path: bytes) -> bytes:
        """The last name in a path."""
        return basename(path)

    def compose_path(self, path: SFTPPath, parent: bytes | None = None) -> bytes:
        """A path in bytes, from the working directory, or from `parent`."""
        return self._paths.compose(path, parent)

    def _back(self, path: bytes, like: object) -> Any:
        return self._paths.decode(path, not isinstance(like, bytes))

    async def chdir(self, path: SFTPPath) -> None:
        """Sets the working directory. Raises `SFTPNoSuchFile`, and `SFTPFailure` for a file."""
        there = await self._server.realpath(self.compose_path(path))
        if (await self._server.stat(there)).type != FILEXFER_TYPE_DIRECTORY:
            raise SFTPFailure(f"{self._shown(there)} is not a directory")
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
        return await self._type(path) is not None

    async def lexists(self, path: SFTPPath) -> bool:
        """Whether there is such a name, be it a link that leads nowhere."""
        return await self._type(path, follow_symlinks=False) is not None

    async def isdir(self, path: SFTPPath) -> bool:
        """Whether it is a directory, or leads to one."""
        return await self._type(path) == FILEXFER_TYPE_DIRECTORY

    async def isfile(self, path: SFTPPath) -> bool:
        """Whether it is a regular file, or leads to one."""
        return await self._type(path) == FILEXFER_TYPE_REGULAR

    async def islink(self, path: SFTPPath) -> bool:
        """Whether it is a symbolic link."""
        return await self._type(path, follow_symlinks=False) == FILEXFER_TYPE_SYMLINK

    async def _type(self, path: SFTPPath, *, follow_symlinks: bool = True) -> int | None:
        try:
            return (await self.stat(path, follow_symlinks=follow_symlinks)).type
        except (SFTPNoSuchFile, SFTPPermissionDenied):
            return None

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

    # Directories

    async def listdir(self, path: SFTPPath = ".") -> Sequence[Any]:
        """The names in a directory; `.` and `..` are among them, as the server lists them."""
        return [name.filename for name in await self.readdir(path)]

    async def readdir(self, path: SFTPPath = ".") -> Sequence[SFTPName]:
        """What is in a directory, with attributes."""
        async with contextlib.aclosing(self.scandir(path)) as names:
            return [name async for name in names]

    async def scandir(self, path: SFTPPath = ".") -> AsyncGenerator[SFTPName, None]:
        """What is in a directory, as the server tells it: for directories of any size."""
        want_string = not isinstance(path, bytes)
        async with contextlib.aclosing(scan(self._server, self.compose_path(path))) as names:
            async for name in names:
                yield self._decoded(name, want_string)

    def _decoded(self, name: SFTPName, want_string: bool) -> SFTPName:
        filename, longname = cast("bytes", name.filename), cast("bytes", name.longname)
        if want_string:
            name.filename = self._paths.decode(filename)
            name.longname = longname.decode("utf-8", "replace")
        return name

    async def glob(self, patterns: SFTPPaths, error_handler: ErrorHandler = None) -> Sequence[Any]:
        """The paths that fit a pattern, or several: `*`, `?`, `[…]`, `**`.

        Raises `SFTPNoSuchFile` when nothing fits, unless there is an `error_handler` for that
        (False: nobody minds).
        """
        return [name.filename for name in await self.glob_sftpname(patterns, error_handler)]

    async def glob_sftpname(
        self, patterns: SFTPPaths, error_handler: ErrorHandler = None
    ) -> Sequence[SFTPName]:
        """The same, with attributes."""
        if isinstance(patterns, str | bytes | os.PathLike):
            patterns = [patterns]
        found: list[SFTPName] = []
        for pattern in patterns:
            fitting = await self._fitting(pattern)
            if not fitting and error_handler is not False:
                error = SFTPNoSuchFile(f"nothing fits the pattern {pattern!r}")
                if error_handler is None:
                    raise error
                error_handler(error)
            found += fitting
        return unique(found)

    async def _fitting(self, pattern: SFTPPath) -> list[SFTPName]:
        # What is found is given as it was asked for: below the working directory without it.
        relative = not self.encode(pattern).startswith(b"/")
        parent = self.compose_path(b"") if relative else b""
        return [
            SFTPName(
                self._back(cast("bytes", name.filename).removeprefix(parent), pattern),
                attrs=name.attrs,
            )
            async for name in search(self._there, self._there.pattern(pattern))
        ]

    async def mkdir(self, path: SFTPPath, attrs: SFTPAttrs | None = None) -> None:
        """Makes a directory. Raises `SFTPFailure` if it is there."""
        await self._server.mkdir(self.compose_path(path), attrs or SFTPAttrs())

    async def makedirs(
        self, path: SFTPPath, attrs: SFTPAttrs | None = None, exist_ok: bool = False
    ) -> None:
        """Makes a directory, and those it is in. Raises `SFTPFailure` if it is there."""
        there = self.compose_path(path).rstrip(b"/") or b"/"
        missing = []
        while there not in (b"", b"/") and await self._type(there) is None:
            missing.append(there)
            there = posixpath.dirname(there)
        if not missing and not (exist_ok and await self.isdir(there)):
            raise SFTPFailure(f"{self._shown(there)} exists")
        for each in reversed(missing):
            try:
                await self.mkdir(each, attrs)
            except SFTPFailure:
                # Somebody else may have been quicker.
                if not await self.isdir(each) or (each == missing[0] and not exist_ok):
                    raise

    async def rmdir(self, path: SFTPPath) -> None:
        """Removes an empty directory."""
        await self._server.rmdir(self.compose_path(path))

    async def rmtree(
        self, path: SFTPPath, ignore_errors: bool = False, onerror: OnError | None = None
    ) -> None:
        """Removes a directory with all that is in it. Links in it are removed, not followed.

        Parameters:
            ignore_errors: go on.
            onerror: called with the function that failed, its path, and `sys.exc_info()`; then it
                goes on.
        """
        there = self.compose_path(path)
        failed = partial(_failed, ignore_errors, onerror)
        try:
            if await self.islink(there):
                raise SFTPNoSuchFile(f"{self._shown(there)} is a link, not a directory")
        except SFTPError:
            failed(self.islink, there)
            return
        await self._remove_tree(there, failed)

    async def _remove_tree(
        self, path: bytes, failed: Callable[[Callable[..., Any], bytes], None]
    ) -> None:
        names: list[SFTPName] = []
        try:
            names = await self._there.entries(path)
        except SFTPError:
            failed(self.scandir, path)
        files = []
        for name in names:
            below = posixpath.join(path, cast("bytes", name.filename))
            if name.attrs.type == FILEXFER_TYPE_DIRECTORY:
                await self._remove_tree(below, failed)
            else:
                files.append(below)
        for first in range(0, len(files), _REMOVALS):
            await self._remove_files(files[first : first + _REMOVALS], failed)
        try:
            await self.rmdir(path)
        except SFTPError:
            failed(self.rmdir, path)

    async def _remove_files(
        self, paths: Sequence[bytes], failed: Callable[[Callable[..., Any], bytes], None]
    ) -> None:
        ends = await asyncio.gather(*map(self.remove, paths), return_exceptions=True)
        for path, error in zip(paths, ends, strict=True):
            try:
                if error is not None:
                    raise error
            except SFTPError:
                failed(self.remove, path)

    # Names

    async def remove(self, path: SFTPPath) -> None:
        """Removes a file or a link."""
        await self._server.remove(self.compose_path(path))

    async def unlink(self, path: SFTPPath) -> None:
        """The same as `remove`."""
        await self.remove(path)

    async def rename(self, oldpath: SFTPPath, newpath: SFTPPath, flags: int = 0) -> None:
        """Renames; if the new name is taken that fails, unless `flags` has FXR_OVERWRITE."""
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

    # Changing

    async def setstat(
        self, path: SFTPPath, attrs: SFTPAttrs, *, follow_symlinks: bool = True
    ) -> None:
        """Sets the attributes that are not None."""
        there = self.compose_path(path)
        await self._server.setstat(there, attrs, follow_symlinks=follow_symlinks)

    async def chmod(self, path: SFTPPath, mode: int, *, follow_symlinks: bool = True) -> None:
        """Sets the permissions."""
        attrs = SFTPAttrs(permissions=mode)
        await self.setstat(path, attrs, follow_symlinks=follow_symlinks)

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
        await self.setstat(path, SFTPAttrs(size=size))

    # Files

    def open(
        self,
        path: SFTPPath,
        pflags_or_mode: int | str = "r",
        attrs: SFTPAttrs | None = None,
        encoding: str | None = "utf-8",
        errors: str = "strict",
        block_size: int = -1,
        max_requests: int = -1,
    ) -> Opening:
        """Opens a file: to be awaited, or entered as an `async with` block.

        Parameters:
            pflags_or_mode: as for Python's own `open`: "r", "w", "a", "x", with "+", and "b" for
                bytes; or FXF_ flags.
            attrs: for a file that is made.
            encoding: of text; None for bytes.
            errors: how to encode and decode what is not valid in that encoding.
            block_size: bytes of one request; the server's limit if it is not given.
            max_requests: how many of them may be under way; 4 MiB if it is not given.
        """
        if isinstance(pflags_or_mode, str):
            flags, binary = flags_of(pflags_or_mode)
            encoding = None if binary else encoding
        else:
            flags = pflags_or_mode

        async def opened() -> SFTPClientFile[Any]:
            there = self.compose_path(path)
            handle = await self._server.open(there, flags, attrs or SFTPAttrs())
            return SFTPClientFile(
                *(self, self._server, handle, there),
                appending=bool(flags & FXF_APPEND),
                encoding=encoding,
                errors=errors,
                block_size=block_size,
                max_requests=max(max_requests, 0),
            )

        return Opening(opened)

    # Copies

    async def get(
        self,
        remotepaths: SFTPPaths,
        localpath: SFTPPath | None = None,
        **options: Unpack[CopyKeywords],
    ) -> None:
        """Fetches files and directories. For large ones see `Connection.get`, which is quicker.

        Parameters:
            remotepaths: one, or several.
            localpath: a name, or a directory to put them into; the working directory if it is not
                given.
            preserve: keep permissions and times.
            recurse: take directories with all that is in them.
            follow_symlinks: copy what links lead to, not the links.
            sparse: do not write what is all zeros.
            block_size: bytes of one request; the server's limit if it is not given.
            max_requests: how many of them may be under way for a file; 4 MiB if it is not given.
            progress_handler: called with source and target (in bytes), the bytes done and in all.
            error_handler: called with what goes wrong with a file (it has `srcpath` and
                `dstpath`); then the others are copied.

        Several files are copied at once. Raises `SFTPError`, and `OSError` for files here.
        """
        await self._get(remotepaths, localpath, CopyOptions(**options), patterns=False)

    async def mget(
        self,
        remotepaths: SFTPPaths,
        localpath: SFTPPath | None = None,
        **options: Unpack[CopyKeywords],
    ) -> None:
        """As `get`, of what fits the patterns."""
        await self._get(remotepaths, localpath, CopyOptions(**options), patterns=True)

    async def put(
        self,
        localpaths: SFTPPaths,
        remotepath: SFTPPath | None = None,
        **options: Unpack[CopyKeywords],
    ) -> None:
        """Sends files and directories: see `get`. For large ones see `Connection.put`."""
        await self._put(localpaths, remotepath, CopyOptions(**options), patterns=False)

    async def mput(
        self,
        localpaths: SFTPPaths,
        remotepath: SFTPPath | None = None,
        **options: Unpack[CopyKeywords],
    ) -> None:
        """As `put`, of what fits the patterns."""
        await self._put(localpaths, remotepath, CopyOptions(**options), patterns=True)

    async def copy(
        self,
        srcpaths: SFTPPaths,
        dstpath: SFTPPath | None = None,
        *,
        remote_only: bool = False,
        **options: Unpack[CopyKeywords],
    ) -> None:
        """Copies on the remote: by the server itself if it can, else through here. See `get`.

        Parameters:
            remote_only: raise `SFTPOpUnsupported` if the server cannot.
        """
        await self._copy(srcpaths, dstpath, CopyOptions(**options), remote_only, patterns=False)

    async def mcopy(
        self,
        srcpaths: SFTPPaths,
        dstpath: SFTPPath | None = None,
        *,
        remote_only: bool = False,
        **options: Unpack[CopyKeywords],
    ) -> None:
        """As `copy`, of what fits the patterns."""
        await self._copy(srcpaths, dstpath, CopyOptions(**options), remote_only, patterns=True)

    async def _get(
        self, sources: SFTPPaths, target: SFTPPath | None, options: CopyOptions, *, patterns: bool
    ) -> None:
        move = SFTPFileCopier(self._server, options).get
        await Copy(self._there, self._here, move, options).run(sources, target, patterns=patterns)

    async def _put(
        self, sources: SFTPPaths, target: SFTPPath | None, options: CopyOptions, *, patterns: bool
    ) -> None:
        move = SFTPFileCopier(self._server, options).put
        await Copy(self._here, self._there, move, options).run(sources, target, patterns=patterns)

    async def _copy(
        self,
        sources: SFTPPaths,
        target: SFTPPath | None,
        options: CopyOptions,
        remote_only: bool,
        *,
        patterns: bool,
    ) -> None:
        moving = SFTPFileCopier(self._server, options)
        if remote_only and not self.supports_remote_copy:
            raise SFTPOpUnsupported("this server cannot copy files by itself")
        move = moving.copy_on_remote if self.supports_remote_copy else moving.copy_through_local
        await Copy(self._there, self._there, move, options).run(sources, target, patterns=patterns)

    async def remote_copy(
        self,
        src: SFTPClientFile[Any] | SFTPPath,
        dst: SFTPClientFile[Any] | SFTPPath,
        src_offset: int = 0,
        src_length: int = 0,
        dst_offset: int = 0,
    ) -> None:
        """Lets the server copy `src_length` bytes (0: all) from one file to another."""
        async with contextlib.AsyncExitStack() as opened:
            source, target = src, dst
            if not isinstance(source, SFTPClientFile):
                source = await opened.enter_async_context(self.open(source, "rb"))
            if not isinstance(target, SFTPClientFile):
                target = await opened.enter_async_context(self.open(target, "wb"))
            await self._server.copy_data(
                *(source.handle, src_offset, src_length, target.handle, dst_offset)
            )

    # Its end

    def exit(self) -> None:
        """Ends the session. What was asked for before is still answered."""
        self._session.close()

    async def wait_closed(self) -> None:
        """Waits until nothing of the session is left."""
        await self._session.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.exit()
        await self.wait_closed()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None:
            session.dropped()

    @staticmethod
    def _shown(path: bytes) -> str:
        return path.decode("utf-8", "backslashreplace")


class Opening:
    """To be awaited for an `SFTPClientFile`, or entered as an `async with` block."""

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._opened = opened
        self._file: SFTPClientFile[Any] | None = None

    def __await__(self) -> Any:
        return self._opened().__await__()

    async def __aenter__(self) -> SFTPClientFile[Any]:
        self._file = await self._opened()
        return self._file

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            await self._file.__aexit__(kind, error, traceback)


def _float(seconds: float | None) -> float | None:
    return None if seconds is None else float(seconds)


def _failed(
    ignore: bool, onerror: OnError | None, function: Callable[..., Any], path: bytes
) -> None:
    """What becomes of the error that is being handled."""
    if onerror is not None and not ignore:
        onerror(function, path, sys.exc_info())
    elif not ignore:
        raise
