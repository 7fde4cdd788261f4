"""Dialects of other packages: really installed ones, as far as Python can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sshmux import ConfigError
from sshmux.runner import registry
from sshmux.runner.dialects.slurm import Slurm

MODULE = """\
from sshmux.runner.dialects.slurm import Slurm

class Moab(Slurm):
    name = "moab"

def broken():
    raise OSError("no licence")
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    registry.dialects.cache_clear()
    yield
    registry.dialects.cache_clear()


def install(directory: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    (directory / "moab_for_sshmux.py").write_text(MODULE)
    info = directory / "moab_for_sshmux-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moab-for-sshmux\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nmoab = {value}\n")
    monkeypatch.syspath_prepend(directory)


def test_another_package_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "moab_for_sshmux:Moab")
    assert registry.dialect("moab").name == "moab"
    assert isinstance(registry.dialect("slurm"), Slurm)
    assert registry.detected({"shell": "", "moab": "7", "slurm": "22"}).name == "moab"


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("moab_for_sshmux:broken", "no licence"),
        ("moab_for_sshmux:missing", "missing"),
        ("no_such_module:Moab", "no_such_module"),
        ("moab_for_sshmux:MODULE.x", "MODULE"),
        ("builtins:dict", "no dialect"),
    ],
)
def test_one_that_cannot_be_used_is_named(
    value: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, value)
    with pytest.raises(ConfigError, match=word) as raised:
        registry.dialects()
    assert value in str(raised.value)
