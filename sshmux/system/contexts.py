"""What can be awaited for a thing, or entered as a block that ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from .descriptors import told_limit


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
        return self._made().__await__()

    async def _made(self) -> T:
        with told_limit():
            return await self._start()

    async def __aenter__(self) -> T:
        self._entered = await self._made()
        return self._entered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered is not None:
            await self._entered.__aexit__(kind, error, traceback)


class CoroutineContext(AwaitableContext[T], Coroutine[Any, Any, T]):
    """The same for what was a coroutine once: it can be made a task of as well.

    Parameters:
        start: makes a coroutine; called when it is first needed.
    """

    def __init__(self, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        super().__init__(start)
        self._begin = start
        self._coroutine: Coroutine[Any, Any, T] | None = None

    @property
    def _begun(self) -> Coroutine[Any, Any, T]:
        if self._coroutine is None:
            self._coroutine = self._begin()
        return self._coroutine

    def send(self, value: Any) -> Any:
        """See `collections.abc.Coroutine`."""
        return self._begun.send(value)

    def throw(self, *error: Any) -> Any:
        """See `collections.abc.Coroutine`."""
        return self._begun.throw(*error)

    def close(self) -> None:
        """See `collections.abc.Coroutine`."""
        if self._coroutine is not None:
            self._coroutine.close()
