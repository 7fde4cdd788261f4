"""Which OpenSSH this is: asked once per program, since old ones stop at unknown options."""

from __future__ import annotations

import re

from ..errors import ConfigError
from ..system.processes import capture

_known: dict[str, tuple[int, int]] = {}
_DEADLINE = 10.0  # seconds


def parse(text: str) -> tuple[int, int]:
    """(9, 2) from `OpenSSH_9.2p1 Debian-2…`. Raises `ConfigError` for another make of ssh."""
    found = re.search(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)", text)
    if not found:
        raise ConfigError(f"this ssh is not OpenSSH ({text.strip()[:80]!r}): set ssh_program=")
    return int(found.group(1)), int(found.group(2))


async def ssh_version(program: str) -> tuple[int, int]:
    """The version of an ssh program; later calls know it."""
    if program not in _known:
        result = await capture([program, "-V"], timeout=_DEADLINE)
        _known[program] = parse(result.stderr + result.stdout)
    return _known[program]
