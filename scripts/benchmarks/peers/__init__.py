"""Who else there is. Each has a small module of its own, and says why it is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..figures import ASYNCSSH

PARAMIKO = "paramiko"
FABRIC = "fabric"
PARALLEL = "parallel-ssh"
NET_OPENSSH = "Net::OpenSSH"

_PERL = "print $Net::OpenSSH::VERSION"


@dataclass(frozen=True)
class Peer:
    """One library.

    Parameters:
        version: asks for it; None when the library is missing.
        how: to install it.
        line: the process that drives it; empty for what runs in our own event loop.
    """

    name: str
    version: Callable[[], str | None]
    how: str
    line: Sequence[str] = ()


def _python(name: str, module: str, driver: str = "") -> Peer:
    def version() -> str | None:
        found = importlib.util.find_spec(module)
        return importlib.metadata.version(name) if found else None

    line = (sys.executable, "-m", f"{__name__}.{driver}") if driver else ()
    return Peer(name, version, f"{sys.executable} -m pip install {name}", line)


def _perl_version() -> str | None:
    try:
        said = subprocess.run(
            ["perl", "-MNet::OpenSSH", "-e", _PERL], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout


PEERS = {
    peer.name: peer
    for peer in (
        _python(ASYNCSSH, "asyncssh"),
        _python(PARAMIKO, "paramiko", "paramiko"),
        _python(FABRIC, "fabric", "fabric"),
        _python(PARALLEL, "pssh", "parallel_ssh"),
        Peer(
            NET_OPENSSH,
            _perl_version,
            "apt-get install libnet-openssh-perl",
            ("perl", str(Path(__file__).with_name("net_openssh.pl"))),
        ),
    )
}
