"""Shared by the unit tests: nothing here needs a server."""

from __future__ import annotations

from hypothesis import settings

# No deadline: a busy machine is no fault of the code. No database: a test run leaves no file.
settings.register_profile("sshmux", deadline=None, database=None)
settings.load_profile("sshmux")
