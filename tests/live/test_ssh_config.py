"""What sites put into ssh_config, and how else users log in: it has to work as with `ssh HOST`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.testing import PrivateServer
from sshmux.testing.programs import WrapperMissing, find_wrapper

from ..support import control_directory, managed, until


async def use(manager: ConnectionManager, cluster: object = 1) -> str:
    async with manager.get_connection(cluster) as connection:  # type: ignore[arg-type]
        return str((await connection.run("echo in")).stdout)


@contextmanager
def agent(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = directory / "agent"
    daemon = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield
    finally:
        daemon.terminate()
        daemon.wait()


def keygen(*words: object) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, stdin=subprocess.DEVNULL)


async def test_a_users_certificate(tmp_path: Path) -> None:
    authority, key = tmp_path / "ca", tmp_path / "id"
    keygen("-t", "ed25519", "-N", "", "-f", authority)
    keygen("-t", "ed25519", "-N", "", "-f", key)
    options = {"TrustedUserCAKeys": f"{authority}.pub", "AuthorizedKeysFile": "none"}
    async with PrivateServer(login_shell="/bin/sh", options=options) as server:
        async with managed(server, register={"key_file": key, "config_file": None}) as manager:
            with pytest.raises(sshmux.PermissionDenied):
                await use(manager)
            keygen("-s", authority, "-I", "me", "-n", server.username, "-V", "+1h", f"{key}.pub")
            await manager.disconnect(1)
            assert await manager.test_connection(1)
            await manager.disconnect(1)
            keygen(
                "-s", authority, "-I", "me", "-n", server.username, "-V", "-2h:-1h", f"{key}.pub"
            )
            with pytest.raises(sshmux.PermissionDenied):
                await use(manager)  # it has run out


async def test_a_hosts_certificate(tmp_path: Path) -> None:
    authority = tmp_path / "ca"
    keygen("-t", "ed25519", "-N", "", "-f", authority)
    async with PrivateServer(
        login_shell="/bin/sh", options={"HostCertificate": str(tmp_path / "host-cert.pub")}
    ) as server:
        (tmp_path / "host.pub").write_bytes((server.directory / "host_key.pub").read_bytes())
        keygen("-s", authority, "-I", "host", "-h", "-n", "127.0.0.1", tmp_path / "host.pub")
        await server.stop()
        await server.start()
        known = tmp_path / "known"
        known.write_text(f"@cert-authority [127.0.0.1]:* {(tmp_path / 'ca.pub').read_text()}")
        async with managed(server, register={"known_hosts_file": known}) as manager:
            assert await use(manager) == "in\n"


async def test_an_agent_with_an_encrypted_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        with agent(tmp_path, monkeypatch):
            subprocess.run(["ssh-add", "-q", server.key_file], check=True)
            keygen("-p", "-N", "a passphrase", "-f", server.key_file)
            # ssh_config of the private sshd has `IdentityAgent none`: here it is a plain one.
            options = {"ssh_options": {"IdentityFile": "none"}}
            register = {"key_file": None, "config_file": None, **options}
            async with managed(server, register=register) as manager:
                assert await use(manager) == "in\n"


async def test_include_match_exec_and_tokens(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        ran = tmp_path / "ran"
        included = tmp_path / "included"
        included.write_text(
            f"Match originalhost hpc-* exec \"echo %n %h %r >> '{ran}'\"\n"
            f"    Port {server.port}\n"
            "Match host 127.0.0.1\n"
            f"    IdentityFile {server.directory}/%d-is-not-there\n"
            f"    IdentityFile {server.key_file}\n"
            f"    UserKnownHostsFile {server.directory}/known_%%h {server.known_hosts_file}\n"
        )
        config = tmp_path / "config"
        config.write_text(
            f"Host hpc-*\n    HostName 127.0.0.1\n    User {server.username}\n"
            f"    LocalCommand false\n    PermitLocalCommand no\nHost *\nInclude {included}\n"
            "    IdentityAgent none\n    IdentitiesOnly yes\n"
        )
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, pool_size=1) as manager:
                manager.register_cluster(1, "hpc-login", config_file=config)
                for _ in range(3):
                    assert await use(manager) == "in\n"
        # Once for `ssh -G`, once for the log-in, and never for a command.
        lines = ran.read_text().splitlines()
        assert set(lines) == {f"hpc-login 127.0.0.1 {server.username}"}
        assert len(lines) <= 4  # ssh reads a config twice where names are made canonical


async def test_names_that_ssh_makes_canonical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        library = find_wrapper("nss_wrapper")
    except WrapperMissing as error:
        pytest.skip(str(error))
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 login.cluster.test\n")
    monkeypatch.setenv("NSS_WRAPPER_HOSTS", str(hosts))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    async with PrivateServer(
        login_shell="/bin/sh", password="pw", methods="keyboard-interactive"
    ) as server:
        known = tmp_path / "known"
        known.write_text(
            server.known_hosts_file.read_text().replace("127.0.0.1", "login.cluster.test")
        )
        config = tmp_path / "config"
        config.write_text(
            "CanonicalizeHostname yes\nCanonicalDomains cluster.test\nCanonicalizeMaxDots 0\n"
            f"Match canonical host *.cluster.test\n    Port {server.port}\n"
            f"    User {server.username}\n    UserKnownHostsFile {known}\n"
            "Host *\n    IdentityAgent none\n    GlobalKnownHostsFile none\n"
        )
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, pool_size=1) as manager:
                manager.register_cluster(1, "login", config_file=config)
                manager.set_password(1, "pw", keyring=False)  # asked for by the canonical name
                assert await use(manager) == "in\n"
                manager.register_cluster(2, f"{server.username}@login", config_file=config)
                # The keyring may have it under the name that ssh makes of it, too.
                name = f"{server.username}@login.cluster.test:{server.port}"
                manager._credentials.set(name, "pw", keep=False)
                assert await use(manager, 2) == "in\n"


async def test_a_proxy_command_that_logs_in_by_itself(tmp_path: Path) -> None:
    """Not ProxyJump, but `ssh -W` by hand: what it asks comes to the same user."""
    asked = []

    async def user(prompt: sshmux.Prompt) -> str:
        asked.append(prompt)
        return "pw"

    async with (
        PrivateServer(
            login_shell="/bin/sh", password="pw", methods="publickey,keyboard-interactive"
        ) as bastion,
        PrivateServer(login_shell="/bin/sh") as server,
    ):
        config = tmp_path / "config"
        config.write_text(
            f"Host {server.alias}\n    ProxyCommand ssh -F {bastion.config_file} "
            f"-W %h:%p {bastion.alias}\nHost *\nInclude {server.config_file}\n"
        )
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, prompter=user) as manager:
                manager.register_cluster(1, server.alias, config_file=config)
                assert await use(manager) == "in\n"
                assert await use(manager) == "in\n"
                # It lives on although the terminal that it asked on is gone.
                await until(lambda: server.logins == 1)
    assert [prompt.kind for prompt in asked] == ["password"]
