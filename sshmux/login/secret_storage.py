"""What a program stores for log-ins: passwords, passphrases, the secrets of one-time codes."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from ..checks import check_jump, check_path
from ..errors import ConfigError
from ..system.secret import Secret
from .credentials import Credentials, Keep, passphrase_entry, totp_entry
from .totp import check_totp_secret


class SecretStorage:
    """The part of `ConnectionManager` that keeps secrets.

    They are in the system keyring (in memory, with a warning, where there is none), as entries of
    the service `keyring_service` that are named after what they are for: `me@cluster`,
    `me@cluster (one-time codes)`, `/home/me/.ssh/id_rsa (passphrase)`. All methods block while
    the keyring works, for 10 s at most, and may be called from any thread.

    For a jump host, `jump_host=` is its name as `ProxyJump` has it. (Or register it as a cluster.)
    """

    _credentials: Credentials

    def _address_of(self, cluster_id: Hashable) -> str:
        """The address of a registered cluster; `ConfigError` for another one."""
        raise NotImplementedError

    def _secret_changed(self, cluster_id: Hashable | None) -> None:
        """Called when something was stored; None when it may concern all clusters."""
        raise NotImplementedError

    def set_password(
        self,
        cluster_id: Hashable,
        password: str,
        *,
        jump_host: str | None = None,
        keyring: Keep = True,
    ) -> None:
        """Stores a password, replacing an older one.

        A log-in that was refused is tried again with it.

        Parameters:
            jump_host: it is the password of this jump host on the way to the cluster.
            keyring: False keeps it in this manager's memory only, ahead of the keyring's;
                "refuse-plaintext" raises `ConfigError` if the keyring would keep it readable.

        Raises `ConfigError` when the cluster is not registered, or for a password that no prompt
        takes: empty, with control characters, longer than 1,000 bytes.
        """
        given = Secret(password)
        del password  # from the frame, which a traceback may show
        self._store(cluster_id, self._entry(cluster_id, jump_host), given, keyring)

    def get_password(self, cluster_id: Hashable, *, jump_host: str | None = None) -> str | None:
        """The stored password, or None."""
        found = self._credentials.get(self._entry(cluster_id, jump_host))
        return None if found is None else found.reveal()

    def delete_password(self, cluster_id: Hashable, *, jump_host: str | None = None) -> None:
        """Forgets the password; that there is none is no error."""
        self._credentials.delete(self._entry(cluster_id, jump_host))

    def set_totp_secret(
        self,
        cluster_id: Hashable,
        secret: str,
        *,
        jump_host: str | None = None,
        keyring: Keep = True,
    ) -> None:
        """Stores the secret from which time-based one-time codes are made (RFC 6238).

        With it a second factor is answered without a user, which makes it less of one: ask
        your site. Needs pyotp (`pip install pyotp`).

        Parameters:
            secret: its base32 letters, or the `otpauth://totp/…` of the QR code.

        Raises `ConfigError` when the cluster is not registered, pyotp is missing, or for text
        that is no such secret.
        """
        given = Secret(secret)
        del secret
        entry = totp_entry(self._entry(cluster_id, jump_host))
        self._store(cluster_id, entry, check_totp_secret(given), keyring)

    def delete_totp_secret(self, cluster_id: Hashable, *, jump_host: str | None = None) -> None:
        """Forgets the secret of the codes; that there is none is no error."""
        self._credentials.delete(totp_entry(self._entry(cluster_id, jump_host)))

    def set_passphrase(
        self, key_file: str | Path, passphrase: str, *, keyring: Keep = True
    ) -> None:
        """Stores the passphrase of a private key, for all clusters that use it.

        (An agent does this as well, and does not keep the passphrase: `ssh-add KEY`.)
        """
        given = Secret(passphrase)
        del passphrase
        self._store(None, passphrase_entry(_absolute(key_file)), given, keyring)

    def delete_passphrase(self, key_file: str | Path) -> None:
        """Forgets the passphrase; that there is none is no error."""
        self._credentials.delete(passphrase_entry(_absolute(key_file)))

    def _store(
        self, cluster_id: Hashable | None, entry: str, secret: Secret, keyring: Keep
    ) -> None:
        if not isinstance(keyring, bool) and keyring != "refuse-plaintext":
            raise ConfigError(f"keyring={keyring!r}: use True, False or 'refuse-plaintext'")
        self._credentials.set(entry, secret, keep=keyring)
        self._secret_changed(cluster_id)

    def _entry(self, cluster_id: Hashable, jump_host: str | None) -> str:
        address = self._address_of(cluster_id)
        if jump_host is None:
            return address
        check_jump("jump_host", jump_host)
        return jump_host


def _absolute(key_file: str | Path) -> str:
    path = check_path("key_file", key_file)
    if path is None:
        raise ConfigError("key_file=None: give the path of a private key")
    return str(path)
