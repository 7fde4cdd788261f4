"""A slow server: sshd re-executes itself for every connection, here through a script that waits."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

# `exec` keeps the process, and with it the descriptors that sshd hands to itself.
_SCRIPT = """\
#!/bin/sh
sleep {delay:g}
exec {program} "$@"
"""


def write_delayed(directory: Path, program: Path, delay: float) -> Path:
    """Write a script that sleeps `delay` seconds and becomes `program`; return its path.

    It has the program's name, which is what process listings show.
    """
    script = directory / program.name
    script.write_text(_SCRIPT.format(delay=delay, program=shlex.quote(str(program))))
    script.chmod(0o700)
    return script


def session_program(sshd: Path) -> Path:
    """Return the sshd-session that `sshd` (9.8 or later) starts for each connection."""
    command = [str(sshd), "-G", "-f", os.devnull]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Keywords are shown in lower case by 9.8, and as SshdSessionPath by 10.5.
    match = re.search(r"^sshdsessionpath (.+)$", shown, re.MULTILINE | re.IGNORECASE)
    if match is None:
        raise RuntimeError(f"`{sshd} -G` does not tell its SshdSessionPath, which `delay` needs.")
    return Path(match[1])
