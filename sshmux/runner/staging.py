"""The archive that puts jobs into place: made in a file here, sent on stdin."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from ..errors import ConfigError
from . import launching
from .dialects.base import Dependency, Dialect, Submission
from .job import Job, array_indices
from .wrapper import payload, wrapper

_PIECE = 1024 * 1024


@dataclass(frozen=True)
class Staged:
    """One job that is to be put into place.

    Attributes:
        after: jobs that have to end before: a scheduler's by their ids; a shell's by token.
    """

    token: str
    directory: str
    job: Job
    after: Sequence[Dependency] = ()


def archive(
    dialect: Dialect, jobs: Sequence[Staged], nonce: str, launched: Sequence[str]
) -> IO[bytes]:
    """The archive: each job's directory, and last the script that puts them into place.

    Raises `ConfigError` for a local file that is missing, and `OSError`. It blocks.
    """
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
            place = f".stage-{nonce}"
            _directory(tar, place)
            for staged in jobs:
                _add_job(tar, dialect, staged, place)
            tokens = [staged.token for staged in jobs]
            _add(tar, f"{place}/stage", launching.stage(nonce, tokens, launched))
        made.seek(0)
    except BaseException:
        made.close()
        raise
    return made


def _add_job(tar: tarfile.TarFile, dialect: Dialect, staged: Staged, place: str) -> None:
    job, token = staged.job, staged.token
    top = f"{place}/{token}"
    _directory(tar, top)
    _directory(tar, f"{top}/work")
    scheduler = dialect.name != "shell"
    files = {"meta": _meta(dialect, job), **_payload(staged, limit_memory=not scheduler)}
    files["wrap"] = wrapper(
        *(token, staged.directory, dialect.identity),
        scheduler=scheduler,
        login_shell=job.login_shell,
        reserved=dialect.reserved_codes,
        seconds=job.resources.seconds(),
        after=bool(staged.after) and not dialect.knows_results,
    )
    if staged.after and not dialect.knows_results:
        files["after"] = "".join(_parent(each) for each in staged.after)
    if scheduler:
        words = dialect.submit(submission(staged))
        stdin = "wrap" if dialect.script_on_stdin else None
        files["submit"] = launching.submit_command(words, stdin=stdin)
    else:
        files["shell"] = ""
    if (tasks := indices(job)) is not None:
        files["array"] = f"{job.array_text()}\n{len(tasks)}\n"
    sums = [_add_input(tar, f"{top}/work/{name}", value) for name, value in _inputs(job)]
    if job.verify:
        files["sums"] = "".join(f"{line}\n" for each in sums for line in each)
    for name, text in files.items():
        if text or name in ("shell",):
            _add(tar, f"{top}/{name}", text, executable=name == "wrap")


def _parent(each: Dependency) -> str:
    return f"{each.kind} ../{each.token} {'' if each.index is None else each.index}".strip() + "\n"


def submission(staged: Staged) -> Submission:
    """What the submit command is made from."""
    job = staged.job
    return Submission(
        token=staged.token,
        directory=staged.directory,
        script=f"{staged.directory}/wrap",
        log=f"{staged.directory}/log",
        title=" ".join("".join(c if c.isprintable() else " " for c in job.name).split()),
        array=job.array_text(),
        resources=job.resources,
        requeue=job.requeue,
        after=staged.after,
    )


def indices(job: Job) -> list[int] | None:
    """Of an array."""
    text = job.array_text()
    return None if text is None else array_indices(text)


def _meta(dialect: Dialect, job: Job) -> str:
    plain = {
        "scheduler": dialect.name,
        "name": job.name,
        "array": job.array_text(),
        "outputs": list(job.outputs),
    }
    return json.dumps(plain) + "\n"


def _payload(staged: Staged, *, limit_memory: bool) -> dict[str, str]:
    """Where nobody else enforces a limit of memory, the job sets itself one."""
    job = staged.job
    memory = job.resources.memory_mib() if limit_memory else None
    files = {
        "run": payload(
            *(staged.token, staged.directory),
            env=job.env,
            cwd=job.cwd,
            setup=job.setup_lines(),
            script=job.script,
            argv=job.argv,
            memory_kib=None if memory is None else memory * 1024,
        )
    }
    if job.script is not None:
        files["script"] = job.script
    return files


def _inputs(job: Job) -> Iterable[tuple[str, bytes | str]]:
    for name, value in job.input_items().items():
        yield name, value if isinstance(value, bytes) else os.fspath(value)


def _add_input(tar: tarfile.TarFile, place: str, value: bytes | str) -> list[str]:
    """Adds a file or a tree; what sha256sum says of its files. Links are followed once."""
    if isinstance(value, bytes):
        _add_data(tar, place, io.BytesIO(value), len(value), 0o600)
        return [_sum(hashlib.sha256(value).hexdigest(), place)]
    try:
        mode = os.stat(value).st_mode
    except OSError as error:
        raise ConfigError(f"inputs: {value!r}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        _directory(tar, place)
        names = sorted(os.listdir(value))
        below = [_add_input(tar, f"{place}/{name}", os.path.join(value, name)) for name in names]
        return [line for each in below for line in each]
    if not stat.S_ISREG(mode):
        raise ConfigError(f"inputs: {value!r} is neither a file nor a directory")
    with open(value, "rb") as file:
        size, sums = os.fstat(file.fileno()).st_size, hashlib.sha256()
        while piece := file.read(_PIECE):
            sums.update(piece)
        file.seek(0)
        _add_data(tar, place, file, size, 0o600 | mode & 0o100)
    return [_sum(sums.hexdigest(), place)]


def _sum(digest: str, place: str) -> str:
    return f"{digest}  ./{place.split('/', 3)[3]}"


def _directory(tar: tarfile.TarFile, name: str) -> None:
    made = tarfile.TarInfo(name)
    made.type, made.mode = tarfile.DIRTYPE, 0o700
    tar.addfile(made)


def _add(tar: tarfile.TarFile, name: str, text: str, *, executable: bool = False) -> None:
    data = text.encode("utf-8", "surrogateescape")
    _add_data(tar, name, io.BytesIO(data), len(data), 0o700 if executable else 0o600)


def _add_data(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int, mode: int) -> None:
    made = tarfile.TarInfo(name)
    made.size, made.mode = size, mode
    tar.addfile(made, file)
