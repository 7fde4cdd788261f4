"""Private batch schedulers, started from the distribution's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


class _Private:
    """A scheduler of its own in a directory, behind a pair of scripts.

    Attributes:
        env: the variables by which its commands find it.
    """

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env: dict[str, str] = {}

    def needed(self) -> dict[str, str]:
        """Programs, and Debian's packages that they are in."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts it; the test is skipped, with the reason, where that cannot be."""
        if os.geteuid() != 0:
            pytest.skip(f"starts a {type(self).__name__} of its own: needs root")
        missing = [each for program, each in self.needed().items() if not shutil.which(program)]
        if missing:
            pytest.skip(f"needs {' '.join(missing)} (apt-get install)")
        done = self._run("up")
        if done.returncode:
            self.stop()
            pytest.skip(f"{self.name}-up: {done.stdout}{done.stderr}")

    def stop(self) -> None:
        """Ends all of it."""
        self._run("down")

    def command(self, *words: str) -> str:
        """Runs one of its commands, as its administrator; what it printed."""
        env = {**os.environ, **self.env}
        done = subprocess.run(
            words, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def _options(self) -> dict[str, str]:
        """Choices of the script, by environment."""
        return {}

    def _run(self, what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(_HERE / f"{self.name}-{what}"), str(self.directory)],
            env={**os.environ, **self._options()},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


class Slurm(_Private):
    """A Slurm: two nodes that are this machine."""

    name = "slurm"

    def __init__(self, directory: Path, *, accounting: bool = True) -> None:
        super().__init__(directory)
        self.env = {"SLURM_CONF": str(directory / "slurm.conf")}
        self._accounting = accounting

    def needed(self) -> dict[str, str]:
        found = {"slurmctld": "slurm-wlm", "munged": "munge"}
        if self._accounting:
            found |= {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}
        return found

    def _options(self) -> dict[str, str]:
        return {"ACCOUNTING": "dbd" if self._accounting else "none", "NODES": "2"}


class GridEngine(_Private):
    """A Grid Engine: one queue, main.q, with eight slots on this machine."""

    name = "sge"

    def needed(self) -> dict[str, str]:
        # Its programs are in no directory of the PATH, but for qconf.
        return {
            "/usr/lib/gridengine/sge_qmaster": "gridengine-master",
            "/usr/lib/gridengine/sge_execd": "gridengine-exec",
            "qconf": "gridengine-client",
        }

    def start(self) -> None:
        super().start()
        lines = (self.directory / "env").read_text().splitlines()
        pairs = (line.partition("=") for line in lines)
        self.env = {name: value for name, _, value in pairs if name.startswith("SGE_")}
