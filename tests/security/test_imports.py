"""No module that somebody has planted is imported by a Python that sshmux starts."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sshmux
from sshmux.openssh.askpass import dialogue
from sshmux.testing import PrivateServer

PROGRAM = """
import asyncio, sys
from sshmux import ConnectionManager

async def ask(prompt):
    return None

async def main():
    async with ConnectionManager(prompter=ask) as manager:
        manager.register_cluster("x", **SETTINGS)
        async with manager.get_connection("x") as conn:
            print((await conn.run("echo in")).stdout)

asyncio.run(main())
"""
# Every module that the helper has loaded when it begins to work, and those of a longer life.
_LOADED = """
import sys
before = set(sys.modules)
import json, importlib.util, sshmux.openssh.askpass.helper, pexpect, ptyprocess
print(*(name for name in sys.modules if "." not in name and name not in before))
"""


def names() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(sshmux.__file__).parents[1])},
    )
    found = done.stdout.split()
    assert {"json", "pexpect", "sshmux"} <= set(found)
    return [name for name in found if name not in sys.builtin_module_names]


def plant(directory: Path, mark: Path) -> None:
    directory.mkdir(exist_ok=True)
    for name in names():
        text = f"open({str(mark)!r}, 'a').write({name!r} + chr(10)); raise ImportError({name!r})"
        (directory / f"{name}.py").write_text(text)


@pytest.mark.parametrize("where", ["the working directory", "PYTHONPATH's relative entry"])
def test_nothing_planted_is_run(tmp_path: Path, short_dir: Path, where: str) -> None:
    mark, planted, home = tmp_path / "mark", tmp_path / "planted", tmp_path / "home"
    plant(planted, mark)
    home.mkdir()
    here = str(Path(sshmux.__file__).parents[1])
    path = here if where == "the working directory" else f"{here}{os.pathsep}."
    with PrivateServer() as server:
        settings = {
            "host": server.host,
            "port": server.port,
            "username": server.username,
            "key_file": str(server.key_file),
            "known_hosts_file": str(server.known_hosts_file),
            "config_file": str(server.config_file),
        }
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.replace("SETTINGS", repr(settings)))
        done = subprocess.run(
            [sys.executable, str(program)],
            cwd=planted if where == "the working directory" else home,
            env={**os.environ, "PYTHONPATH": path, "SSHMUX_DIR": str(short_dir / "d")},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout == "in\n\n", done.stderr
    assert not mark.exists(), mark.read_text()


def test_beside_the_program_only_what_is_nowhere_else(tmp_path: Path) -> None:
    """A program's own directory is its business; the helper's own modules come first."""
    mark = tmp_path / "mark"
    plant(tmp_path / "beside", mark)
    for name in ("json", "sshmux", "asyncio"):  # the program itself could not run with these
        (tmp_path / "beside" / f"{name}.py").unlink(missing_ok=True)
    task = {"path": [str(tmp_path / "beside")], "package": str(dialogue._PACKAGE)}
    line = json.dumps({**task, "argv": ["true"], "named": True, "log": None})
    with subprocess.Popen(
        [sys.executable, "-I", "-c", dialogue._HELPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        helper.stdin.write(line + "\n")
        helper.stdin.flush()  # its end would tell that the manager is gone
        assert '"status": 0' in helper.stdout.read()
    assert not mark.exists(), mark.read_text()


def test_every_python_is_started_isolated() -> None:
    """`sys.executable` stands in no list without -I behind it."""
    seen = 0
    for path in Path(sshmux.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.List | ast.Tuple):
                words = [ast.unparse(word) for word in node.elts]
                if "sys.executable" in words:
                    seen += 1
                    after = words[words.index("sys.executable") + 1]
                    isolated = after == "'-I'" or "-I -c" in path.read_text("utf-8")
                    assert isolated, f"{path}:{node.lineno}"
    assert seen >= 2
