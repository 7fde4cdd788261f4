"""A job as text and back, so that another program can go on with its submission. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict
from typing import Any

from .handle import JobHandle
from .job import Input, Job, Resources


def to_text(job: Job) -> str:
    """The job as JSON. Local files are named, not held."""
    plain = {
        "script": job.script,
        "argv": None if job.argv is None else list(job.argv),
        "name": job.name,
        "inputs": {name: _input(value) for name, value in job.input_items().items()},
        "outputs": list(job.outputs),
        "env": dict(job.env),
        "cwd": job.cwd,
        "setup": job.setup_lines(),
        "resources": {**asdict(job.resources), "extra": list(job.resources.extra)},
        "after": [[str(handle), kind] for handle, kind in job.after],
        "array": job.array_text(),
        "login_shell": job.login_shell,
        "requeue": job.requeue,
        "verify": job.verify,
    }
    return json.dumps(plain, sort_keys=True)


def from_text(text: str) -> Job:
    """What `to_text` wrote."""
    plain: dict[str, Any] = json.loads(text)
    plain["inputs"] = {name: _value(value) for name, value in plain["inputs"].items()}
    plain["resources"] = Resources(**plain["resources"])
    plain["after"] = [(JobHandle.parse(handle), kind) for handle, kind in plain["after"]]
    return Job(**plain)


def digest(text: str) -> str:
    """What tells two jobs apart that were given one key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _input(value: Input) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"data": base64.b64encode(value).decode("ascii")}
    return {"path": os.path.abspath(os.fspath(value))}


def _value(plain: dict[str, str]) -> Input:
    if "data" in plain:
        return base64.b64decode(plain["data"])
    return plain["path"]
