"""What is copied where, between two directories of this machine: no server is needed for that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sshmux import SFTPBadMessage, SFTPFailure, SFTPNoSuchFile
from sshmux.sftp import copying
from sshmux.sftp.copying import Copy, CopyOptions
from sshmux.sftp.filesystems import LocalFiles


async def move(source: bytes, target: bytes, size: int, progress: Any) -> None:
    Path(os.fsdecode(target)).write_bytes(content := Path(os.fsdecode(source)).read_bytes())
    if progress is not None and content:
        progress(len(content))


async def copy(sources: Any, target: Any, *, patterns: bool = False, **how: Any) -> None:
    await Copy(LocalFiles(), LocalFiles(), move, CopyOptions(**how)).run(
        sources, target, patterns=patterns
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree: two files, a directory in it with one, a link to each."""
    path = tmp_path / "source"
    (path / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (path / name).write_text(name)
    (path / "to_a").symlink_to("a")
    (path / "to_sub").symlink_to("sub")
    (path / "sub" / "to_b").symlink_to("../b")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def listed(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*"))


async def test_names_and_directories(source: Path, target: Path) -> None:
    await copy(source / "a", target)
    await copy(str(source / "a"), target / "new")
    await copy([source / "b", os.fsencode(source / "a")], target)
    await copy([], target)
    assert listed(target) == ["a", "b", "new"]
    with pytest.raises(SFTPFailure, match="must be a directory"):
        await copy([source / "a", source / "b"], target / "new")
    with pytest.raises(FileNotFoundError):
        await copy(source / "nothing", target)
    with pytest.raises(FileNotFoundError):
        await copy(source / "a", target / "no" / "such")


async def test_trees(source: Path, target: Path) -> None:
    with pytest.raises(SFTPFailure, match="recurse=True") as failed:
        await copy(source, target)
    assert (failed.value.srcpath, failed.value.dstpath) == (
        os.fsencode(source),
        os.fsencode(target / "source"),
    )
    await copy(source, target, recurse=True)  # into it
    await copy(source, target / "new", recurse=True)  # under that name
    assert listed(target / "source") == listed(target / "new") == listed(source)
    assert os.readlink(target / "new" / "sub" / "to_b") == "../b"
    await copy(source, target / "followed", recurse=True, follow_symlinks=True)
    assert listed(target / "followed") == sorted([*listed(source), "to_sub/c", "to_sub/to_b"])
    assert not [each for each in (target / "followed").rglob("*") if each.is_symlink()]


async def test_patterns(source: Path, target: Path) -> None:
    await copy([str(source / "[ab]"), str(source / "a*")], target, patterns=True)
    assert listed(target) == ["a", "b"]
    with pytest.raises(SFTPNoSuchFile, match="nothing fits"):
        await copy(str(source / "z*"), target, patterns=True)
    errors: list[Exception] = []
    await copy(
        [str(source / "z*"), str(source / "s*")],
        target,
        patterns=True,
        error_handler=errors.append,
    )
    assert [type(error) for error in errors] == [SFTPNoSuchFile, SFTPFailure]


async def test_what_fits_two_patterns_is_copied_once(source: Path, target: Path) -> None:
    seen: list[bytes] = []
    await copy(
        [str(source / "a"), str(source / "?")],
        target,
        patterns=True,
        progress_handler=lambda path, *_: seen.append(os.path.basename(path)),
    )
    assert sorted(seen) == [b"a", b"b"]


async def test_times_and_permissions_are_kept(source: Path, target: Path) -> None:
    os.utime(source / "a", (1_000_000_000, 1_000_000_001))
    os.utime(source / "to_a", (1_000_000_002, 1_000_000_003), follow_symlinks=False)
    (source / "a").chmod(0o640)
    (source / "sub").chmod(0o555)
    os.utime(source / "sub", (1_000_000_004, 1_000_000_005))
    await copy(source, target / "new", recurse=True, preserve=True)
    for name in ("a", "sub", "to_a"):
        was, now = (source / name).lstat(), (target / "new" / name).lstat()
        assert (now.st_mode, now.st_mtime) == (was.st_mode, was.st_mtime)
    (source / "sub").chmod(0o755)


async def test_progress(source: Path, target: Path) -> None:
    seen: list[tuple[bytes, bytes, int, int]] = []
    (source / "empty").touch()

    def handler(*told: Any) -> None:
        seen.append(told)

    await copy([source / "empty", source / "a"], target, progress_handler=handler)
    await copy(source / "sub", target, recurse=True, progress_handler=handler)
    wanted = {"empty": 0, "a": 1, "sub/c": 5}
    assert sorted(seen) == sorted(
        (os.fsencode(source / name), os.fsencode(target / name), size, size)
        for name, size in wanted.items()
    )


async def test_progress_of_what_does_not_know_its_size(target: Path) -> None:
    seen: list[int] = []
    await copy("/proc/version", target, progress_handler=lambda *told: seen.append(told[2]))
    assert seen == [len(Path("/proc/version").read_bytes())]


async def test_the_handler_gets_each_error_once(source: Path, target: Path) -> None:
    os.mkfifo(source / "fifo")
    os.mkfifo(source / "sub" / "fifo")
    errors: list[Exception] = []
    await copy(source, target, recurse=True, error_handler=errors.append)
    assert [type(error) for error in errors] == [SFTPFailure] * 2
    assert {os.path.basename(error.srcpath) for error in errors} == {b"fifo"}  # type: ignore[attr-defined]
    assert (target / "source" / "sub" / "c").exists()


@pytest.mark.parametrize("same", [False, True])
async def test_an_error_of_the_handlers_own_comes_out(
    source: Path, target: Path, same: bool
) -> None:
    (source / "sub" / "deep").mkdir()
    os.mkfifo(source / "sub" / "deep" / "fifo")
    calls = []

    def handler(error: Exception) -> None:
        calls.append(error)
        raise error if same else OSError("mine")

    with pytest.raises(Exception) as failed:
        await copy(source, target, recurse=True, error_handler=handler)
    assert len(calls) == 1
    assert failed.value is calls[0] or str(failed.value) == "mine"


@pytest.mark.parametrize(
    "leads_to",
    ["/etc", "..", "../..", "sub/../../..", "../target2", "a/../b", "x/..", "./sub/.././..", "../"],
)
async def test_links_that_lead_out(source: Path, target: Path, leads_to: str) -> None:
    (target.parent / "target2").mkdir()
    (source / "bad").symlink_to(leads_to)
    with pytest.raises(SFTPBadMessage, match="follow_symlinks"):
        await copy(source, target / "new", recurse=True)
    assert not os.path.lexists(target / "new" / "bad")


async def test_a_link_cannot_be_made_to_lead_out_by_another(source: Path, target: Path) -> None:
    """What looks like a place inside is one outside, when a part of it is a link itself."""
    (source / "sub" / "deep").mkdir()
    (source / "sub" / "deep" / "up").symlink_to("../..")
    (source / "way_out").symlink_to("sub/deep/up/..")
    errors: list[Exception] = []
    await copy(source, target / "new", recurse=True, error_handler=errors.append)
    for each in (target / "new").rglob("*"):
        assert each.resolve().is_relative_to(target / "new"), each
    assert [error.srcpath for error in errors] == [os.fsencode(source / "way_out")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("leads_to", [".", "sub/c", "./a", "sub//c", "nowhere/yet"])
async def test_links_that_stay_inside(source: Path, target: Path, leads_to: str) -> None:
    (source / "good").symlink_to(leads_to)
    await copy(source, target / "new", recurse=True)
    assert os.readlink(target / "new" / "good") == os.path.join(leads_to)


async def test_a_link_by_itself_may_lead_to_its_neighbours(source: Path, target: Path) -> None:
    await copy(source / "to_a", target)
    await copy(source / "to_a", target / "new")
    assert os.readlink(target / "new") == os.readlink(target / "to_a") == "a"
    with pytest.raises(SFTPBadMessage):
        await copy(source / "sub" / "to_b", target / "out")


async def test_in_the_working_directory(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(target)
    await copy([source / "a", source / "to_a"], None)
    await copy(source / "sub" / "c", "c2")
    await copy(source / "to_a", "link")
    assert listed(target) == ["a", "c2", "link", "to_a"]
    with pytest.raises(SFTPBadMessage):
        await copy(source / "sub" / "to_b", None)


async def test_many_files_one_that_fails(source: Path, target: Path) -> None:
    (source / "sub" / "to_b").unlink()
    for number in range(200):
        (source / "sub" / f"{number}").write_text(str(number))
    (target / "sub" / "150").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as failed:
        await copy(source / "sub", target, recurse=True)
    assert failed.value.dstpath == os.fsencode(target / "sub" / "150")  # type: ignore[attr-defined]
    errors: list[Exception] = []
    await copy(source / "sub", target, recurse=True, error_handler=errors.append)
    assert [type(error) for error in errors] == [IsADirectoryError]
    assert len(listed(target / "sub")) == 201


def test_each_path_once_in_its_first_place() -> None:
    names = [copying.SFTPName(name) for name in (b"a", b"b", b"a", b"c", b"b")]
    assert [name.filename for name in copying.unique(names)] == [b"a", b"b", b"c"]
