"""Where the control directory is."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from sshmux.errors import ConfigError, ControlDirError
from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.place import default_path, unfit, unsafe_way


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
    for other in (short_dir / "missing", "relative", "", "/etc/passwd", short_dir / "${HOME}"):
        no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(other))
        assert default_path().parent == Path(tempfile.gettempdir())


def test_then_one_of_our_own_in_the_temporary_one(no_environment: pytest.MonkeyPatch) -> None:
    assert default_path() == Path(tempfile.gettempdir()) / f"sshmux-{os.getuid()}"


@pytest.mark.parametrize("kind", ["long", "open", "link", "file", "below an open one", "read-only"])
def test_a_default_that_does_not_fit_is_passed_over(
    no_environment: pytest.MonkeyPatch, short_dir: Path, kind: str
) -> None:
    runtime, temporary = short_dir / "run", short_dir / "tmp"
    runtime.mkdir(mode=0o700)
    temporary.mkdir(mode=0o700)
    no_environment.setattr(tempfile, "tempdir", os.fspath(temporary))
    if kind == "long":
        runtime = runtime / ("d" * 60)
        runtime.mkdir(mode=0o700)
    elif kind == "open":
        (runtime / "sshmux").mkdir()
        (runtime / "sshmux").chmod(0o755)
    elif kind == "link":
        (runtime / "sshmux").symlink_to(temporary)
    elif kind == "file":
        (runtime / "sshmux").touch()
    elif kind == "below an open one":
        runtime.chmod(0o770)
    else:
        if os.geteuid() == 0:
            pytest.skip("root can write everywhere")
        runtime.chmod(0o500)
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(runtime))
    before = sorted(os.listdir(runtime))
    assert default_path() == temporary / f"sshmux-{os.geteuid()}"
    assert sorted(os.listdir(runtime)) == before, "nothing is made in one that is passed over"


def test_a_long_temporary_directory_is_passed_over_for_tmp(
    no_environment: pytest.MonkeyPatch, short_dir: Path
) -> None:
    no_environment.setattr(tempfile, "tempdir", os.fspath(short_dir / ("d" * 60)))
    assert default_path() == Path(f"/tmp/sshmux-{os.geteuid()}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_runtime_directory_of_another_user_is_passed_over(
    no_environment: pytest.MonkeyPatch, short_dir: Path
) -> None:
    """As after `su`, or `sudo -E`."""
    os.chown(short_dir, 12345, -1)
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir))
    assert default_path().parent == Path(tempfile.gettempdir())
    assert os.listdir(short_dir) == []


def test_what_was_chosen_is_not_passed_over(
    no_environment: pytest.MonkeyPatch, short_dir: Path
) -> None:
    short_dir.chmod(0o777)
    no_environment.setenv("SSHMUX_DIR", os.fspath(short_dir / "a" / "b"))
    with pytest.raises(ControlDirError, match=f"is below {short_dir}, where others can write"):
        ControlDir().open()
    assert os.listdir(short_dir) == []


@pytest.mark.parametrize("bad", ["/tmp/${HOME}", "/tmp/a\nb", "/tmp/\0", 5, b"/tmp/x", "~none/x"])
def test_what_ssh_cannot_be_told_is_refused_when_it_is_named(
    no_environment: pytest.MonkeyPatch, bad: str
) -> None:
    """ssh expands `${...}` in -S from the environment: the socket would be somewhere else."""
    with pytest.raises(ConfigError, match="control_dir"):
        ControlDir(bad)
    if isinstance(bad, str) and "\0" not in bad:
        no_environment.setenv("SSHMUX_DIR", bad)
        with pytest.raises(ConfigError, match="SSHMUX_DIR"):
            ControlDir()


# The way there


def test_a_private_way_is_safe(short_dir: Path) -> None:
    assert unsafe_way(short_dir / "a" / "b") is None
    (short_dir / "a").mkdir(mode=0o755)
    (short_dir / "link").symlink_to("a")
    (short_dir / "a" / "up").symlink_to(short_dir)
    for path in ("a/b", "link/b", "link/../a/up/link/b", "link/missing/x/y"):
        assert unsafe_way(short_dir / path) is None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o770])
def test_a_way_through_what_others_can_change_is_not(short_dir: Path, mode: int) -> None:
    wide = short_dir / "wide"
    (wide / "in").mkdir(parents=True)
    (wide / "back").symlink_to(short_dir)
    (short_dir / "link").symlink_to(wide / "in")
    (short_dir / "over").symlink_to(short_dir / "wide" / "back")
    wide.chmod(mode)
    for path in ("wide/x", "wide/in/x", "link/x", "over/x", "wide/../x", "over/missing/x"):
        reason = unsafe_way(short_dir / path)
        assert reason == f"is below {wide}, where others can write (mode {mode:o})"
        assert unfit(short_dir / path) == reason
    wide.chmod(mode | stat.S_ISVTX)
    assert unsafe_way(short_dir / "link" / "x") is None, "as in /tmp"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("kind", ["directory", "link"])
def test_a_way_through_what_belongs_to_another_is_not(short_dir: Path, kind: str) -> None:
    theirs = short_dir / "theirs"
    if kind == "link":
        (short_dir / "d").mkdir()
        theirs.symlink_to("d")
    else:
        theirs.mkdir(mode=0o755)
    os.chown(theirs, 12345, -1, follow_symlinks=False)
    assert unsafe_way(theirs / "x") == f"is below {theirs}, which belongs to user 12345"


def test_a_circle_of_links_ends(short_dir: Path) -> None:
    (short_dir / "a").symlink_to("b")
    (short_dir / "b").symlink_to("a")
    assert unsafe_way(short_dir / "a" / "x") is None
    with pytest.raises(ControlDirError, match="cannot be made"):
        ControlDir(short_dir / "a" / "x").open()


def test_tilde_and_relative_paths(no_environment: pytest.MonkeyPatch, short_dir: Path) -> None:
    no_environment.setenv("HOME", os.fspath(short_dir))
    no_environment.chdir(short_dir)
    no_environment.setenv("SSHMUX_DIR", "~/s")
    assert default_path() == short_dir / "s"
    no_environment.setenv("SSHMUX_DIR", "s")
    assert default_path() == short_dir / "s"
    assert ControlDir("~/t").path == short_dir / "t"
