"""The system keyring itself: what it is, and its calls. Everything here may block.

A backend is somebody else's program: what it gives back is checked, and whatever it raises is
caught, so that one that misbehaves costs a warning and not the program. The import of keyring
looks for backends, which takes 50 ms and more: it is done here, when it is needed.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..system.secret import Secret
from ..text import logger

log = logger("sshmux.credentials")

T = TypeVar("T")

_LARGEST_FILE = 4 * 1024 * 1024  # bytes of a backend's file that is looked into
_BASE64_LINE = 57  # bytes on one line of MIME's base64


class KeyringFault(Exception):
    """What a backend raised that would end a program, by its name."""


@dataclass(frozen=True)
class Backend:
    """The keyring that would be used.

    Attributes:
        name: as `keyring diagnose` shows it.
        keeps: whether it keeps anything: False if there is none, or the one that forgets.
        plaintext: whether it keeps secrets readable, by what it says of itself.
        file: where, if it says so.
    """

    name: str
    keeps: bool
    plaintext: bool
    file: Path | None


def look() -> Backend:
    """The keyring that would be used."""
    import keyring
    import keyring.backends.fail
    import keyring.backends.null

    found = keyring.get_keyring()
    inner = list(_inner(found))
    nothing = keyring.backends.fail.Keyring | keyring.backends.null.Keyring
    return Backend(
        name=str(getattr(found, "name", found)),
        keeps=not isinstance(found, nothing),
        plaintext=any(map(_says_that_it_is_plain, inner)),
        file=next(filter(None, map(_file, inner)), None),
    )


def describe_keyring() -> str:
    """The keyring that would be used, by name."""
    backend = look()
    return backend.name if backend.keeps else "none"


def _inner(backend: Any) -> Iterator[Any]:
    """A backend, and those to which it passes secrets on."""
    yield backend
    for each in list(getattr(backend, "backends", ()))[:1]:  # a chain stores in its first
        yield from _inner(each)
    wrapped = getattr(backend, "_keyring", None)
    if wrapped is not None:
        yield wrapped


def _says_that_it_is_plain(backend: Any) -> bool:
    names = [kind.__name__.lower() for kind in type(backend).__mro__]
    scheme = str(getattr(backend, "scheme", "")).lower()
    return any("plaintext" in name for name in names) or scheme.startswith("no enc")


def _file(backend: Any) -> Path | None:
    path = getattr(backend, "file_path", None)
    return Path(path) if isinstance(path, str | Path) else None


@dataclass(frozen=True)
class Stored:
    """What became of storing a secret.

    Attributes:
        kept: whether the keyring has it now.
        readable: why whoever can read the user's files can read it, in words that follow "the
            system keyring"; None if nothing is known that says so.
    """

    kept: bool
    readable: str | None = None


def store(service: str, name: str, secret: Secret, *, plaintext: bool) -> Stored:
    """Stores a secret, and reads it back: the null backend takes everything and keeps nothing.

    Parameters:
        plaintext: whether it may be kept readable. If not, it is taken back when it turns out so.
    """
    import keyring

    backend = look()
    if backend.plaintext and not plaintext:
        return Stored(False, readable(backend))
    keyring.set_password(service, name, secret.reveal())
    kept = keyring.get_password(service, name) == secret.reveal()
    why = readable(backend)
    if why is None and _is_readable_in(backend.file, secret):
        why = f"({backend.name}) writes secrets readable into {backend.file}"
    if why is not None and not plaintext:
        remove(service, name)
        kept = False
    return Stored(kept, why)


def readable(backend: Backend) -> str | None:
    """What a keyring says of itself that makes it one of plain text."""
    if not backend.plaintext:
        return None
    where = f", in {backend.file}" if backend.file is not None else ""
    return f"({backend.name}) keeps secrets readable{where}"


def _is_readable_in(path: Path | None, secret: Secret) -> bool:
    if path is None:
        return False
    try:
        with path.open("rb") as file:
            kept = file.read(_LARGEST_FILE)
    except OSError:
        return False
    return any(form in kept for form in _forms(secret))


def _forms(secret: Secret) -> Iterator[bytes]:
    yield secret.reveal().encode()
    yield base64.b64encode(secret.reveal().encode()[:_BASE64_LINE])


def fetch(service: str, name: str) -> Secret | None:
    """A secret that a prompt would take, or None."""
    import keyring

    found = Secret(keyring.get_password(service, name))
    if found.reveal() is None:
        return None
    if found.unfit:
        log.warning(
            "what the keyring has as %r cannot be used: it %s. Store it anew: sshmux password set",
            name,
            found.unfit,
        )
        return None
    return found


def fetch_all(service: str, names: Iterable[str]) -> dict[str, Secret]:
    """Those that are there, and can be used."""
    found = ((name, fetch(service, name)) for name in names)
    return {name: secret for name, secret in found if secret is not None}


def remove(service: str, name: str) -> bool:
    """Whether it is known to be gone."""
    import keyring
    import keyring.errors

    with contextlib.suppress(keyring.errors.NoKeyringError):  # nothing was ever stored in one
        if keyring.get_password(service, name) is not None:
            keyring.delete_password(service, name)
    return True


def guarded(function: Callable[[], T]) -> Callable[[], T]:
    """The same, whatever a backend raises: KeyboardInterrupt and SystemExit are not its to raise.

    In a thread of ours no user's Ctrl-C arrives, so it is none.
    """

    def call() -> T:
        try:
            return function()
        except Exception:
            raise
        except BaseException as error:
            raise KeyringFault(type(error).__name__) from None

    return call
