"""A job that its scheduler runs once more: real shells."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sshmux.runner.dialects.slurm import Slurm
from sshmux.runner.wrapper import payload, wrapper

from .test_scripts import SHELLS, TOKEN


def run(shell: list[str], directory: Path, script: str, *, task: str = "") -> int:
    """Runs it as Slurm does, as the job 7; its exit status."""
    job = directory / TOKEN
    (job / "work").mkdir(parents=True, exist_ok=True)
    text = wrapper(TOKEN, str(job), Slurm.identity, scheduler=True, login_shell=False)
    (job / "wrap").write_text(text)
    (job / "script").write_text(script)
    more = {"env": {}, "cwd": None, "setup": [], "script": script, "argv": None}
    (job / "run").write_text(payload(TOKEN, str(job), **more))  # type: ignore[arg-type]
    ids = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": task}
    done = subprocess.run([*shell, job / "wrap"], env={**os.environ, **ids}, check=False)
    return done.returncode


@pytest.mark.parametrize("task", ["", "4"])
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("script", "times"), [("true", 1), ("exit 3", 2), ("kill -TERM $PPID; sleep 0.3", 2)]
)
def test_what_has_ended_well_is_not_run_again(
    script: str, times: int, shell: list[str], task: str, tmp_path: Path
) -> None:
    """Its node may have been lost before the scheduler had heard of the end."""
    statuses = [
        run(shell, tmp_path, f"echo ran >>../../runs; {script}", task=task) for _ in range(2)
    ]
    assert (tmp_path / "runs").read_text() == "ran\n" * times
    events = (tmp_path / "events").read_text().splitlines()
    assert sum(line.startswith("end ") for line in events) == 2
    if times == 1:
        assert statuses == [0, 0]
