"""Names of asyncssh's that programs use, and that have nothing of their own to do here.

With them `import sshmux as asyncssh` fails in no `except` clause and no call. What ssh itself finds
wrong is one of the errors of `errors`; none of the exceptions below is ever raised.
"""

from __future__ import annotations

from os import SEEK_CUR, SEEK_END, SEEK_SET
from subprocess import DEVNULL, PIPE, STDOUT

from .errors import DisconnectError

__all__ = [
    "BreakReceived",
    "CompressionError",
    "ConfigParseError",
    "DEVNULL",
    "IllegalUserName",
    "KeyEncryptionError",
    "KeyExportError",
    "KeyGenerationError",
    "KeyImportError",
    "MACError",
    "PIPE",
    "PasswordChangeRequired",
    "ProtocolError",
    "ProtocolNotSupported",
    "SEEK_CUR",
    "SEEK_END",
    "SEEK_SET",
    "STDOUT",
    "ServiceNotAvailable",
    "SignalReceived",
    "TerminalSizeChanged",
]


class CompressionError(DisconnectError):
    """Compression failed."""


class IllegalUserName(DisconnectError):
    """The user's name cannot be used."""


class MACError(DisconnectError):
    """A message was changed on the way."""


class ProtocolError(DisconnectError):
    """The other side does not speak SSH as it should."""


class ProtocolNotSupported(DisconnectError):
    """The other side speaks another version of SSH."""


class ServiceNotAvailable(DisconnectError):
    """The server does not offer the service."""


class ConfigParseError(ValueError):
    """A file of settings cannot be read."""


class KeyEncryptionError(ValueError):
    """A key cannot be decrypted."""


class KeyExportError(ValueError):
    """A key cannot be written."""


class KeyGenerationError(ValueError):
    """A key cannot be made."""


class KeyImportError(ValueError):
    """A key cannot be read."""


class PasswordChangeRequired(Exception):
    """A new password is asked for."""


class BreakReceived(Exception):
    """A break came in place of data."""


class SignalReceived(Exception):
    """A signal came in place of data."""


class TerminalSizeChanged(Exception):
    """A terminal's size came in place of data."""
