"""A private dropbear: another server than OpenSSH's, as any user, and nothing left behind.

dropbear looks for keys in the account's home and nowhere else. So it gets a home of its own, by
nss_wrapper and a passwd file in which the account has it: no account is made, and nobody has to
be root. (As another user than root it lets nobody else in, as sshd.)

Needs Linux, nss_wrapper, and the programs dropbear and dropbearkey.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Hashable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from sshmux.testing import WrapperMissing, processes
from sshmux.testing.config import HOST, ServerFiles, known_hosts, server_alias, ssh_config
from sshmux.testing.login import nss_environment
from sshmux.testing.programs import find_wrapper, generate_key

from .support import PATIENCE, until

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_PORT_ATTEMPTS = 10


def missing() -> str | None:
    """Why there can be no dropbear here, and what to install; None if there can."""
    try:
        find_wrapper("nss_wrapper")
    except WrapperMissing as error:
        return str(error)
    # The key is made by dropbearkey, the hash of a password by openssl.
    for program, package in ("dropbear", "dropbear-bin"), ("dropbearkey", "dropbear-bin"):
        if shutil.which(program, path=_PATH) is None:
            return f"{program} not installed: apt-get install {package} (Fedora: dropbear)"
    return None if shutil.which("openssl") else "openssl not installed"


class Dropbear:
    """A dropbear on 127.0.0.1 with its own host key; an async context manager.

    It takes five connections at a time that have not logged in yet; that is built in. So is a
    fault of 2022.83: a session that begins on a connection just when another ends may be closed
    at once, without output or exit status, and ssh returns 255 (as its issue 173 describes).

    Parameters:
        password: what the account's password is here; None: only the key logs in.
        options: more of dropbear's options, such as "-t" for the key and then the password.
    """

    def __init__(self, *, password: str | None = None, options: Sequence[str] = ()) -> None:
        self._password = password
        self._options = options
        self._account = pwd.getpwuid(os.getuid())
        self._listener: psutil.Popen | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self.host = HOST
        self.port = 0
        self.username = self._account.pw_name

    # What a client needs to know

    @property
    def alias(self) -> str:
        """Its name in `config_file`."""
        return server_alias(self.port)

    @property
    def key_file(self) -> Path:
        """The private key that logs in."""
        return self._files.user_key

    @property
    def known_hosts_file(self) -> Path:
        """Its host key."""
        return self._files.known_hosts

    @property
    def config_file(self) -> Path:
        """An ssh_config with nothing of the user's own (`ssh -F`)."""
        return self._files.ssh_config

    @property
    def home(self) -> Path:
        """The account's home here."""
        return self._files.directory / "home"

    def register(self, manager: Any, cluster_id: Hashable, **overrides: Any) -> None:
        """Register it with a ConnectionManager, as PrivateServer does."""
        own = {
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "key_file": self.key_file,
            "known_hosts_file": self.known_hosts_file,
            "config_file": self.config_file,
        }
        manager.register_cluster(cluster_id, **(own | overrides))

    # What it saw

    @property
    def log(self) -> str:
        """All that dropbear has logged."""
        return self._log_file.read_text(errors="replace")

    @property
    def connections(self) -> int:
        """TCP connections that it has taken on."""
        return self._count("Child connection from ")

    @property
    def logins(self) -> int:
        """Connections that a key or a password was right in; with `-t` one may not be enough."""
        return len(set(re.findall(r"^\[(\d+)\] .* auth succeeded for ", self.log, re.MULTILINE)))

    @property
    def failed_logins(self) -> int:
        """Passwords that it has refused."""
        return self._count("Bad password attempt for ")

    async def wait_for_log(self, pattern: str, timeout: float = PATIENCE) -> None:
        """Wait until it has logged what the regular expression finds."""
        await until(lambda: re.search(pattern, self.log), timeout)

    def _count(self, text: str) -> int:
        return self.log.count(f" {text}")

    # Life

    async def __aenter__(self) -> Self:
        self._files = ServerFiles(Path(tempfile.mkdtemp(prefix="sshmux-dropbear-")))
        self._log_file = self._files.directory / "log"
        try:
            host_key = self._prepare()
            await self._start()
        except BaseException:
            self._remove()
            raise
        self._files.known_hosts.write_text(known_hosts(self.port, host_key))
        self._files.ssh_config.write_text(ssh_config(self._files, self.port, self.username))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._remove)

    def drop_connections(self) -> None:
        """Kill the connections, not the listener: the link is lost without a goodbye."""
        assert self._listener
        processes.kill(processes.sshd_processes(self._listener)[1:])

    def _prepare(self) -> str:
        """Write everything but what has the port in it; return the public host key."""
        directory = self._files.directory
        generate_key(self._files.user_key, "sshmux user")
        (self.home / ".ssh").mkdir(0o700, parents=True)
        shutil.copy(f"{self._files.user_key}.pub", self.home / ".ssh" / "authorized_keys")
        account = list(self._account)
        account[5] = str(self.home)
        environment = nss_environment(
            directory, pwd.struct_passwd(account), self._account.pw_shell
        ) | {
            "NSS_WRAPPER_SHADOW": str(_write_shadow(directory, self.username, self._password)),
            "LD_PRELOAD": str(find_wrapper("nss_wrapper")),
            "PATH": os.defpath,
        }
        self._environment = environment
        return _make_host_key(self._files.host_key)

    async def _start(self) -> None:
        for _ in range(_PORT_ATTEMPTS):
            self.port = _free_port()
            self._spawn()
            # It says so once it listens.
            if await self._said("Not backgrounding"):
                return
            self._stop()
        raise RuntimeError(f"dropbear did not start. Log:\n{self.log}")

    async def _said(self, words: str) -> bool:
        deadline = time.monotonic() + PATIENCE
        while words not in self.log:
            assert self._listener
            if self._listener.poll() is not None or time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def _spawn(self) -> None:
        program = shutil.which("dropbear", path=_PATH)
        assert program, missing()
        # In the foreground, with its log on stderr, no message of the day and no file of its pid.
        command = [program, "-F", "-E", "-m", "-P", "", "-r", str(self._files.host_key)]
        command += ["-p", f"{HOST}:{self.port}", *([] if self._password else ["-s"])]
        with self._log_file.open("wb") as log:
            self._listener = psutil.Popen(
                [*command, *self._options],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._watcher = processes.start_watcher(self._listener.pid, [self._files.directory])

    def _stop(self) -> None:
        if self._listener is not None:
            processes.end_tree(self._listener)
            self._listener.wait()
            processes.end(processes.session_leftovers(HOST, self.port))
            self._listener = None
        if self._watcher is not None:
            processes.dismiss_watcher(self._watcher)
            self._watcher = None

    def _remove(self) -> None:
        self._stop()
        shutil.rmtree(self._files.directory, ignore_errors=True)


def _make_host_key(path: Path) -> str:
    """Make a host key, in dropbear's own format; return its public half as OpenSSH writes it."""
    program = shutil.which("dropbearkey", path=_PATH)
    assert program, missing()
    command = [program, "-t", "ed25519", "-f", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return next(line for line in shown.splitlines() if line.startswith("ssh-ed25519 "))


def _write_shadow(directory: Path, username: str, password: str | None) -> Path:
    """Write the account's password where dropbear looks for it; None is one that nobody has."""
    hashed = "*" if password is None else _hash(password)
    path = directory / "shadow"
    path.touch(0o600)
    path.write_text(f"{username}:{hashed}:19000:0:99999:7:::\n")
    return path


def _hash(password: str) -> str:
    command = ["openssl", "passwd", "-6", "-stdin"]
    run = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
