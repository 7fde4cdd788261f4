"""Keys that ssh-keygen made, with a passphrase and without."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sshmux.openssh.private_keys import has_passphrase, with_passphrase

KINDS = {
    "ed25519": ("-t", "ed25519"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    "rsa as PEM": ("-t", "rsa", "-b", "2048", "-m", "PEM"),
    "ecdsa as PKCS8": ("-t", "ecdsa", "-m", "PKCS8"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_keys(kind: str, tmp_path: Path) -> None:
    for passphrase in ("", "a secret"):
        key = tmp_path / f"key{len(passphrase)}"
        subprocess.run(
            ["ssh-keygen", "-q", *KINDS[kind], "-N", passphrase, "-f", str(key)], check=True
        )
        assert has_passphrase(key.read_bytes()) is bool(passphrase)
    assert with_passphrase([str(tmp_path / "key0"), str(key), str(key)]) == [str(key)]


@pytest.mark.parametrize("text", [b"", b"x", b"-----BEGIN OPENSSH PRIVATE KEY-----", b"\xff" * 99])
def test_what_is_no_key(text: bytes) -> None:
    assert not has_passphrase(text)
    assert not has_passphrase(b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + text)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    odd = [str(tmp_path), str(tmp_path / "fifo"), "/dev/zero", str(tmp_path / "missing"), "a\0b"]
    assert with_passphrase(odd) == []
