"""The hosts that ssh_config names: for completion, and to choose from. What they mean, ssh says."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterable
from pathlib import Path

_DEPTH = 8  # of Include in ssh_config; ssh itself allows 16


def named_hosts(paths: Iterable[Path] | None = None) -> list[str]:
    """The names after `Host`, patterns left out, sorted. None: of the user's and the system's."""
    if paths is None:
        paths = (Path("~/.ssh/config").expanduser(), Path("/etc/ssh/ssh_config"))
    known: set[str] = set()
    for path in paths:
        known |= _hosts_in(path, path.parent, _DEPTH)
    return sorted(known)


def _hosts_in(path: Path, base: Path, depth: int) -> set[str]:
    found: set[str] = set()
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            keyword, *values = shlex.split(line.replace("=", " ", 1), comments=True) or [""]
        except ValueError:
            continue
        if keyword.lower() == "host":
            found |= {value for value in values if not set(value) & set("*?!")}
        elif keyword.lower() == "include" and depth > 0:
            for value in values:
                pattern = str(base / Path(value).expanduser())
                for included in sorted(glob.glob(pattern)):
                    found |= _hosts_in(Path(included), base, depth - 1)
    return found
