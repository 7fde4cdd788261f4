"""Logging in: what works, what is said when it does not, and where the password never is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import psutil
import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.testing import PrivateServer

from ..support import control_directory, helpers, managed, masters, nothing_left, until

PASSWORD = "correct horse %battery ${staple} 'q\""


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keyring here: memory takes its place, with a warning."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture
def directory() -> Iterator[Path]:
    with control_directory() as made:
        yield made


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Errors


async def attempt(directory: Path, host: str, **options: object) -> Exception:
    """The error of one borrow."""
    async with nothing_left(), ConnectionManager(control_dir=directory) as manager:
        manager.register_cluster(1, host, **options)  # type: ignore[arg-type]
        with pytest.raises(sshmux.Error) as caught:
            async with manager.get_connection(1):
                pass
        assert masters(directory) == []
        assert (await manager.get_connection_metrics(1))["total_connections"] == 0
        return caught.value


async def test_a_name_that_does_not_resolve(directory: Path) -> None:
    error = await attempt(directory, "no-such-host.invalid")
    assert isinstance(error, sshmux.HostNotFound | sshmux.DisconnectError)
    assert "no-such-host.invalid" in str(error)


async def test_nothing_listens(directory: Path, free_port: int) -> None:
    error = await attempt(directory, "127.0.0.1", port=free_port)
    assert isinstance(error, sshmux.ConnectionRefused)
    assert isinstance(error, ConnectionRefusedError)
    assert "Nothing listens" in str(error)


async def test_a_server_that_never_speaks(directory: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        error = await attempt(directory, "127.0.0.1", port=silent.getsockname()[1], timeout=0.5)
    assert isinstance(error, sshmux.ConnectTimeout)
    assert isinstance(error, asyncio.TimeoutError)
    assert time.monotonic() - started < 10
    assert "0.5 s, although something took the connection" in str(error)


async def test_a_server_that_hangs_up(directory: Path) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        writer.close()

    calls: list[int] = []
    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        error = await attempt(directory, "127.0.0.1", port=port)
    assert isinstance(error, sshmux.ServerHungUp)
    assert len(calls) == 3  # passing trouble: three tries, and no more


class ClosesAtOnce(asyncssh.SSHServer):
    """Lets everybody in, and closes."""

    logins = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        return False

    def auth_completed(self) -> None:
        type(self).logins += 1
        self._connection.disconnect(11, "no room for you\x1b[2J")


@pytest.mark.both_engines
async def test_a_server_that_closes_once_it_has_let_us_in(directory: Path) -> None:
    ClosesAtOnce.logins = 0
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=ClosesAtOnce,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
    )
    async with server:
        error = await attempt(
            directory,
            "127.0.0.1",
            port=server.get_port(),
            known_hosts_file="/dev/null",
            strict_host_key_checking=False,
        )
    assert isinstance(error, sshmux.ServerHungUp)
    assert "logged in, but the master is gone at once" in str(error)
    assert "\x1b" not in str(error)
    assert not error.transient
    assert ClosesAtOnce.logins == 1


@pytest.mark.parametrize(
    ("first", "advice"),
    [
        (b"SSH-1.5-old\r\n", "SSH 1 only"),
        (b"hello\r\n" * 2000, "text without end"),
        (b"\x15\x03\x03\x00\x02\x02F", "does not speak SSH 2"),
    ],
    ids=["ssh 1", "endless", "tls"],
)
async def test_what_is_no_ssh_2(directory: Path, first: bytes, advice: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        with contextlib.suppress(OSError):
            await writer.drain()
            await reader.read()  # until ssh has enough
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as listener:
        error = await attempt(directory, "127.0.0.1", port=listener.sockets[0].getsockname()[1])
    assert isinstance(error, sshmux.KeyExchangeFailed)
    assert advice in str(error)
    assert not error.transient


async def test_the_deadline_covers_authentication_too(directory: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh", delay=5) as server:
        options = {"known_hosts_file": server.known_hosts_file, "timeout": 0.5}
        error = await attempt(directory, server.host, port=server.port, **options)
        assert isinstance(error, sshmux.ConnectTimeout)


async def test_an_unknown_host_key_is_refused_with_what_to_do(
    directory: Path, tmp_path: Path
) -> None:
    async with PrivateServer() as server:
        options = {"port": server.port, "known_hosts_file": tmp_path / "none"}
        error = await attempt(directory, server.host, **options)
        assert isinstance(error, sshmux.HostKeyUnknown)
        assert isinstance(error, sshmux.HostKeyNotVerifiable)
        assert "fingerprint" in str(error)
        assert server.logins == 0


async def test_accept_new_learns_the_key(directory: Path, tmp_path: Path) -> None:
    known = tmp_path / "known hosts"
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with ConnectionManager(control_dir=directory) as manager:
            server.register(
                manager, 1, known_hosts_file=known, strict_host_key_checking="accept-new"
            )
            assert await manager.test_connection(1) is True
    assert f"[127.0.0.1]:{server.port}" in known.read_text() or known.read_text().startswith("|1|")


async def test_no_checking_is_warned_about(
    directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with ConnectionManager(control_dir=directory) as manager:
            server.register(
                manager, 1, known_hosts_file=tmp_path / "k", strict_host_key_checking=False
            )
            assert await manager.test_connection(1) is True
            await manager.disconnect(1)
            assert await manager.test_connection(1) is True
    assert caplog.text.count("accepts any host key") == 2


async def test_a_changed_host_key_is_refused_with_the_warning_it_deserves(directory: Path) -> None:
    async with PrivateServer() as server:
        await server.stop()
        known = server.known_hosts_file.read_text()
        server.rotate_host_key()
        await server.start()
        old = directory.parent / f"{directory.name}.known"
        old.write_text(known)
        try:
            options = {"port": server.port, "known_hosts_file": old}
            error = await attempt(directory, server.host, **options)
        finally:
            old.unlink()
        assert isinstance(error, sshmux.HostKeyChanged)
        assert "ssh-keygen -R" in str(error)
        assert "listening in" in str(error)


async def test_a_refused_key_is_not_tried_again_behind_anybodys_back(tmp_path: Path) -> None:
    other = tmp_path / "other"
    async with PrivateServer(login_shell="/bin/sh") as wrong, PrivateServer() as server:
        shutil.copy(wrong.key_file, other)
        async with managed(server, register={"key_file": other, "config_file": None}) as manager:
            for _ in range(3):
                with pytest.raises(sshmux.PermissionDenied, match="authorized_keys"):
                    async with manager.get_connection(1):
                        pass
            assert server.connections == 1
            with pytest.raises(sshmux.PermissionDenied):
                await manager.connect(1)  # asked for by hand
            assert server.connections == 2
            assert await manager.test_connection(1) is False
            assert server.connections == 3


async def test_bad_configuration_is_told_apart(directory: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("NoSuchOption yes\n")
    error = await attempt(directory, "127.0.0.1", config_file=config)
    assert isinstance(error, ValueError)
    assert "NoSuchOption" in str(error).replace("nosuchoption", "NoSuchOption")
    missing = await attempt(directory, "127.0.0.1", ssh_program="no-such-ssh")
    assert isinstance(missing, sshmux.ConfigError)
    assert "openssh-client" in str(missing)


async def test_bad_input_is_refused_before_anything_starts(directory: Path) -> None:
    manager = ConnectionManager(control_dir=directory)
    for bad in (
        {"host": "-oProxyCommand=touch /tmp/x"},
        {"host": "a\nb"},
        {"host": "h", "username": "-l"},
        {"host": "h", "port": 0},
        {"host": "h", "port": 70000},
        {"host": "h", "timeout": -1},
        {"host": "h", "key_file": "/no/such/key"},
        {"host": "h", "ssh_options": {"User": "${HOME}"}},
        {"host": "h", "ssh_options": {"User": "a\nProxyCommand x"}},
    ):
        with pytest.raises(ValueError, match=r"."):
            manager.register_cluster(1, **bad)  # type: ignore[arg-type]
    assert os.listdir(directory) == []


async def test_maxstartups_drops_are_tried_again(directory: Path) -> None:
    async with (
        PrivateServer(login_shell="/bin/sh", max_startups="1:50:2") as server,
        ConnectionManager(control_dir=directory, pool_size=4) as manager,
    ):
        server.register(manager, 1)

        async def job() -> str:
            async with manager.get_connection(1) as connection:
                return str((await connection.run("sleep 0.2; echo ok")).stdout)

        assert await asyncio.gather(*(job() for _ in range(4))) == ["ok\n"] * 4


async def test_everybody_who_waits_hears_of_a_dead_host(directory: Path, free_port: int) -> None:
    async with ConnectionManager(control_dir=directory, dial_backoff=0.05) as manager:
        manager.register_cluster(1, "127.0.0.1", free_port)

        async def job() -> None:
            async with manager.get_connection(1):
                pass

        results = await asyncio.gather(*(job() for _ in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {sshmux.ConnectionRefused}
        assert len({id(result) for result in results}) == 50  # each its own, with its traceback
        assert (await manager.get_connection_metrics(1))["dials"] <= 4


# Passwords


@pytest.mark.parametrize("kbdint", [False, True])
async def test_a_password_logs_in_once(kbdint: bool) -> None:
    methods = "keyboard-interactive" if kbdint else "password"
    banner = "root@127.0.0.1's password: "
    async with (
        PrivateServer(
            login_shell="/bin/sh", password=PASSWORD, methods=methods, banner=banner
        ) as server,
        managed(server, register={"key_file": None}) as manager,
    ):
        manager.set_password(1, PASSWORD)
        assert manager.get_password(1) == PASSWORD
        async with manager.get_connection(1) as connection:
            assert (await connection.run("echo in")).stdout == "in\n"
        assert (server.logins, server.failed_logins, server.connections) == (1, 0, 1)


@pytest.mark.parametrize("kbdint", [False, True])
async def test_a_wrong_password_is_tried_once_whoever_waits(kbdint: bool) -> None:
    methods = "keyboard-interactive" if kbdint else "password"
    async with PrivateServer(login_shell="/bin/sh", password=PASSWORD, methods=methods) as server:
        async with managed(server, register={"key_file": None}) as manager:
            manager.set_password(1, "wrong")

            async def job() -> str:
                async with manager.get_connection(1) as connection:
                    return str((await connection.run("echo in")).stdout)

            results = await asyncio.gather(*(job() for _ in range(8)), return_exceptions=True)
            assert {type(result) for result in results} == {sshmux.PermissionDenied}
            await server.wait_for_log("^Failed ")  # it may be logged after the client has gone
            assert (server.failed_logins, server.connections) == (1, 1)
            manager.set_password(1, PASSWORD)
            assert await asyncio.gather(*(job() for _ in range(8))) == ["in\n"] * 8
            assert server.failed_logins == 1
            manager.delete_password(1)
            manager.delete_password(1)
            assert manager.get_password(1) is None


async def test_the_password_is_nowhere_to_be_found(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a command line, an environment, the log, a repr, a traceback or a file."""
    secret = "hunter2-very-secret"
    caplog.set_level(logging.DEBUG)
    seen: dict[int, str] = {}
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for process in psutil.Process().children(recursive=True):
                for name in ("cmdline", "environ"):
                    try:
                        text = Path(f"/proc/{process.pid}/{name}").read_bytes()
                    except OSError:
                        continue
                    seen[process.pid] = seen.get(process.pid, "") + text.decode("utf-8", "replace")

    # Many threads, as in a Textual program: nothing of ours may depend on being alone.
    idlers = [threading.Thread(target=stop.wait) for _ in range(20)]
    watcher = threading.Thread(target=look)
    for thread in (*idlers, watcher):
        thread.start()
    try:
        async with (
            PrivateServer(
                login_shell="/bin/sh", password=secret, methods="password", delay=0.3
            ) as server,
            managed(server, register={"key_file": None}) as manager,
        ):
            manager.set_password(1, secret)
            assert await manager.test_connection(1) is True
            files = [path.read_text() for path in manager.control_dir.path.glob("*.json")]
            manager.set_password(1, secret + "-wrong")
            await manager.disconnect(1)
            with pytest.raises(sshmux.PermissionDenied) as caught:
                async with manager.get_connection(1):
                    pass
            shown = "".join(traceback.format_exception(caught.value))
            reprs = repr((manager, manager._credentials, manager._clusters, vars(manager)))
    finally:
        stop.set()
        for thread in (*idlers, watcher):
            thread.join()
    assert len(seen) >= 2, "the watcher saw neither the helper nor ssh"
    for text in (*seen.values(), *files, shown, reprs, caplog.text):
        assert secret not in text


async def test_without_a_keyring_one_warning_and_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with PrivateServer(login_shell="/bin/sh", password="pw", methods="password") as server:
        async with managed(server, register={"key_file": None}) as manager:
            manager.set_password(1, "pw")
            manager.set_password(1, "pw")
            assert await manager.test_connection(1) is True
    assert caplog.text.count("keyring cannot be used") == 1


async def test_keys_alone_never_warn_of_a_keyring(caplog: pytest.LogCaptureFixture) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        assert await manager.test_connection(1) is True
    assert "keyring" not in caplog.text


async def test_cancelling_during_a_password_login_leaves_nothing() -> None:
    async with (
        PrivateServer(login_shell="/bin/sh", password="pw", methods="password", delay=30) as server,
        managed(server, register={"key_file": None}) as manager,
    ):
        manager.set_password(1, "pw")
        task = asyncio.ensure_future(manager.connect(1))
        await until(lambda: server.log.count("Connection from") or helpers())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert helpers() == []


# What the system's config says


async def test_a_jump_host_and_the_rest_of_ssh_config(directory: Path, tmp_path: Path) -> None:
    async with (
        PrivateServer(login_shell="/bin/sh") as jump,
        PrivateServer(login_shell="/bin/sh", options={"AcceptEnv": "SSHMUX_TEST"}) as target,
    ):
        config = tmp_path / "config"
        config.write_text(
            f"Include {jump.config_file}\nInclude {target.config_file}\n"
            f"Host {target.alias}\n"
            f"    ProxyJump {jump.alias}\n"
            "    SendEnv SSHMUX_TEST\n"
            # Each of these would spoil a pooled master.
            "    RemoteCommand false\n    RequestTTY force\n    ControlMaster auto\n"
            f"    ControlPath {tmp_path}/their-own\n    ControlPersist 1\n"
            "    LocalForward 1 127.0.0.1:22\n    StdinNull no\n    EscapeChar ~\n"
        )
        os.environ["SSHMUX_TEST"] = "sent"
        try:
            async with ConnectionManager(control_dir=directory, pool_size=2) as manager:
                manager.register_cluster("by alias", target.alias, config_file=config)
                async with manager.get_connection("by alias") as connection:
                    result = await connection.run("echo through; printenv SSHMUX_TEST")
                    assert result.stdout == "through\nsent\n"
                assert (jump.logins, target.logins) == (1, 1)
        finally:
            del os.environ["SSHMUX_TEST"]
        assert not (tmp_path / "their-own").exists()


async def test_use_agent_false_really_switches_it_off(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    import subprocess

    daemon = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await until(agent.exists)
        async with PrivateServer(login_shell="/bin/sh") as server:
            os.environ["SSH_AUTH_SOCK"] = str(agent)
            subprocess.run(["ssh-add", "-q", str(server.key_file)], check=True)
            none = {"key_file": None, "ssh_options": {"IdentityFile": "none"}}
            plain = {**none, "config_file": None}
            async with managed(server, register=plain) as manager:
                assert await manager.test_connection(1) is True
                server.register(manager, 2, use_agent=False, **plain)
                assert await manager.test_connection(2) is False
                server.register(manager, 3, agent_forwarding=True, **plain)
                async with manager.get_connection(3) as connection:
                    assert "ED25519" in (await connection.run("ssh-add -l")).stdout
                async with manager.get_connection(1) as connection:
                    assert (await connection.run("ssh-add -l")).exit_status == 2
    finally:
        os.environ.pop("SSH_AUTH_SOCK", None)
        daemon.terminate()
        daemon.wait()


@pytest.mark.parametrize("use_agent", [False, True])
async def test_a_key_with_a_passphrase_that_nobody_gives(tmp_path: Path, use_agent: bool) -> None:
    """ssh says of it what it says of a key that the server does not know."""
    key, broken = tmp_path / "key", tmp_path / "broken"
    for each in (key, broken):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "a secret", "-f", str(each)], check=True
        )
    broken.write_text("no key\n")
    broken.with_suffix(".pub").unlink(missing_ok=True)
    async with PrivateServer(login_shell="/bin/sh") as server:
        with (server.directory / "authorized_keys").open("a") as known:
            known.write(key.with_suffix(".pub").read_text())
        register = {"key_file": key, "config_file": None, "use_agent": use_agent}
        register["ssh_options"] = {"IdentitiesOnly": "yes"}
        async with managed(server, register=register) as manager:
            with pytest.raises(sshmux.PermissionDenied) as caught:
                await manager.connect(1)
            assert f"The key {key} has a passphrase" in str(caught.value)
            assert f"sshmux password set --key {key}" in str(caught.value)
            assert f"ssh-add {key}" in str(caught.value)
            assert ("use_agent=True" in str(caught.value)) is not use_agent
            manager.set_passphrase(key, "a secret", keyring=False)
            async with manager.connect(1):
                pass
            server.register(manager, 2, **(register | {"key_file": broken}))
            with pytest.raises(sshmux.PermissionDenied, match="Load key"):
                await manager.connect(2)
