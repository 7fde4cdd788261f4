"""Passwords and other secrets, kept in the system keyring, or in memory where there is none.

A keyring call may ask a user to unlock it, talk to a dead D-Bus or simply hang. So every call
runs in a daemon thread of its own, with a deadline, and never on the event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from ..errors import ConfigError
from ..system.clock import now
from ..system.secret import LONGEST, UNFIT
from ..system.tasks import Threads

log = logging.getLogger("sshmux.credentials")

T = TypeVar("T")

DEADLINE = 10.0  # seconds for one keyring call; unlocking by hand may need them
_AVOID = 60.0  # seconds without keyring calls after one failed, or found nothing


def totp_entry(address: str) -> str:
    """The entry of the secret of one-time codes; that of a password is the address itself."""
    return f"{address} (one-time codes)"


def passphrase_entry(key_file: str) -> str:
    """The entry of a private key's passphrase."""
    return f"{key_file} (passphrase)"


class Credentials:
    """The secrets of one manager, by the names of their entries.

    Parameters:
        service: the name under which a keyring application shows the entries.
        deadline: seconds for one call of the keyring.
    """

    def __init__(self, service: str = "sshmux", deadline: float = DEADLINE) -> None:
        self._service = service
        self._deadline = deadline
        self._memory: dict[str, str] = {}
        self._absent: dict[str, float] = {}
        self._avoid_until = 0.0
        self._warned = False
        self._writes = Threads()
        self._changes: dict[str, int] = {}
        self.problem: str | None = None  # what keeps the keyring from being used, in words

    def __repr__(self) -> str:
        return f"<Credentials service={self._service!r}>"

    def set(self, name: str, password: str, *, keep: bool = True) -> bool:
        """Stores a secret, replacing an older one. Blocks for at most the deadline.

        Returns whether the keyring has it; else it is in memory.

        Parameters:
            keep: in the keyring; False keeps it in memory only, ahead of the keyring's.

        Raises `ConfigError` for one that no prompt could take.
        """
        __tracebackhide__ = True
        if not isinstance(password, str) or not password:
            raise ConfigError("the secret is empty: use delete_password() to remove one")
        if UNFIT.search(password):
            raise ConfigError("the secret has a control character in it: no prompt takes that")
        if len(password.encode()) > LONGEST:
            raise ConfigError("the secret is longer than 1,000 bytes: no prompt takes that")
        self._absent.pop(name, None)
        if not keep:
            self._memory[name] = password
            return False
        # Read back: the null backend takes everything and keeps nothing.
        if self._write(name, lambda: _store(self._service, name, password)):
            self._memory.pop(name, None)
            return True
        self._memory[name] = password
        self._warn("it keeps nothing")
        return False

    def get(self, name: str) -> str | None:
        """The password, or None. Blocks for at most the deadline."""
        if name in self._memory:
            return self._memory[name]
        return self._read(lambda: _fetch(self._service, name))

    def delete(self, name: str) -> bool:
        """Forgets a secret; one that does not exist is no error.

        Returns whether it is known to be gone: a keyring that is locked may still have it.
        """
        self._memory.pop(name, None)
        if self._write(name, lambda: _remove(self._service, name)):
            return True
        log.warning("the entry %r could not be removed: %s", name, self.problem)
        return False

    async def lookup(self, name: str) -> str | None:
        """`get` without blocking the event loop, for a log-in.

        That there is none is remembered for a minute: a log-in with a key should not wait for
        a keyring each time.
        """
        return (await self.lookup_all([name])).get(name)

    async def lookup_all(self, names: Iterable[str]) -> dict[str, str]:
        """`lookup` for several names at once: those that were found."""
        wanted = list(dict.fromkeys(names))
        found = {name: self._memory[name] for name in wanted if name in self._memory}
        at = now()
        asked = [n for n in wanted if n not in found and self._absent.get(n, 0.0) <= at]
        if not asked or self._avoiding:
            return found
        before = dict(self._changes)
        kept = await self._await(lambda: _fetch_all(self._service, asked)) or {}
        missing = [name for name in asked if name not in kept]
        # What was stored in the meantime is not missing.
        missing = [name for name in missing if self._changes.get(name) == before.get(name)]
        self._absent.update({name: now() + _AVOID for name in missing})
        return found | kept

    @property
    def _avoiding(self) -> bool:
        return self._avoid_until > now()

    def _write(self, name: str, function: Callable[[], bool]) -> bool:
        """Changes an entry, even while the keyring is avoided: a user asked for it.

        In order: what hung and was given up may still be done later, and must not undo what came
        after it. What was overtaken before it began is not done at all.
        """
        self._changes[name] = change = self._changes.get(name, 0) + 1
        done = self._writes.submit(lambda: self._changes[name] == change and function())
        try:
            return done.result(self._deadline)
        except Exception as error:
            self._unavailable(error, wanted=True)
            return False

    def _read(self, function: Callable[[], T | None]) -> T | None:
        if self._avoiding:
            return None
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
        what = "did not answer" if isinstance(error, TimeoutError) else type(error).__name__
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


def describe_keyring() -> str:
    """The keyring that would be used, by name. Blocks: backends are looked for."""
    import keyring
    import keyring.backends.fail

    if isinstance(keyring.get_keyring(), keyring.backends.fail.Keyring):
        return "none"
    return str(getattr(keyring.get_keyring(), "name", keyring.get_keyring()))


def _in_thread(function: Callable[[], T]) -> concurrent.futures.Future[T]:
    return Threads().submit(function)


# The import of keyring looks for backends, which takes 50 ms and more: in the thread, too.


def _store(service: str, name: str, password: str) -> bool:
    import keyring

    keyring.set_password(service, name, password)
    return keyring.get_password(service, name) == password


def _fetch(service: str, name: str) -> str | None:
    import keyring

    return keyring.get_password(service, name)


def _fetch_all(service: str, names: Iterable[str]) -> dict[str, str]:
    found = ((name, _fetch(service, name)) for name in names)
    return {name: secret for name, secret in found if secret is not None}


def _remove(service: str, name: str) -> bool:
    import keyring
    import keyring.errors

    try:
        if keyring.get_password(service, name) is not None:
            keyring.delete_password(service, name)
    except keyring.errors.NoKeyringError:
        pass  # then nothing was ever stored in one
    return True
