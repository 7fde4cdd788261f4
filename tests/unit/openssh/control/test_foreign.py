"""A control socket of the user's own: taken only if it is theirs, and never ended.

What needs a living master is in the live tests.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sshmux.config import ConnectionConfig
from sshmux.errors import ControlDirError
from sshmux.openssh.control.foreign import ForeignEntry, hold_foreign

CONFIG = ConnectionConfig("hpc")


async def test_no_socket_is_no_master(short_dir: Path) -> None:
    assert await hold_foreign(CONFIG, short_dir / "none") is None
    assert await hold_foreign(CONFIG, short_dir / "none" / "none") is None


@pytest.mark.parametrize("kind", ["file", "directory", "dead", "dangling"])
async def test_what_is_no_living_master_is_left_as_it_is(short_dir: Path, kind: str) -> None:
    path = short_dir / "own"
    if kind == "file":
        path.write_text("mine")
    elif kind == "directory":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to(short_dir / "none")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(path))
    before = os.lstat(path)
    assert await hold_foreign(CONFIG, path) is None
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert os.listdir(short_dir) == ["own"]


async def test_somebody_elses_socket_is_refused(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = short_dir / "own"
    path.touch()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(ControlDirError, match="belongs to user"):
        await hold_foreign(CONFIG, path)


def test_nothing_is_written_beside_it_and_it_is_not_removed(short_dir: Path) -> None:
    (short_dir / "own").touch()
    entry = ForeignEntry(short_dir, "own")
    assert entry.socket == short_dir / "own"
    entry.touch()
    entry.write(None)  # type: ignore[arg-type]
    entry.remove()
    assert os.listdir(short_dir) == ["own"]
