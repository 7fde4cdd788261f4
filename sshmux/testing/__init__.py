"""A real, private loopback sshd for tests and demonstrations: no root, nothing left behind.

With pytest, `pytest_plugins = ["sshmux.testing.plugin"]` gives the fixtures `ssh_server` and
`ssh_server_factory`.
"""

from sshmux.testing.programs import SshdMissing, WrapperMissing
from sshmux.testing.server import PrivateServer

__all__ = ["PrivateServer", "SshdMissing", "WrapperMissing"]
