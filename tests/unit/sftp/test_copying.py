"""What is copied where, between two directories of this machine: no server is needed for that."""

from __future__ import annotations

import logging
import os
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sshmux import SFTPBadMessage, SFTPFailure, SFTPNoSuchFile
from sshmux.sftp import copying
from sshmux.sftp.copy_options import CopyOptions
from sshmux.sftp.copying import Copy, Item
from sshmux.sftp.filesystems import LocalFiles
from sshmux.sftp.targets import LocalTarget


async def move(source: Item, target: Any, progress: Any) -> None:
    content = Path(os.fsdecode(source.path)).read_bytes()
    file = await target()
    try:
        await file.do(partial(_fill, content))
    finally:
        await file.close()
    if progress is not None and content:
        progress(len(content))


def _fill(content: bytes, file: int) -> None:
    os.write(file, content)


async def copy(sources: Any, target: Any, *, patterns: bool = False, **how: Any) -> None:
    options = CopyOptions(**how)
    await Copy(LocalFiles(), LocalTarget(options.follows_named), move, options).run(
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
async def test_links_that_lead_out(
    source: Path, target: Path, leads_to: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are left out, and said to be; the rest of the tree arrives."""
    (target.parent / "target2").mkdir()
    (source / "bad").symlink_to(leads_to)
    with caplog.at_level(logging.WARNING, "sshmux.sftp"):
        await copy(source, target / "new", recurse=True)
    assert "follow_symlinks" in caplog.text
    assert str(source / "bad") in caplog.text
    assert listed(target / "new") == [name for name in listed(source) if name != "bad"]
    errors: list[Exception] = []
    await copy(source, target / "told", recurse=True, error_handler=errors.append)
    assert [type(error) for error in errors] == [SFTPBadMessage]


async def test_a_link_that_leads_through_somebody_elses_link_leads_out(
    source: Path, target: Path
) -> None:
    """Inside is only what the copy itself makes, not what is there before."""
    (target / "source").mkdir()
    (target / "source" / "theirs").symlink_to("/etc")
    (source / "bad").symlink_to("theirs/passwd")
    (source / "good").symlink_to("to_sub/c")  # a link of the same copy
    (source / "indirect").symlink_to("bad")
    (source / "circle").symlink_to("circle")
    errors: list[Exception] = []
    await copy(source, target, recurse=True, error_handler=errors.append)
    names = {os.path.basename(error.srcpath) for error in errors}  # type: ignore[attr-defined]
    assert names == {b"bad", b"indirect"}
    assert (target / "source" / "good").read_text() == "sub/c"


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
    await copy(source / "to_a", target, follow_symlinks=False)
    await copy(source / "to_a", target / "new", follow_symlinks=False)
    assert os.readlink(target / "new") == os.readlink(target / "to_a") == "a"
    with pytest.raises(SFTPBadMessage):
        await copy(source / "sub" / "to_b", target / "out", follow_symlinks=False)


async def test_what_is_named_arrives_as_content_and_links_in_trees_as_links(
    source: Path, target: Path
) -> None:
    await copy(source / "to_a", target)
    await copy(str(source / "to_*"), target, patterns=True, recurse=True)
    await copy(source / "to_sub", target / "new", recurse=True)
    assert (target / "to_a").read_text() == "a"
    assert not (target / "to_a").is_symlink()
    assert listed(target / "to_sub") == listed(target / "new") == ["c"]  # ../b leads out
    (source / "dangling").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        await copy(source / "dangling", target)


async def test_a_tree_with_links_twice(source: Path, target: Path) -> None:
    for _ in range(2):
        await copy(source, target, recurse=True)
    # What was a link is a file now, and the other way round.
    (source / "to_a").unlink()
    (source / "to_a").write_text("no link")
    (source / "b").unlink()
    (source / "b").symlink_to("a")
    await copy(source, target, recurse=True)
    assert (target / "source" / "a").read_text() == "a"
    assert (target / "source" / "to_a").read_text() == "no link"
    assert os.readlink(target / "source" / "b") == "a"


async def test_nothing_here_is_written_through_a_link(source: Path, target: Path) -> None:
    mine = target.parent / "mine"
    mine.mkdir()
    (mine / "c").write_text("mine")
    (target / "a").symlink_to("../mine/c")
    await copy(source / "a", target)
    assert (target / "a").read_text() == "a"
    (target / "source").mkdir()
    (target / "source" / "sub").symlink_to(mine)
    with pytest.raises(NotADirectoryError, match="link"):
        await copy(source, target, recurse=True)
    (target / "source" / "sub").unlink()
    (target / "source" / "a").unlink(missing_ok=True)
    (target / "source" / "a").symlink_to(mine / "c")
    await copy(source, target, recurse=True)
    assert [path.read_text() for path in mine.iterdir()] == ["mine"]


@pytest.mark.parametrize("follow", [None, True, False])
async def test_a_link_that_the_caller_names_as_the_target(
    source: Path, target: Path, follow: bool | None
) -> None:
    """It stays, and its file is written; unless links are not to be followed at all."""
    (target / "file").write_text("before")
    (target / "link").symlink_to("file")
    await copy(source / "a", target / "link", follow_symlinks=follow)
    assert (target / "link").read_text() == "a"
    assert (target / "link").is_symlink() == (follow is not False)
    assert (target / "file").read_text() == ("before" if follow is False else "a")


async def test_what_is_no_file_is_left_as_it_is(source: Path, target: Path) -> None:
    os.mkfifo(target / "a")
    for there in (target, target / "a"):
        with pytest.raises(SFTPFailure, match="is a FIFO"):
            await copy(source / "a", there)
    (target / "tree").mkdir()
    os.mkfifo(target / "tree" / "b")
    with pytest.raises(SFTPFailure, match="is a FIFO"):
        await copy([source / "b"], target / "tree")
    for path in (target / "a", target / "tree" / "b"):
        assert stat.S_ISFIFO(path.lstat().st_mode)
    await copy(source / "a", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("preserve", [False, True])
async def test_modes(source: Path, target: Path, preserve: bool) -> None:
    modes = {"a": 0o4777, "b": 0o640, "sub": 0o555, "sub/c": 0o444}
    for name, mode in modes.items():
        (source / name).chmod(mode)
    before = os.umask(0o027)
    try:
        for _ in range(2):
            await copy(source, target, recurse=True, preserve=preserve)
    finally:
        os.umask(before)
        (source / "sub").chmod(0o755)
    found = {name: stat.S_IMODE((target / "source" / name).stat().st_mode) for name in modes}
    if preserve:
        assert found == {"a": 0o777, "b": 0o640, "sub": 0o555, "sub/c": 0o444}
    else:
        assert found == {"a": 0o750, "b": 0o640, "sub": 0o750, "sub/c": 0o440}
    (target / "source" / "sub").chmod(0o755)


async def test_a_directory_that_nobody_may_write_is_filled_and_left_as_it_was(
    source: Path, target: Path
) -> None:
    (target / "source" / "sub").mkdir(parents=True)
    (target / "source" / "sub").chmod(0o555)
    await copy(source, target, recurse=True)
    assert (target / "source" / "sub" / "c").exists()
    assert stat.S_IMODE((target / "source" / "sub").stat().st_mode) == 0o555
    (target / "source" / "sub").chmod(0o755)


async def test_two_sources_of_one_name(source: Path, target: Path) -> None:
    (source / "sub" / "a").write_text("another")
    with pytest.raises(SFTPFailure, match=f"{target}/a: nothing was copied"):
        await copy([source / "a", source / "b", source / "sub" / "a"], target)
    assert listed(target) == []


@pytest.mark.parametrize("end", ["/.", "/sub/..", "/"])
async def test_sources_without_a_name(source: Path, target: Path, end: str) -> None:
    """`dir/.` and `dir/..` are what is in the directory, as for cp and scp."""
    await copy(str(source) + end, target, recurse=True)
    assert listed(target / "source" if end == "/" else target) == listed(source)


async def test_a_name_with_a_slash_after_it_is_a_directory(source: Path, target: Path) -> None:
    with pytest.raises(SFTPFailure, match="no such directory"):
        await copy(source / "a", f"{target}/new/")
    await copy(source, f"{target}/new/", recurse=True)
    assert listed(target / "new") == listed(source)


async def test_too_deep(source: Path, target: Path) -> None:
    deep = source
    for _ in range(70):
        deep = deep / "d"
        deep.mkdir()
    errors: list[Exception] = []
    await copy(source, target, recurse=True, error_handler=errors.append)
    assert ["more than 64 directories" in str(error) for error in errors] == [True]
    assert (target / "source" / "sub" / "c").exists()


async def test_links_that_lead_up_are_followed_once(source: Path, target: Path) -> None:
    (source / "sub" / "up").symlink_to("..")
    (source / "x").mkdir()
    (source / "y").mkdir()
    for name in "123":
        (source / "x" / name).symlink_to("../y")
        (source / "y" / name).symlink_to("../x")
    errors: list[Exception] = []
    await copy(source, target, recurse=True, follow_symlinks=True, error_handler=errors.append)
    assert {"in itself" in str(error) for error in errors} == {True}
    assert (target / "source" / "to_sub" / "c").exists()


async def test_in_the_working_directory(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(target)
    await copy([source / "a", source / "to_a"], None, follow_symlinks=False)
    await copy(source / "sub" / "c", "c2")
    await copy(source / "to_a", "link", follow_symlinks=False)
    assert listed(target) == ["a", "c2", "link", "to_a"]
    with pytest.raises(SFTPBadMessage):
        await copy(source / "sub" / "to_b", None, follow_symlinks=False)


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
