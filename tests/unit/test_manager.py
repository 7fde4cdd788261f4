"""The manager, as far as it goes without a loop: registering, refusing, passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backends.fail
import pytest

from sshmux import ConfigError, ConnectionConfig, ConnectionManager


@pytest.fixture
def manager(short_dir: Path) -> ConnectionManager:
    return ConnectionManager(control_dir=short_dir)


@pytest.fixture
def no_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    yield
    keyring.set_keyring(before)


def test_making_one_touches_nothing(short_dir: Path) -> None:
    ConnectionManager(control_dir=short_dir / "later")
    assert list(short_dir.iterdir()) == []


def test_repr_tells_the_state(manager: ConnectionManager, short_dir: Path) -> None:
    manager.register_cluster(1, "hpc")
    assert repr(manager) == f"<ConnectionManager not started, 1 clusters, {short_dir}>"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"pool_size": 0}, "pool_size=0"),
        ({"engine": "paramiko"}, "'ssh'"),
        ({"max_age": -1}, "max_age"),
        ({"poolsize": 5}, "no parameter 'poolsize': did you mean 'pool_size'"),
        ({"contol_dir": "x"}, "no parameter 'contol_dir': did you mean 'control_dir'"),
        ({"zzz": 5}, "no parameter 'zzz': it has acquire_timeout, "),
        ({"prompter": "print"}, "prompter="),
        ({"acquire_timeout": "5"}, "acquire_timeout"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    arguments: dict[str, object], word: str, short_dir: Path
) -> None:
    with pytest.raises(ValueError, match=word):
        ConnectionManager(control_dir=short_dir, **arguments)  # type: ignore[arg-type]


def test_the_seeds_own_words_for_an_unknown_cluster(manager: ConnectionManager) -> None:
    for call in (
        lambda: manager.set_password(99, "x"),
        lambda: manager.get_password(99),
        lambda: manager.delete_password(99),
        lambda: manager.unregister_cluster(99),
    ):
        with pytest.raises(ValueError, match="Cluster 99 not registered"):
            call()


async def test_an_unknown_cluster_is_refused_by_everything(manager: ConnectionManager) -> None:
    for call in (
        manager.connect,
        manager.disconnect,
        manager.test_connection,
        manager.get_connection_metrics,
    ):
        with pytest.raises(ValueError, match="Cluster 99 not registered"):
            await call(99)
    with pytest.raises(ValueError, match="Cluster 99 not registered"):
        async with manager.get_connection(99):
            pass


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"host": "hpc", "config": ConnectionConfig("hpc")},
        {"config": ConnectionConfig("hpc"), "port": 2222},
        {"config": ConnectionConfig("hpc"), "username": "ada"},
        {"config": ConnectionConfig("hpc"), "use_agent": False},
        {"config": ConnectionConfig("hpc"), "strict_host_key_checking": "accept-new"},
        {"config": ConnectionConfig("hpc"), "timeout": 5},
        {"config": ConnectionConfig("hpc"), "ssh_options": {}},
        {"host": "hpc", "hots": "x"},
        {"host": "-oProxyCommand=x"},
        {"host": "hpc", "port": 70000},
        {"host": "hpc", "key_file": "/no/such/key"},
    ],
)
def test_a_registration_that_makes_no_sense_is_refused(
    manager: ConnectionManager, arguments: dict[str, object]
) -> None:
    with pytest.raises(ConfigError):
        manager.register_cluster(1, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not registered"):
        manager.get_password(1)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("hots", "did you mean 'host'"),
        ("user", "did you mean 'username'"),
        ("keyfile", "did you mean 'key_file'"),
        ("client_keys", "did you mean 'key_file'"),
        ("known_hosts", "did you mean 'known_hosts_file'"),
        ("password", "use set_password()"),
        ("passphrase", "use set_passphrase()"),
        ("qqq", "it has agent_forwarding, "),
    ],
)
def test_a_misspelt_option_is_told_its_name(
    manager: ConnectionManager, name: str, advice: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"no parameter {name!r}: ")) as caught:
        manager.register_cluster(1, "hpc", **{name: "x"})  # type: ignore[arg-type]
    assert advice in str(caught.value)


def test_an_id_that_cannot_be_one(manager: ConnectionManager) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        manager.register_cluster([], "hpc")  # type: ignore[arg-type]


def test_what_the_seed_registers(
    manager: ConnectionManager, tmp_path: Path, no_keyring: None
) -> None:
    key = tmp_path / "id_rsa"
    key.touch()
    manager.register_cluster(
        cluster_id=1,
        host="cluster.example.com",
        port=22,
        username="user",
        key_file=key,
        use_agent=True,
    )
    manager.register_cluster(cluster_id=2, host="other-cluster.example.com", username="user")
    manager.set_password(2, "secure_password")
    manager.set_password(cluster_id=1, password="secret123")
    assert manager.get_password(cluster_id=1) == "secret123"
    manager.delete_password(cluster_id=1)
    assert manager.get_password(1) is None
    assert manager.get_password(2) == "secure_password"


@pytest.mark.parametrize("cluster_id", [0, "hpc", ("a", 1), None, frozenset({1})])
def test_any_hashable_is_an_id(manager: ConnectionManager, cluster_id: object) -> None:
    manager.register_cluster(cluster_id, "hpc")  # type: ignore[arg-type]
    manager.unregister_cluster(cluster_id)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not registered"):
        manager.unregister_cluster(cluster_id)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
def test_a_timeout_that_makes_no_sense_is_refused(
    manager: ConnectionManager, timeout: float
) -> None:
    manager.register_cluster(1, "hpc")
    with pytest.raises(ConfigError, match="timeout="):
        manager.get_connection(1, timeout=timeout)
