"""Streams whose end may be the connection's, and then is none of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import ConnectionLost, ConnectionReleased, fresh_copy
from ..session.link import Link
from .endpoints import UNIX, Endpoint

_PING = 2.0  # seconds for the master to say whether it is there


class LosableReader(asyncio.StreamReader):
    """Asyncio's reader; what was cut off raises once all that came before was read.

    Parameters:
        on_end: called when no more comes; then `settle` says what that was.
    """

    def __init__(self, limit: int, on_end: Callable[[], object]) -> None:
        super().__init__(limit)
        self._on_end: Callable[[], object] | None = on_end
        self._settled = False
        self._lost: Exception | None = None

    def feed_eof(self) -> None:
        """No more comes. Whether that is the end is somebody else's to say."""
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()

    def settle(self, lost: Exception | None) -> None:
        """It has ended; with an error, if it was cut off."""
        self._on_end = None
        if not self._settled:
            self._settled = True
            self._lost = lost
            super().feed_eof()

    def exception(self) -> Exception | None:
        """What cut it off, for writers too."""
        return super().exception() or self._lost

    async def read(self, n: int = -1) -> bytes:
        """As asyncio's own. Raises `ConnectionLost` where that would tell an end that is none."""
        data = await super().read(n)
        if not data and n != 0:
            self._check()
        return data

    async def readuntil(self, separator: bytes = b"\n") -> bytes:  # type: ignore[override]
        """As asyncio's own; the same."""
        try:
            return await super().readuntil(separator)
        except asyncio.IncompleteReadError:
            self._check()
            raise

    async def readexactly(self, n: int) -> bytes:
        """As asyncio's own; the same."""
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError:
            self._check()
            raise

    def _check(self) -> None:
        if self._lost is not None:
            raise fresh_copy(self._lost)


class Ending:
    """Tells the end that the other side made from that of the connection.

    Attributes:
        expected: it is closed here.
        on_over: called when no more comes.
    """

    def __init__(self, link: Link, place: Endpoint) -> None:
        self.expected = False
        self.on_over: Callable[[], object] | None = None
        self._link = link
        self._place = place
        self._reader: LosableReader | None = None
        self._judging: asyncio.Task[None] | None = None

    def reader(self, limit: int) -> LosableReader:
        """The reader whose end it is."""
        self._reader = LosableReader(limit, self._came)
        return self._reader

    def _came(self) -> None:
        if self.on_over is not None:
            self.on_over()
        if self.expected or self._link.loop.is_closed():
            self._settle(None)
        else:
            self._judging = self._link.loop.create_task(self._judge())

    async def _judge(self) -> None:
        """An end counts only while the master stands: it ends streams as it dies, too."""
        whole = await self._link.master.stands(_PING)
        self._settle(None if whole else self._lost())

    def cut_off(self) -> None:
        """The connection ends before the stream does."""
        if not self.expected and self._judging is None:
            released = ConnectionReleased(
                f"the connection was given back, and the stream to {self._shown} was cut off"
            )
            self._settle(released if self._link.master.alive else self._lost())

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(
            f"Connection to {self._link.config.address} lost: the stream to {self._shown} "
            "was cut off"
        )

    @property
    def _shown(self) -> str:
        host, port = self._place
        return host if port == UNIX else f"{host}:{port}"

    def _settle(self, lost: Exception | None) -> None:
        if self._reader is not None:
            self._reader.settle(lost)
