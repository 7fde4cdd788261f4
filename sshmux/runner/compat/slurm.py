"""`SLURMRunner`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Hashable
from dataclasses import replace

from ...manager import ConnectionManager
from ..handle import JobHandle
from ..job import After
from .base import OldRunner, inputs_of
from .data import JobStatus, SLURMJobConfig


class SLURMRunner(OldRunner):
    """Jobs of Slurm.

    Parameters:
        connection_manager: stays the caller's.
        cluster_id: one that is registered there. Raises `ConfigError` (a `ValueError`) otherwise.
        default_config: what jobs ask for.
        poll_interval: seconds at least between two questions to Slurm.
        remote_scratch_base: where jobs live there.
        command: what runs; the input file is its stdin. With more than one task `srun` runs
            `mpi_command`.
        store: as in `RemoteRunner`.
    """

    _scheduler = "slurm"
    _waiting = JobStatus.QUEUED
    _log = "output.out"

    def __init__(
        self,
        connection_manager: ConnectionManager,
        cluster_id: Hashable,
        default_config: SLURMJobConfig | None = None,
        poll_interval: float = 30,
        remote_scratch_base: str | os.PathLike[str] = "/scratch/crystal",
        *,
        command: str = "crystalOMP",
        mpi_command: str = "PcrystalOMP",
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        base = os.fspath(remote_scratch_base)
        super().__init__(
            connection_manager, cluster_id, base, min_interval=poll_interval, store=store
        )
        self.default_config = default_config or SLURMJobConfig()
        self._command, self._mpi_command = command, mpi_command

    async def submit_job(
        self,
        job_id: int,
        work_dir: str | os.PathLike[str],
        input_file: str | os.PathLike[str] = "input.d12",
        threads: int | None = None,
        config: SLURMJobConfig | None = None,
    ) -> str:
        """Submits a job with the files of a local directory; its handle.

        Parameters:
            job_id: the program's own number for it.
            work_dir: the local directory; its files (not its directories) go with the job.
            input_file: the input; a relative one is in that directory.
            threads: instead of `cpus_per_task`.
            config: instead of `default_config`. Its `dependencies` are handles of this runner, or
                Slurm's ids of its jobs.

        Raises `FileNotFoundError`, `JobSubmissionError`.
        """
        inputs, name = inputs_of(work_dir, input_file)
        wanted = config or self.default_config
        if threads is not None:
            wanted = replace(wanted, cpus_per_task=threads)
        setup = [f"module load {shlex.quote(module)}" for module in wanted.modules]
        setup += [wanted.environment_setup] if wanted.environment_setup else []
        setup.append("export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK")
        run = f"srun {self._mpi_command}" if wanted.ntasks > 1 else self._command
        after: list[tuple[JobHandle, After]] = [
            (await self._parent(each), "ok") for each in wanted.dependencies
        ]
        return await self._submit(
            f"{run} <{shlex.quote(name)}\n",
            name=wanted.job_name,
            inputs=inputs,
            setup=setup,
            resources=wanted.resources(),
            array=wanted.array,
            after=after,
        )

    async def _parent(self, text: str) -> JobHandle:
        if ":" in text:
            return self._handle(text)
        return await self.runner.attach(text, self.cluster_id)
