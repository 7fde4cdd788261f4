"""Files on the remote over the SFTP subsystem, with asyncssh's client and names.

The names are loaded when they are first used, as those of `sshmux`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = "errors", "sftp.statuses", "sftp.attrs", "sftp.client", "sftp.file"


def __getattr__(name: str) -> Any:
    if name.startswith(("SFTP", "FX_", "FILEXFER_")):
        for home in _HOMES:
            module = import_module(f"..{home}", __name__)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'sshmux.sftp' has no attribute {name!r}")
