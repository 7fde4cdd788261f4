"""Copies of files and trees, from there, to there, and on the remote."""

from __future__ import annotations

from typing import Unpack

from ..errors import SFTPOpUnsupported
from .client_base import ClientBase
from .copy_options import CopyKeywords, CopyOptions, SFTPPaths
from .copying import Copy
from .file_copier import SFTPFileCopier
from .operations import COPY_DATA
from .paths import SFTPPath
from .targets import LocalTarget, RemoteTarget


class TransferMethods(ClientBase):
    """Copies: a part of `SFTPClient`."""

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
            exclude: patterns of what is left out, with all that is in it: see `Connection.put`.
            include: patterns of the only files that are copied, or of directories with them.

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
        target_side = LocalTarget(options.follows_named)
        await Copy(self._there, target_side, move, options).run(sources, target, patterns=patterns)

    async def _put(
        self, sources: SFTPPaths, target: SFTPPath | None, options: CopyOptions, *, patterns: bool
    ) -> None:
        move = SFTPFileCopier(self._server, options).put
        target_side = RemoteTarget(self._server, self._paths)
        await Copy(self._here, target_side, move, options).run(sources, target, patterns=patterns)

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
        if remote_only and not self._server.has(COPY_DATA):
            raise SFTPOpUnsupported("this server cannot copy files by itself")
        move = moving.copy_on_remote if self._server.has(COPY_DATA) else moving.copy_through_local
        target_side = RemoteTarget(self._server, self._paths)
        await Copy(self._there, target_side, move, options).run(sources, target, patterns=patterns)
