"""Where the control directory is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.place import default_path


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SSHMUX_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_chosen_directory_comes_first(
    no_environment: pytest.MonkeyPatch, short_dir: Path
) -> None:
    no_environment.setenv("SSHMUX_DIR", "/chosen")
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir))
    assert default_path() == Path("/chosen")
    assert ControlDir().path == Path("/chosen")
    assert ControlDir("/argument").path == Path("/argument")


def test_then_the_runtime_directory_if_it_is_there(
    no_environment: pytest.MonkeyPatch, short_dir: Path
) -> None:
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir))
    assert default_path() == short_dir / "sshmux"
    no_environment.setenv("SSHMUX_DIR", "")
    assert default_path() == short_dir / "sshmux"
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir / "missing"))
    assert default_path().parent == Path(tempfile.gettempdir())


def test_then_one_of_our_own_below_the_temporary_one(no_environment: pytest.MonkeyPatch) -> None:
    assert default_path() == Path(tempfile.gettempdir()) / f"sshmux-{os.getuid()}"


def test_tilde_and_relative_paths(no_environment: pytest.MonkeyPatch, short_dir: Path) -> None:
    no_environment.setenv("HOME", os.fspath(short_dir))
    no_environment.chdir(short_dir)
    no_environment.setenv("SSHMUX_DIR", "~/s")
    assert default_path() == short_dir / "s"
    no_environment.setenv("SSHMUX_DIR", "s")
    assert default_path() == short_dir / "s"
    assert ControlDir("~/t").path == short_dir / "t"
