"""The programs and preload libraries a private server is made of, and where they are."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_SSHD_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_LIBRARY_DIRECTORIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")


class SshdMissing(RuntimeError):
    """OpenSSH's server is not installed on this machine; the message says how to get it."""


class WrapperMissing(RuntimeError):
    """A preload library (nss_wrapper, pam_wrapper) that an option needs is not installed."""


@functools.cache
def find_sshd() -> Path:
    """Return sshd's absolute path: it re-executes itself by that path, so a bare name will not do.

    Raises:
        SshdMissing: there is no sshd in PATH, /usr/sbin, /usr/local/sbin or /opt/homebrew/sbin.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), *_SSHD_DIRECTORIES))
    found = shutil.which("sshd", path=path)
    if found is None:
        raise SshdMissing(
            "sshd not found. Install OpenSSH's server: `apt install openssh-server` (Debian, "
            "Ubuntu), `dnf install openssh-server` (Fedora), `brew install openssh` (macOS, "
            "where /usr/sbin/sshd is normally there already)."
        )
    return Path(found).absolute()


@functools.cache
def sshd_version(sshd: Path) -> tuple[int, int]:
    """Return (major, minor) of OpenSSH. Before 9.2 `-V` is an error whose text has the version."""
    output = subprocess.run([sshd, "-V"], capture_output=True, text=True, check=False)
    match = re.search(r"OpenSSH_(\d+)\.(\d+)", output.stderr + output.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@functools.cache
def find_wrapper(name: str) -> Path:
    """Return the absolute path of cwrap's `lib<name>.so`, for LD_PRELOAD.

    Raises:
        WrapperMissing: it is not installed, or this is not Linux (macOS lets nobody preload
            a library into /usr/sbin/sshd).
    """
    if sys.platform != "linux":
        raise WrapperMissing(f"{name} preloads a library into sshd, which works on Linux only.")
    file = find_library(f"lib{name}.so")
    if file is None:
        package = f"lib{name.replace('_', '-')}"
        raise WrapperMissing(
            f"lib{name}.so not found. Install it: `apt install {package}` (Debian, Ubuntu) or "
            f"`dnf install {name}` (Fedora)."
        )
    return file


def find_library(file_name: str) -> Path | None:
    """Look in the library directories and one level below, where Debian keeps them by machine."""
    for directory in map(Path, _LIBRARY_DIRECTORIES):
        for pattern in (f"{file_name}*", f"*-linux-*/{file_name}*"):
            if found := sorted(directory.glob(pattern)):
                return found[0]
    return None


def generate_key(path: Path, comment: str) -> None:
    """Make an ed25519 key pair without a passphrase at `path` and `path`.pub, replacing one."""
    path.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path],
        check=True,
        stdin=subprocess.DEVNULL,
    )
