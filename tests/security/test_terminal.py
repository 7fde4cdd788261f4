"""No name and no answer of a stranger's is an order to the terminal, or to rich."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sshmux.openssh.control.directory import ControlDir

from ..support import control_directory

ESCAPE = "\x1b]0;OWNED\x07"
HOSTS = ["[/x]", "me@[fe80::1]:2222", f"[bold]{ESCAPE}x", "\u202etxt.exe", "a\x9b31mb", "[link=x]y"]

# Each command, with `HOST` for what it is about.
COMMANDS = {
    "ls": ["ls"],
    "ls --json": ["ls", "--json"],
    "check": ["check"],
    "check one": ["check", "HOST"],
    "stop": ["stop", "--all", "-y"],
    "stop one": ["stop", "-y", "HOST"],
    "run": ["run", "--batch", "HOST", "--", "true"],
    "put": ["put", "--batch", "HOST", "/nothing", "x"],
    "get": ["get", "--batch", "HOST", "x", "y"],
    "sync": ["sync", "--batch", "HOST", ":x", "y"],
    "forward": ["forward", "--batch", "HOST", "-L", "1:x:2"],
    "login": ["login", "HOST"],
    "password": ["password", "delete", "HOST"],
    "doctor": ["doctor", "--sessions", "0", "HOST"],
}


def said(directory: Path, words: list[str]) -> tuple[int, str]:
    """The status, and all that it wrote, as on a terminal: rich shows no less there."""
    env = {**os.environ, "SSHMUX_DIR": str(directory), "FORCE_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "sshmux", *words],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    return done.returncode, os.fsdecode(done.stdout + done.stderr)


def harmless(text: str) -> None:
    assert "\x1b]" not in text
    assert "\u202e" not in text
    assert "\x9b" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_with_every_name(command: list[str]) -> None:
    for host in HOSTS:
        with control_directory() as directory:
            control = ControlDir(directory)
            control.reserve("cluster", "1", address=host, digest="0" * 16, persist=60)
            _, text = said(directory, [host if word == "HOST" else word for word in command])
            harmless(text)
            if command == ["ls"] and host.isprintable():
                assert host in text
            for path in directory.iterdir():
                path.unlink()
