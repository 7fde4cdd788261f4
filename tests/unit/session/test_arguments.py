"""Arguments are checked before anything is run."""

from __future__ import annotations

from typing import Any

import pytest

from sshmux import ConfigError
from sshmux.openssh.remote import check_command
from sshmux.session.arguments import check_encoding, input_bytes


@pytest.mark.parametrize("command", [b"true", bytearray(b"true"), 5, None, {"true"}])
def test_commands(command: Any) -> None:
    with pytest.raises(ConfigError, match="use a str"):
        check_command(command)


@pytest.mark.parametrize(
    ("encoding", "errors"), [("utf9", "strict"), (5, "strict"), ("utf-8", "repalce"), (None, None)]
)
def test_encodings(encoding: Any, errors: Any) -> None:
    with pytest.raises(ConfigError, match=r"Python"):
        check_encoding(encoding, errors)


def test_input() -> None:
    assert input_bytes("ü", "latin-1") == b"\xfc"
    assert input_bytes(memoryview(b"x"), None) == b"x"
    assert input_bytes(None, "utf-8") is None
    for bad in (5, ["a"], object()):
        with pytest.raises(ConfigError, match="give a str or bytes"):
            input_bytes(bad, "utf-8")
    with pytest.raises(ConfigError, match="cannot be encoded"):
        input_bytes("€", "latin-1")
