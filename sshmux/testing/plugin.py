"""pytest fixtures around PrivateServer; the only module here that imports pytest.

Enable them in a conftest.py: `pytest_plugins = ["sshmux.testing.plugin"]`. They need no plugin
for asyncio: the server runs whatever the test is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from sshmux.testing.server import PrivateServer


@pytest.fixture
def ssh_server() -> Iterator[PrivateServer]:
    """A PrivateServer with its defaults, for one test."""
    with PrivateServer() as server:
        yield server


@pytest.fixture
def ssh_server_factory() -> Iterator[Callable[..., PrivateServer]]:
    """A callable that takes PrivateServer's arguments and returns it started; all are stopped."""
    with contextlib.ExitStack() as servers:
        yield lambda **options: servers.enter_context(PrivateServer(**options))
