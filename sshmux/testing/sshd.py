"""One sshd, from its keys to its end. It blocks; PrivateServer is its face."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil

from sshmux.testing import processes
from sshmux.testing.config import (
    HOST,
    ServerFiles,
    ServerOptions,
    known_hosts,
    ssh_config,
    sshd_config,
)
from sshmux.testing.log import ServerLog
from sshmux.testing.login import nss_environment, write_slow_shell
from sshmux.testing.password import PrivatePam
from sshmux.testing.per_connection import session_program, write_script
from sshmux.testing.programs import find_sshd, find_wrapper, generate_key, sshd_version

_START_TIMEOUT = 10.0
_PORT_ATTEMPTS = 10


class Sshd:
    """An sshd with files of its own. `port` is 0 until it has started once, and then stays."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._program = self._name = find_sshd()
        self._account = pwd.getpwuid(os.getuid())
        self._settings = options.settings()
        self._environment = {"PATH": os.defpath}
        self._pam: PrivatePam | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self.listener: psutil.Popen | None = None
        self.log = ServerLog()
        self.port = 0
        self.files = ServerFiles(Path(tempfile.mkdtemp(prefix="sshmux-sshd-")))

    @property
    def is_running(self) -> bool:
        """Whether the listener runs."""
        return self.listener is not None and self.listener.poll() is None

    @property
    def directories(self) -> list[Path]:
        """Where there are files of this server: one, and with PAM a second."""
        return [self.files.directory, *([self._pam.services] if self._pam else [])]

    def prepare(self) -> None:
        """Write everything that is the same for every start."""
        generate_key(self.files.host_key, "sshmux.testing host")
        generate_key(self.files.user_key, "sshmux.testing user")
        shutil.copy(_public(self.files.user_key), self.files.authorized_keys)
        if sshd_version(self._program) >= (9, 8):
            self._settings["PerSourcePenalties"] = False  # all of a test's clients are one source
        self._prepare_banner()
        self._prepare_connections()
        self._prepare_password()
        self._prepare_login()

    def start(self) -> None:
        """Start the listener, unless it runs."""
        if self.is_running:
            return
        if self.files.next_host_key.exists():
            self.files.next_host_key.replace(self.files.host_key)
        for _ in range(_PORT_ATTEMPTS):
            if self._launch(self.port or _free_port()):
                return
        raise RuntimeError(f"sshd found no port to listen on. Log:\n{self.log.text}")

    def stop(self) -> None:
        """End the listener, its connections and their sessions."""
        if self.listener is None:
            return
        processes.end_tree(self.listener)
        self.listener.wait()
        self.log.wait_closed(timeout=5.0)
        self.listener = None
        if self._watcher is not None:
            processes.dismiss_watcher(self._watcher)
            self._watcher = None

    def remove(self) -> None:
        """Stop, end what sessions have left running, and remove all files."""
        self.stop()
        if self.port:
            processes.end(processes.session_leftovers(HOST, self.port))
        if kept := os.environ.get("SSHMUX_DEBUG"):
            self._keep(Path(kept))
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)

    def _keep(self, debug: Path) -> None:
        """Copies the files and the log to where whoever looks for a fault wants them."""
        target = debug / f"sshd-{self.port}-{os.getpid()}"
        shutil.copytree(self.files.directory, target, dirs_exist_ok=True)
        (target / "sshd.log").write_text(self.log.text, "utf-8")

    def _prepare_banner(self) -> None:
        if self._options.banner is not None:
            self.files.banner.write_text(self._options.banner)
            self._settings["Banner"] = str(self.files.banner)

    def _prepare_connections(self) -> None:
        """Put a script in the place of the program that sshd executes for each connection."""
        delay, own_clients = self._options.delay, self._options.needs_pam
        if not delay and not own_clients:
            return
        separate = sshd_version(self._program) >= (9, 8)
        program = session_program(self._program) if separate else self._program
        script = write_script(self.files.directory, program, delay=delay, own_clients=own_clients)
        if separate:
            self._settings["SshdSessionPath"] = str(script)
        else:  # sshd itself, by the name that it was started with
            self._name = script

    def _prepare_password(self) -> None:
        if self._options.needs_pam:
            options = self._options
            self._pam = PrivatePam(self.files.directory, options.password, options.totp)
            self._preload(self._pam.library)

    def _prepare_login(self) -> None:
        directory, own_shell = self.files.directory, self._account.pw_shell
        shell = str(self._options.login_shell or own_shell)
        if self._options.login_delay:
            shell = write_slow_shell(directory, shell, self._options.login_delay)
        if shell != own_shell:
            self._preload(find_wrapper("nss_wrapper"))
            self._environment |= nss_environment(directory, self._account, shell)

    def _preload(self, library: Path) -> None:
        others = self._environment.get("LD_PRELOAD", "")
        self._environment["LD_PRELOAD"] = f"{others} {library}".strip()

    def _launch(self, port: int) -> bool:
        """Start on `port`; False if that is worth another attempt."""
        self._write_configs(port)
        start = len(self.log.text)
        self.listener = self._spawn()
        self._watcher = processes.start_watcher(self.listener.pid, self.directories)
        if self.log.wait(r"^Server listening on ", _START_TIMEOUT, start=start):
            self.port = port
            return True
        self.stop()
        said = self.log.text[start:]
        port_was_taken = not self.port and "Cannot bind any" in said
        if port_was_taken or _make_privsep_directory(said):
            return False
        raise RuntimeError(f"sshd did not start on port {port}. Log:\n{said}")

    def _write_configs(self, port: int) -> None:
        files = self.files
        config = sshd_config(files, port, self._settings, self._options.extra)
        files.sshd_config.write_text(config)
        files.ssh_config.write_text(ssh_config(files, port, self._account.pw_name))
        if not self.port:  # later the host key may be another, which clients are not to expect
            files.known_hosts.write_text(known_hosts(port, _public(files.host_key).read_text()))

    def _spawn(self) -> psutil.Popen:
        reading, writing = os.pipe()
        try:
            listener = psutil.Popen(
                [self._name, "-D", "-e", "-f", self.files.sshd_config],
                executable=self._program,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=writing,
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.log.follow(reading)
        return listener


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _public(key: Path) -> Path:
    return key.with_name(key.name + ".pub")


def _make_privsep_directory(log: str) -> bool:
    """Make the directory that sshd misses as root, usually /run/sshd; say whether it did."""
    missing = re.search(r"^Missing privilege separation directory: (\S+)", log, re.MULTILINE)
    if missing is None:
        return False
    Path(missing[1]).mkdir(mode=0o755, parents=True, exist_ok=True)
    return True
