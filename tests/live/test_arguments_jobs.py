"""The same for shells, jobs, the catalogue of clusters, and copies between two hosts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ClusterOptions, Database, Job, JobHandle, RemoteRunner, RemoteShell, Resources
from sshmux.testing import PrivateServer

from ..support import managed
from .test_arguments import ANY, Row, missing, refusals


def on_shell(shell: RemoteShell, ran: Path) -> dict[str, Row]:
    return {
        "run": (
            shell.run,
            {
                "command": (f"touch '{ran}'", ""),
                "check": (False, ANY),
                "timeout": (None, "none float"),
                "input": (None, "none str bytes"),
                "encoding": ("utf-8", "none"),
                "errors": ("replace", ""),
                "env": (None, "none"),
                "cwd": (None, "none"),
                "keep": (False, ANY),
            },
        ),
    }


def on_runner(runner: RemoteRunner, handle: JobHandle, ran: Path, into: Path) -> dict[str, Row]:
    job = Job(script=f"touch '{ran}'")

    async def each(of: Any) -> None:
        async for _ in of:
            pass

    async def subscribe(**arguments: Any) -> None:
        runner.subscribe(**arguments)()

    one, cluster = {"handle": (handle, "")}, {"cluster_id": (1, "")}
    limit = {"timeout": (None, "none float")}
    return {
        "submit": (runner.submit, cluster | {"job": (job, ""), "key": (None, "none str")}),
        "submit_many": (
            runner.submit_many,
            cluster | {"jobs": ([job], ""), "keys": (None, "none")},
        ),
        "status": (runner.status, one),
        "statuses": (runner.statuses, {"handles": ([handle], "")}),
        "wait": (runner.wait, one | limit),
        "as_completed": (
            lambda **arguments: each(runner.as_completed(**arguments)),
            {"handles": ([handle], "")} | limit,
        ),
        "output": (
            lambda **arguments: each(runner.output(**arguments)),
            one | {"stream": ("stdout", ""), "follow": (False, ANY), "offset": (0, "")},
        ),
        "cancel": (runner.cancel, one | {"grace": (1, "float")}),
        "collect": (runner.collect, one | {"into": (into, ""), "patterns": (["x"], "none")}),
        "cleanup": (runner.cleanup, one),
        "list": (runner.list, {"cluster_id": (1, "none int str"), "refresh": (False, ANY)}),
        "attach": (
            runner.attach,
            {"text_or_native_id": (str(handle), "int str"), "cluster_id": (None, "none")},
        ),
        "queue": (runner.queue, cluster),
        "partitions": (runner.partitions, cluster),
        "details": (runner.details, one),
        "subscribe": (subscribe, {"callback": (print, "")}),
    }


def on_database(database: Database) -> dict[str, Row]:
    def call(method: Callable[..., Any]) -> Callable[..., Any]:
        async def called(**arguments: Any) -> None:
            method(**arguments)

        return called

    host = {"host": ("h", ""), "port": (22, ""), "username": (None, "none")}
    return {
        "add_cluster": (
            call(database.add_cluster),
            host | {"name": ("n", ""), "key_file": (None, "none"), "id": (None, "none int str")},
        ),
        "update_cluster": (call(database.update_cluster), {"id": (77, "")} | host),
        "remove_cluster": (call(database.remove_cluster), {"id": (77, "")}),
        "import_ssh_config": (call(database.import_ssh_config), {"path": ("/dev/null", "none")}),
        "register_all": (call(database.register_all), {"manager": (None, "")}),
    }


async def test_of_a_shell(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_shell(1) as shell:
            rows = on_shell(shell, ran)
            assert not missing(RemoteShell, rows)
            assert not await refusals(rows, ran)
            await shell.run(f"touch '{ran}'", check=True)
            assert ran.exists()


async def test_of_a_runner(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        options = ClusterOptions(scheduler="shell", directory=str(tmp_path / "jobs"))
        store = tmp_path / "store"
        async with RemoteRunner(manager, store=store, clusters={1: options}) as runner:
            handle = await runner.submit(1, Job(script="true", outputs=["x"]))
            assert (await runner.wait(handle)).ok
            rows = on_runner(runner, handle, ran, tmp_path / "into")
            assert not missing(RemoteRunner, rows)
            assert not await refusals(rows, ran)
            assert [status.handle for status in await runner.list()] == [handle]


async def test_of_a_catalogue(tmp_path: Path) -> None:
    with Database(tmp_path / "store") as database:
        rows = on_database(database)
        assert not missing(Database, rows)
        assert not await refusals(rows, tmp_path / "ran")
        assert database.get_clusters() == []


async def test_of_a_copy_between_hosts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as conn:
            parameters: dict[str, tuple[Any, str]] = {
                "source": (conn, ""),
                "source_path": (str(tmp_path / "a"), ""),
                "target": (conn, ""),
                "target_path": (str(tmp_path / "b"), ""),
                "recurse": (False, ANY),
                "preserve": (False, ANY),
                "verify": (None, "none"),
                "parents": (False, ANY),
                "exclude": ((), ""),
                "include": ((), ""),
            }
            assert set(inspect.signature(sshmux.copy).parameters) == set(parameters)
            assert not await refusals({"copy": (sshmux.copy, parameters)}, tmp_path / "b")


DESCRIPTIONS: dict[type, tuple[dict[str, Any], dict[str, str]]] = {
    Job: (
        {"script": "true"},
        {
            "login_shell": ANY,
            "requeue": ANY,
            "verify": ANY,
            "script": "",
            "argv": "none",
            "cwd": "none",
            "array": "none",
        },
    ),
    Resources: (
        {},
        {each.name: "none" for each in fields(Resources) if each.name != "extra"}
        | {"time": "none float"},
    ),
    ClusterOptions: ({}, {"max_submitted": "none", "max_running": "none", "min_interval": "float"}),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS, ids=lambda kind: kind.__name__)
async def test_of_a_description(kind: type, tmp_path: Path) -> None:
    right, taken = DESCRIPTIONS[kind]

    async def made(**arguments: Any) -> None:
        kind(**(right | arguments))

    rows: dict[str, Row] = {}
    for each in fields(kind):
        value = right.get(each.name, getattr(kind(**right), each.name))
        rows[each.name] = made, {each.name: (value, taken.get(each.name, ""))}
    assert not await refusals(rows, tmp_path / "ran")
