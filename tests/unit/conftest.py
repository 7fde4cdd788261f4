"""Shared by the unit tests: nothing here needs a server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a busy machine is no fault of the code. No database: a test run leaves no file.
settings.register_profile("sshmux", deadline=None, database=None)
settings.load_profile("sshmux")


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A private directory with a short path: pytest's own are too long for a control socket."""
    path = Path(tempfile.mkdtemp(prefix="sx")).resolve()
    yield path
    shutil.rmtree(path, ignore_errors=True)
