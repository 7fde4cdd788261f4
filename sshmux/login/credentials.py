"""Passwords and other secrets, kept in the system keyring, or in memory where there is none.

A keyring call may ask a user to unlock it, talk to a dead D-Bus or simply hang. So every call
runs in a daemon thread of its own, with a deadline, and never on the event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from ..errors import ConfigError
from ..system.clock import now
from ..system.secret import Secret
from ..system.tasks import Threads
from ..text import logger
from . import keyrings
from .keyrings import KeyringFault

log = logger("sshmux.credentials")

T = TypeVar("T")

DEADLINE = 10.0  # seconds for one keyring call; unlocking by hand may need them
PlainText = Literal["warn", "refuse", "allow"]
Keep = bool | Literal["refuse-plaintext"]
_UNFIT_ADVICE = "a prompt takes one line of at most 1,000 bytes without control characters"
_AVOID = 60.0  # seconds without keyring calls after one failed, or found nothing


def totp_entry(address: str) -> str:
    """The entry of the secret of one-time codes; that of a password is the address itself."""
    return f"{address} (one-time codes)"


def passphrase_entry(key_file: str) -> str:
    """The entry of a private key's passphrase."""
    return f"{key_file} (passphrase)"


class UnfitKeyring(ConfigError):
    """There is no keyring that keeps secrets, or only one that keeps them readable."""


class Credentials:
    """The secrets of one manager, by the names of their entries.

    Parameters:
        service: the name under which a keyring application shows the entries.
        deadline: seconds for one call of the keyring.
        plaintext: what to do about a keyring that keeps secrets readable.
    """

    def __init__(
        self, service: str = "sshmux", deadline: float = DEADLINE, plaintext: PlainText = "warn"
    ) -> None:
        self._service = service
        self._plaintext = plaintext
        self._deadline = deadline
        self._memory: dict[str, Secret] = {}
        self._absent: dict[str, float] = {}
        self._avoid_until = 0.0
        self._warned = False
        self._writes = Threads()
        self._changes: dict[str, int] = {}
        self.problem: str | None = None  # what keeps the keyring from being used, in words

    def __repr__(self) -> str:
        return f"<Credentials service={self._service!r}>"

    def set(self, name: str, secret: Secret | str, *, keep: Keep = True) -> bool:
        """Stores a secret, replacing an older one. Blocks for at most the deadline.

        Returns whether the keyring has it; else it is in memory.

        Parameters:
            keep: in the keyring; False keeps it in memory only, ahead of the keyring's;
                "refuse-plaintext" raises an error if the keyring would keep it readable.

        Raises `ConfigError` for one that no prompt could take.
        """
        secret = Secret(secret) if isinstance(secret, str) else secret
        if reason := secret.unfit:
            raise ConfigError(f"the secret {reason}: {_UNFIT_ADVICE}")
        self._absent.pop(name, None)
        refuse = keep == "refuse-plaintext" or self._plaintext == "refuse"
        if keep and self._keep(name, secret, refuse):
            self._memory.pop(name, None)
            return True
        self._memory[name] = secret
        return False

    def _keep(self, name: str, secret: Secret, refuse: bool) -> bool:
        """Whether the keyring has it now."""
        stored = self._write(
            name, lambda: keyrings.store(self._service, name, secret, plaintext=not refuse)
        )
        if stored is not None and stored.readable is not None:
            self._found_readable(stored.readable, refuse)
        if stored is None or not stored.kept:
            self._warn("it keeps nothing")
            return False
        return True

    def _found_readable(self, why: str, refuse: bool) -> None:
        if refuse:
            raise UnfitKeyring(
                f"the system keyring {why}. Choose another backend (see "
                "`keyring diagnose`), or allow it: sshmux password set --allow-plaintext"
            )
        if self._plaintext == "warn":
            self._plaintext = "allow"  # it was said
            log.warning(
                "the system keyring %s: whoever can read your files has your passwords. See "
                "`keyring diagnose` for another; keyring=False keeps one in memory only",
                why,
            )

    def check_keyring(self) -> None:
        """Raises `UnfitKeyring` unless there is a keyring that keeps secrets, and may be used."""
        backend = self._ask(keyrings.look)
        if backend is None or not backend.keeps:
            why = self.problem or "there is no system keyring that keeps anything"
            raise UnfitKeyring(
                f"{why}. Install a backend (on a desktop: GNOME Keyring or KWallet, and "
                "`pip install secretstorage`; see `keyring diagnose`); or log in once by hand, "
                "and use that connection for hours: sshmux login HOST"
            )
        readable = keyrings.readable(backend)
        if readable is not None and self._plaintext == "refuse":
            self._found_readable(readable, True)

    def get(self, name: str) -> Secret | None:
        """The secret, or None. Blocks for at most the deadline."""
        if name in self._memory:
            return self._memory[name]
        return self._read(lambda: keyrings.fetch(self._service, name))

    def delete(self, name: str) -> bool:
        """Forgets a secret; one that does not exist is no error.

        Returns whether it is known to be gone: a keyring that is locked may still have it.
        """
        self._memory.pop(name, None)
        if self._write(name, lambda: keyrings.remove(self._service, name)):
            return True
        log.warning("the entry %r could not be removed: %s", name, self.problem)
        return False

    async def lookup(self, name: str) -> Secret | None:
        """`get` without blocking the event loop, for a log-in.

        That there is none is remembered for a minute: a log-in with a key should not wait for
        a keyring each time.
        """
        return (await self.lookup_all([name])).get(name)

    async def lookup_all(self, names: Iterable[str]) -> dict[str, Secret]:
        """`lookup` for several names at once: those that were found."""
        wanted = list(dict.fromkeys(names))
        found = {name: self._memory[name] for name in wanted if name in self._memory}
        at = now()
        asked = [n for n in wanted if n not in found and self._absent.get(n, 0.0) <= at]
        if not asked or self._avoiding:
            return found
        before = dict(self._changes)
        kept = await self._await(lambda: keyrings.fetch_all(self._service, asked)) or {}
        missing = [name for name in asked if name not in kept]
        # What was stored in the meantime is not missing.
        missing = [name for name in missing if self._changes.get(name) == before.get(name)]
        self._absent.update({name: now() + _AVOID for name in missing})
        return found | kept

    @property
    def _avoiding(self) -> bool:
        return self._avoid_until > now()

    def _write(self, name: str, function: Callable[[], T]) -> T | None:
        """Changes an entry, even while the keyring is avoided: a user asked for it.

        In order: what hung and was given up may still be done later, and must not undo what came
        after it. What was overtaken before it began is not done at all.
        """
        self._changes[name] = change = self._changes.get(name, 0) + 1
        done = self._writes.submit(
            keyrings.guarded(lambda: function() if self._changes[name] == change else None)
        )
        try:
            return done.result(self._deadline)
        except Exception as error:
            self._unavailable(error, wanted=True)
            return None

    def _read(self, function: Callable[[], T | None]) -> T | None:
        return None if self._avoiding else self._ask(function)

    def _ask(self, function: Callable[[], T | None]) -> T | None:
        """Asks it even while it is avoided: a user wants it."""
        try:
            return _in_thread(function).result(self._deadline)
        except Exception as error:
            self._unavailable(error, wanted=True)
            return None

    async def _await(self, function: Callable[[], T | None]) -> T | None:
        try:
            async with asyncio.timeout(self._deadline):
                found = await asyncio.wrap_future(_in_thread(function))
                self.problem = None
                return found
        except Exception as error:
            # A missing keyring says that no password was stored; a locked one may hold it.
            self._unavailable(error, wanted=type(error).__name__ != "NoKeyringError")
            return None

    def _unavailable(self, error: BaseException, *, wanted: bool) -> None:
        self._avoid_until = now() + _AVOID
        what = _fault(error)
        if what != "NoKeyringError":  # without one, nothing is stored in one
            self.problem = f"the system keyring cannot be used ({what})"
        if wanted:
            self._warn(what)

    def _warn(self, what: str) -> None:
        if self._warned:
            return
        self._warned = True
        log.warning(
            "the system keyring cannot be used (%s): passwords are kept in memory only, and "
            "forgotten when this program ends. See `keyring diagnose`.",
            what,
        )


def _in_thread(function: Callable[[], T]) -> concurrent.futures.Future[T]:
    return Threads().submit(keyrings.guarded(function))


def _fault(error: BaseException) -> str:
    """What went wrong, by names alone: its own words may have a secret in them."""
    if isinstance(error, TimeoutError):
        return "did not answer"
    return str(error) if isinstance(error, KeyringFault) else type(error).__name__
