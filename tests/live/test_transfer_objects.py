"""Objects in place of local files: `put` reads from them, `get` writes to them."""

from __future__ import annotations

import gzip
import io
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Connection
from sshmux.testing import PrivateServer

from ..support import managed

TEXT = "one\ntwö\n" * 50_000
DATA = TEXT.encode()


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server) as manager,
        manager.get_connection(1) as connection,
    ):
        yield connection


async def _pieces() -> AsyncIterator[bytes]:
    yield DATA[:5]
    yield DATA[5:]


async def test_there_and_back(connection: Connection, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(DATA))
    with gzip.open(packed) as unpacked:
        sources: dict[str, Any] = {
            "bytes": io.BytesIO(DATA),
            "text": io.StringIO(TEXT),
            "compressed": unpacked,
            "iterable": _pieces(),
            "nothing": io.BytesIO(),
        }
        for name, source in sources.items():
            verify = "sha256" if name == "bytes" else None
            there = tmp_path / name
            result = await connection.put(source, there, verify=verify)
            expected = b"" if name == "nothing" else DATA
            assert there.read_bytes() == expected, name
            assert (result.files, result.bytes) == (1, len(expected))
            assert stat.S_IMODE(there.stat().st_mode) == 0o644
            assert not getattr(source, "closed", False)
    into, text = io.BytesIO(b"before"), io.StringIO()
    into.seek(0, os.SEEK_END)
    result = await connection.get(tmp_path / "bytes", into)
    assert into.getvalue() == b"before" + DATA
    assert (result.moved, result.bytes) == ((str(tmp_path / "bytes"),), len(DATA))
    await connection.get(tmp_path / "bytes", text, verify="sha256")
    assert text.getvalue() == TEXT
    async with connection.start_sftp_client() as sftp, sftp.open(tmp_path / "by", "wb") as file:
        await connection.get(tmp_path / "bytes", file)
    assert (tmp_path / "by").read_bytes() == DATA


async def test_whole_or_not_at_all(connection: Connection, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some of it"
        raise LookupError("the rest is gone")

    (tmp_path / "there").write_text("before")
    with pytest.raises(LookupError):
        await connection.put(broken(), tmp_path / "there")
    assert (tmp_path / "there").read_text() == "before"
    into = io.BytesIO()
    with pytest.raises(sshmux.SourceNotFound):
        await connection.get(tmp_path / "nowhere", into)
    assert into.getvalue() == b""


async def test_what_cannot_be_meant(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(sshmux.TransferError):
        await connection.put(io.BytesIO(DATA), tmp_path / "directory")
    assert os.listdir(tmp_path / "directory") == []
    assert os.listdir(tmp_path) == ["directory"]
    for options in ({}, {"recurse": True}, {"preserve": True}, {"resume": True}):
        target = "." if not options else str(tmp_path / "x")
        with pytest.raises(sshmux.ConfigError):
            await connection.put(io.BytesIO(DATA), target, **options)  # type: ignore[arg-type]
    for odd in (["a", "b"], "*.txt", "a/"):
        with pytest.raises(sshmux.ConfigError):
            await connection.get(odd, io.BytesIO())
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(sshmux.ConfigError, match="closed"):
        await connection.put(closed, tmp_path / "x")
