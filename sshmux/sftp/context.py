"""Starting an SFTP client: awaited, or entered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..session.execution import Scope
from ..session.link import Link
from ..system.contexts import AwaitableContext
from .paths import Paths

if TYPE_CHECKING:
    from .client import SFTPClient


class SFTPClientContext(AwaitableContext["SFTPClient"]):
    """To be awaited for an `SFTPClient`, or entered as an `async with` block.

    Parameters:
        line: makes the command to be the server; None for the subsystem.
    """

    def __init__(
        self,
        link: Link,
        scope: Scope,
        line: Callable[[], Awaitable[str | None]],
        path_encoding: str | None,
        path_errors: str,
    ) -> None:
        async def start() -> SFTPClient:
            from .client import SFTPClient
            from .session import Session

            session = Session(link, scope, await line())
            server = await session.begin()
            return SFTPClient(session, server, Paths(path_encoding, path_errors))

        super().__init__(start)
