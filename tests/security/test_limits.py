"""What comes without an end, or takes for ever to look at."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux.errors import JobError, SFTPBadMessage
from sshmux.runner import outputs
from sshmux.sftp.attrs import SFTPAttrs, SFTPName
from sshmux.sftp.bulk import Size
from sshmux.sftp.file_copier import SFTPFileCopier
from sshmux.sftp.listing import entries
from sshmux.transfer import trees

from ..live.test_transfer import lent
from .lying import lying

ENDLESS = """
    if "exec cat" in command:
        announce()
        {told}
        while True:
            out.write(bytes(1 << 20))
            out.flush()
            time.sleep(0.005)
"""


@pytest.mark.parametrize("told", ['report("size 3 - - -")', 'report("size 0 - - -")', ""])
@pytest.mark.parametrize("resume", [False, True])
async def test_a_file_without_an_end(told: str, resume: bool, tmp_path: Path) -> None:
    async with lying() as liar:
        liar.runs(ENDLESS.format(told=told))
        with pytest.raises(sshmux.TransferError, match="sends without end"):
            await asyncio.wait_for(
                liar.connection.get("f", tmp_path / "f", resume=resume), timeout=120
            )
    assert not (tmp_path / "f").exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3


async def test_a_copy_without_an_end(tmp_path: Path) -> None:
    async with lying() as liar, lent() as target:
        liar.runs("""
            if "exec cat" in command:
                announce()
                report("size 3 644 1 -")
                while not command.rstrip("' ").endswith("np"):  # which asks for the size only
                    out.write(bytes(1 << 20))
                    out.flush()
                sys.exit(0)
        """)
        copying = sshmux.copy(liar.connection, "f", target, tmp_path / "f")
        with pytest.raises(sshmux.TransferError):
            await asyncio.wait_for(copying, timeout=120)
    assert os.listdir(tmp_path) == []


def test_a_server_that_tells_no_size() -> None:
    copier = SFTPFileCopier.__new__(SFTPFileCopier)
    copier._accept = False
    size: Size = copier._size(None)
    assert size.excess(2**40)


# One name, and a pattern, that would be tried in as many ways as there are atoms.
SLOW = """
from sshmux.transfer.patterns import asked_for
from sshmux.runner.outputs import fits
from sshmux.sftp.globbing import matches
from sshmux.system.selection import Selection
names = ["a" * 4000, "a." * 2000, "/".join("a" * 2000)]
for pattern in ("*a" * 12 + "b", "*.*.*.*.*.*.*.*.csv", "?*" * 12 + "b", "[a]*[a]*" * 8 + "b",
                "**/a/" * 8 + "b", "*/" * 8 + "*a*a*a*b"):
    selection = Selection.of(pattern, pattern)
    for name in names:
        assert not asked_for(name, [pattern])
        assert not fits(name, pattern)
        assert not matches(name.encode(), pattern.encode())
        selection.takes(name.encode(), directory=False)
"""


def test_a_name_that_takes_for_ever_to_match() -> None:
    """Without a limit it takes longer than anybody lives."""
    subprocess.run([sys.executable, "-c", SLOW], check=True, timeout=120)


class Told:
    """A remote that tells something."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.root, self.remote = "/", self

    async def output(self, _: object) -> tuple[None, bytes]:
        return None, self.data

    async def run(self, *_: object, **__: object) -> tuple[int, bytes]:
        return 0, self.data


class Counting(bytes):
    """Bytes that are not to be taken apart."""

    def split(self, *_: Any) -> list[bytes]:
        raise AssertionError("taken apart before they were counted")

    decode = split  # type: ignore[assignment]


async def test_names_are_counted_before_they_are_taken_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sshmux.transfer.trees.MOST_NAMES", 10)
    monkeypatch.setattr("sshmux.runner.outputs._MOST_NAMES", 10)
    remote: Any = Told(Counting(b"f\0a\0" * 12))
    with pytest.raises(sshmux.TransferError, match="more than 10"):
        await trees.look(remote, ["*"], ".")
    handle = sshmux.JobHandle.parse("shell:a:smaaaaaaaaaaaa:/x")
    with pytest.raises(JobError, match="more than 10"):
        await outputs._listing(remote, handle)


@pytest.mark.parametrize("field", ["filename", "longname", "extended"])
async def test_names_without_an_end(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sshmux.sftp.listing._MOST_BYTES", 1 << 20)
    numbers = iter(range(10**6))

    class Server:
        """One that lists long things."""

        async def opendir(self, _: bytes) -> bytes:
            return b"h"

        def readdir(self, _: bytes) -> asyncio.Future[Any]:
            future = asyncio.get_running_loop().create_future()
            name = SFTPName(b"%d" % next(numbers), b"", SFTPAttrs())
            if field == "extended":
                name.attrs.extended = ((b"", b""),) * 1000
            else:
                setattr(name, field, name.filename.ljust(10_000, b"x"))
            future.set_result([name])
            return future

        def drop(self, _: bytes) -> None:
            """Nothing is left."""

    monkeypatch.setattr("sshmux.sftp.listing.names_of", lambda found: found)
    server: Any = Server()
    with pytest.raises(SFTPBadMessage, match="does not end"):
        await asyncio.wait_for(entries(server, b"d"), 60)
    assert next(numbers) < 1000
