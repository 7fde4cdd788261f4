"""The environment that our ssh processes run in."""

from __future__ import annotations

import os


def client_environment(use_agent: bool = True) -> dict[str, str]:
    """The environment for ssh: ours, less everything that could open a window to ask in."""
    env = dict(os.environ)
    env.pop("SSH_ASKPASS", None)
    env["SSH_ASKPASS_REQUIRE"] = "never"
    if not use_agent:
        env.pop("SSH_AUTH_SOCK", None)
    return env
