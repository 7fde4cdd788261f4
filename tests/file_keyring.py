"""A keyring for tests of the command, in a plain file: `$TEST_KEYRING`.

It stands in for a desktop's keyring where only the command around it is tested; the real one is
in test_keyring.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class Keyring(KeyringBackend):
    """{service: {username: password}} as JSON."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self._path = Path(os.environ["TEST_KEYRING"])

    def _read(self) -> dict[str, dict[str, str]]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(service, {}).get(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        content = self._read()
        content.setdefault(service, {})[username] = password
        self._path.write_text(json.dumps(content))

    def delete_password(self, service: str, username: str) -> None:
        content = self._read()
        if content.get(service, {}).pop(username, None) is None:
            raise PasswordDeleteError(username)
        self._path.write_text(json.dumps(content))
