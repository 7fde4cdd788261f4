"""Every option and every trouble of sshmux.testing, seen from a plain `ssh`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pyotp
import pytest

from sshmux import ConnectionManager
from sshmux.testing import PrivateServer, SshdMissing, WrapperMissing, programs
from sshmux.testing import sshd as sshd_module
from sshmux.testing import totp as totp_module

SECRET = "pass'word $HOME \\ %h ü"


def arguments(server: PrivateServer, *options: str, command: str = "true") -> list[str]:
    return ["ssh", "-F", str(server.config_file), *options, server.alias, command]


async def ssh(server: PrivateServer, command: str = "true", *options: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *arguments(server, "-o", "BatchMode=yes", *options, command=command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def type_password(server: PrivateServer, *answers: str, command: str = "true") -> tuple[str, int]:
    """Log in by hand; return all that the terminal showed, and ssh's exit status."""
    return type_answers(server, *(("assword: ", answer) for answer in answers), command=command)


def type_answers(
    server: PrivateServer, *dialogue: tuple[str, str], command: str = "true", prompts: int = 0
) -> tuple[str, int]:
    """Answer each question as it comes; `prompts` is how often ssh lets the server ask."""
    limit = f"NumberOfPasswordPrompts={prompts or len(dialogue)}"
    client = pexpect.spawn(
        "ssh", arguments(server, "-o", limit, command=command)[1:], encoding="utf-8", timeout=10
    )
    shown = ""
    for question, answer in dialogue:
        client.expect_exact(question)
        shown += str(client.before) + question
        client.sendline(answer)
    shown += client.read()
    client.close()
    assert client.exitstatus is not None
    return shown, client.exitstatus


def environment() -> dict[str, str]:
    """What lets a Python of our own import what this one can."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: a zombie that a container's process 1 has yet to reap does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def needs_nss_wrapper() -> None:
    try:
        programs.find_wrapper("nss_wrapper")
    except WrapperMissing as error:
        pytest.skip(str(error))


def needs_totp() -> None:
    try:
        totp_module._require_module()
    except WrapperMissing as error:
        pytest.skip(str(error))


needs_pam = pytest.mark.skipif(sys.platform != "linux", reason="PAM is redirected on Linux only")


# Logging in, and what is counted


async def test_a_plain_ssh_logs_in_with_the_key_and_is_counted() -> None:
    async with PrivateServer() as server:
        assert (server.connections, server.logins, server.failed_logins) == (0, 0, 0)
        assert await ssh(server, "echo hello") == (0, "hello\n", "")
        assert await ssh(server, "exit 7") == (7, "", "")
        assert (server.connections, server.logins, server.failed_logins) == (2, 2, 0)
        assert repr(server) == f"<PrivateServer {server.username}@127.0.0.1:{server.port} running>"


async def test_many_clients_at_once_are_all_let_in() -> None:
    async with PrivateServer() as server:
        results = await asyncio.gather(*(ssh(server) for _ in range(20)))
        assert [status for status, *_ in results] == [0] * 20
        assert server.logins == 20


async def test_the_clients_configuration_has_nothing_of_the_users_own() -> None:
    async with PrivateServer() as server:
        shown = subprocess.run(
            ["ssh", "-G", "-F", server.config_file, server.alias],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    assert f"port {server.port}" in shown
    assert f"identityfile {server.key_file}" in shown
    assert f"userknownhostsfile {server.known_hosts_file}" in shown
    assert {"identityagent none", "globalknownhostsfile none"} <= set(shown)


async def test_another_key_is_refused_and_is_no_login(tmp_path: Path) -> None:
    programs.generate_key(tmp_path / "other", "other")
    async with PrivateServer() as server:
        server.config_file.write_text(
            server.config_file.read_text().replace(str(server.key_file), str(tmp_path / "other"))
        )
        status, _, err = await ssh(server)
        assert (status, server.logins) == (255, 0)
        assert "Permission denied (publickey)" in err


async def test_sftp_and_forwarding_are_there(tmp_path: Path) -> None:
    async with PrivateServer() as server:
        target = f"{server.alias}:{server.key_file}"
        subprocess.run(
            ["scp", "-q", "-F", server.config_file, target, tmp_path / "copy"], check=True
        )
        assert (tmp_path / "copy").read_text() == server.key_file.read_text()
        jump = ["-o", f"ProxyJump={server.alias}"]
        # A jump through itself: the config's own Host line makes it two connections.
        command = ["ssh", "-F", str(server.config_file), *jump, "-p", str(server.port)]
        assert subprocess.run([*command, "127.0.0.1", "true"], check=False).returncode == 0
        assert server.logins == 3


# The options


async def test_banner() -> None:
    async with PrivateServer(banner="Be careful.\n") as server:
        assert await ssh(server) == (0, "", "Be careful.\n")


async def test_options_win_and_may_repeat() -> None:
    options: dict[str, Any] = {
        "AcceptEnv": ["FIRST", "SECOND"],
        "LogLevel": "DEBUG",
        "AllowTcpForwarding": False,
    }
    async with PrivateServer(options=options) as server:
        _, out, _ = await ssh(server, "echo $FIRST $SECOND", "-o", "SetEnv=FIRST=1 SECOND=2")
        assert out == "1 2\n"
        assert "debug1: " in server.log


async def test_max_sessions(tmp_path: Path) -> None:
    async with PrivateServer(max_sessions=1) as server:
        master = ["-o", f"ControlPath={tmp_path}/m"]
        running = asyncio.create_task(ssh(server, "sleep 60", "-M", *master))
        await server.wait_for_log("Starting session")
        _, _, err = await ssh(server, "true", *master)
        assert "Session open refused by peer" in err
        server.drop_connections()
        assert (await running)[0] == 255


async def test_max_startups() -> None:
    async with PrivateServer(max_startups="1:100:1", delay=0.3) as server:
        results = await asyncio.gather(*(ssh(server) for _ in range(4)))
        assert sorted(status for status, *_ in results) == [0, 255, 255, 255]


async def test_delay_is_before_the_identification() -> None:
    async with PrivateServer(delay=0.5) as server:
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(server.host, server.port)
        assert time.monotonic() - started < 0.4
        assert (await reader.readline()).startswith(b"SSH-2.0-OpenSSH")
        assert time.monotonic() - started >= 0.5
        writer.close()
        assert (await ssh(server))[0] == 0


async def test_a_connection_in_its_delay_is_dropped_too() -> None:
    async with PrivateServer(delay=60) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        async with asyncio.timeout(5):
            while len(server.processes()) < 3:  # the listener, the script, its sleep
                await asyncio.sleep(0.005)
            server.drop_connections()
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("shell", ["sh", "bash", "tcsh", "fish", "zsh"])
async def test_login_shell(shell: str) -> None:
    needs_nss_wrapper()
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    async with PrivateServer(login_shell=path) as server:
        assert await ssh(server, "echo $SHELL") == (0, f"{path}\n", "")
        _, out, _ = await ssh(server, "ps -o comm= -p $$ || true")
        if shell != "fish":  # which has no $$
            assert out.strip() == shell


async def test_login_delay() -> None:
    needs_nss_wrapper()
    async with PrivateServer(login_shell="/bin/sh", login_delay=0.4) as server:
        started = time.monotonic()
        assert await ssh(server, "echo 'a  b'; exit 3") == (3, "a  b\n", "")
        assert time.monotonic() - started >= 0.4
        shown = subprocess.run(
            arguments(server)[:-1], input="echo typed\n", capture_output=True, text=True, check=True
        )
        assert shown.stdout == "typed\n"


async def test_the_users_bashrc_is_not_read(tmp_path: Path) -> None:
    async with PrivateServer(options={"SetEnv": f"HOME={tmp_path} SHLVL=1"}) as server:
        (tmp_path / ".bashrc").write_text("echo read\n")
        assert await ssh(server, "echo $HOME") == (0, f"{tmp_path}\n", "")


# Passwords


@needs_pam
async def test_password_method() -> None:
    async with PrivateServer(password=SECRET, methods="password") as server:
        shown, status = type_password(server, "wrong", SECRET, command="echo in; env")
        assert status == 0
        assert f"{server.username}@127.0.0.1's password: " in shown
        assert "in\r\n" in shown
        assert "PRELOAD" not in shown
        assert (server.connections, server.logins, server.failed_logins) == (1, 1, 1)
        assert "Permission denied (password)" in (await ssh(server))[2]


@needs_pam
async def test_keyboard_interactive_method() -> None:
    async with PrivateServer(password=SECRET, methods="keyboard-interactive") as server:
        shown, status = type_password(server, "wrong", SECRET)
        assert status == 0
        assert f"({server.username}@127.0.0.1) Password: " in shown
        assert (server.connections, server.logins, server.failed_logins) == (1, 1, 1)


@needs_pam
@pytest.mark.parametrize("kbdint", [False, True])
async def test_the_key_or_the_password(kbdint: bool) -> None:
    async with PrivateServer(password=SECRET, kbdint=kbdint) as server:
        assert (await ssh(server))[0] == 0
        asked = "keyboard-interactive" if kbdint else "password"
        err = (await ssh(server, "true", "-o", "PubkeyAuthentication=no"))[2]
        assert f"Permission denied (publickey,{asked})" in err


@needs_pam
async def test_the_key_and_then_the_password() -> None:
    async with PrivateServer(password=SECRET, methods="publickey,password") as server:
        assert (await ssh(server))[0] == 255
        assert type_password(server, SECRET)[1] == 0
        assert server.logins == 1


@needs_pam
async def test_refused_passwords_are_counted_once_each() -> None:
    for kbdint in (False, True):
        async with PrivateServer(password=SECRET, kbdint=kbdint) as server:
            server.key_file.unlink()
            shown, status = type_password(server, "a", "b", "c")
            assert status == 255
            assert "Permission denied" in shown
            await server.wait_for_log("^Failed ", count=3)
            assert (server.logins, server.failed_logins) == (0, 3)


STRANGER = """
import os, socket, sys
os.setgroups([])
os.setresuid(*[int(sys.argv[1])] * 3)
with socket.socket() as connection:
    connection.connect(("127.0.0.1", int(sys.argv[2])))
    print(connection.recv(100))
"""


@needs_pam
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("factor", ["password", "totp"])
async def test_other_users_cannot_try_a_password(factor: str) -> None:
    """It stands in a test's source, and would log them in as whoever runs it."""
    options: dict[str, Any] = {factor: SECRET if factor == "password" else SEED}
    async with PrivateServer(**options) as server:

        async def greeting(uid: int) -> str:
            command = [sys.executable, "-I", "-c", STRANGER, str(uid), str(server.port)]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            return (await process.communicate())[0].decode()

        assert await greeting(12345) == "b''\n"
        assert "refused a connection of user 12345" in server.log
        assert (await greeting(0)).startswith("b'SSH-2.0-OpenSSH")


@needs_pam
async def test_a_random_password() -> None:
    async with PrivateServer(password=True, methods="password") as one:
        other = PrivateServer(password=True)
        assert one.password
        assert one.password != other.password
        async with ConnectionManager() as manager:
            one.register(manager, 1, key_file=None)
            manager.set_password(1, one.password, keyring=False)
            assert await manager.test_connection(1)


@needs_pam
async def test_a_password_and_a_shell_and_a_delay_together() -> None:
    needs_nss_wrapper()
    options: dict[str, Any] = {"password": SECRET, "login_shell": "/bin/sh", "delay": 0.1}
    async with PrivateServer(methods="password", **options) as server:
        shown, status = type_password(server, SECRET, command="echo $SHELL")
        assert (status, "/bin/sh" in shown) == (0, True)


@needs_pam
async def test_the_password_is_in_no_command_line() -> None:
    seen: list[str] = []

    def look() -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                seen.append(" ".join(process.cmdline()))

    async with PrivateServer(password="NotInArgv", methods="password") as server:
        check = server.directory / "check-password"
        check.write_text(check.read_text() + "status=$?; sleep 1; exit $status\n")
        typing = asyncio.create_task(asyncio.to_thread(type_password, server, "NotInArgv"))
        async with asyncio.timeout(10):
            while "check-password" not in "".join(seen):
                look()
                await asyncio.sleep(0.01)
        assert (await typing)[1] == 0
        look()
    assert "NotInArgv" not in "".join(seen)


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="give a password="):
        PrivateServer(methods="publickey password")
    with pytest.raises(ValueError, match="one line"):
        PrivateServer(password="two\nlines")


# One-time codes

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
CODE = "Verification code: "
PASSWORD = "Password: "


def code(step: int = 0) -> str:
    """The code of now, or of so many times 30 seconds later."""
    return pyotp.TOTP(SEED).at(int(time.time()) + 30 * step)


def no_code() -> str:
    """A code that is none, nor will be within a minute or two."""
    near = {code(step) for step in range(-3, 6)}
    return next(other for other in map("{:06}".format, range(10)) if other not in near)


@needs_pam
def test_the_key_and_then_a_code_are_one_login() -> None:
    needs_totp()
    with PrivateServer(totp=SEED) as server:
        shown, status = type_answers(server, (CODE, code()), command="echo in")
        assert (status, shown.count("in\r\n")) == (0, 1)
        assert f"({server.username}@127.0.0.1) {CODE}" in shown
        server.wait_for_log_blocking("^Partial publickey for")
        assert (server.connections, server.logins, server.failed_logins) == (1, 1, 0)


@needs_pam
async def test_the_key_alone_is_not_enough_where_there_are_codes() -> None:
    needs_totp()
    async with PrivateServer(totp=SEED) as server:
        assert "Permission denied (keyboard-interactive)" in (await ssh(server))[2]
        key = server.key_file.rename(server.directory / "hidden")
        assert "Permission denied (publickey)" in (await ssh(server))[2]
        key.rename(server.key_file)
        assert (server.logins, server.failed_logins) == (0, 0)


@needs_pam
@pytest.mark.parametrize("methods", [None, "publickey,keyboard-interactive"])
def test_the_password_and_then_a_code(methods: str | None) -> None:
    needs_totp()
    with PrivateServer(password=SECRET, totp=SEED, methods=methods) as server:
        assert type_answers(server, (PASSWORD, SECRET), (CODE, code()))[1] == 0
        assert (server.connections, server.logins, server.failed_logins) == (1, 1, 0)
        assert ("Partial publickey" in server.log) == (methods is not None)


@needs_pam
def test_a_wrong_password_is_not_asked_for_a_code() -> None:
    needs_totp()
    with PrivateServer(password=SECRET, totp=SEED) as server:
        right = (PASSWORD, SECRET), (CODE, code())
        assert type_answers(server, (PASSWORD, "wrong"), *right)[1] == 0
        assert (server.logins, server.failed_logins) == (1, 1)


@needs_pam
def test_a_code_alone() -> None:
    needs_totp()
    with PrivateServer(totp=SEED, methods="keyboard-interactive") as server:
        server.key_file.unlink()
        assert type_answers(server, (CODE, code()))[1] == 0
        assert (server.logins, server.failed_logins) == (1, 0)


@needs_pam
def test_a_code_may_be_what_the_method_password_asks_for() -> None:
    needs_totp()
    with PrivateServer(totp=SEED, methods="password") as server:
        assert type_password(server, no_code(), code())[1] == 0
        assert (server.logins, server.failed_logins) == (1, 1)


@needs_pam
@pytest.mark.parametrize("password", [None, SECRET])
def test_a_wrong_code_is_refused_and_counted(password: str | None) -> None:
    needs_totp()
    first = [(PASSWORD, password)] if password else []
    with PrivateServer(password=password, totp=SEED) as server:
        for count in (1, 2):
            shown, status = type_answers(server, *first, (CODE, no_code()), prompts=1)
            assert (status, "Permission denied" in shown) == (255, True)
            server.wait_for_log_blocking("^Failed ", count=count)
            assert (server.logins, server.failed_logins) == (0, count)
        type_answers(server, *first, (CODE, no_code()), *first, (CODE, code()), prompts=2)
        assert (server.logins, server.failed_logins) == (1, 3)


@needs_pam
def test_a_used_code_is_refused_and_the_next_is_not() -> None:
    needs_totp()
    with PrivateServer(totp=SEED) as server:
        used, following = code(), code(1)
        assert type_answers(server, (CODE, used))[1] == 0
        assert type_answers(server, (CODE, used))[1] == 255
        server.wait_for_log_blocking("^Failed ")
        assert (server.logins, server.failed_logins) == (1, 1)
        assert type_answers(server, (CODE, following))[1] == 0
        assert type_answers(server, (CODE, following))[1] == 255
        server.wait_for_log_blocking("^Failed ", count=2)
        assert (server.logins, server.failed_logins) == (2, 2)


@needs_pam
def test_used_codes_are_remembered_over_a_restart_and_the_secret_may_be_written_in_groups() -> None:
    needs_totp()
    groups = " ".join(re.findall("....", SEED.lower()))
    with PrivateServer(totp=groups) as server:
        used = code()
        assert type_answers(server, (CODE, used))[1] == 0
        server.stop_blocking()
        server.start_blocking()
        assert type_answers(server, (CODE, used))[1] == 255


def test_what_cannot_be_asked_for_with_codes() -> None:
    with pytest.raises(ValueError, match="base32"):
        PrivateServer(totp="not base32!")
    with pytest.raises(ValueError, match="base32"):
        PrivateServer(totp="")
    with pytest.raises(ValueError, match="only keyboard-interactive"):
        PrivateServer(password=SECRET, totp=SEED, methods="publickey,password")


# Trouble


async def test_freeze_and_thaw() -> None:
    async with PrivateServer() as server:
        running = asyncio.create_task(ssh(server, "sleep 1"))
        await server.wait_for_log("Starting session")
        server.freeze()
        assert {process.status() for process in server.processes()} == {psutil.STATUS_STOPPED}
        assert len(server.processes()) > 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ssh(server), 0.5)
        server.thaw()
        assert (await running)[0] == 0
        assert (await ssh(server))[0] == 0


async def test_drop_connections_loses_the_link_and_keeps_the_server() -> None:
    async with PrivateServer() as server:
        running = asyncio.create_task(ssh(server, "sleep 60"))
        await server.wait_for_log("Starting session")
        server.drop_connections()
        status, _, err = await running
        assert status == 255
        assert re.search("closed by|reset by|Broken pipe", err)
        assert len(server.processes()) == 1
        assert (await ssh(server))[0] == 0


async def test_restart_on_the_same_port_with_the_same_keys() -> None:
    async with PrivateServer() as server:
        port = server.port
        running = asyncio.create_task(ssh(server, "sleep 60"))
        await server.wait_for_log("Starting session")
        await server.stop()
        assert (await running)[0] == 255
        assert not server.is_running
        assert server.processes() == []
        assert "Connection refused" in (await ssh(server))[2]
        await server.start()
        await server.start()  # it runs: nothing to do
        assert server.port == port
        assert (await ssh(server))[0] == 0
        assert server.logins == 2


async def test_a_rotated_host_key_is_not_believed() -> None:
    async with PrivateServer() as server:
        server.rotate_host_key()
        assert (await ssh(server))[0] == 0, "the running server still has the old key"
        await server.stop()
        await server.start()
        status, _, err = await ssh(server)
        assert status == 255
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in err


# Waiting for the log


async def test_waiting_for_the_log_ends_when_it_is_written() -> None:
    async with PrivateServer() as server:
        second = asyncio.create_task(server.wait_for_log(r"^Accepted (\S+) for", count=2))
        await ssh(server)
        assert not second.done()
        await ssh(server)
        assert (await second)[1] == "publickey"
        assert server.wait_for_log_blocking("^Accepted", count=2)


async def test_waiting_for_what_is_not_logged_says_so_with_the_log() -> None:
    async with PrivateServer() as server:
        with pytest.raises(TimeoutError, match=r"(?s)'Accepted'.*Server listening"):
            await server.wait_for_log("Accepted", timeout=0.05)
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            server.wait_for_log_blocking("Accepted", timeout=0.05)


# Nothing is left


async def test_nothing_is_left_behind() -> None:
    async with PrivateServer(password=SECRET if sys.platform == "linux" else None) as server:
        assert server.directory.stat().st_mode & 0o777 == 0o700
        running = asyncio.create_task(ssh(server, "sleep 61 & sleep 62"))
        await server.wait_for_log("Starting session")
        listener = server.processes()[0]
        async with asyncio.timeout(5):
            while len(listener.children(recursive=True)) < 4:
                await asyncio.sleep(0.005)
        left = [*server.processes(), *listener.children(recursive=True)]
        directories = server._entered.directories
    assert (await running)[0] == 255
    assert not [process for process in left if is_alive(process)]
    assert len(directories) == (2 if sys.platform == "linux" else 1)
    assert not any(directory.exists() for directory in directories)
    assert not [child for child in psutil.Process().children() if "sshd" in child.name()]


async def test_a_session_can_clean_up_when_the_server_ends(tmp_path: Path) -> None:
    ready, cleaned = tmp_path / "ready", tmp_path / "cleaned"
    # A shell reports its terminated child, and dies of SIGPIPE if there is nobody to hear it.
    command = f"exec 2>/dev/null; trap 'echo > {cleaned}; exit' TERM; echo > {ready}; sleep 60"
    async with PrivateServer() as server:
        running = asyncio.create_task(ssh(server, command))
        async with asyncio.timeout(5):
            while not ready.exists():
                await asyncio.sleep(0.005)
    assert cleaned.exists()
    assert (await running)[0] == 255


async def test_what_a_session_has_detached_outlives_stop_but_not_the_server() -> None:
    async with PrivateServer() as server:
        command = "sleep 63 >/dev/null 2>&1 </dev/null & echo $!"
        detached = psutil.Process(int((await ssh(server, command))[1]))
        await server.stop()
        assert is_alive(detached)
    assert not is_alive(detached)


async def test_a_failed_start_leaves_nothing_and_shows_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match="NoSuchKeyword"):
        async with PrivateServer(options={"NoSuchKeyword": "x"}):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_cancelled_start_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = PrivateServer()
    entering = asyncio.create_task(server.__aenter__())
    await asyncio.sleep(0)
    await asyncio.sleep(0.005)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not server.is_running
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frozen", [False, True])
async def test_a_killed_owner_leaves_nothing(frozen: bool) -> None:
    script = f"""
import os, signal, sys
from sshmux.testing import PrivateServer
server = PrivateServer(password="x" if sys.platform == "linux" else None)
server.__enter__()
print(server.processes()[0].pid, *server._entered.directories, flush=True)
if {frozen}:
    server.freeze()
os.kill(os.getpid(), signal.SIGKILL)
"""
    owner = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, check=False, env=environment()
    )
    assert owner.returncode == -signal.SIGKILL
    pid, *directories = owner.stdout.decode().split()
    async with asyncio.timeout(10):
        while psutil.pid_exists(int(pid)) or any(map(os.path.exists, directories)):
            await asyncio.sleep(0.01)


async def test_whoever_looks_for_a_fault_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHMUX_DEBUG", str(tmp_path))
    async with PrivateServer() as server:
        assert (await ssh(server, "true"))[0] == 0
        log = server.log
    (kept,) = tmp_path.iterdir()
    assert log in (kept / "sshd.log").read_text("utf-8")
    assert (kept / "sshd_config").exists()
    assert not server.directory.exists()


def test_a_clash_of_ports_takes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with PrivateServer() as first:
        free = first.port
        ports = iter([first.port])
        find = sshd_module._free_port
        monkeypatch.setattr(sshd_module, "_free_port", lambda: next(ports, None) or find())
        with PrivateServer() as second:
            assert second.port != free
            assert second.connections == 0
            assert f":{second.port} " in second.known_hosts_file.read_text()


# Without what is needed


def test_a_missing_sshd_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    programs.find_sshd.cache_clear()
    with pytest.raises(SshdMissing, match="apt install openssh-server"):
        PrivateServer().__enter__()
    programs.find_sshd.cache_clear()


def test_a_missing_wrapper_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_library", lambda _name: None)
    programs.find_wrapper.cache_clear()
    own = pwd.getpwuid(os.getuid()).pw_shell  # for that one no wrapper is needed
    other = "/bin/zsh" if own != "/bin/zsh" else "/bin/bash"
    with pytest.raises(WrapperMissing, match=r"nss.wrapper"):
        PrivateServer(login_shell=other).__enter__()
    programs.find_wrapper.cache_clear()


@needs_pam
def test_a_missing_module_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totp_module, "_MODULE_DIRECTORIES", ("nowhere",))
    with pytest.raises(WrapperMissing, match="apt install libpam-google-authenticator"):
        PrivateServer(totp=SEED).__enter__()


def test_a_server_has_to_be_entered_and_may_be_entered_again() -> None:
    server = PrivateServer()
    assert repr(server) == "<PrivateServer not entered>"
    with pytest.raises(RuntimeError, match="Enter the server first"):
        _ = server.port
    for _ in range(2):
        with server:
            assert subprocess.run(arguments(server), check=False).returncode == 0
            assert server.logins == 1
        assert repr(server).endswith(" stopped>")


# For managers and for pytest


class RecordingManager:
    def register_cluster(self, cluster_id: object, **arguments: object) -> None:
        self.call = (cluster_id, arguments)


def test_register_passes_all_that_is_needed_and_the_overrides() -> None:
    manager = RecordingManager()
    with PrivateServer() as server:
        server.register(manager, "test", timeout=5)
        assert manager.call == (
            "test",
            {
                "host": "127.0.0.1",
                "port": server.port,
                "username": server.username,
                "key_file": server.key_file,
                "known_hosts_file": server.known_hosts_file,
                "config_file": server.config_file,
                "timeout": 5,
            },
        )


def test_connection_config() -> None:
    pytest.importorskip("sshmux.config")
    with PrivateServer() as server:
        config = server.connection_config(timeout=5)
        assert (config.host, config.port, config.timeout) == (server.host, server.port, 5)


def test_the_fixtures_without_any_other_plugin(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sshmux.testing.plugin"]\n')
    (tmp_path / "test_it.py").write_text("""
import subprocess

def test_one(ssh_server):
    command = ["ssh", "-F", ssh_server.config_file, ssh_server.alias, "true"]
    subprocess.run(command, check=True)
    assert ssh_server.logins == 1

def test_two(ssh_server_factory):
    assert ssh_server_factory(banner="x").port != ssh_server_factory().port
""")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:asyncio", "-p", "no:cacheprovider", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
    )
    assert re.search("2 passed", run.stdout), run.stdout + run.stderr
    assert not [child for child in psutil.Process().children() if "sshd" in child.name()]


def test_pytest_is_imported_by_nothing_but_the_plugin() -> None:
    check = "import sys, sshmux.testing; sys.exit('pytest' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", check], check=False, env=environment())
    assert run.returncode == 0
