"""The old names of runners, on a real sshd. (Those of Slurm: test_runner_slurm.py.)"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.runner.compat import (
    JobNotFoundError,
    JobStatus,
    JobSubmissionError,
    SSHRunner,
)
from sshmux.testing import PrivateServer

from ..support import managed


def calculation(directory: Path) -> Path:
    directory.mkdir()
    (directory / "input.d12").write_text("MGO\n")
    (directory / "mgo.gui").write_text("geometry\n")
    return directory / "input.d12"


async def test_a_program_of_before(tmp_path: Path) -> None:
    """As such programs use it: submit, look, follow, wait, fetch; and find again by the text."""
    work = tmp_path / "work $(touch owned)"
    input_file = calculation(work)
    scratch = tmp_path / "scratch"
    store = tmp_path / "store"
    command = "sh -c 'cat; echo $OMP_NUM_THREADS; ls; echo energy >fort.9'"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        old = SSHRunner(manager, 1, remote_scratch_dir=scratch, command=command, store=store)
        async with old as runner:
            handle = await runner.submit_job(7, work_dir=work, input_file=input_file, threads=3)
            cluster, pid, directory = handle.split(":", 2)
            assert cluster == "1"
            assert int(pid) > 1
            assert Path(directory, "mgo.gui").read_text() == "geometry\n"
            lines = [line async for line in runner.get_output(handle)]
            assert lines == ["MGO", "3", "input.d12", "mgo.gui"]
            assert await runner.wait_for_completion(handle, timeout=60) == "completed"
            assert not runner.is_job_running(handle)
        again = SSHRunner(manager, 1, remote_scratch_dir=scratch, store=tmp_path / "another")
        async with again as runner:
            assert await runner.get_status(handle) is JobStatus.COMPLETED
            results = tmp_path / "results"
            results.mkdir()
            result = await runner.retrieve_results(handle, results, cleanup=True)
            assert (result.success, result.errors) == (True, [])
            assert (results / "fort.9").read_text() == "energy\n"
            assert (results / "output.log").read_text().startswith("MGO\n3\n")
            assert not Path(directory).exists()
    assert not list(tmp_path.rglob("owned"))


async def test_it_fails_is_cancelled_and_does_not_exist(tmp_path: Path) -> None:
    work = tmp_path / "work"
    input_file = calculation(work)
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        options = {"remote_scratch_dir": tmp_path / "jobs", "store": tmp_path / "store"}
        async with SSHRunner(manager, 1, command="sleep 1000; :", **options) as runner:  # type: ignore[arg-type]
            slow = await runner.submit_job(1, work, input_file)
            while await runner.get_status(slow) != "running":
                await asyncio.sleep(0.05)
            assert runner.is_job_running(slow)
            with pytest.raises(ValueError, match="still running"):
                await runner.retrieve_results(slow, tmp_path)
            with pytest.raises(TimeoutError):
                await runner.wait_for_completion(slow, timeout=0.1)
            assert await runner.cancel_job(slow)
            assert not await runner.cancel_job(slow)
            assert await runner.get_status(slow) == "cancelled"
        async with SSHRunner(manager, 1, command="exit 3; :", **options) as runner:  # type: ignore[arg-type]
            # As the base class has it: the input first.
            bad = await runner.submit_job(2, input_file, work)
            assert await runner.wait_for_completion(bad) == "failed"
            (tmp_path / "results").mkdir()
            result = await runner.retrieve_results(bad, tmp_path / "results")
            assert not result.success
            assert result.metadata["exit_code"] == 3
            with pytest.raises(FileNotFoundError):
                await runner.submit_job(3, work, work / "none.d12")
            with pytest.raises(JobSubmissionError):
                await runner.submit_job(3, work, input_file, custom_env={"a b": "c"})
            for odd in ("", "1:2", "1:2:/tmp", f"1:2:{tmp_path}/jobs/sm22222222222x/work"):
                with pytest.raises(JobNotFoundError):
                    await runner.get_status(odd)


async def test_a_cluster_that_is_not_registered() -> None:
    with pytest.raises(ValueError, match="not registered"):
        SSHRunner(ConnectionManager(), 9)
    assert ConnectionManager().clusters == {}
    assert issubclass(sshmux.ConfigError, ValueError)
