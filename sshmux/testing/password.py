"""A password and one-time codes for a real sshd: PAM with a private service, as any user.

libpam takes its services from /etc/pam.d, which only root may write. So sshd gets, by LD_PRELOAD,
a copy of libpam in which that path is another one of the same length. pam_wrapper is no help
here: every sshd process leaves one of its 62 directory names in /tmp behind.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sshmux.testing.programs import WrapperMissing, find_library
from sshmux.testing.totp import write_totp

_SERVICES = b"/etc/pam.d"

# pam_exec asks "Password: " and hands the answer to the script's stdin, NUL-terminated. `[` is
# built into the shell, so neither password is ever in a command line.
_CHECK = """\
#!/bin/sh
given=$(tr -d '\\000')
[ "$given" = "$(cat '{expected}')" ]
"""
_QUESTION = "auth requisite pam_exec.so quiet expose_authtok {check}\n"
_SERVICE = """\
{questions}auth required pam_permit.so
account required pam_permit.so
session required pam_permit.so
password required pam_deny.so
"""


class PrivatePam:
    """One server's PAM service and the library that reads it.

    Parameters:
        directory: the server's private directory, for the library, the script and the secrets.
        password: what to accept: one line, not empty; None not to ask for one.
        totp: the base32 secret of one-time codes, asked for after the password; None for none.

    Raises:
        WrapperMissing: this machine has no libpam, or not one that can be redirected, or no
            module for one-time codes.
    """

    def __init__(self, directory: Path, password: str | None, totp: str | None) -> None:
        # `services` is outside of the private directory: whoever made this removes it.
        self.library = directory / "libpam.so.0"
        original = _read_libpam()
        questions = _write_check(directory, password) if password is not None else ""
        questions += write_totp(directory, totp) if totp is not None else ""
        self.services = _make_services_directory()
        self.library.write_bytes(original.replace(_SERVICES, bytes(self.services)))
        (self.services / "sshd").write_text(_SERVICE.format(questions=questions))


def _write_check(directory: Path, password: str) -> str:
    """Write the password and the script that compares; return the line that asks for it."""
    expected = directory / "password"
    expected.write_text(password)
    check = directory / "check-password"
    check.write_text(_CHECK.format(expected=expected))
    check.chmod(0o700)
    return _QUESTION.format(check=check)


def _read_libpam() -> bytes:
    library = find_library("libpam.so.0")
    content = library.read_bytes() if library else b""
    if _SERVICES not in content:
        raise WrapperMissing(
            "A password or totp needs a sshd with PAM on Linux, and its libpam.so.0 with services "
            "in /etc/pam.d: `apt install libpam0g libpam-modules` or `dnf install pam`."
        )
    return content


def _make_services_directory() -> Path:
    """Make a private directory whose path is as long as /etc/pam.d, which rules TMPDIR out."""
    while True:
        directory = Path("/tmp", secrets.token_hex(3)[:5])  # noqa: S108 - mkdir refuses what exists
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return directory
