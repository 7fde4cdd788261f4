"""Another login shell for the account: nss_wrapper with a passwd file of the server's own."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

# sshd gives commands to the shell as `-c COMMAND`, and nothing for an interactive login, whose
# argv[0] "-sh" a script does not get to see.
_SLOW_SHELL = """\
#!/bin/sh
sleep {delay:g}
[ $# -eq 0 ] && set -- -l
exec {shell} "$@"
"""


def write_slow_shell(directory: Path, shell: str, delay: float) -> str:
    """Write a login shell that sleeps `delay` seconds and then is `shell`; return its path."""
    path = directory / "slow-shell"
    path.write_text(_SLOW_SHELL.format(delay=delay, shell=shlex.quote(shell)))
    path.chmod(0o700)
    return str(path)


def nss_environment(directory: Path, account: pwd.struct_passwd, shell: str) -> dict[str, str]:
    """Write a passwd and a group file and return what points nss_wrapper to them.

    The system's other accounts stay: as root, sshd needs the one called sshd.
    """
    passwd, group = directory / "passwd", directory / "group"
    others = [
        line
        for line in Path("/etc/passwd").read_text().splitlines()
        if line.partition(":")[0] != account.pw_name
    ]
    passwd.write_text("\n".join([*others, _passwd_line(account, shell), ""]))
    group.write_text(Path("/etc/group").read_text())
    return {"NSS_WRAPPER_PASSWD": str(passwd), "NSS_WRAPPER_GROUP": str(group)}


def _passwd_line(account: pwd.struct_passwd, shell: str) -> str:
    home = account.pw_dir
    if not os.path.isdir(home):  # as that of `nobody`: sshd would say so before each command
        home = os.environ.get("HOME") or "/"
    return ":".join(map(str, (*account[:-2], home, shell)))
