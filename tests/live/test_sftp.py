"""The SFTP client against real servers, on both engines: all that it can do, and its names."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Connection
from sshmux.sftp.client import SFTPClient
from sshmux.testing import PrivateServer

from ..dropbear import Dropbear, missing
from ..support import control_directory, managed, nothing_left

NAMES = [
    *["plain", "with space", 'it\'s "quoted"', "line\nbreak", "-dash", "$HOME;`id`", "a*b?[c]"],
    *["ünï", os.fsdecode(b"not-utf8-\xff\xfe"), ".hidden", "back\\slash", "x" * 255],
]
PROGRAMS = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"]
PROGRAM = next(
    (path for path in [*PROGRAMS, "/usr/libexec/sftp-server"] if os.path.exists(path)), ""
)


@contextlib.asynccontextmanager
async def lent(**server: Any) -> AsyncIterator[Connection]:
    options = {"login_shell": "/bin/sh"} | server
    async with PrivateServer(**options) as private:
        async with managed(private) as manager, manager.get_connection(1) as connection:
            yield connection


@contextlib.asynccontextmanager
async def client(**server: Any) -> AsyncIterator[SFTPClient]:
    async with lent(**server) as connection, connection.start_sftp_client() as sftp:
        yield sftp


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Files on the remote, which is here."""
    found = tmp_path / "there"
    found.mkdir()
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Its beginning and its end


@pytest.mark.both_engines
async def test_three_ways_to_start(there: Path) -> None:
    async with lent() as connection:
        async with connection.start_sftp_client() as sftp:
            assert await sftp.exists(there)
        async with await connection.start_sftp_client() as sftp:
            assert await sftp.exists(there)
        sftp = await connection.start_sftp_client()
        assert await sftp.exists(there)
        assert repr(sftp).endswith(" open>")
        sftp.exit()
        await sftp.wait_closed()
        assert repr(sftp).endswith(" closed>")
        with pytest.raises(sshmux.SFTPNoConnection, match="was closed"):
            await sftp.exists(there)


async def test_what_it_is() -> None:
    async with client() as sftp:
        assert sftp.version == 3
        assert sftp.limits.max_read_len >= 32768
        assert sftp.extensions["posix-rename@openssh.com"] == "1"
        assert sftp.supports_remote_copy == ("copy-data" in sftp.extensions)


async def test_several_at_once_on_one_connection(there: Path) -> None:
    (there / "a").write_text("A")
    async with lent() as connection:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                sftp = await stack.enter_async_context(connection.start_sftp_client())
                assert await sftp.getsize(there / "a") == 1
        assert (await connection.run("echo well")).stdout == "well\n"


@pytest.mark.skipif(not PROGRAM, reason="no sftp-server program: Debian openssh-sftp-server")
@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash", "/bin/tcsh", "/usr/bin/fish", "zsh"])
async def test_a_command_as_the_server(shell: str, there: Path) -> None:
    path = shutil.which(shell)
    assert path, f"{shell} is not installed"
    async with lent(login_shell=path) as connection:
        async with connection.start_sftp_client(server=[PROGRAM, "-d", str(there)]) as sftp:
            assert await sftp.getcwd() == str(there)
            await sftp.mkdir("made")
        assert (there / "made").is_dir()
        async with connection.start_sftp_client() as sftp:
            assert await sftp.isdir(there / "made")


@pytest.mark.skipif(not PROGRAM, reason="no sftp-server program: Debian openssh-sftp-server")
async def test_the_program_in_place_of_sshds_own(there: Path) -> None:
    (there / "a").write_bytes(os.urandom(3_000_000))
    async with client(options={"Subsystem": f"sftp {PROGRAM}"}) as sftp:
        await sftp.get(there / "a", there / "b")
    assert digest(there / "a") == digest(there / "b")


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.skipif(not PROGRAM, reason="no sftp-server program: Debian openssh-sftp-server")
async def test_dropbear(there: Path) -> None:
    (there / "a").write_bytes(os.urandom(1_000_000))
    async with Dropbear() as server:
        with control_directory() as directory:
            async with nothing_left(), sshmux.ConnectionManager(control_dir=directory) as manager:
                server.register(manager, 1)
                async with manager.get_connection(1) as connection:
                    async with connection.start_sftp_client(server=[PROGRAM]) as sftp:
                        await sftp.get(there / "a", there / "b")
                        await sftp.put(there / "b", there / "c")
                        assert len(await sftp.listdir(there)) == 5
    assert digest(there / "a") == digest(there / "c")


# Names and sizes


async def test_every_name(there: Path, tmp_path: Path) -> None:
    async with client() as sftp:
        for name in NAMES:
            async with sftp.open(there / name, "w") as file:
                await file.write(name[:9].encode("utf-8", "replace").decode())
            assert await sftp.isfile(there / name)
            await sftp.get(there / name, tmp_path / "back")
            assert digest(tmp_path / "back") == digest(there / name)
        assert sorted(set(await sftp.listdir(there)) - {".", ".."}) == sorted(NAMES)
        names = await sftp.listdir(os.fsencode(there))
        assert {os.fsencode(name) for name in NAMES} | {b".", b".."} == set(names)
        for number, name in enumerate(NAMES):
            await sftp.rename(there / name, there / f"n{number}")
            await sftp.symlink(name, there / "link")
            assert await sftp.readlink(str(there / "link")) == name
            await sftp.remove(there / "link")
        assert sorted(os.listdir(there)) == sorted(f"n{number}" for number in range(len(NAMES)))


async def test_names_in_bytes_only(there: Path) -> None:
    (there / "ä").touch()
    async with lent() as connection:
        async with connection.start_sftp_client(path_encoding=None) as sftp:
            assert "ä".encode() in await sftp.listdir(os.fsencode(there))
            with pytest.raises(TypeError, match="bytes"):
                await sftp.listdir("x")
        async with connection.start_sftp_client(path_errors="strict") as sftp:
            (there / os.fsdecode(b"\xff")).touch()
            with pytest.raises(UnicodeDecodeError):
                await sftp.listdir(str(there))


@pytest.mark.both_engines
@pytest.mark.parametrize("size", [0, 1, 32768, 261_120, 261_121, 12_345_678])
async def test_sizes(size: int, there: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(size))
    told: list[tuple[bytes, bytes, int, int]] = []
    async with client() as sftp:
        for block in (-1, 8000):
            await sftp.put(
                tmp_path / "a",
                there / "b",
                block_size=block,
                progress_handler=lambda *word: told.append(word),
            )
            assert digest(there / "b") == digest(tmp_path / "a")
            await sftp.get(there / "b", tmp_path / "c", block_size=block)
            assert digest(tmp_path / "c") == digest(tmp_path / "a")
        done = [word[2] for word in told if word[3] == size]
        assert told[0][:2] == (os.fsencode(tmp_path / "a"), os.fsencode(there / "b"))
        assert done[-1] == size
        assert max(done) == size


async def test_holes_stay(there: Path, tmp_path: Path) -> None:
    with (there / "a").open("wb") as file:
        file.write(b"head")
        file.truncate(40_000_000)
        file.seek(20_000_000)
        file.write(b"middle")
    async with client() as sftp:
        await sftp.get(there / "a", tmp_path / "b")
        await sftp.put(tmp_path / "b", there / "c")
    for path in (tmp_path / "b", there / "c"):
        assert digest(path) == digest(there / "a")
        assert path.stat().st_blocks * 512 < 5_000_000


# Looking


async def test_looking(there: Path) -> None:
    (there / "f").write_bytes(b"12345")
    os.utime(there / "f", (1_000_000_000, 1_100_000_000))
    (there / "f").chmod(0o640)
    (there / "d").mkdir()
    (there / "to-f").symlink_to("f")
    (there / "broken").symlink_to("nowhere")
    async with client() as sftp:
        attrs = await sftp.stat(there / "f")
        assert (attrs.type, attrs.size) == (sshmux.FILEXFER_TYPE_REGULAR, 5)
        assert stat.S_IMODE(attrs.permissions or 0) == 0o640
        assert (attrs.uid, attrs.gid) == (os.getuid(), (there / "f").stat().st_gid)
        assert (attrs.atime, attrs.mtime) == (1_000_000_000, 1_100_000_000)
        assert await sftp.getsize(there / "to-f") == 5
        assert await sftp.getatime(there / "f") == 1e9
        assert await sftp.getatime_ns(there / "f") == 10**18
        assert await sftp.getmtime(there / "f") == 1.1e9
        assert await sftp.getmtime_ns(there / "f") == 1_100_000_000 * 10**9
        assert (await sftp.lstat(there / "to-f")).type == sshmux.FILEXFER_TYPE_SYMLINK
        assert (await sftp.stat(there / "to-f")).type == sshmux.FILEXFER_TYPE_REGULAR

        asked = (sftp.exists, sftp.lexists, sftp.isdir, sftp.isfile, sftp.islink)
        expected = {
            "f": (True, True, False, True, False),
            "d": (True, True, True, False, False),
            "to-f": (True, True, False, True, True),
            "broken": (False, True, False, False, True),
            "nothing": (False, False, False, False, False),
        }
        for name, answers in expected.items():
            assert tuple([await ask(there / name) for ask in asked]) == answers, name

        told, real = await sftp.statvfs(there), os.statvfs(there)
        assert (told.blocks, told.bsize, told.files, told.namemax) == (
            *(real.f_blocks, real.f_bsize, real.f_files, real.f_namemax),
        )


async def test_directories_of_any_size(there: Path) -> None:
    names = {f"file number {number}" for number in range(3000)}
    for name in names:
        (there / name).touch()
    async with client() as sftp:
        assert set(await sftp.listdir(there)) == names | {".", ".."}
        seen = {entry.filename: entry.attrs.size async for entry in sftp.scandir(there)}
        assert seen.keys() == names | {".", ".."}
        async for entry in sftp.scandir(there):
            assert isinstance(entry.filename, str)
            break  # the rest is not wanted: the handle is closed all the same
        entries = await sftp.readdir(str(there))
        assert len(entries) == 3002
        assert all(entry.longname for entry in entries)
        await sftp.rmtree(there)
    assert not there.exists()


async def test_patterns(there: Path) -> None:
    for name in ("a.txt", "b.txt", "c.dat", ".h.txt", "d/e.txt", "d/f/g.txt", "[x]"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).touch()
    async with client() as sftp:
        assert await sftp.glob(f"{there}/*.txt") == [f"{there}/a.txt", f"{there}/b.txt"]
        await sftp.chdir(there)
        assert await sftp.glob("*.txt") == ["a.txt", "b.txt"]
        assert await sftp.glob(b"?.dat") == [b"c.dat"]
        assert await sftp.glob("**/*.txt") == ["a.txt", "b.txt", "d/e.txt", "d/f/g.txt"]
        assert await sftp.glob(["a.*", "*.txt", "[[]x]"]) == ["a.txt", "b.txt", "[x]"]
        found = await sftp.glob_sftpname("d*")
        assert found[0].attrs.type == sshmux.FILEXFER_TYPE_DIRECTORY
        with pytest.raises(sshmux.SFTPNoSuchFile, match="nothing fits"):
            await sftp.glob(["a.*", "*.none"])
        missed: list[Exception] = []
        assert await sftp.glob(["a.*", "*.none"], error_handler=missed.append) == ["a.txt"]
        assert len(missed) == 1
        assert await sftp.glob("*.none", error_handler=False) == []


async def test_a_working_directory_is_no_pattern(there: Path, tmp_path: Path) -> None:
    (there / "[ab]*" / "d").mkdir(parents=True)
    (there / "[ab]*" / "f").write_text("F")
    (there / "ax").mkdir()
    (there / "ax" / "f").write_text("wrong")
    async with client() as sftp:
        await sftp.chdir(there / "[ab]*")
        assert await sftp.glob("*") == ["d", "f"]
        await sftp.mget("?", tmp_path, recurse=True)
        assert (tmp_path / "f").read_text() == "F"
        await sftp.mcopy("f", "d")
        assert (there / "[ab]*" / "d" / "f").read_text() == "F"
        await sftp.mput(f"{tmp_path}/f*")


# Changing


async def test_directories(there: Path) -> None:
    async with client() as sftp:
        await sftp.mkdir(there / "d", sshmux.SFTPAttrs(permissions=0o700))
        assert stat.S_IMODE((there / "d").stat().st_mode) == 0o700
        with pytest.raises(sshmux.SFTPFailure, match="d"):
            await sftp.mkdir(there / "d")
        await sftp.makedirs(there / "a" / "b" / "c")
        with pytest.raises(sshmux.SFTPFailure, match="exists"):
            await sftp.makedirs(there / "a" / "b")
        await sftp.makedirs(there / "a" / "b", exist_ok=True)
        with pytest.raises(sshmux.SFTPFailure):
            await sftp.rmdir(there / "a")
        await sftp.rmdir(there / "a" / "b" / "c")
        assert not (there / "a" / "b" / "c").exists()
        with pytest.raises(sshmux.SFTPNoSuchFile):
            await sftp.rmdir(there / "nothing")


async def test_trees_are_removed_and_links_are_not_followed(there: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (there / "t" / "d").mkdir(parents=True)
    for number in range(700):
        (there / "t" / "d" / str(number)).touch()
    (there / "t" / "d" / "link").symlink_to(tmp_path)
    (there / "link").symlink_to("t")
    async with client() as sftp:
        with pytest.raises(sshmux.SFTPNoSuchFile, match="is a link"):
            await sftp.rmtree(there / "link")
        await sftp.rmtree(there / "t")
        assert os.listdir(there) == ["link"]
        assert (tmp_path / "kept").read_text() == "kept"
        with pytest.raises(sshmux.SFTPNoSuchFile):
            await sftp.rmtree(there / "t")
        await sftp.rmtree(there / "t", ignore_errors=True)
        failed: list[Any] = []
        await sftp.rmtree(there / "t", onerror=lambda *what: failed.append(what))
        assert {what[1] for what in failed} == {os.fsencode(there / "t")}
        assert all(issubclass(what[2][0], sshmux.SFTPNoSuchFile) for what in failed)


async def test_names(there: Path) -> None:
    (there / "a").write_text("A")
    (there / "b").write_text("B")
    async with client() as sftp:
        with pytest.raises(sshmux.SFTPFailure):
            await sftp.rename(there / "a", there / "b")
        await sftp.rename(there / "a", there / "b", flags=sshmux.FXR_OVERWRITE)
        assert (there / "b").read_text() == "A"
        (there / "c").write_text("C")
        await sftp.posix_rename(there / "c", there / "b")
        assert (there / "b").read_text() == "C"
        await sftp.link(there / "b", there / "second")
        assert (there / "second").samefile(there / "b")
        await sftp.unlink(there / "second")
        await sftp.symlink("../there/b", there / "link")
        assert os.readlink(there / "link") == "../there/b"
        assert await sftp.readlink(str(there / "link")) == "../there/b"
        assert await sftp.readlink(os.fsencode(there / "link")) == b"../there/b"
        assert await sftp.realpath(str(there / "link")) == str(there / "b")
        assert await sftp.realpath(str(there), "..", "there", "b") == str(there / "b")
        with pytest.raises(sshmux.SFTPNoSuchFile, match="nothing"):
            await sftp.posix_rename(there / "nothing", there / "b")
        assert sorted(os.listdir(there)) == ["b", "link"]


async def test_the_working_directory(there: Path) -> None:
    (there / "d").mkdir()
    (there / "d" / "f").write_text("F")
    async with client() as sftp:
        assert await sftp.getcwd() == os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
        await sftp.chdir(str(there))
        await sftp.chdir("d")
        assert await sftp.getcwd() == str(there / "d")
        assert await sftp.getsize("f") == 1
        await sftp.get("f", there / "copy")
        await sftp.put(there / "copy")
        assert (there / "d" / "copy").read_text() == "F"
        await sftp.chdir("..")
        assert await sftp.isfile("d/copy")
        with pytest.raises(sshmux.SFTPFailure, match="not a directory"):
            await sftp.chdir("copy")
        with pytest.raises(sshmux.SFTPNoSuchFile):
            await sftp.chdir("nothing")
        assert await sftp.getcwd() == str(there)
        assert await sftp.expand_path("~/x") == f"{pwd.getpwuid(os.getuid()).pw_dir}/x"


async def test_attributes(there: Path) -> None:
    (there / "f").write_bytes(b"123456789")
    (there / "link").symlink_to("f")
    async with client() as sftp:
        await sftp.chmod(there / "link", 0o604)
        assert stat.S_IMODE((there / "f").stat().st_mode) == 0o604
        await sftp.utime(there / "f", (1_000_000_000, 1_100_000_000))
        assert (there / "f").stat().st_mtime == 1_100_000_000
        await sftp.utime(there / "f", ns=(10**18, 2 * 10**18))
        assert (there / "f").stat().st_mtime == 2 * 10**9
        await sftp.utime(there / "link", (5, 6), follow_symlinks=False)
        assert (there / "link").lstat().st_mtime == 6
        assert (there / "f").stat().st_mtime == 2 * 10**9
        await sftp.utime(there / "f")
        assert (there / "f").stat().st_mtime > 2 * 10**9 - 10**9 / 2
        await sftp.truncate(there / "f", 4)
        assert (there / "f").read_bytes() == b"1234"
        await sftp.truncate(there / "f", 6)
        assert (there / "f").read_bytes() == b"1234\0\0"
        await sftp.setstat(there / "f", sshmux.SFTPAttrs(size=1, permissions=0o600))
        assert ((there / "f").read_bytes(), (there / "f").stat().st_mode & 0o777) == (b"1", 0o600)
        now = (there / "f").stat()
        await sftp.chown(there / "f", now.st_uid)
        await sftp.chown(there / "f", gid=now.st_gid)
        with pytest.raises(sshmux.SFTPOpUnsupported, match="number"):
            await sftp.chown(there / "f", "root", "root")
        with pytest.raises(ValueError, match="not both"):
            await sftp.utime(there / "f", (1, 2), ns=(1, 2))


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to somebody else: needs root")
async def test_owners(there: Path) -> None:
    (there / "f").touch()
    (there / "link").symlink_to("f")
    async with client() as sftp:
        await sftp.chown(there / "f", 1001, 1002)
        assert ((there / "f").stat().st_uid, (there / "f").stat().st_gid) == (1001, 1002)
        await sftp.chown(there / "f", gid=1003)
        assert ((there / "f").stat().st_uid, (there / "f").stat().st_gid) == (1001, 1003)
        await sftp.chown(there / "link", 1004, follow_symlinks=False)
        assert ((there / "f").stat().st_uid, (there / "link").lstat().st_uid) == (1001, 1004)


# Files


async def test_reading_and_writing(there: Path) -> None:
    async with client() as sftp:
        async with sftp.open(there / "f", "wb+") as file:
            assert await file.write(b"0123456789") == 10
            assert await file.tell() == 10
            assert await file.seek(2) == 2
            assert await file.read(3) == b"234"
            assert await file.seek(1, os.SEEK_CUR) == 6
            assert await file.seek(-1, os.SEEK_END) == 9
            assert await file.read() == b"9"
            assert await file.read() == b""
            assert await file.read(2, offset=4) == b"45"
            assert await file.write(b"XY", offset=0) == 2
            await file.truncate(4)
            assert await file.read(offset=0) == b"XY23"
            attrs = await file.stat()
            assert attrs.size == 4
            await file.chmod(0o600)
            await file.setstat(sshmux.SFTPAttrs(size=3))
            await file.utime((7, 8))
            await file.chown((there / "f").stat().st_uid)
            await file.fsync()
            assert (await file.statvfs()).namemax == os.statvfs(there).f_namemax
        assert (there / "f").read_bytes() == b"XY2"
        assert ((there / "f").stat().st_mtime, (there / "f").stat().st_mode & 0o777) == (8, 0o600)
        with pytest.raises(ValueError, match="closed"):
            await file.read()
        await file.close()


async def test_modes(there: Path) -> None:
    async with client() as sftp:
        with pytest.raises(sshmux.SFTPNoSuchFile, match="f"):
            await sftp.open(there / "f")
        async with sftp.open(there / "f", "x") as text:
            await text.write("eins\n")
        with pytest.raises(sshmux.SFTPFailure):
            await sftp.open(there / "f", "x")
        async with sftp.open(there / "f", "a") as text:
            await text.write("zwei\n")
            await text.write("drei\n", offset=0)
        assert (there / "f").read_text() == "eins\nzwei\ndrei\n"
        async with sftp.open(there / "f", "a+b") as data:
            assert await data.tell() == 15
            await data.seek(0)
            assert await data.readline() == b"eins\n"
        async with sftp.open(there / "f", "r+") as text:
            await text.write("EINS")
            assert await text.read(1) == "\n"
        flags = sshmux.FXF_WRITE | sshmux.FXF_CREAT | sshmux.FXF_EXCL
        async with sftp.open(there / "g", flags, sshmux.SFTPAttrs(permissions=0o600)) as text:
            await text.write("text")
        assert (there / "g").stat().st_mode & 0o777 == 0o600
        async with sftp.open(there / "g", "w") as text:
            with pytest.raises(TypeError, match="takes str"):
                await text.write(b"bytes")
        async with sftp.open(there / "g", "wb") as data:
            with pytest.raises(TypeError, match="takes bytes"):
                await data.write("text")
        with pytest.raises(ValueError, match="mode"):
            sftp.open(there / "f", "rw")


ENCODINGS = {  # each with text that it can say, and that takes several bytes a character
    **dict.fromkeys(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"), "ü€😀"),
    **dict.fromkeys(("utf-32", "utf-32-be", "utf-7", "gb18030"), "ü€😀"),
    **dict.fromkeys(("shift_jis", "euc_jp", "iso2022_jp", "cp932"), "日本ab語"),
    "hz": "中文ab文",
    "latin-1": "üß",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_text_in_pieces_of_any_size(there: Path, encoding: str) -> None:
    """Nothing is read at the end only: not where a mark or a shift takes all that was asked for."""
    lines = [f"{ENCODINGS[encoding]}\n" * 2, "zwei\n", ENCODINGS[encoding]]
    text = "".join(lines)
    async with client() as sftp:
        async with sftp.open(there / "text", "w", encoding=encoding) as file:
            for line in lines:
                await file.write(line)
        assert (there / "text").read_text(encoding=encoding) == text
        for size in range(1, 10):
            read = ""
            async with sftp.open(there / "text", encoding=encoding) as file:
                while piece := await file.read(size):
                    read += piece
            assert read == text, size
        async with sftp.open(there / "text", encoding=encoding) as file:
            assert [line async for line in file] == text.splitlines(keepends=True)


async def test_text_and_lines(there: Path) -> None:
    lines = ["ä" * 70_000 + "\n", "\n", "short\n", "a\rb\n", "the last"]
    (there / "f").write_bytes("".join(lines).encode())
    (there / "latin").write_bytes(b"\xe4\n")
    async with client() as sftp:
        async with sftp.open(there / "f") as file:
            assert [line async for line in file] == lines
            await file.seek(0)
            assert await file.read(3) == "ää"  # three bytes end within a character
            assert await file.tell() == 4
            assert await file.read() == "".join(lines)[2:]
        async with sftp.open(there / "f", "rb") as data:
            assert [line async for line in data] == [line.encode() for line in lines]
        async with sftp.open(there / "latin", encoding="latin-1") as file:
            assert await file.read() == "ä\n"
        async with sftp.open(there / "latin") as file:
            with pytest.raises(UnicodeDecodeError):
                await file.read()
        async with sftp.open(there / "latin", errors="replace") as file:
            assert await file.readline() == "\ufffd\n"


async def test_reading_in_parallel(there: Path) -> None:
    data = os.urandom(2_000_001)
    (there / "f").write_bytes(data)
    async with client() as sftp, sftp.open(there / "f", "rb", block_size=10_000) as file:
        at = 1000
        async for offset, piece in await file.read_parallel(1_500_000, 1000):
            assert offset == at
            assert piece == data[at : at + len(piece)]
            at += len(piece)
        assert at == 1_501_000
        assert await file.tell() == 0


# Copies


def plant(top: Path) -> None:
    (top / "tree" / "deep" / "er").mkdir(parents=True)
    (top / "tree" / "empty").mkdir()
    for number, name in enumerate(NAMES):
        (top / "tree" / "deep" / name).write_bytes(os.urandom(number * 3000))
    (top / "tree" / "run").write_text("#!/bin/sh\n")
    (top / "tree" / "run").chmod(0o751)
    os.utime(top / "tree" / "run", (1_000_000_000, 1_100_000_000))
    (top / "tree" / "link").symlink_to("run")
    (top / "tree" / "deep" / "up").symlink_to("..")


def seen(top: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else digest(path)
    return found


@pytest.mark.parametrize("way", ["get", "put", "copy", "mget", "mput", "mcopy"])
async def test_trees(way: str, there: Path, tmp_path: Path) -> None:
    plant(there)
    source: Any = f"{there}/tr*" if way.startswith("m") else there / "tree"
    told = []
    async with client() as sftp:
        move = getattr(sftp, way)
        with pytest.raises(sshmux.SFTPFailure, match="recurse") as caught:
            await move(source, tmp_path / "out")
        assert caught.value.srcpath == os.fsencode(there / "tree")  # type: ignore[attr-defined]
        (tmp_path / "out").mkdir(exist_ok=True)
        await move(
            *(source, tmp_path / "out"),
            recurse=True,
            preserve=True,
            progress_handler=lambda *word: told.append(word),
        )
    copied = tmp_path / "out" / "tree"
    assert seen(copied) == seen(there / "tree")
    assert (copied / "run").stat().st_mode & 0o777 == 0o751
    assert (copied / "run").stat().st_mtime == 1_100_000_000
    assert len({word[0] for word in told}) == len(NAMES) + 1


async def test_links_are_followed_when_that_is_asked_for(there: Path, tmp_path: Path) -> None:
    (there / "d").mkdir()
    (there / "d" / "f").write_text("F")
    (there / "to-d").symlink_to("d")
    async with client() as sftp:
        await sftp.get(there, tmp_path / "out", recurse=True, follow_symlinks=True)
        await sftp.get(there / "to-d" / "f", tmp_path)
    assert (tmp_path / "out" / "to-d" / "f").read_text() == "F"
    assert not (tmp_path / "out" / "to-d").is_symlink()
    assert (tmp_path / "f").read_text() == "F"


async def test_several_and_what_is_missing(there: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (there / name).write_text(name)
    (tmp_path / "out").mkdir()
    failed: list[Any] = []
    async with client() as sftp:
        with pytest.raises(sshmux.SFTPNoSuchFile) as caught:
            await sftp.get([there / "nothing", there / "a"], tmp_path / "out")
        assert caught.value.srcpath == os.fsencode(there / "nothing")  # type: ignore[attr-defined]
        await sftp.get(
            [there / "b", there / "nothing", there / "c"],
            tmp_path / "out",
            error_handler=failed.append,
        )
        assert [error.srcpath for error in failed] == [os.fsencode(there / "nothing")]
        assert {"b", "c"} <= set(os.listdir(tmp_path / "out"))
        with pytest.raises(FileNotFoundError):
            await sftp.put(tmp_path / "nothing", there)
        with pytest.raises(sshmux.SFTPError):
            await sftp.get([there / "a", there / "b"], tmp_path / "out" / "b")
        await sftp.mput(f"{tmp_path}/out/*", there)
        with pytest.raises((sshmux.SFTPNoSuchFile, FileNotFoundError)):
            await sftp.mput(f"{tmp_path}/none*", there)


async def test_copies_over_there(there: Path) -> None:
    (there / "a").write_bytes(os.urandom(3_000_000))
    async with client() as sftp:
        await sftp.copy(there / "a", there / "b")
        assert digest(there / "b") == digest(there / "a")
        if not sftp.supports_remote_copy:
            with pytest.raises(sshmux.SFTPOpUnsupported):
                await sftp.copy(there / "a", there / "c", remote_only=True)
            return
        await sftp.copy(there / "a", there / "c", remote_only=True)
        assert digest(there / "c") == digest(there / "a")
        await sftp.remote_copy(there / "a", there / "d", 1000, 2000, 3000)
        expected = bytes(3000) + (there / "a").read_bytes()[1000:3000]
        assert (there / "d").read_bytes() == expected
