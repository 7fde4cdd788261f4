"""Another user of this machine, who may rename what is in the directory where files arrive."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

import sshmux
from sshmux.transfer import local_tar
from sshmux.transfer.arrival import Arrival

from ..live.test_transfer import lent

TAR = shutil.which("tar") or "tar"
BSDTAR = shutil.which("bsdtar")
SWAPS = {
    "for a link to the home": 'mv $p away && ln -s "$PWD/../home" $p',
    "for another directory": "mv $p away && mv private $p",
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("what", ["data", "data/."])
async def test_the_part_is_what_it_was(
    what: str, moment: str, swap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, shared, programs = tmp_path / "home", tmp_path / "shared", tmp_path / "programs"
    source = tmp_path / "data"
    for path in (home, shared / "private", programs, source):
        path.mkdir(parents=True)
    for path in (home / "x", home / ".bashrc", shared / "private" / "letter"):
        path.write_text("mine")
    (shared / "private").chmod(0o700)
    private = (shared / "private").stat().st_ino
    for name in ("x", ".bashrc", "letter"):
        (source / name).write_text("new")
    (tmp_path / "swap").write_text(f"cd {shared} && for p in .sshmux-*-part; do {swap}; done\n")
    calls = [f"sh {tmp_path}/swap", f'{TAR} "$@"; s=$?']
    order = calls if moment == "before" else calls[::-1]
    (programs / "tar").write_text("#!/bin/sh\ns=0\n" + "\n".join(order) + "\nexit $s\n")
    (programs / "tar").chmod(0o755)
    async with lent() as connection:
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        with contextlib.suppress(sshmux.TransferError):
            await connection.get(source if what == "data" else f"{source}/.", shared, recurse=True)
    assert {path.name: path.read_text() for path in home.iterdir()} == {
        "x": "mine",
        ".bashrc": "mine",
    }
    (found,) = [path for path in shared.rglob("*") if path.lstat().st_ino == private]
    assert [path.read_text() for path in found.iterdir()] == ["mine"]


def archive(how: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo("x")
        info.size, info.mode, info.pax_headers = 4, 0o600, how
        made.addfile(info, io.BytesIO(b"evil"))
    return out.getvalue()


@pytest.mark.skipif(BSDTAR is None, reason="no bsdtar: Debian libarchive-tools")
def test_bsdtar_sets_no_more_than_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tar").symlink_to(str(BSDTAR))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    data = archive(
        {"SCHILY.xattr.user.evil": "1", "SCHILY.acl.access": "user::rw-,group::r--,other::r--"}
    )

    def attributes(words: list[str], name: str) -> list[str]:
        (tmp_path / name).mkdir()
        subprocess.run([*words, str(tmp_path / name)], input=data, check=True)
        return os.listxattr(tmp_path / name / "x")

    if not attributes(["tar", "-xpof", "-", "-C"], "before"):
        pytest.skip("no extended attributes here")
    *words, _ = local_tar.unpacking("into", preserve=True)
    assert attributes(words, "after") == []


def test_a_file_that_is_linked_to_one_from_elsewhere_is_left_alone(tmp_path: Path) -> None:
    victim, part = tmp_path / "victim", tmp_path / "part"
    victim.write_text("mine")
    victim.chmod(0o600)
    part.mkdir()
    os.link(victim, part / "a")
    os.link(victim, part / "b")
    (part / "c").write_text("sent")
    os.link(part / "c", part / "d")
    arrived = Arrival("x to y", preserve=True, mask=0o22, links=False, directories=True)
    before = victim.stat()
    victim.chmod(0o6600)
    with pytest.raises(sshmux.TransferError, match="linked to one from elsewhere"):
        arrived.check(str(part), None)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o6600
    assert victim.stat().st_uid == before.st_uid
    for name in "ab":
        (part / name).unlink()
    (part / "c").chmod(0o6644)
    arrived = Arrival("x to y", preserve=True, mask=0o22, links=False, directories=True)
    arrived.check(str(part), None)
    assert stat.S_IMODE((part / "d").stat().st_mode) == 0o644
    assert arrived.files == 2
