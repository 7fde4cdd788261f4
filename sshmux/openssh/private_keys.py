"""Which private keys have a passphrase: ssh does not say that it left one out for want of it."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterable

_LARGEST = 64 * 1024  # bytes; a key of 16384 bits has 13 KB
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"  # PROTOCOL.key; the name of the cipher follows, as a string
_PEM = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


def has_passphrase(text: bytes) -> bool:
    """Whether a private key, as it is in its file, is encrypted. False for what is none."""
    if any(word in text for word in _PEM):
        return True
    _, begin, body = text.partition(_OPENSSH)
    if not begin:
        return False
    try:
        data = base64.b64decode(b"".join(body.split())[:64])  # 48 bytes: the cipher is in them
    except binascii.Error:
        return False
    name = data.removeprefix(_MAGIC)
    return name != data and name[4 : 4 + int.from_bytes(name[:4], "big")] != b"none"


def with_passphrase(paths: Iterable[str]) -> list[str]:
    """Those of some private keys' files that are encrypted. Looks at plain files only."""
    return [path for path in dict.fromkeys(paths) if has_passphrase(_content(path))]


def _content(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, _LARGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
