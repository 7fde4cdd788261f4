"""`SSHRunner`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Hashable
from typing import Any

from ...errors import ConfigError
from ...manager import ConnectionManager
from ..job import Resources
from .base import OldRunner, inputs_of


class SSHRunner(OldRunner):
    """Jobs as processes of a plain host.

    Parameters:
        connection_manager: stays the caller's.
        cluster_id: one that is registered there. Raises `ConfigError` (a `ValueError`) otherwise.
        remote_crystal_root: where `cry23.bashrc` is, which is read before a job; None for none.
        remote_scratch_dir: where jobs live there.
        cleanup_on_success: whether `retrieve_results` removes what has ended well.
        command: what runs; the input file is its stdin. It gets MPI in front with `mpi_ranks`.
        store: as in `RemoteRunner`.
    """

    def __init__(
        self,
        connection_manager: ConnectionManager,
        cluster_id: Hashable,
        remote_crystal_root: str | os.PathLike[str] | None = None,
        remote_scratch_dir: str | os.PathLike[str] | None = None,
        cleanup_on_success: bool = False,
        *,
        command: str = "crystalOMP",
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        scratch = "~/crystal_jobs" if remote_scratch_dir is None else os.fspath(remote_scratch_dir)
        super().__init__(connection_manager, cluster_id, scratch, min_interval=1, store=store)
        self.remote_crystal_root = remote_crystal_root
        self.cleanup_on_success = cleanup_on_success
        self._command = command

    async def submit_job(
        self,
        job_id: int,
        work_dir: str | os.PathLike[str],
        input_file: str | os.PathLike[str],
        threads: int | None = None,
        mpi_ranks: int | None = None,
        **more: Any,
    ) -> str:
        """Submits a job with the files of a local directory; its handle.

        Parameters:
            job_id: the program's own number for it.
            work_dir: the local directory; its files (not its directories) go with the job.
            input_file: the input, in that directory or elsewhere.
            threads: of OpenMP.
            mpi_ranks: of MPI.
            more: `timeout` in seconds, and `custom_env`, a mapping.

        Raises `FileNotFoundError`, `JobSubmissionError`.
        """
        inputs, name = inputs_of(work_dir, input_file)
        timeout, env = more.pop("timeout", None), dict(more.pop("custom_env", None) or {})
        if more:
            raise ConfigError(f"{next(iter(more))}=: use threads, mpi_ranks, timeout, custom_env")
        if threads is not None:
            env["OMP_NUM_THREADS"] = str(threads)
        setup = []
        if self.remote_crystal_root is not None:
            setup.append(f". {shlex.quote(os.fspath(self.remote_crystal_root))}/cry23.bashrc")
        start = f"mpirun -np {int(mpi_ranks)} " if mpi_ranks is not None else ""
        script = f"{start}{self._command} <{shlex.quote(name)}\n"
        resources = Resources(time=timeout)
        return await self._submit(
            script,
            name=f"job_{job_id}",
            inputs=inputs,
            env=env,
            setup=setup,
            resources=resources,
        )

    def _cleans_up(self, ok: bool) -> bool:
        return ok and self.cleanup_on_success
