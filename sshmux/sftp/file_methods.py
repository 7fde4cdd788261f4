"""Files of the remote: opening them, and copies of parts of them."""

from __future__ import annotations

import contextlib
from typing import Any

from ..session.arguments import check_encoding
from ..system.contexts import AwaitableContext
from .attrs import SFTPAttrs
from .changes import flags_of, told_attrs
from .client_base import ClientBase
from .copy_options import check_requests
from .fields import u32, u64
from .file import SFTPClientFile
from .messages import FXF_APPEND
from .paths import SFTPPath


class FileMethods(ClientBase):
    """Open files: a part of `SFTPClient`."""

    def open(
        self,
        path: SFTPPath,
        pflags_or_mode: int | str = "r",
        attrs: SFTPAttrs | None = None,
        encoding: str | None = "utf-8",
        errors: str = "strict",
        block_size: int | None = -1,
        max_requests: int = -1,
    ) -> AwaitableContext[SFTPClientFile[Any]]:
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
            u32(flags)
        known = SFTPAttrs() if attrs is None else told_attrs(attrs)
        # Else it would be found out when the file is open, and perhaps emptied.
        check_encoding(encoding, errors)
        check_requests(block_size, max_requests)

        async def opened() -> SFTPClientFile[Any]:
            there = self.compose_path(path)
            handle = await self._server.open(there, flags, known)
            return SFTPClientFile(
                *(self, self._server, handle, there),
                appending=bool(flags & FXF_APPEND),
                encoding=encoding,
                errors=errors,
                block_size=block_size,
                max_requests=max(max_requests, 0),
            )

        return AwaitableContext(opened)

    async def remote_copy(
        self,
        src: SFTPClientFile[Any] | SFTPPath,
        dst: SFTPClientFile[Any] | SFTPPath,
        src_offset: int = 0,
        src_length: int = 0,
        dst_offset: int = 0,
    ) -> None:
        """Lets the server copy `src_length` bytes (0: all) from one file to another."""
        for number in (src_offset, src_length, dst_offset):
            u64(number)  # before the target is emptied
        async with contextlib.AsyncExitStack() as opened:
            source, target = src, dst
            if not isinstance(source, SFTPClientFile):
                source = await opened.enter_async_context(self.open(source, "rb"))
            if not isinstance(target, SFTPClientFile):
                target = await opened.enter_async_context(self.open(target, "wb"))
            await self._server.copy_data(
                *(source.handle, src_offset, src_length, target.handle, dst_offset)
            )
