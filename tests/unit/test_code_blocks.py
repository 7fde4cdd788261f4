"""Every Python block of README and the documents is checked by mypy: none can go stale.

Blocks are excerpts: names that an excerpt takes for granted are given their types here, and others
are anybody's. What sshmux has is held against its own types: names, parameters, attributes.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What excerpts take for granted.
GIVEN = """
import asyncio, os, subprocess
from pathlib import Path
from typing import Any
import sshmux
from sshmux import Connection, ConnectionManager, Job, JobHandle, RemoteRunner, SFTPClient
manager: ConnectionManager
conn: Connection
connection: Connection
one: Connection
two: Connection
sftp: SFTPClient
runner: RemoteRunner
handle: JobHandle
"""


def blocks() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text("utf-8"))):
            found.append((f"{page.stem.replace('-', '_')}_{number}", textwrap.dedent(match[1])))
    return found


def module(text: str) -> str:
    """A block as a module: what awaits by itself goes into a coroutine."""
    try:
        compile(text, "block", "exec")
        return f"{GIVEN}\n{text}"
    except SyntaxError:
        body = textwrap.indent(text, "    ")
        return f"{GIVEN}\nasync def excerpt(self: Any = None) -> Any:\n{body}\n    ...\n"


def test_there_are_blocks() -> None:
    assert len(blocks()) > 20


@pytest.mark.parametrize(("name", "text"), blocks(), ids=lambda value: value[:30].split("\n")[0])
def test_a_block_is_python(name: str, text: str) -> None:
    compile(module(text), name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def mistakes(directory: Path, named: list[tuple[str, str]]) -> str:
    """What mypy says of blocks; nothing for good ones."""
    for name, text in named:
        (directory / f"{name}.py").write_text(module(text), "utf-8")
    words = [sys.executable, "-m", "mypy", "--config-file=", "--check-untyped-defs"]
    words += ["--disable-error-code=name-defined", "--disable-error-code=no-redef"]
    words += ["--disable-error-code=return", "--disable-error-code=import-not-found"]
    words += ["--disable-error-code=import-untyped", "--disable-error-code=func-returns-value"]
    words += ["--follow-imports=silent", "--cache-dir", str(directory / "cache")]
    done = subprocess.run(
        [*words, str(directory)], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_all_blocks_fit_the_types(tmp_path: Path) -> None:
    assert mistakes(tmp_path, blocks()) == ""


def test_a_stale_block_is_found(tmp_path: Path) -> None:
    stale = 'async with manager.get_conection(1) as conn:\n    await conn.run("true", chek=True)\n'
    found = mistakes(tmp_path, [("stale", stale)])
    assert "get_conection" in found
    assert "chek" in mistakes(tmp_path, [("stale", 'await conn.run("true", chek=True)\n')])
