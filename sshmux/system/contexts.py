"""What can be awaited for a thing, or entered as a block that ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar


class AsyncContext(Protocol):
    """An async context manager."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Its end."""


class OwnContext:
    """An object that is its own `async with` block, which ends it."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave(error)

    async def _leave(self, error: BaseException | None) -> None:
        """Ends it; `error` is what the block raised."""
        raise NotImplementedError


T = TypeVar("T", bound=AsyncContext)


class AwaitableContext(Generic[T]):
    """`await` it for the thing, or `async with` it, which ends the thing.

    Parameters:
        start: makes the thing; called when it is awaited or entered, and not before.
    """

    def __init__(self, start: Callable[[], Awaitable[T]]) -> None:
        self._start = start
        self._entered: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._start().__await__()

    async def __aenter__(self) -> T:
        self._entered = await self._start()
        return self._entered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered is not None:
            await self._entered.__aexit__(kind, error, traceback)
