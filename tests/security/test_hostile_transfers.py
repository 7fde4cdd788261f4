"""What a server, or a name, may decide about a transfer: nothing that was not asked for."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import sshmux

from ..live.test_transfer import lent
from .lying import lying

DIR = "dict(type=tarfile.DIRTYPE, mode=0o755)"
DATA = f"('./data', b'', {DIR}), ('./data/x', b'evil', {{}})"

# Members of an archive beside an honest `data`, and what is found in none of them.
REFUSED = {
    "a neighbour": "('./.bashrc', b'evil', {})",
    "a neighbour without a dot": "('.bashrc', b'evil', {})",
    "a directory beside it": f"('./.ssh', b'', {DIR}), ('./.ssh/authorized_keys', b'evil', {{}})",
    "up": "('./data/../../victim', b'evil', {})",
    "up at once": "('../victim', b'evil', {})",
    "absolute": "('VICTIM', b'evil', {})",
    "absolute and hard-linked": "('./data/h', b'', dict(type=tarfile.LNKTYPE, linkname='VICTIM'))",
    "through a link": (
        "('./data/l', b'', dict(type=tarfile.SYMTYPE, linkname='..')), "
        "('./data/l/.bashrc', b'evil', {})"
    ),
    "through an absolute link": (
        "('./data/l', b'', dict(type=tarfile.SYMTYPE, linkname='HOME')), "
        "('./data/l/.bashrc', b'evil', {})"
    ),
    "a long name": "('./' + 'n' * 300, b'evil', {})",
    "another name by pax": "('./data/y', b'evil', dict(pax_headers={'path': './.bashrc'}))",
    "too deep": "('./data/' + 'd/' * 70 + 'x', b'evil', {})",
    "far too deep": "('./data/' + 'd/' * 1900 + 'x', b'evil', {})",
}
# What is left out, or put right; the rest arrives.
TAMED = {
    "a link that leads out": "('./data/l', b'', dict(type=tarfile.SYMTYPE, linkname='../.bashrc'))",
    "an absolute link": "('./data/l', b'', dict(type=tarfile.SYMTYPE, linkname='HOME/.bashrc'))",
    "a chain of links": (
        "('./data/a', b'', dict(type=tarfile.SYMTYPE, linkname='sub/up')), "
        f"('./data/sub', b'', {DIR}), "
        "('./data/sub/up', b'', dict(type=tarfile.SYMTYPE, linkname='../..'))"
    ),
    "a FIFO": "('./data/l', b'', dict(type=tarfile.FIFOTYPE, mode=0o666))",
    "a device": "('./data/l', b'', dict(type=tarfile.CHRTYPE, devmajor=1, devminor=3))",
    "setuid": "('./data/l', b'evil', dict(mode=0o6755))",
    "for all": "('./data/l', b'evil', dict(mode=0o666))",
    "somebody's": "('./data/l', b'evil', dict(uid=65534, gid=65534, uname='nobody'))",
    "a directory of mode 0": (
        "('./data/l', b'', dict(type=tarfile.DIRTYPE, mode=0)), ('./data/l/x', b'evil', {})"
    ),
    "a sticky setgid directory": "('./data/l', b'', dict(type=tarfile.DIRTYPE, mode=0o7777))",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    found = tmp_path / "home"
    (found / ".ssh").mkdir(parents=True)
    for victim in (found / ".bashrc", found / ".ssh" / "authorized_keys", tmp_path / "victim"):
        victim.write_text("mine")
    return found


def program(members: str, home: Path, words: str = "") -> str:
    members = members.replace("VICTIM", str(home.parent / "victim")).replace("HOME", str(home))
    return f"""
        tells(b"d\\0data\\0")
        report({words!r})
        archive([{DATA}, {members}], tarfile.PAX_FORMAT)
    """


def unharmed(home: Path) -> None:
    """What was there is as it was, and nothing is beside it."""
    assert (home / ".bashrc").read_text() == "mine"
    assert (home / ".bashrc").stat().st_nlink == 1
    assert (home / ".ssh" / "authorized_keys").read_text() == "mine"
    assert (home.parent / "victim").read_text() == "mine"
    assert (home.parent / "victim").stat().st_nlink == 1
    assert sorted(os.listdir(home.parent)) == ["home", "victim"]


async def test_nothing_but_what_was_asked_for(home: Path) -> None:
    before = sorted(os.listdir(home))
    async with lying() as liar:
        for case, members in REFUSED.items():
            liar.runs(program(members, home))
            for target in (home, home / "new"):
                with pytest.raises(sshmux.TransferError):
                    await liar.connection.get("data", target, recurse=True)
                unharmed(home)
                assert sorted(os.listdir(home)) == before, case


async def test_what_arrives_is_harmless(home: Path) -> None:
    async with lying() as liar:
        for (case, members), preserve in product(TAMED.items(), (False, True)):
            if case == "a device" and os.geteuid() != 0:
                continue  # nobody but root can make one
            liar.runs(program(members, home))
            # Nobody but root gets into a directory of mode 0, his own or not.
            closed = case == "a directory of mode 0" and os.geteuid() != 0
            for _ in range(1 if closed else 2):  # the second time into what the first has left
                await liar.connection.get("data", home, recurse=True, preserve=preserve)
            unharmed(home)
            assert (home / "data" / "x").read_text() == "evil"
            harmless(home / "data", case, links=False, strict=not preserve)
            clear(home / "data")


def clear(directory: Path) -> None:
    subprocess.run(["chmod", "-R", "u+rwX", directory], check=True)
    shutil.rmtree(directory)


def harmless(top: Path, case: str, *, links: bool, strict: bool) -> None:
    """No setuid, no device, no owner but ourselves, and no link that leads out."""
    for path in [top, *top.rglob("*")]:
        found = path.lstat()
        assert found.st_uid == os.geteuid(), case
        if stat.S_ISLNK(found.st_mode):
            assert links, case
            assert path.resolve().is_relative_to(top.resolve()), case
            continue
        assert stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode), case
        assert not (stat.S_ISREG(found.st_mode) and found.st_mode & 0o7000), case
        assert not (strict and stat.S_ISREG(found.st_mode) and found.st_mode & 0o022), case


NAMES: list[tuple[str | list[str], bytes]] = [
    ("*.csv", b"f\0.bashrc\0"),
    ("*.csv", b"f\0a.csv\0f\0../victim\0"),
    ("*.csv", b"f\0sub/a.csv\0"),
    ("*", b"f\0.bashrc\0"),
    ("sub/*", b"f\0sub/a/b\0"),
    ("[!.]*", b"f\0.bashrc\0"),
    (["a.csv", "b.csv"], b"f\0.bashrc\0"),
    (["a.csv", "b.csv"], b"q\0a.csv\0"),
    (["a.csv", "b.csv"], b"f\0\0"),
]


async def test_names_that_a_server_makes_up(home: Path) -> None:
    async with lying() as liar:
        for asked, told in NAMES:
            liar.runs(f"tells({told!r})")
            with pytest.raises(sshmux.TransferError, match="not asked for"):
                await liar.connection.get(asked, home)
    unharmed(home)


async def test_a_list_without_an_end(home: Path) -> None:
    async with lying() as liar:
        for reply in ("b'f\\0a.csv\\0' * 8192", "b'f\\0' + b'a' * 65536"):
            liar.runs(f"""
                if "k=d" in command:
                    announce()
                    while True:
                        out.write({reply})
            """)
            with pytest.raises(sshmux.TransferError, match="more than"):
                await liar.connection.get("*.csv", home)
    unharmed(home)


SIZES = ["siz", "size -5 - - -", "size ² - - -", f"size {'9' * 5000} - - -", "size 3 - - -"]


async def test_a_size_that_is_none(home: Path) -> None:
    async with lying() as liar:
        for words in (*SIZES, "size 500 - - -"):
            liar.runs(sends(words))
            with pytest.raises(sshmux.TransferError):
                await liar.connection.get("f", home / ".bashrc")
            unharmed(home)


async def test_modes_and_times_that_are_none(home: Path) -> None:
    async with lying() as liar:
        for words in ("4777 1", "77777777777 1", "-777 1", "zz x", "644 nan", "644 1e300"):
            liar.runs(sends(f"size 4 {words} -"))
            await liar.connection.get("f", home / "f", preserve=True)
            assert (home / "f").read_text() == "evil"
            assert not (home / "f").stat().st_mode & 0o7000, words
    unharmed(home)


def sends(words: str) -> str:
    return f"""
        if "exec cat" in command:
            announce()
            report({words!r})
            out.write(b"evil")
            out.flush()
            sys.exit(0)
    """


async def test_a_source_that_lies_to_the_target_of_a_copy(home: Path) -> None:
    """The third host is as safe as this one: it is this machine, too."""
    async with lying() as liar, lent() as target:
        for case, members in {**REFUSED, **TAMED}.items():
            liar.runs(program(members, home))
            for _ in range(2):
                try:
                    await sshmux.copy(liar.connection, "data", target, home, recurse=True)
                except sshmux.TransferError:
                    assert not (home / "data").exists(), case
            unharmed(home)
            if (home / "data").exists():
                harmless(home / "data", case, links=True, strict=True)
                clear(home / "data")


# What `exclude` (or `include`) leaves out, and is sent all the same.
SMUGGLED: dict[str, tuple[str, dict[str, Any]]] = {
    "a file": ("('./data/evil', b'evil', {})", {"exclude": "evil"}),
    "a file in a directory": (
        f"('./data/sub', b'', {DIR}), ('./data/sub/evil', b'evil', {{}})",
        {"exclude": "/data/sub/ev*"},
    ),
    "a directory": (f"('./data/evil', b'', {DIR})", {"exclude": "evil/"}),
    "a file in an excluded directory": ("('./data/evil/y', b'evil', {})", {"exclude": "evil/"}),
    "a link": ("('./data/l', b'', dict(type=tarfile.SYMTYPE, linkname='x'))", {"exclude": "l"}),
    "a hard link": (
        "('./data/l', b'', dict(type=tarfile.LNKTYPE, linkname='./data/x'))",
        {"exclude": "l"},
    ),
    "a FIFO": ("('./data/l', b'', dict(type=tarfile.FIFOTYPE, mode=0o666))", {"exclude": "l"}),
    "what is not included": ("('./data/y', b'evil', {})", {"include": "x"}),
    "a link that is not included": (
        "('./data/l', b'', dict(type=tarfile.SYMTYPE, linkname='x'))",
        {"include": "[!l]"},
    ),
    "a file for a directory": ("('./data/d', b'evil', {})", {"include": ["x", "d/"]}),
    "a name by pax": (
        "('./data/y', b'evil', dict(pax_headers={'path': './data/evil'}))",
        {"exclude": "evil"},
    ),
}


@pytest.mark.parametrize("way", ["get", "copy"])
async def test_what_is_excluded_and_comes_all_the_same(home: Path, way: str) -> None:
    before = sorted(os.listdir(home))
    async with lying() as liar, lent() as target:

        async def move(place: Path, **how: Any) -> None:
            if way == "get":
                await liar.connection.get("data", place, recurse=True, **how)
            else:
                await sshmux.copy(liar.connection, "data", target, place, recurse=True, **how)

        for case, (members, how) in SMUGGLED.items():
            liar.runs(program(members, home, "found 0"))
            for place in (home, home / "new"):
                with pytest.raises(sshmux.TransferError, match=r"refused.*leave out"):
                    await move(place, **how)
                unharmed(home)
                assert sorted(os.listdir(home)) == before, case
            await move(home, exclude="what is not there")  # and it is said because of that
            clear(home / "data")


async def test_a_search_that_found_not_all(home: Path) -> None:
    async with lying() as liar, lent() as target:
        for words in ("found 1", "found", "found 00", "failed 2"):
            liar.runs(program("('./data/y', b'good', {})", home, words))
            with pytest.raises(sshmux.TransferError):
                await liar.connection.get("data", home, recurse=True, exclude="evil")
            with pytest.raises(sshmux.TransferError):
                await sshmux.copy(
                    *(liar.connection, "data", target, home), recurse=True, exclude="evil"
                )
            assert sorted(os.listdir(home)) == [".bashrc", ".ssh"]


@pytest.mark.parametrize("way", ["put", "get"])
async def test_a_part_that_somebody_has_planted(way: str, home: Path) -> None:
    """What is there under the name of a part is a link, or linked: neither is written to."""
    (home / "source").write_text("new")
    part = home / ".target.sshmux-part"
    plants: list[Any] = [
        lambda: part.symlink_to(home / ".bashrc"),
        lambda: os.link(home.parent / "victim", part),
        lambda: part.symlink_to(home / "nothing"),
        lambda: os.mkfifo(part),
        part.mkdir,
    ]
    async with lent() as connection:
        for plant in plants:
            plant()
            with pytest.raises((sshmux.TransferError, OSError)):
                await getattr(connection, way)(home / "source", home / "target", resume=True)
            assert not (home / "target").exists()
            assert not (home / "nothing").exists()
            part.rmdir() if part.is_dir() and not part.is_symlink() else part.unlink()
    unharmed(home)
