"""Keyrings that keep secrets readable in a file: `$TEST_KEYRING`."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class SilentKeyring(KeyringBackend):
    """One that does not say that it is of plain text; its file does."""

    priority = 1  # type: ignore[assignment]

    @property
    def file_path(self) -> str:
        """As those of keyrings.alt have it."""
        return os.environ["TEST_KEYRING"]

    def _read(self) -> dict[str, str]:
        path = Path(self.file_path)
        return json.loads(path.read_text()) if path.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        kept = self._read().get(f"{service}/{username}")
        return None if kept is None else base64.b64decode(kept).decode()

    def set_password(self, service: str, username: str, password: str) -> None:
        kept = base64.b64encode(password.encode()).decode()
        content = {**self._read(), f"{service}/{username}": kept}
        Path(self.file_path).write_text(json.dumps(content))

    def delete_password(self, service: str, username: str) -> None:
        content = self._read()
        content.pop(f"{service}/{username}")
        Path(self.file_path).write_text(json.dumps(content))


class PlaintextKeyring(SilentKeyring):
    """One that says so by its name, as that of keyrings.alt."""
