"""A script before each connection: sshd re-executes itself for every one, here through it.

It makes a server slow, and it turns away other users of this machine: the loopback interface is
everybody's, and a password that a test has in its source would log them in as whoever runs it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

# The connection is sshd's stdin. The kernel's table has both of its ends, and whose each one is.
# `exec` keeps the process, and with it the descriptors that sshd hands to itself.
_OWN_CLIENTS = """\
this=$(readlink /proc/self/fd/0)
near= far= owner=
while read -r _ local remote _ _ _ _ _ _ inode _; do
    if [ "socket:[$inode]" = "$this" ]; then near=$local far=$remote; fi
done </proc/net/tcp
while read -r _ local remote _ _ _ _ uid _; do
    if [ "$local $remote" = "$far $near" ]; then owner=$uid; fi
done </proc/net/tcp
case $owner in
    0 | {uid}) ;;
    *) echo "sshmux.testing: refused a connection of user ${{owner:-unknown}}" >&2; exit 1 ;;
esac
"""


def write_script(
    directory: Path, program: Path, *, delay: float = 0, own_clients: bool = False
) -> Path:
    """Write a script that becomes `program`; return its path.

    It has the program's name, which is what process listings show.

    Parameters:
        delay: seconds that it waits first.
        own_clients: turn away connections of users other than this one, and root.
    """
    lines = ["#!/bin/sh\n"]
    if delay:
        lines.append(f"sleep {delay:g}\n")
    if own_clients:
        lines.append(_OWN_CLIENTS.format(uid=os.geteuid()))
    lines.append(f'exec {shlex.quote(str(program))} "$@"\n')
    script = directory / program.name
    script.write_text("".join(lines))
    script.chmod(0o700)
    return script


def session_program(sshd: Path) -> Path:
    """Return the sshd-session that `sshd` (9.8 or later) starts for each connection."""
    command = [str(sshd), "-G", "-f", os.devnull]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Keywords are shown in lower case by 9.8, and as SshdSessionPath by 10.5.
    match = re.search(r"^sshdsessionpath (.+)$", shown, re.MULTILINE | re.IGNORECASE)
    if match is None:
        raise RuntimeError(
            f"`{sshd} -G` does not tell its SshdSessionPath, which `delay` and `password` need."
        )
    return Path(match[1])
