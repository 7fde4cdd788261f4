"""Starting an SFTP client: awaited, or entered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..session.execution import Scope
from ..session.link import Link
from .paths import Paths

if TYPE_CHECKING:
    from .client import SFTPClient


@dataclass
class SFTPClientContext:
    """To be awaited for an `SFTPClient`, or entered as an `async with` block.

    Parameters:
        line: makes the command to be the server; None for the subsystem.
    """

    link: Link
    scope: Scope
    line: Callable[[], Awaitable[str | None]]
    path_encoding: str | None
    path_errors: str
    _client: SFTPClient | None = None

    def __await__(self) -> Generator[Any, None, SFTPClient]:
        return self._start().__await__()

    async def __aenter__(self) -> SFTPClient:
        self._client = await self._start()
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.__aexit__(kind, error, traceback)

    async def _start(self) -> SFTPClient:
        from .client import SFTPClient
        from .session import Session

        line = await self.line()
        session = Session(self.link, self.scope, line)
        server = await session.begin()
        return SFTPClient(session, server, Paths(self.path_encoding, self.path_errors))
