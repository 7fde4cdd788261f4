"""Where secrets must not be: reports of failed tests, core dumps, other users's eyes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sshmux import Prompt
from sshmux.testing import PrivateServer

from ..support import helpers, managed

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-in-no-report"

# Fails in each way in which a program meets a secret. The secrets come from a file: a test's own
# source, with the secret in it, is shown by pytest whatever we do.
PROGRAM = textwrap.dedent(
    """
    from pathlib import Path
    import pytest
    from sshmux import ConnectionManager
    from sshmux.testing import PrivateServer

    HERE = Path(__file__).parent

    def secret():
        return (HERE / "secret").read_text()

    @pytest.fixture
    def manager(tmp_path):
        return ConnectionManager(control_dir=HERE / "c")

    def test_not_registered(manager):
        manager.set_password("nobody", secret())

    def test_not_fit(manager):
        manager.register_cluster(1, "hpc")
        manager.set_password(1, secret() + chr(7))

    def test_no_base32(manager):
        manager.register_cluster(1, "hpc")
        manager.set_totp_secret(1, secret())

    async def log_in(methods, prompter=None):
        options = {"login_shell": "/bin/sh", "password": "right", "methods": methods}
        async with PrivateServer(**options) as server:
            async with ConnectionManager(control_dir=HERE / "c", prompter=prompter) as manager:
                server.register(manager, 1, key_file=None)
                if prompter is None:
                    manager.set_password(1, secret(), keyring=False)
                async with manager.get_connection(1):
                    pass

    async def test_refused():
        await log_in("password")

    async def test_refused_too():
        await log_in("keyboard-interactive")

    async def test_typed():
        async def user(prompt):
            return secret()
        await log_in("password", user)

    async def test_typed_and_unfit():
        async def user(prompt):
            return secret() + chr(7)
        await log_in("password", user)
    """
)


@pytest.mark.parametrize("style", ["long"])
def test_no_report_of_a_failed_test_shows_it(tmp_path: Path, style: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "test_it.py").write_text(PROGRAM)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    line = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    line += [f"--tb={style}", "--log-level=DEBUG", "--showlocals", "-rA", "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "7 failed" in done.stdout, done.stdout[-3000:]
    assert SECRET not in done.stdout + done.stderr


async def test_the_helper_leaves_no_core_and_lets_nobody_look() -> None:
    seen: list[tuple[int, int]] = []
    owners: list[int] = []

    async def user(prompt: Prompt) -> str:
        for child in helpers():
            if sys.platform == "linux":
                seen.append(resource.prlimit(child.pid, resource.RLIMIT_CORE))
                # A process that may not be dumped belongs to root in /proc (man 5 proc).
                owners.append(Path(f"/proc/{child.pid}/mem").stat().st_uid)
        return "pw"

    async with (
        PrivateServer(login_shell="/bin/sh", password="pw", methods="password") as server,
        managed(server, register={"key_file": None}, prompter=user) as manager,
    ):
        assert await manager.test_connection(1)
    if sys.platform == "linux":
        assert seen == [(0, 0)]
        assert owners == [0]
