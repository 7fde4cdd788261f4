"""Private batch schedulers, started from the distribution's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_NEEDED = {
    "slurmctld": "slurm-wlm",
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
}


class Slurm:
    """A Slurm of its own in a directory: four nodes that are this machine.

    Attributes:
        conf: its slurm.conf; whoever uses it needs $SLURM_CONF.
    """

    def __init__(self, directory: Path, *, accounting: bool = True) -> None:
        self.directory = directory
        self.conf = directory / "slurm.conf"
        self._accounting = accounting

    def start(self) -> None:
        """Starts it; the test is skipped, with the reason, where that cannot be."""
        if os.geteuid() != 0:
            pytest.skip("starts a Slurm of its own: needs root")
        needed = dict(_NEEDED) if self._accounting else dict(list(_NEEDED.items())[:2])
        missing = [package for program, package in needed.items() if not shutil.which(program)]
        if missing:
            pytest.skip(f"needs {' '.join(missing)} (apt-get install)")
        accounting = "dbd" if self._accounting else "none"
        self._run("slurm-up", ACCOUNTING=accounting, NODES="2")

    def stop(self) -> None:
        """Ends all of it."""
        self._run("slurm-down")

    def command(self, *words: str) -> str:
        """Runs one of its commands, as its administrator; what it printed."""
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        done = subprocess.run(
            words, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def _run(self, program: str, **env: str) -> None:
        done = subprocess.run(
            ["bash", str(_HERE / program), str(self.directory)],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"{program}: {done.stdout}{done.stderr}")
