"""The command for jobs, as a user runs it, on a plain host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshmux.testing import PrivateServer


class Desk:
    """Runs `sshmux` with a control directory, a store and an ssh_config of its own."""

    def __init__(self, short_dir: Path, tmp_path: Path, server: PrivateServer) -> None:
        self.config = server.config_file
        self.alias = server.alias
        self.environment = {
            **os.environ,
            "SSHMUX_DIR": str(short_dir / "c"),
            "SSHMUX_STORE": str(tmp_path / "store"),
            "HOME": str(tmp_path),
        }
        (tmp_path / ".ssh").mkdir(exist_ok=True)

    def __call__(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "sshmux", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def desk(short_dir: Path, tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "home").mkdir()
    settings = {"SetEnv": f"HOME={tmp_path / 'home'}"}  # jobs live below it
    with PrivateServer(login_shell="/bin/sh", options=settings) as server:
        made = Desk(short_dir, tmp_path, server)
        yield made
        made("stop", "--all", "-y")


def test_a_job_from_its_beginning_to_its_end(desk: Desk, tmp_path: Path) -> None:
    assert desk.alias in desk("clusters", "import", "-F", str(desk.config)).split()
    assert desk.alias in desk("clusters")
    (tmp_path / "input").write_text("from here\n")
    words = [
        "submit",
        "-i",
        str(tmp_path / "input"),
        "-o",
        "*.out",
        "--name",
        "one [bold]",
        desk.alias,
    ]
    script = "cat input; echo 1 >a.out; until [ -e ../../go ]; do sleep 0.1; done; exit 4"
    handle = desk(*words, "--", "sh", "-c", script).strip()
    assert handle.startswith(f"shell:{desk.alias}:sm")
    assert "one [bold]" in desk("jobs")
    (tmp_path / "home" / ".sshmux" / "jobs" / "go").touch()
    assert "FAILED" in desk("wait", handle, status=4)
    assert desk("tail", handle) == "from here\n"
    assert desk("jobs") == "No jobs.\n"
    (told,) = json.loads(desk("jobs", "--all", "--json"))
    assert (told["state"], told["exit_code"], told["name"]) == ("FAILED", 4, "one [bold]")
    assert desk("collect", told["native_id"], str(tmp_path / "into"), "--cleanup").split() == [
        str(tmp_path / "into" / "a.out")
    ]
    assert desk("jobs", "--all") == "No jobs.\n"
    assert desk("queue", desk.alias) == "Nothing is queued.\n"


def test_a_job_that_is_cancelled(desk: Desk) -> None:
    desk("clusters", "import", "-F", str(desk.config))
    handle = desk("submit", "--key", "x", desk.alias, "--", "sleep", "1000").strip()
    assert desk("submit", "--key", "x", desk.alias, "--", "sleep", "1000").strip() == handle
    desk("wait", "--timeout", "0.5", handle, status=3)
    assert "CANCELLED" in desk("cancel", "--grace", "1", handle)
    desk("wait", handle, status=130)
    desk("submit", desk.alias, status=2)
    desk("wait", "nothing", status=255)
    desk("clusters", "remove", "nobody", status=3)
    desk("clusters", "remove", desk.alias)
    assert desk.alias not in desk("clusters", "--json")
