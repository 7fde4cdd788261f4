"""A pipe that is emptied where there is no memory: said once, and never a part for the whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from io import BytesIO

import pytest

from sshmux.system.pipes import Reader


def short_of(most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on no piece may be larger than that; the sizes that were asked for."""
    read, readv, asked = os.read, os.readv, list[int]()

    def reading(fd: int, size: int) -> bytes:
        asked.append(size)
        if size > most:
            raise MemoryError
        return read(fd, size)

    monkeypatch.setattr(os, "read", reading)
    monkeypatch.setattr(os, "readv", readv)
    return asked


async def test_smaller_pieces_are_taken_where_there_is_no_room_for_large_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[bytes] = []
    reader, writing = Reader.pipe(got.append)
    asked = short_of(40_000, monkeypatch)
    data = os.urandom(60_000)
    os.write(writing, data)
    os.close(writing)
    await asyncio.wait_for(reader.ended(), 10)
    assert b"".join(got) == data
    assert len(asked) < 10


class Full(BytesIO):
    def write(self, data: object, /) -> int:
        raise MemoryError


@pytest.mark.parametrize("sink", [Full, lambda: Full().write], ids=["a buffer", "a callable"])
async def test_what_cannot_be_kept_is_said(sink: Callable[[], BytesIO]) -> None:
    errors: list[Exception] = []
    reader, writing = Reader.pipe(sink())
    reader.on_error(errors.append)
    os.write(writing, b"x")
    os.close(writing)
    await asyncio.wait_for(reader.ended(), 10)
    assert [type(error) for error in errors] == [MemoryError]


async def test_a_buffer_that_is_full_in_the_middle_of_bulk_data_is_said() -> None:
    class Small(BytesIO):
        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            if self.tell() > 500_000:
                raise MemoryError
            return super().write(data)

    errors: list[Exception] = []
    reader, writing = Reader.pipe(Small())
    reader.on_error(errors.append)

    def pour() -> None:
        for _ in range(50):
            os.write(writing, bytes(60_000))
        os.close(writing)

    await asyncio.to_thread(pour)
    await asyncio.wait_for(reader.ended(), 10)
    assert [type(error) for error in errors] == [MemoryError]


async def test_no_memory_at_all_ends_it_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = []
    reader, writing = Reader.pipe(lambda _: None)
    reader.on_error(errors.append)
    asked = short_of(0, monkeypatch)
    os.write(writing, b"x")
    await asyncio.wait_for(reader.ended(), 10)
    os.close(writing)
    assert [type(error) for error in errors] == [MemoryError]
    assert len(asked) < 10
