"""Paths, modes, owners and times, purely."""

from __future__ import annotations

import itertools
import os
import posixpath
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import SFTPOpUnsupported
from sshmux.sftp.attrs import SFTPAttrs
from sshmux.sftp.changes import flags_of, owners, times_of
from sshmux.sftp.messages import FXF_APPEND, FXF_CREAT, FXF_EXCL, FXF_READ, FXF_TRUNC, FXF_WRITE
from sshmux.sftp.paths import Paths, basename

NAMES = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name)


@given(NAMES)
def test_every_name_can_be_read_and_given_back(name: bytes) -> None:
    paths = Paths("utf-8", "surrogateescape")
    assert paths.encode(paths.decode(name)) == name
    assert isinstance(paths.decode(name), str)
    assert paths.decode(name, want_string=False) == name == paths.encode(name)


def test_what_no_path_can_be() -> None:
    paths = Paths("utf-8", "surrogateescape")
    wrong: tuple[Any, ...] = (1, None, bytearray(b"x"), ["x"])
    for path in wrong:
        with pytest.raises(TypeError):
            paths.encode(path)
    for path in ("a\0b", b"a\0b", "\ud800"):
        with pytest.raises(ValueError):
            paths.encode(path)


def test_in_bytes_only() -> None:
    paths = Paths(None, "strict")
    assert paths.encode(b"\xff") == paths.decode(b"\xff") == b"\xff"
    for path in ("x", PurePosixPath("x")):
        with pytest.raises(TypeError, match="bytes"):
            paths.encode(path)


def test_the_directory_of_relative_paths() -> None:
    paths = Paths("utf-8", "strict")
    assert paths.compose("ä") == "ä".encode()
    assert paths.compose(PurePosixPath("a/b"), b"/p") == b"/p/a/b"
    paths.cwd = b"/home"
    assert paths.compose("x") == b"/home/x"
    assert paths.compose("/x") == b"/x"
    assert paths.compose(b"x", b"/else") == b"/else/x"


@given(NAMES)
def test_last_names(path: bytes) -> None:
    name = basename(path)
    if path.strip(b"/"):
        assert b"/" not in name
        assert name == posixpath.basename(path.rstrip(b"/")) != b""


def test_modes_are_pythons_own(tmp_path: Any) -> None:
    for size in range(5):
        for letters in itertools.product("rwax+bt", repeat=size):
            mode = "".join(letters)
            path = tmp_path / "f"
            path.unlink(missing_ok=True)
            if "x" not in mode:
                path.touch()
            try:
                with open(path, mode) as file:
                    binary = "b" in file.mode
            except ValueError:
                with pytest.raises(ValueError, match="mode"):
                    flags_of(mode)
            else:
                assert flags_of(mode)[1] == binary, mode


def test_flags() -> None:
    assert flags_of("r") == (FXF_READ, False)
    assert flags_of("rb+") == flags_of("r+b") == (FXF_READ | FXF_WRITE, True)
    assert flags_of("wt") == (FXF_WRITE | FXF_CREAT | FXF_TRUNC, False)
    assert flags_of("a+")[0] == FXF_READ | FXF_WRITE | FXF_CREAT | FXF_APPEND
    assert flags_of("xb")[0] == FXF_WRITE | FXF_CREAT | FXF_EXCL


def test_times() -> None:
    assert times_of(None, None, 5.5) == SFTPAttrs(atime=5.5, mtime=5.5)
    assert times_of((1, 2), None, 5) == SFTPAttrs(atime=1, mtime=2)
    assert times_of((0, 0), None, 5) == SFTPAttrs(atime=0, mtime=0)
    assert times_of(None, (1_500_000_000, 0), 5) == SFTPAttrs(atime=1.5, mtime=0)
    with pytest.raises(ValueError, match="not both"):
        times_of((1, 2), (1, 2), 5)


def test_owners() -> None:
    both = owners(1, 2, None, None, None, None)
    assert both == owners(None, None, 1, 2, None, None)
    assert not both.half
    assert both.filled(None) == SFTPAttrs(uid=1, gid=2)
    now = SFTPAttrs(uid=7, gid=8)
    assert owners(0, None, None, None, None, None).filled(now) == SFTPAttrs(uid=0, gid=8)
    assert owners(None, 0, None, None, None, None).filled(now) == SFTPAttrs(uid=7, gid=0)
    assert owners(None, None, None, 0, None, None).half
    names: list[tuple[Any, ...]] = [("root", 0), (0, "root"), (0, 0, 0, 0, "root")]
    for given_names in [(*each, *[None] * 6)[:6] for each in names]:
        with pytest.raises(SFTPOpUnsupported, match="number"):
            owners(*given_names)
    with pytest.raises(ValueError, match="uid or a gid"):
        owners(None, None, None, None, None, None)


def test_names_of_this_machine_are_the_same_bytes() -> None:
    assert Paths("utf-8", "surrogateescape").encode("\udcff") == os.fsencode("\udcff")
