"""Gathering what is stored for one log-in, before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..config import ConnectionConfig
from ..openssh.askpass.prompts import expected_who
from ..openssh.jump import nearest_hop
from ..openssh.resolve import Resolved, resolve
from ..system.secret import Secret
from .answers import HostSecrets, StoredSecrets
from .credentials import Credentials, passphrase_entry, totp_entry

_MOST_HOPS = 8  # of a chain of jump hosts whose secrets are looked up

Host = tuple[ConnectionConfig, Resolved]


async def gather(
    credentials: Credentials, hosts: Sequence[Host], also: Sequence[str] = ()
) -> StoredSecrets:
    """The secrets for all hosts that may ask in one log-in, looked up in one go.

    Parameters:
        also: more names of the first host.
    """
    keys = sorted({path for _, resolved in hosts for path in resolved.existing_identity_files()})
    called = [addresses(*host) for host in hosts]
    called[0] += also
    names = [name for names in called for name in names]
    found = await credentials.lookup_all(
        [*names, *map(totp_entry, names), *map(passphrase_entry, keys)]
    )
    askers = [
        _asker(resolved, names, found) for (_, resolved), names in zip(hosts, called, strict=True)
    ]
    passphrases = {
        key: found[passphrase_entry(key)].copy() for key in keys if passphrase_entry(key) in found
    }
    return StoredSecrets(askers, passphrases)


async def hops(config: ConnectionConfig, resolved: Resolved) -> list[Host]:
    """The jump hosts that ssh will log in to by itself, as far as ssh_config tells."""
    found: list[Host] = []
    while resolved.proxy_jump is not None and len(found) < _MOST_HOPS:
        hop = nearest_hop(config, resolved.proxy_jump)
        if hop is None:
            break
        config, resolved = hop, await resolve(hop)
        found.append((config, resolved))
    return found


def addresses(config: ConnectionConfig, resolved: Resolved | None = None) -> list[str]:
    """The names under which a host's secrets may be kept: as registered, and as resolved."""
    names = [config.address]
    if resolved is not None and resolved.hostname:
        port = f":{resolved.port}" if resolved.port != 22 else ""
        host = f"[{resolved.hostname}]" if ":" in resolved.hostname else resolved.hostname
        names.append(f"{resolved.user}@{host}{port}")
    return list(dict.fromkeys(names))


def _asker(resolved: Resolved, names: Sequence[str], found: dict[str, Secret]) -> HostSecrets:
    return HostSecrets(
        expected_who(resolved.user, resolved.prompt_host),
        password=_first(found, names),
        totp=_first(found, map(totp_entry, names)),
    )


def _first(found: dict[str, Secret], names: Iterable[str]) -> Secret | None:
    return next((found[name].copy() for name in names if name in found), None)
