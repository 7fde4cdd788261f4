"""A private Secret Service: gnome-keyring on a D-Bus of its own, and nothing of the machine's.

Needs Linux, and the programs dbus-daemon and gnome-keyring-daemon.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .support import PATIENCE, processes

if TYPE_CHECKING:  # both come with keyring, on Linux only
    from jeepney.io.blocking import DBusConnection
    from secretstorage import Collection

MASTER_PASSWORD = "of the keyring itself"

# The programs, and the packages they are in: Debian's, Fedora's.
_NEEDED = {
    "dbus-daemon": ("dbus", "dbus-daemon"),
    "gnome-keyring-daemon": ("gnome-keyring", "gnome-keyring"),
    "setpriv": ("util-linux", "util-linux"),
}

# No directory of services: otherwise D-Bus would start the machine's prompter, or a second keyring.
_BUS = """\
<busconfig>
  <type>session</type>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""

# What would lead to the desktop of whoever runs the tests.
_DESKTOP = (
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_STARTER_ADDRESS",
    "DISPLAY",
    "GNOME_KEYRING_CONTROL",
    "KEYRING_PROPERTY_SCHEME",
    "PYTHON_KEYRING_BACKEND",
    "SSH_AUTH_SOCK",
    "WAYLAND_DISPLAY",
)


def missing() -> str | None:
    """Why there can be no Secret Service here, and what to install; None if there can."""
    if sys.platform != "linux":
        return "the Secret Service is Linux's"
    lacking = [name for name in _NEEDED if shutil.which(name) is None]
    if not lacking:
        return None
    debian, fedora = (" ".join(_NEEDED[name][i] for name in lacking) for i in (0, 1))
    return (
        f"{' and '.join(lacking)} not installed: apt-get install {debian} (Fedora: dnf install "
        f"{fedora})"
    )


def private_environment(directory: Path) -> dict[str, str]:
    """An environment without a D-Bus, in which nothing leads out of `directory`."""
    kept = {name: value for name, value in os.environ.items() if name not in _DESKTOP}
    return kept | {
        "HOME": str(directory),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "XDG_DATA_HOME": str(directory / "data"),
        "XDG_RUNTIME_DIR": str(directory / "run"),
    }


class SecretService:
    """A running one; see `secret_service`.

    Attributes:
        env: the environment in which programs find this keyring, and no other.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = private_environment(directory)
        self.address = ""
        self._bus: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    # Life

    def start_bus(self) -> None:
        (self.directory / "run").mkdir(mode=0o700)
        config = self.directory / "bus.conf"
        config.write_text(_BUS.format(self.directory / "bus"))
        line = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"]
        self._bus = self._start("dbus", line, stdout=subprocess.PIPE)
        assert self._bus.stdout is not None
        self.address = self._bus.stdout.readline().decode().strip()  # printed once it listens
        assert self.address, self._said("dbus")
        self.env |= {
            "DBUS_SESSION_BUS_ADDRESS": self.address,
            "PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring",
        }

    def start_daemon(self, *, unlocked: bool = True) -> None:
        """Logs in. Not `unlocked` is a log-in without the password: by finger, or automatic."""
        line = ["gnome-keyring-daemon", "--foreground", "--components=secrets"]
        # Its default is this, too; here it makes the process recognisable.
        line.append(f"--control-directory={self.directory / 'run' / 'keyring'}")
        if unlocked:
            line.append("--unlock")  # with the password from its standard input
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        self._daemon = self._start("daemon", line, **streams)
        assert self._daemon.stdin is not None
        with self._daemon.stdin as stdin:
            stdin.write(MASTER_PASSWORD.encode() if unlocked else b"")
        deadline = time.monotonic() + PATIENCE
        while not self._serves(unlocked):
            assert self._daemon.poll() is None, self._said("daemon")
            assert time.monotonic() < deadline, f"no keyring came: {self._said('daemon')}"
            time.sleep(0.02)

    def restart_daemon(self, *, unlocked: bool = True) -> None:
        """What a reboot is to a keyring. Then programs find it as it was, if it is `unlocked`."""
        self.stop_daemon()
        self.start_daemon(unlocked=unlocked)

    def stop_daemon(self) -> None:
        """Ends the keyring, but not its D-Bus."""
        _end(self._daemon)
        self._daemon = None

    def stop(self) -> None:
        self.stop_daemon()
        _end(self._bus)
        self._bus = None

    def _start(self, name: str, line: list[str], **streams: int) -> subprocess.Popen[bytes]:
        # Killed tests could not end them: the kernel does.
        line = ["setpriv", "--pdeathsig", "KILL", *line]
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(line, env=self.env, stderr=log, **streams)

    def _said(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def _serves(self, unlocked: bool) -> bool:
        from secretstorage.exceptions import SecretStorageException

        try:
            with self._collection() as collection:
                return not (unlocked and collection.is_locked())
        except SecretStorageException:
            return False  # not on the bus yet, or without its collection

    # What happens to keyrings

    def freeze(self) -> None:
        """It answers nobody, until `thaw`. (A call of this class would wait, too.)"""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def lock(self) -> None:
        """As a screen lock may do, or a user. What is in it, is asked for by a prompt."""
        with self._collection() as collection:
            collection.lock()
            assert collection.is_locked()

    def unlock(self) -> None:
        """As a user does who knows the password."""
        from secretstorage.defines import SS_PATH
        from secretstorage.util import DBusAddressWrapper, format_secret, open_session

        # What `gnome-keyring-daemon --unlock` cannot do to one that runs.
        internal = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"
        with self._collection() as collection:
            bus = collection.connection
            secret = format_secret(open_session(bus), MASTER_PASSWORD.encode(), "text/plain")
            DBusAddressWrapper(SS_PATH, internal, bus).call(
                "UnlockWithMasterPassword", "o(oayays)", collection.collection_path, secret
            )
            assert not collection.is_locked()

    @contextmanager
    def nobody_at_the_prompt(self) -> Iterator[None]:
        """Prompts appear, so to speak, and nobody types. (Without this, none can appear.)"""
        from jeepney import DBusAddress, new_method_call

        bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus")
        with self._connection() as connection:
            # The name of the program that shows them; here it belongs to one that never answers.
            own = ("org.gnome.keyring.SystemPrompter", 4)
            reply = connection.send_and_get_reply(new_method_call(bus, "RequestName", "su", own))
            assert reply.body == (1,)
            yield

    # What is in it

    def entries(self) -> list[tuple[str, dict[str, str]]]:
        """The label and the attributes of each, which is what an application for keyrings shows."""
        self._revive()
        with self._collection() as collection:
            return [
                (item.get_label(), item.get_attributes()) for item in collection.get_all_items()
            ]

    def secrets(self) -> dict[str, str]:
        """The secret by the name of the entry, whatever its service."""
        self._revive()
        with self._collection() as collection:
            return {
                item.get_attributes()["username"]: item.get_secret().decode()
                for item in collection.get_all_items()
            }

    def _connection(self) -> closing[DBusConnection]:
        from jeepney.io.blocking import open_dbus_connection

        return closing(open_dbus_connection(self.address))

    @contextmanager
    def _collection(self) -> Iterator[Collection]:
        """The default one. Not created if it is missing: that would take a prompt."""
        import secretstorage
        from secretstorage.exceptions import SecretStorageException

        with self._connection() as connection:
            try:
                collection = secretstorage.Collection(connection)
            except SecretStorageException as error:
                code = None if self._daemon is None else self._daemon.poll()
                error.add_note(f"gnome-keyring-daemon: ended with {code}: {self._said('daemon')}")
                raise
            yield collection

    def _revive(self) -> None:
        """Starts the keyring again if it has died: rarely it does when a program leaves its bus.

        What it was told is in its file by then, as after a reboot. A test that is about the
        daemon's end uses `stop_daemon`.
        """
        if self._daemon is not None and self._daemon.poll() is not None:
            print(f"gnome-keyring-daemon died ({self._daemon.returncode}): {self._said('daemon')}")
            self.restart_daemon()


def _end(process: subprocess.Popen[Any] | None) -> None:
    if process is None:
        return
    process.send_signal(signal.SIGCONT)  # a frozen one would not hear
    process.terminate()
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def private_directory() -> Iterator[Path]:
    """A short path, with nothing running for it in the end."""
    directory = Path(tempfile.mkdtemp(prefix="sk"))
    try:
        yield directory
        assert [process.info["cmdline"] for process in processes(str(directory))] == []
    finally:
        for process in processes(str(directory)):
            process.kill()
        shutil.rmtree(directory)


@contextmanager
def secret_service() -> Iterator[SecretService]:
    """A keyring that is unlocked and empty. Afterwards nothing of it is left."""
    with private_directory() as directory:
        service = SecretService(directory)
        try:
            service.start_bus()
            service.start_daemon()
            yield service
        finally:
            service.stop()
