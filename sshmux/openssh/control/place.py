"""Where the control directory is, and whether that place is safe."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def default_path() -> Path:
    """`$SSHMUX_DIR`, else `$XDG_RUNTIME_DIR/sshmux`, else a private one below the temporary one."""
    if chosen := os.environ.get("SSHMUX_DIR"):
        return Path(chosen).expanduser().absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return Path(runtime).absolute() / "sshmux"
    return Path(tempfile.gettempdir()).absolute() / f"sshmux-{os.getuid()}"
