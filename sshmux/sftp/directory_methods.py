"""Directories of the remote: what is in them, what fits a pattern, making and removing them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, cast

from ..checks import check_function
from ..errors import SFTPError, SFTPFailure, SFTPNoSuchFile
from .attrs import FILEXFER_TYPE_DIRECTORY, SFTPAttrs, SFTPName
from .changes import told_attrs
from .copy_options import ErrorHandler, SFTPPaths, check_error_handler
from .copying import unique
from .globbing import search
from .listing import scan
from .path_methods import PathMethods
from .paths import SFTPPath, shown

_REMOVALS = 256  # at once

_DEEPEST = 2048  # directories in directories: a path has 4096 bytes

Failed = Callable[[Callable[..., Any], bytes], None]
OnError = Callable[[Callable[..., Any], bytes, Any], object]


class DirectoryMethods(PathMethods):
    """Directories and patterns: a part of `SFTPClient`."""

    # What is in them

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
        check_error_handler(error_handler)
        if isinstance(patterns, str | bytes | os.PathLike):
            patterns = [patterns]
        found: list[SFTPName] = []
        for pattern in patterns:
            if not self.encode(pattern):
                continue  # nothing fits it, and nobody can have meant anything by it
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

    # Making and removing them

    async def mkdir(self, path: SFTPPath, attrs: SFTPAttrs | None = None) -> None:
        """Makes a directory. Raises `SFTPFailure` if it is there."""
        await self._server.mkdir(
            self.compose_path(path), SFTPAttrs() if attrs is None else told_attrs(attrs)
        )

    async def makedirs(
        self, path: SFTPPath, attrs: SFTPAttrs | None = None, exist_ok: bool = False
    ) -> None:
        """Makes a directory, and those it is in. Raises `SFTPFailure` if it is there."""
        there = self.compose_path(path).rstrip(b"/") or b"/"
        wanted = SFTPAttrs() if attrs is None else told_attrs(attrs)
        missing = []
        while there not in (b"", b"/") and (kind := await self._file_type(there)) is None:
            missing.append(there)
            there = posixpath.dirname(there)
        if there not in (b"", b"/") and missing and kind != FILEXFER_TYPE_DIRECTORY:
            raise SFTPFailure(f"{shown(there)} is not a directory")
        if not missing and not (exist_ok and await self.isdir(there)):
            raise SFTPFailure(f"{shown(there)} exists")
        for each in reversed(missing):
            try:
                await self.mkdir(each, wanted)
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
        if onerror is not None:
            check_function("onerror", onerror)
        failed = partial(_failed, ignore_errors, onerror)
        try:
            if await self.islink(there):
                raise SFTPNoSuchFile(f"{shown(there)} is a link, not a directory")
        except SFTPError:
            failed(self.islink, there)
            return
        await self._remove_tree(there, failed)

    async def _remove_tree(self, path: bytes, failed: Failed) -> None:
        # The directories on the way down, each with those in it that are not removed yet.
        way = [(path, await self._empty(path, failed))]
        while way:
            if len(way) > _DEEPEST:
                raise SFTPFailure(f"{shown(path)} is more than {_DEEPEST} directories deep")
            at, left = way[-1]
            if left:
                below = left.pop()
                way.append((below, await self._empty(below, failed)))
                continue
            way.pop()
            try:
                await self.rmdir(at)
            except SFTPError:
                failed(self.rmdir, at)

    async def _empty(self, path: bytes, failed: Failed) -> list[bytes]:
        """Removes the files of a directory; the directories that are in it."""
        names: list[SFTPName] = []
        try:
            names = await self._there.entries(path)
        except SFTPError:
            failed(self.scandir, path)
        files: list[bytes] = []
        directories: list[bytes] = []
        for name in names:
            below = posixpath.join(path, cast("bytes", name.filename))
            (directories if name.attrs.type == FILEXFER_TYPE_DIRECTORY else files).append(below)
        for first in range(0, len(files), _REMOVALS):
            await self._remove_files(files[first : first + _REMOVALS], failed)
        return directories

    async def _remove_files(self, paths: Sequence[bytes], failed: Failed) -> None:
        ends = await asyncio.gather(*map(self.remove, paths), return_exceptions=True)
        for path, error in zip(paths, ends, strict=True):
            try:
                if error is not None:
                    raise error
            except SFTPError:
                failed(self.remove, path)


def _failed(
    ignore: bool, onerror: OnError | None, function: Callable[..., Any], path: bytes
) -> None:
    """What becomes of the error that is being handled."""
    if onerror is not None and not ignore:
        onerror(function, path, sys.exc_info())
    elif not ignore:
        raise
