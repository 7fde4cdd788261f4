"""What our own runs install: locked, with hashes, and what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKED = (ROOT / "scripts" / "locked.txt").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def entries() -> list[str]:
    lines = [line for line in LOCKED.splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in re.split(r"\n(?=\S)", "\n".join(lines)) if entry.strip()]


def test_everything_is_one_version_with_the_hashes_of_its_files() -> None:
    assert len(entries()) > 30
    for entry in entries():
        name = entry.split()[0]
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-zA-Z.+!]*", name), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name


def test_everything_that_is_asked_for_is_locked_as_asked() -> None:
    locked = {}
    for entry in entries():
        name, version = entry.split()[0].split("==")
        locked.setdefault(canonicalize_name(name), version)
    asked = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]
    for text in asked:
        wanted = Requirement(text)
        version = locked.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is not locked: scripts/lock --keep"
        assert version in wanted.specifier, f"{text}, but {version} is locked: scripts/lock"
        assert not [each for each in wanted.specifier if each.operator in ("<", "<=", "==")], text
