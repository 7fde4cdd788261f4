"""Borrowing a shell: a connection of the pool, and a warm shell on it."""

from __future__ import annotations

from types import TracebackType

from ..session.shell import RemoteShell
from ..session.warm_shells import WarmShells
from .borrow import Borrow


class ShellBorrow:
    """`async with manager.get_shell(…) as shell`: used once."""

    def __init__(self, borrow: Borrow) -> None:
        self._borrow = borrow

    async def __aenter__(self) -> RemoteShell:
        connection = await self._borrow.__aenter__()
        self._warm = WarmShells.of(connection.link)
        self._shell = self._warm.lend()
        return self._shell

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._warm.give_back(self._shell)
        await self._borrow.__aexit__(kind, error, trace)
