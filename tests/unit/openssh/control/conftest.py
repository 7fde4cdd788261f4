"""A control directory for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshmux.openssh.control.directory import ControlDir


@pytest.fixture
def directory(short_dir: Path) -> ControlDir:
    return ControlDir(short_dir)
