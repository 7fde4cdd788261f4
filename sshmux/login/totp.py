"""One-time codes from a secret that is stored (RFC 6238), each used once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from typing import TYPE_CHECKING, Protocol

from ..errors import ConfigError
from ..system.secret import Secret
from ..text import logger

if TYPE_CHECKING:
    import pyotp

log = logger("sshmux.credentials")

_MOST = 20  # steps to wait for one that no other program has used
_LEAST = 20  # bytes of a secret; a multiple of 5, which base32 writes without padding
_SECRET = re.compile(r"(?<=[?&]secret=)[A-Za-z2-7=]+(?:%3[Dd])*")
_INSTALL = "one-time codes need pyotp: pip install pyotp"


def check_totp_secret(given: Secret) -> Secret:
    """The secret as it is stored: base32 without spaces, or the whole otpauth:// URI.

    Raises `ConfigError` when it is neither, or pyotp is not installed.
    """
    if given.unfit == "is no text (a str)":
        raise _no_secret()
    secret = Secret(_plain(given.reveal()))
    generator(secret).at(0)
    return secret


def _plain(text: str) -> str:
    text = text.strip()
    if text.startswith("otpauth://"):
        return text
    return text.replace(" ", "").replace("-", "").upper()


def generator(secret: Secret) -> pyotp.TOTP:
    """What makes the codes. Raises `ConfigError` without ever showing the secret."""
    try:
        import pyotp
    except ImportError:
        raise ConfigError(_INSTALL) from None
    try:
        if secret.reveal().startswith("otpauth://"):
            made = pyotp.parse_uri(_SECRET.sub(lambda found: _padded(found[0]), secret.reveal()))
        else:
            made = pyotp.TOTP(_padded(secret.reveal()))
        if secret.reveal() and isinstance(made, pyotp.TOTP):
            made.at(0)  # base32 is only read here
            return made
    except Exception:  # noqa: S110 - it may quote the secret
        pass
    raise _no_secret()


def _no_secret() -> ConfigError:
    return ConfigError(
        "this is no secret for time-based codes: give its base32 letters (A-Z, 2-7), "
        "or the otpauth://totp/… of the QR code"
    )


def _padded(secret: str) -> str:
    """The same secret, long enough for pyotp, which refuses the 80 bits that many sites gave out.

    HMAC fills a key with zeros by itself (RFC 2104, 2): with them, the codes are the same.
    """
    letters = re.sub(r"(?:=|%3[Dd])+$", "", secret)
    key = base64.b32decode(letters + "=" * (-len(letters) % 8), casefold=True)
    return base64.b32encode(key.ljust(_LEAST, b"\0")).decode() if key else ""


class UsedCodes(Protocol):
    """What other programs of this user know as well: which codes were used."""

    def take(self, key: str, step: int) -> bool:
        """Marks a code as used. False when it was before."""


class OneTimeCodes:
    """The codes of one manager. A server takes each code once: so does this.

    Parameters:
        used: those of other programs; None where there are none.
    """

    def __init__(self, used: UsedCodes | None = None) -> None:
        self._marks = used
        self._used: dict[str, int] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def next_code(self, secret: Secret) -> Secret:
        """The code to give now; waits for the next one if this one was given before."""
        made = generator(secret)
        key = hashlib.blake2b(made.secret.encode(), digest_size=8, person=b"sshmux-totp")
        name = key.hexdigest()
        async with self._turns.setdefault(name, asyncio.Lock()):
            # The server's clock, not ours that never jumps.
            step = first = int(time.time() // made.interval)
            if step <= self._used.get(name, -1) <= step + 1:  # beyond, the clock was set back
                step = self._used[name] + 1
            while True:
                if (wait := step * made.interval - time.time()) > 0:
                    log.info("the current one-time code was used: waiting %.0f s", wait)
                    await asyncio.sleep(wait)  # the code is a function of time: there is no event
                if self._marks is None or self._marks.take(name, step) or step > first + _MOST:
                    break
                step += 1
            self._used[name] = step
            return Secret(made.at(step * made.interval))
