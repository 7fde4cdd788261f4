"""What is stored for one log-in, gathered: under which names, and for whom."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from sshmux.config import ConnectionConfig
from sshmux.login.credentials import Credentials, passphrase_entry, totp_entry
from sshmux.login.lookup import addresses, gather
from sshmux.openssh.resolve import Resolved
from sshmux.system.secret import Secret

HPC = ConnectionConfig("hpc", username="ada")
HPC_RESOLVED = Resolved("ada", "login.hpc.example", 2222)
JUMP = ConnectionConfig("jump")
JUMP_RESOLVED = Resolved("me", "jump.example", 22, host_key_alias="gate")


class Counting(Credentials):
    """In memory (there is no keyring here), and it counts how often it is asked."""

    def __init__(self, **secrets: str) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        for name, secret in secrets.items():
            self.set(name, Secret(secret), keep=False)

    async def lookup_all(self, names: Iterable[str]) -> dict[str, Secret]:
        self.calls.append(list(names))
        return await super().lookup_all(self.calls[-1])


def revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


@pytest.mark.parametrize(
    ("config", "resolved", "names"),
    [
        (HPC, None, ["ada@hpc"]),
        (HPC, HPC_RESOLVED, ["ada@hpc", "ada@login.hpc.example:2222"]),
        (HPC, Resolved("ada", "hpc", 22), ["ada@hpc"]),
        (HPC, Resolved("ada", "fe80::1", 22), ["ada@hpc", "ada@[fe80::1]"]),
        (HPC, Resolved("ada", "fe80::1", 2222), ["ada@hpc", "ada@[fe80::1]:2222"]),
        (HPC, Resolved("ada", "", 22), ["ada@hpc"]),
        (JUMP, JUMP_RESOLVED, ["jump", "me@jump.example"]),
    ],
)
def test_names(config: ConnectionConfig, resolved: Resolved | None, names: list[str]) -> None:
    assert addresses(config, resolved) == names


async def test_who_asks_is_who_ssh_says_asks() -> None:
    stored = await gather(Counting(), [(HPC, HPC_RESOLVED), (JUMP, JUMP_RESOLVED)])
    assert [asker.who for asker in stored.askers] == [{"ada@login.hpc.example"}, {"me@gate"}]
    assert not stored


async def test_each_host_has_its_own_in_one_question() -> None:
    credentials = Counting(
        **{
            "ada@hpc": "as registered",
            "ada@login.hpc.example:2222": "as resolved",
            totp_entry("ada@login.hpc.example:2222"): "seed",
            "me@jump.example": "jump's",
            "hpc": "somebody else's",
            "ada@login.hpc.example": "another port's",
        }
    )
    stored = await gather(credentials, [(HPC, HPC_RESOLVED), (JUMP, JUMP_RESOLVED)])
    hpc, jump = stored.askers
    assert (revealed(hpc.password), revealed(hpc.totp)) == ("as registered", "seed")
    assert (revealed(jump.password), revealed(jump.totp)) == ("jump's", None)
    assert len(credentials.calls) == 1
    assert stored


async def test_a_seed_is_no_password() -> None:
    stored = await gather(Counting(**{totp_entry("ada@hpc"): "seed"}), [(HPC, HPC_RESOLVED)])
    assert stored.askers[0].password is None
    assert stored


async def test_passphrases_of_the_keys_that_are_there(tmp_path: Path) -> None:
    there, bare, gone = (str(tmp_path / name) for name in ("there", "bare", "gone"))
    for path in (there, bare):
        Path(path).touch()
    resolved = Resolved("ada", "hpc", 22, identity_files=(there, bare, gone, str(tmp_path)))
    credentials = Counting(
        **{passphrase_entry(there): "phr4se", passphrase_entry(gone): "old", there: "a password"}
    )
    stored = await gather(credentials, [(HPC, resolved), (JUMP, resolved)])
    assert {path: revealed(secret) for path, secret in stored.passphrases.items()} == {
        there: "phr4se"
    }
    names = credentials.calls[0]
    assert passphrase_entry(gone) not in names
    assert names.count(passphrase_entry(there)) == 1


async def test_two_hosts_of_one_password_have_two_secrets() -> None:
    """A secret is given once: that the jump host had it must not keep the target from it."""
    credentials = Counting(**{"ada@hpc": "same", "jump": "same"})
    stored = await gather(credentials, [(HPC, HPC_RESOLVED), (JUMP, JUMP_RESOLVED)])
    first, second = (asker.password for asker in stored.askers)
    assert first is not None
    assert second is not None
    assert first != second
    assert first.reveal() == second.reveal()


async def test_nothing_of_it_shows() -> None:
    credentials = Counting(**{"ada@hpc": "hunter2", totp_entry("ada@hpc"): "s33d"})
    stored = await gather(credentials, [(HPC, HPC_RESOLVED)])
    shown = f"{stored} {stored!r} {stored.askers} {vars(stored.askers[0])} {credentials!r}"
    assert "hunter2" not in shown
    assert "s33d" not in shown
