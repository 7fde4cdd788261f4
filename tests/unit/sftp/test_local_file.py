"""An open file here that is written or read by threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sshmux.sftp.local_file import LocalFile


def test_one_that_cannot_be_emptied_is_closed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    descriptor = os.open(tmp_path / "f", os.O_RDONLY)
    with pytest.raises(OSError):
        LocalFile(descriptor, b"f").clear_now()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
