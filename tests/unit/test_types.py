"""What type checkers make of a user's program, and that the shared keywords are the real ones."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sshmux import Connection, ConnectionConfig, ConnectionManager, PoolConfig, RemoteShell
from sshmux.pool.keywords import ConnectionKeywords, PoolKeywords
from sshmux.session.keywords import ProcessKeywords, RunKeywords, ShellRunKeywords

ROOT = Path(__file__).parents[2]
PROGRAM, MISTAKES = ROOT / "tests/typed/program.py", ROOT / "tests/typed/mistakes.py"
STREAMS = {"stdin", "stdout", "stderr"}


def mypy() -> set[tuple[str, int, str]]:
    words = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty"]
    run = subprocess.run(
        [*words, PROGRAM, MISTAKES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found = re.findall(r"^(?:.*/)?(\w+)\.py:(\d+): error: (.*)$", run.stdout, re.MULTILINE)
    return {(name, int(line), text) for name, line, text in found}


def pyright() -> set[tuple[str, int, str]]:
    """It is a program of Node's: its package on PyPI fetches it when it is first run."""
    pytest.importorskip("pyright", reason="needs pyright: pip install pyright")
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "-p", PROGRAM.parent, PROGRAM, MISTAKES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    try:
        said = json.loads(run.stdout)["generalDiagnostics"]
    except ValueError:
        pytest.skip(f"pyright cannot be run here: {(run.stderr or run.stdout).strip()[-200:]}")
    return {
        (Path(each["file"]).stem, each["range"]["start"]["line"] + 1, each["message"])
        for each in said
        if each["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_users_program_is_right_and_its_mistakes_are_found(checker: Any) -> None:
    lines = MISTAKES.read_text("utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# WRONG")}
    assert wrong
    found = checker()
    assert {each for each in found if each[0] == "program"} == set()
    assert {line for name, line, _ in found if name == "mistakes"} == wrong


def parameters(function: Any, *others: str) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "command", "encoding", *others}


def test_the_keywords_of_the_overloads_are_those_of_the_functions() -> None:
    assert set(RunKeywords.__annotations__) == parameters(Connection.run)
    assert set(ShellRunKeywords.__annotations__) == parameters(RemoteShell.run)
    assert set(ProcessKeywords.__annotations__) == parameters(Connection.create_process, *STREAMS)


@pytest.mark.parametrize(
    ("config", "function", "more"),
    [
        (PoolConfig, ConnectionManager.__init__, PoolKeywords),
        (ConnectionConfig, ConnectionManager.register_cluster, ConnectionKeywords),
    ],
)
def test_a_type_checker_sees_every_field_of_a_config(config: Any, function: Any, more: Any) -> None:
    names = {each.name for each in fields(config)}
    own = names & parameters(function)
    assert set(more.__annotations__) == names - own
