"""`sshmux login`, `password` and `doctor`, as a user uses them: on a terminal."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest

from sshmux.testing import PrivateServer

ROOT = Path(__file__).parents[2]
SECRET = "hunter2 typed-at-the-terminal"


class Desk:
    """A terminal, a control directory and a keyring of one's own."""

    def __init__(self, directory: Path, keyring: Path) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "SSHMUX_DIR": str(directory),
            "PYTHON_KEYRING_BACKEND": "tests.file_keyring.Keyring",
            "TEST_KEYRING": str(keyring),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        self.keyring = keyring

    def type(self, *words: str) -> Any:
        """`sshmux …` on a terminal."""
        return pexpect.spawn(
            sys.executable,
            ["-m", "sshmux", *words],
            env=self.environment,
            encoding="utf-8",
            timeout=20,
            echo=True,
        )

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`sshmux …` without a terminal."""
        return subprocess.run(
            [sys.executable, "-m", "sshmux", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            start_new_session=True,
            **options,
        )

    def rows(self) -> list[dict[str, Any]]:
        rows = json.loads(self("ls", "--json").stdout)
        assert isinstance(rows, list)
        return rows


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    directory = Path(tempfile.mkdtemp(prefix="sx"))
    desk = Desk(directory, tmp_path / "keyring")
    try:
        yield desk
        assert desk("stop", "--all", "--yes").returncode == 0
        assert os.listdir(directory) == []
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def server() -> Iterator[PrivateServer]:
    with PrivateServer(
        login_shell="/bin/sh", password=SECRET, methods="keyboard-interactive"
    ) as made:
        yield made


def at(server: PrivateServer) -> list[str]:
    return ["-F", str(server.config_file), server.alias]


def test_one_log_in_serves_the_day(desk: Desk, server: PrivateServer) -> None:
    terminal = desk.type("login", *at(server))
    terminal.expect_exact("Password: ")
    terminal.sendline("mistyped")
    terminal.expect_exact("Password: ")
    terminal.sendline(SECRET)
    terminal.expect("logged in; it stays for 8h")
    terminal.expect(pexpect.EOF)
    assert terminal.wait() == 0
    assert SECRET not in (terminal.before or "")
    assert (server.logins, server.failed_logins) == (1, 1)
    (row,) = desk.rows()
    assert (row["state"], row["persist_seconds"], row["owner_alive"]) == (
        "persistent",
        28800,
        False,
    )
    done = desk("run", *at(server), "--", "echo", "in")
    assert (done.stdout, done.stderr) == ("in\n", "")
    again = desk("login", *at(server))
    assert "was logged in already" in again.stdout
    assert server.logins == 1


def test_run_asks_on_a_terminal_and_only_there(desk: Desk, server: PrivateServer) -> None:
    done = desk("run", *at(server), "--", "true")
    assert done.returncode == 255
    assert "sshmux login" in done.stderr
    batch = desk.type("run", "--batch", *at(server), "--", "true")
    batch.expect("Permission denied")
    batch.expect(pexpect.EOF)
    assert batch.wait() == 255
    terminal = desk.type("run", *at(server), "--", "echo in; exit 3")
    terminal.expect_exact("Password: ")
    terminal.sendline(SECRET)
    terminal.expect_exact("in\r\n")
    terminal.expect(pexpect.EOF)
    assert terminal.wait() == 3


def test_ctrl_c_at_the_question_leaves_nothing_and_the_terminal_as_it_was(
    desk: Desk, server: PrivateServer
) -> None:
    shell = pexpect.spawn("/bin/sh", env=desk.environment, encoding="utf-8", timeout=20)
    shell.sendline(f"PS1='ready> '; {sys.executable} -m sshmux login {' '.join(at(server))}")
    shell.expect_exact("Password: ")
    shell.sendintr()
    shell.expect_exact("ready> ")
    shell.sendline("echo status=$?; stty -a | tr ' ;' '\\n\\n' | grep -x -e echo -e icanon")
    shell.expect("status=130")
    shell.expect(r"-?icanon\r\n")
    assert "-icanon" not in shell.after
    shell.expect("(?<!-)echo\r\n")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
    assert desk.rows() == []
    left = [
        p for p in psutil.process_iter(["cmdline"]) if server.alias in (p.info["cmdline"] or [])
    ]
    assert left == []


def test_ctrl_d_declines(desk: Desk, server: PrivateServer) -> None:
    terminal = desk.type("login", *at(server))
    terminal.expect_exact("Password: ")
    terminal.sendeof()
    terminal.expect("it was declined")
    terminal.expect(pexpect.EOF)
    assert terminal.wait() == 255


def test_a_host_key_is_shown_and_confirmed(desk: Desk, tmp_path: Path) -> None:
    with PrivateServer(login_shell="/bin/sh") as server:
        config = tmp_path / "config"
        config.write_text(
            f"Host *\n  UserKnownHostsFile {tmp_path}/k\nInclude {server.config_file}"
        )
        for answer, status in (("", 255), ("yes", 0)):
            terminal = desk.type("login", "-F", str(config), server.alias)
            terminal.expect("SHA256:")
            terminal.expect(r"yes/no.*\? ")
            terminal.sendline(answer)
            terminal.expect(pexpect.EOF)
            assert terminal.wait() == status


def test_a_password_is_stored_tried_used_and_forgotten(desk: Desk, server: PrivateServer) -> None:
    assert desk("password", "test", *at(server)).returncode == 3
    terminal = desk.type("password", "set", server.alias)
    for _ in range(2):
        terminal.expect(": ")
        terminal.sendline(SECRET)
    terminal.expect("stored as")
    terminal.expect(pexpect.EOF)
    assert terminal.wait() == 0
    assert json.loads(desk.keyring.read_text()) == {"sshmux": {server.alias: SECRET}}
    done = desk("password", "test", *at(server))
    assert (done.returncode, "works" in done.stdout) == (0, True), done.stderr
    assert desk.rows() == []
    assert desk("run", *at(server), "--", "echo", "in").stdout == "in\n"
    assert desk("stop", server.alias).returncode == 0
    stored = desk("password", "set", "--stdin", server.alias, input="wrong\n")
    assert stored.returncode == 0
    refused = desk("password", "test", *at(server))
    server.wait_for_log_blocking("^Failed ")
    assert (refused.returncode, server.failed_logins) == (1, 1)
    for _ in range(2):
        assert desk("password", "delete", server.alias).returncode == 0
    assert json.loads(desk.keyring.read_text()) == {"sshmux": {}}
    assert desk("password", "test", *at(server)).returncode == 3


def test_two_passwords_that_differ_are_not_stored(desk: Desk) -> None:
    terminal = desk.type("password", "set", "me@cluster")
    for word in ("one", "other"):
        terminal.expect(": ")
        terminal.sendline(word)
    terminal.expect("not the same")
    terminal.expect(pexpect.EOF)
    assert terminal.wait() == 255
    assert not desk.keyring.exists()


def test_other_kinds_of_secrets_and_no_keyring(desk: Desk, tmp_path: Path) -> None:
    desk("password", "set", "--stdin", "--one-time", "me@c", input="jbsw y3dp ehpk 3pxp\n")
    desk("password", "set", "--stdin", "--key", str(tmp_path / "id"), input="phrase\n")
    entries = json.loads(desk.keyring.read_text())["sshmux"]
    assert entries == {
        "me@c (one-time codes)": "JBSWY3DPEHPK3PXP",
        f"{tmp_path / 'id'} (passphrase)": "phrase",
    }
    bad = desk("password", "set", "--stdin", "--one-time", "me@c", input="not base32 at all!\n")
    assert (bad.returncode, "not base32" in bad.stderr) == (255, False)
    desk.environment["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    none = desk("password", "set", "--stdin", "me@c", input="word\n")
    assert (none.returncode, "nothing was stored" in none.stderr) == (1, True)


def test_doctor_tells_each_stage(desk: Desk) -> None:
    with PrivateServer(login_shell="/bin/sh", max_sessions=4) as server:
        done = desk("doctor", "--json", *at(server))
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        assert facts["resolved"]["port"] == server.port
        assert facts["log_in"]["used"] == ["publickey"]
        assert facts["log_in"]["offered"] == [["publickey"]]
        assert facts["log_in"]["host_key"].startswith("ssh-ed25519 SHA256:")
        assert all(value is not None for value in facts["log_in"]["seconds"].values())
        assert facts["over_there"]["sessions"] == 4
        assert facts["over_there"]["sessions_limited"] is True
        # Without nss_wrapper it is the account's own: see isolation.plain_shells.
        own = pwd.getpwuid(os.getuid()).pw_shell
        assert facts["over_there"]["login_shell"] in ("/bin/sh", own)
        assert abs(facts["over_there"]["clock_ahead_seconds"]) < 5
        assert facts["machine"]["control_directory"] == str(desk.directory)
        text = desk("doctor", "--sessions", "2", *at(server)).stdout
        assert "2 or more" in text
        assert text.rstrip().endswith("It works.")
        assert server.logins == 2


def test_doctor_says_why_not(desk: Desk, server: PrivateServer) -> None:
    done = desk("doctor", *at(server))
    assert done.returncode == 1
    assert "offered           keyboard-interactive" in done.stdout
    assert "It does not work" in done.stdout
    missing = desk("doctor", "--json", "no-such-host.invalid")
    assert missing.returncode == 1
    assert "no-such-host.invalid" in json.loads(missing.stdout)["error"]


def test_doctor_asks_and_goes_through_a_jump_host(
    desk: Desk, server: PrivateServer, tmp_path: Path
) -> None:
    with PrivateServer(login_shell="/bin/sh") as target:
        config = tmp_path / "config"
        config.write_text(
            f"Include {server.config_file}\nInclude {target.config_file}\n"
            f"Host {target.alias}\n    ProxyJump {server.alias}\n"
        )
        terminal = desk.type("doctor", "-F", str(config), target.alias)
        terminal.expect_exact("Password: ")
        terminal.sendline(SECRET)
        terminal.expect("It works")
        terminal.expect(pexpect.EOF)
        assert terminal.wait() == 0
        assert desk.rows() == []
