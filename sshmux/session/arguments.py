"""What callers give to a command, checked before anything is run. Raises `ConfigError`. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from ..errors import ConfigError


def check_command(command: object) -> None:
    """A str, or words; bytes are neither."""
    if isinstance(command, bytes | bytearray) or not isinstance(command, Sequence):
        raise ConfigError(f"command {command!r}: use a str, or a sequence of str")


def check_encoding(encoding: object, errors: object) -> None:
    """Names that Python knows: else they would be found out when the output is there, and lost."""
    if encoding is not None:
        try:
            codecs.lookup(encoding)  # type: ignore[arg-type]
        except (LookupError, TypeError):
            raise ConfigError(
                f"encoding={encoding!r}: Python knows no such encoding; use None for bytes"
            ) from None
    try:
        codecs.lookup_error(errors)  # type: ignore[arg-type]
    except (LookupError, TypeError):
        raise ConfigError(
            f"errors={errors!r}: use 'strict', 'replace', 'surrogateescape' or another of Python's"
        ) from None


def input_bytes(input: object, encoding: str | None, errors: str = "strict") -> bytes | None:
    """A command's input as bytes; the encoding and errors were checked."""
    if isinstance(input, str):
        try:
            return input.encode(encoding or "utf-8", errors if encoding else "strict")
        except UnicodeError as error:
            raise ConfigError(f"input= cannot be encoded: {error}; give bytes") from None
    if input is not None and not isinstance(input, bytes | bytearray | memoryview):
        raise ConfigError(f"input={input!r}: give a str or bytes")
    return None if input is None else bytes(input)
