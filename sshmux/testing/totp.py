"""One-time codes for a private sshd: what Google's pam_google_authenticator reads."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from sshmux.testing.programs import WrapperMissing

_MODULE = "pam_google_authenticator.so"
_MODULE_DIRECTORIES = (
    "lib/security",
    "lib/*/security",
    "lib64/security",
    "usr/lib/security",
    "usr/lib/*/security",
    "usr/lib64/security",
)

# Three codes are good at a time: the one before and the one after are for clocks that differ.
# The module notes the used ones in this file, and refuses all if others may read it.
_FILE = """\
{secret}
" DISALLOW_REUSE
" WINDOW_SIZE 3
" TOTP_AUTH
"""
_PERMISSIONS = 0o600


def normalize(secret: str) -> str:
    """Return a base32 secret as the module reads it: no blanks, no padding, in capitals.

    Raises:
        ValueError: it is no base32.
    """
    plain = "".join(secret.split()).upper().rstrip("=")
    try:
        known = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except binascii.Error:
        known = b""
    if not known:
        raise ValueError("totp must be a secret in base32: letters A to Z and digits 2 to 7.")
    return plain


def write_totp(directory: Path, secret: str) -> str:
    """Write the module's file for `secret`; return the line of the PAM service that asks.

    The file is for one account, the one that sshd runs as and lets in. The module replaces it
    whenever a code was used, so `directory` must be that account's.

    Raises:
        WrapperMissing: the module is not installed.
    """
    _require_module()
    file = directory / "totp"
    file.touch(_PERMISSIONS)  # before there is anything to read
    file.write_text(_FILE.format(secret=secret))
    # Otherwise three wrong codes in a row could move the server's clock.
    return f"auth requisite {_MODULE} noskewadj allowed_perm=0{_PERMISSIONS:o} secret={file}\n"


def _require_module() -> None:
    # Only whether it is there: libpam knows by itself which of several is for this machine.
    if not any(any(Path("/").glob(f"{place}/{_MODULE}")) for place in _MODULE_DIRECTORIES):
        raise WrapperMissing(
            f"{_MODULE} not found, which totp needs. Install it: `apt install "
            "libpam-google-authenticator` (Debian, Ubuntu) or `dnf install google-authenticator` "
            "(Fedora)."
        )
