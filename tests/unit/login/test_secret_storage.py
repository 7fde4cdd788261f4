"""What a program stores for log-ins: under which entries, and who hears of it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import pytest

from sshmux.errors import ConfigError
from sshmux.login.credentials import Credentials
from sshmux.login.secret_storage import SecretStorage

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


class Manager(SecretStorage):
    def __init__(self) -> None:
        self._credentials = Credentials()
        self.changed: list[Hashable] = []

    def _address_of(self, cluster_id: Hashable) -> str:
        if cluster_id != 1:
            raise ConfigError("not registered")
        return "ada@hpc"

    def _secret_changed(self, cluster_id: Hashable | None) -> None:
        self.changed.append(cluster_id)

    async def kept(self, *names: str) -> dict[str, str]:
        found = await self._credentials.lookup_all(names)
        return {name: secret.reveal() for name, secret in found.items()}


@pytest.fixture
def manager() -> Manager:
    return Manager()


async def test_each_has_an_entry_of_its_own(manager: Manager) -> None:
    manager.set_password(1, "pw", keyring=False)
    manager.set_password(1, "jump's", jump_host="me@gate:2222", keyring=False)
    manager.set_totp_secret(1, SEED.lower(), keyring=False)
    manager.set_totp_secret(1, SEED, jump_host="gate", keyring=False)
    manager.set_passphrase("/k", "phr4se", keyring=False)
    names = {
        "ada@hpc": "pw",
        "me@gate:2222": "jump's",
        "ada@hpc (one-time codes)": SEED,
        "gate (one-time codes)": SEED,
        "/k (passphrase)": "phr4se",
    }
    assert await manager.kept(*names) == names
    assert manager.changed == [1, 1, 1, 1, None]
    assert manager.get_password(1) == "pw"
    assert manager.get_password(1, jump_host="me@gate:2222") == "jump's"
    assert manager.get_password(1, jump_host="gate") is None


async def test_forgotten_one_by_one(manager: Manager) -> None:
    manager.set_password(1, "pw", keyring=False)
    manager.set_totp_secret(1, SEED, keyring=False)
    manager.set_passphrase("/k", "phr4se", keyring=False)
    names = ("ada@hpc", "ada@hpc (one-time codes)", "/k (passphrase)")
    for forget, left in (
        (lambda: manager.delete_totp_secret(1), {names[0], names[2]}),
        (lambda: manager.delete_passphrase("/k"), {names[0]}),
        (lambda: manager.delete_password(1), set()),
        (lambda: manager.delete_password(1), set()),
    ):
        forget()
        assert set(await manager.kept(*names)) == left


async def test_a_key_is_its_absolute_path(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("~/k", "k", Path("k"), tmp_path / "k"):
        manager.set_passphrase(name, str(name), keyring=False)
        entry = f"{tmp_path}/k (passphrase)"
        assert await manager.kept(entry) == {entry: str(name)}


@pytest.mark.parametrize("bad", ["", "a\nb", "a\x03", "x" * 1001, "ä" * 501])
def test_what_no_prompt_takes_is_refused_unseen_and_nobody_told(manager: Manager, bad: str) -> None:
    for store in (
        lambda: manager.set_password(1, bad, keyring=False),
        lambda: manager.set_passphrase("/k", bad, keyring=False),
        lambda: manager.set_totp_secret(1, bad, keyring=False),
    ):
        with pytest.raises(ConfigError) as caught:
            store()
        assert not bad or bad not in str(caught.value)
    assert manager.changed == []


def test_an_unknown_cluster(manager: Manager) -> None:
    for call in (
        lambda: manager.set_password(2, "pw"),
        lambda: manager.set_totp_secret(2, SEED, jump_host="gate"),
        lambda: manager.get_password(2),
        lambda: manager.delete_password(2, jump_host="gate"),
        lambda: manager.delete_totp_secret(2),
    ):
        with pytest.raises(ConfigError, match="not registered"):
            call()
    assert manager.changed == []
