"""The scripts for pieces of a file, run by the shells and the tools of this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sshmux.transfer import reports, scripts, stream_scripts
from sshmux.transfer.pieces import MIB
from sshmux.transfer.remote import ScriptResult

SHELLS = [shell for shell in ("dash", "bash", "ksh", "mksh", "busybox") if shutil.which(shell)]
TOOLS = ["stat", "dd", "head", "tail", "cat", "ls", "cut", "sed", "sha256sum", "mv", "rm", "mkdir"]
TOOLS += ["chmod", "touch", "id", "readlink"]
DATA = os.urandom(9 * MIB + 12345)

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(params=["usual", "busybox"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the tools are."""
    if request.param == "usual":
        return os.environ["PATH"]
    busybox = shutil.which("busybox") or pytest.skip("no busybox here")
    (tmp_path / "tools").mkdir()
    for tool in TOOLS:
        (tmp_path / "tools" / tool).symlink_to(busybox)
    return f"{tmp_path / 'tools'}:{os.environ['PATH']}"


@pytest.fixture(params=SHELLS)
def run(request: pytest.FixtureRequest, path: str) -> Run:
    shell = [request.param, "sh"] if request.param == "busybox" else [request.param]

    def run(script: str, *words: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        line = [*shell, *scripts.words(script, *words)[1:]]
        env = dict(os.environ, PATH=path)
        return subprocess.run(line, input=data, capture_output=True, env=env, check=False)

    return run


def words(done: subprocess.CompletedProcess[bytes]) -> dict[str, str]:
    return reports.report(os.fsdecode(done.stderr))[0]


def test_pieces_from_there(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a b"
    source.write_bytes(DATA)
    first = run(stream_scripts.GET_FIRST, source, "-p", 5 * MIB)
    state = words(first)["state"]
    assert (first.returncode, words(first)["size"].split()[0]) == (0, str(len(DATA)))
    assert first.stdout == DATA[: 5 * MIB]
    second = run(stream_scripts.GET_PIECE, source, state, 5, 3_000_001)
    assert (second.returncode, second.stdout) == (0, DATA[5 * MIB : 5 * MIB + 3_000_001])
    sums = run(stream_scripts.GET_SUMS, source, state, 4, 3)
    assert sums.stdout.decode().split() == [
        hashlib.sha256(DATA[at : at + 4 * MIB]).hexdigest() for at in range(0, 9 * MIB, 4 * MIB)
    ]
    os.utime(source, (1, 1))
    other = run(stream_scripts.GET_PIECE, source, state, 5, 3_000_001)
    assert (other.stdout, "other" in words(other)) == (b"", True)


def test_pieces_to_there(run: Run, tmp_path: Path) -> None:
    place = scripts.place(str(tmp_path / "t"), "name", "token", "-")
    first = run(stream_scripts.PUT_FIRST, *place, 5 * MIB, data=DATA[: 5 * MIB])
    assert "moved" in words(first), first.stderr
    part, name = ScriptResult(0, os.fsdecode(first.stderr)).names
    length = len(DATA) - 5 * MIB
    second = run(stream_scripts.PUT_PIECE, part, 5, length, "-", data=DATA[5 * MIB :])
    assert "moved" in words(second), second.stderr
    last = run(stream_scripts.PUT_LAST, part, name, len(DATA), "640", "202001010000.00", "-p")
    assert "done" in words(last), last.stderr
    assert (tmp_path / "t").read_bytes() == DATA
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o640
    assert not Path(part).exists()


@pytest.mark.parametrize("at", [0, 5])
def test_what_is_cut_off_leaves_nothing(run: Run, tmp_path: Path, at: int) -> None:
    """The link is lost: the input just ends, and nobody is there any more who could tidy up."""
    place = scripts.place(str(tmp_path / "t"), "name", "token", "-")
    if at == 0:
        cut = run(stream_scripts.PUT_FIRST, *place, 5 * MIB, data=DATA[:100])
    else:
        first = run(stream_scripts.PUT_FIRST, *place, 5 * MIB, data=DATA[: 5 * MIB])
        part = ScriptResult(0, os.fsdecode(first.stderr)).names[0]
        cut = run(stream_scripts.PUT_PIECE, part, 5, 4 * MIB, "-", data=DATA[:100])
    assert words(cut)["short"] == "100"
    assert [each for each in os.listdir(tmp_path) if each != "tools"] == []


def test_a_part_that_is_not_ours_is_not_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to("victim")
    os.link(tmp_path / "victim", tmp_path / "hard")
    for name in ("link", "hard", "nothing"):
        done = run(stream_scripts.PUT_PIECE, tmp_path / name, 0, 3, "-r", data=b"bad")
        assert "other" in words(done)
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "nothing").exists()
