"""Another user of the remote, who may rename what is in the target directory, at every moment.

A directory that a group shares, without the sticky bit: whoever is in it can put one thing in the
place of another. What our scripts do there runs with an attacker who does so just before, or just
after, the n-th program that they start: each n, each script, each shell.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshmux.transfer import scripts, unpack_scripts

TOKEN = "0123456789ab"
PART = f".sshmux-{TOKEN}-part"
PROGRAMS = [
    *("awk", "cat", "chmod", "cut", "find", "head", "id", "ls", "mkdir", "mv", "readlink"),
    *("rm", "rmdir", "stat", "tail", "tar", "touch"),
]

SHELLS = ["dash", "bash", "ksh", "mksh"]  # as `sh`

# What the attacker does, in the shared directory; AWAY is one of his.
SWAPS = {
    "the part for a link to the home": f'[ -e {PART} ] && mv {PART} AWAY && ln -s "HOME" {PART}',
    "the part for another directory": f"[ -e {PART} ] && mv {PART} AWAY && mv private {PART}",
    "the part for a link to a secret": f"[ -e {PART} ] && mv {PART} AWAY && ln -s HOME/key {PART}",
    "the part for a secret": f'[ -e {PART} ] && mv {PART} AWAY && ln "HOME/key" {PART}',
    "the directory for a link": 'mv data AWAY && ln -s "HOME" data',
    "one below for a link": 'mv data/sub AWAY && ln -s "HOME" data/sub',
    "a closed one for a link": 'mv data/closed AWAY && ln -s "HOME" data/closed',
}


class Place:
    """The victim's home, the shared directory, and programs with the attacker among them."""

    def __init__(self, top: Path, shell: str, side: str) -> None:
        self.top = top
        self.shell = shell
        self.side = side
        self.home, self.shared, self.away = top / "home", top / "shared", top / "away"
        self.private = 0

    def prepare(self) -> None:
        for path in (self.home, self.shared, self.away):
            subprocess.run(["chmod", "-Rf", "u+rwX", path], check=False)
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.home / "sub", self.home / "closed", self.shared / "data" / "sub"):
            path.mkdir(parents=True)
        (self.shared / "data" / "closed").mkdir()
        (self.shared / "private").mkdir(mode=0o700)
        (self.shared / "private" / "letter").write_text("mine")
        self.private = (self.shared / "private").stat().st_ino
        for name in (".bashrc", "x", "sub/x", "closed/x", "key"):
            (self.home / name).write_text("mine")
            os.utime(self.home / name, (1, 1))
        (self.home / "key").chmod(0o600)
        self.home.chmod(0o700)
        self.away.mkdir()
        (self.shared / "data" / "x").write_text("old")
        (self.shared / "data" / "closed").chmod(0o555)

    def seen(self) -> dict[str, object]:
        """All that is the victim's own, and the attacker must not have changed."""
        found: dict[str, object] = {}
        for path in [self.home, *sorted(self.home.rglob("*"))]:
            now = path.lstat()
            content = path.read_text() if stat.S_ISREG(now.st_mode) else ""
            when = now.st_mtime if content else 0
            found[str(path)] = (stat.S_IMODE(now.st_mode), when, content)
        for path in [*self.shared.rglob("*"), *self.away.rglob("*")]:
            if path.lstat().st_ino == self.private:
                found["private"] = sorted(os.listdir(path))
        return found

    def run(self, script: str, *arguments: object, stdin: bytes, swap: str, when: str) -> str:
        """What it says; the attacker does his swap at `before 3`, say, or never."""
        programs = self.top / "programs"
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir()
        swap = swap.replace("HOME", str(self.home)).replace("AWAY", str(self.away) + "/")
        (self.top / "swap").write_text(f"cd {self.shared} && {{ {swap}; }} 2>/dev/null\n")
        for name in PROGRAMS:
            if (real := shutil.which(name)) is None:
                continue
            (programs / name).write_text(f"""#!/bin/sh
n=$(( $(wc -l < {self.top}/count) + 1 )); echo >> {self.top}/count
[ "before $n" = "{when}" ] && PATH=/usr/bin:/bin sh {self.top}/swap
{real} "$@"; s=$?
[ "after $n" = "{when}" ] && PATH=/usr/bin:/bin sh {self.top}/swap
exit $s
""")
            (programs / name).chmod(0o755)
        env = {"HOME": str(self.top), "PATH": f"{programs}:/usr/bin:/bin"}
        done = subprocess.run(
            ["sh", "-c", script, "sh", *map(str, arguments)],
            executable=shutil.which(self.shell),
            input=stdin,
            capture_output=True,
            env=env,
            timeout=60,
            check=False,
        )
        return os.fsdecode(done.stderr)

    def moments(self, most: int = 60) -> Iterator[str]:
        """Each moment, until the scripts start no more programs."""
        for number in range(1, most):
            (self.top / "count").write_text("")
            yield f"{self.side} {number}"
            if len((self.top / "count").read_text()) < number:
                assert number > 2
                return
        raise AssertionError("they never end")


# All swaps with the first shell; one swap with each other shell.
CASES = [
    pytest.param(shell, swap, id=f"{shell}, {which}")
    for shell in SHELLS
    for which, swap in SWAPS.items()
    if shell == "dash" or which == "one below for a link"
]


# Between two programs a shell does little: scripts/soak tries the moment before each as well.
@pytest.fixture(params=["after", pytest.param("before", marks=pytest.mark.soak)])
def place(request: pytest.FixtureRequest, shell: str, tmp_path: Path) -> Place:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    return Place(tmp_path, shell, request.param)


def tree(top: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name in (top, f"{top}/sub", f"{top}/closed"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o777
            made.addfile(info)
        for name in (".bashrc", "x", "sub/x", "closed/x"):
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size = 3
            made.addfile(info, io.BytesIO(b"new"))
    return out.getvalue()


@pytest.mark.parametrize(("shell", "swap"), CASES)
@pytest.mark.parametrize("contents", [False, True], ids=["a directory", "what is in one"])
def test_a_tree(place: Place, contents: bool, swap: str) -> None:
    flags, target = ("-c", "shared/data") if contents else ("-", "shared")
    where = scripts.place(target, "." if contents else "data", TOKEN, flags)
    archive = tree("." if contents else "./data")
    if contents:
        swap = f"cd data; {swap}" if PART in swap else swap
        swap = swap.replace("mv private", "mv ../private")
    worked = 0
    for moment in place.moments():
        place.prepare()
        before = place.seen()
        said = place.run(unpack_scripts.UNPACK, *where, stdin=archive, swap=swap, when=moment)
        told = said.partition("sshmux-transfer names\n")[2].lstrip("\n").split("\0")[:-1]
        if told:
            said = place.run(unpack_scripts.MERGE, *told, stdin=b"", swap=swap, when=moment)
            if "sshmux-transfer done" in said:
                worked += 1
            else:
                place.run(scripts.DROP, *told, stdin=b"", swap=swap, when=moment)
        assert place.seen() == before, (moment, said)
    assert worked  # with the last moment, at the latest, there was nobody


FLAGS = {"plain": "-", "with its times": "-p", "to go on": "-r", "compared": "-v", "in place": "-d"}


@pytest.mark.parametrize(
    ("shell", "swap"), [("dash", swap) for swap in SWAPS.values() if PART in swap]
)
@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_a_file(place: Place, flags: str, swap: str) -> None:
    where = scripts.place("shared/data/x", "x", TOKEN, flags)
    part = ".x.sshmux-part" if "r" in flags else "x" if "d" in flags else PART
    swap = "cd data; " + swap.replace(PART, part).replace("mv private", "mv ../private")
    for moment in place.moments():
        place.prepare()
        before = place.seen()
        when = "200001010000.00"
        place.run(*(scripts.PUT, *where, 3, "755", when, 0), stdin=b"new", swap=swap, when=moment)
        assert place.seen() == before, moment
        mode = (place.shared / "data" / "x").lstat().st_mode if "v" not in flags else 0
        assert not stat.S_IMODE(mode) & 0o022 or stat.S_ISLNK(mode)


@pytest.mark.parametrize("shell", [*SHELLS, "busybox"])
def test_nobody_there(place: Place) -> None:
    """With each shell; nobody could come between busybox and its own programs."""
    place.prepare()
    for contents in (False, True):
        where = scripts.place(
            *("shared/data" if contents else "shared", "." if contents else "data", TOKEN),
            "-c" if contents else "-",
        )
        archive = tree("." if contents else "./data")
        said = place.run(unpack_scripts.UNPACK, *where, stdin=archive, swap=":", when="")
        told = said.partition("sshmux-transfer names\n")[2].lstrip("\n").split("\0")[:-1]
        assert "sshmux-transfer done" in place.run(
            unpack_scripts.MERGE, *told, stdin=b"", swap=":", when=""
        )
        assert (place.shared / "data" / "closed" / "x").read_text() == "new"
        assert stat.S_IMODE((place.shared / "data" / "closed").stat().st_mode) == 0o555
    for flags in FLAGS.values():
        where = scripts.place("shared/data/x", "x", TOKEN, flags)
        said = place.run(
            *(scripts.PUT, *where, 5, "750", "200001010000.00", 0),
            stdin=b"newer",
            swap=":",
            when="",
        )
        assert ("names" if "v" in flags else "done") in said
        part = place.shared / "data" / (PART if "v" in flags else "x")
        assert part.read_text() == "newer"
        assert stat.S_IMODE(part.stat().st_mode) == 0o750
        assert (part.stat().st_mtime == 946684800) == ("p" in flags)
        part.unlink()
    assert sorted(os.listdir(place.shared)) == ["data", "private"]
