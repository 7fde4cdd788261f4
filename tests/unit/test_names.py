"""The public names, what their import costs, and the API that users know."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Connection, ConnectionConfig, ConnectionManager, PooledConnection

SOURCE = Path(sshmux.__file__)


def typed_names() -> dict[str, str]:
    """The names that a type checker sees, and where it sees them."""
    found = {}
    for node in ast.walk(ast.parse(SOURCE.read_text("utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                assert isinstance(line, ast.ImportFrom)
                for name in line.names:
                    assert name.asname == name.name  # `as` makes it public for type checkers
                    found[name.name] = line.module or ""
    return found


def test_type_checkers_and_programs_see_the_same_names() -> None:
    assert set(typed_names()) == set(sshmux.__all__)
    assert len(sshmux.__all__) == len(set(sshmux.__all__))


@pytest.mark.parametrize("name", sshmux.__all__)
def test_every_name_is_what_it_says(name: str) -> None:
    value = getattr(sshmux, name)
    assert value is getattr(importlib.import_module(f"sshmux.{typed_names()[name]}"), name)
    if not isinstance(value, int):
        assert value.__name__ == name
    assert name in dir(sshmux)


def test_every_error_is_public() -> None:
    from sshmux import errors

    assert set(errors.__all__) <= set(sshmux.__all__)


def test_every_exception_of_asyncsshs_is_here_by_its_name() -> None:
    """`import sshmux as asyncssh` must not fail in an `except` clause, when it matters most."""
    theirs = pytest.importorskip("asyncssh")
    names = [
        name
        for name in dir(theirs)
        if isinstance(kind := getattr(theirs, name), type) and issubclass(kind, Exception)
    ]
    assert len(names) > 50
    for name in [*names, "PIPE", "DEVNULL", "STDOUT", "SEEK_SET", "SEEK_CUR", "SEEK_END"]:
        ours = getattr(sshmux, name)
        if name in names:
            assert issubclass(ours, Exception)
            assert issubclass(ours, sshmux.SFTPError) == name.startswith("SFTP")
            assert issubclass(ours, ValueError) >= issubclass(getattr(theirs, name), ValueError)
        else:
            assert ours == getattr(theirs, name)
    codes = [name for name in vars(theirs.constants) if re.fullmatch("FX_(?!V._END)[A-Z_]+", name)]
    assert len(codes) == 32
    for name in codes:
        assert getattr(sshmux, name) == getattr(theirs.constants, name)
    for name in names:
        if name.startswith("SFTP") and name != "SFTPError":
            error = getattr(sshmux, name)("why", "en")
            assert error.code == getattr(theirs, name)("why").code or name in OWN_CODES
            assert (error.reason, error.lang) == ("why", "en")


OWN_CODES = {"SFTPNoSpaceOnFilesystem"}  # here it is what version 3 calls a failure


def test_names_of_the_module_sftp() -> None:
    from sshmux import sftp

    for name in (
        "SFTPFailure",
        "SFTPError",
        "SFTPClient",
        "SFTPAttrs",
        "FX_EOF",
        "SFTPDirNotEmpty",
    ):
        assert getattr(sftp, name) is getattr(sshmux, name)
    with pytest.raises(AttributeError, match="no attribute 'SFTPNonsense'"):
        sftp.SFTPNonsense  # noqa: B018


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'sshmux' has no attribute 'nonsense'"):
        sshmux.nonsense  # noqa: B018
    with pytest.raises(ImportError):
        from sshmux import nonsense  # noqa: F401


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=SOURCE.parent.parent,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import sshmux", "import sshmux.manager", "import sshmux.testing"],
)
def test_imports_are_lean(statement: str) -> None:
    loaded = loaded_by(statement)
    assert "sshmux" in loaded
    assert not loaded & {"click", "rich", "keyring", "pexpect", "pytest", "asyncssh"}


def test_the_package_itself_loads_nothing_before_it_is_needed() -> None:
    assert {name for name in loaded_by("import sshmux") if name.startswith("sshmux")} == {"sshmux"}


def test_the_askpass_helper_loads_little() -> None:
    loaded = loaded_by("import sshmux.openssh.askpass.helper")
    assert not loaded & {"asyncio", "psutil", "keyring", "click", "rich"}


# The API that users know

REQUIRED = inspect.Parameter.empty


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def positional(function: Callable[..., Any]) -> list[str]:
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name != "self"
    ]


def test_connection_config() -> None:
    names = parameters(ConnectionConfig)
    assert positional(ConnectionConfig) == [
        "host",
        "port",
        "username",
        "key_file",
        "use_agent",
        "timeout",
        "keepalive_interval",
        "known_hosts_file",
        "strict_host_key_checking",
    ]
    assert names["host"] is REQUIRED
    assert [names[name] for name in positional(ConnectionConfig)[1:]] == [
        *[22, None, None, True, 30, 60, None, True]
    ]
    ours = [name for name in names if name not in positional(ConnectionConfig)]
    assert "ssh_options" in ours
    assert not any(names[name] is REQUIRED for name in ours)


def test_pooled_connection() -> None:
    assert positional(PooledConnection) == [
        *["connection", "cluster_id", "created_at", "last_used", "in_use", "health_check_failures"]
    ]
    names = parameters(PooledConnection)
    assert (names["in_use"], names["health_check_failures"]) == (False, 0)
    assert positional(PooledConnection.is_stale)[:1] == ["max_age"]
    assert positional(PooledConnection.is_idle_too_long)[:1] == ["max_idle"]
    for method in (PooledConnection.mark_used, PooledConnection.mark_available):
        assert all(default is not REQUIRED for default in parameters(method).values())


def test_connection_manager() -> None:
    assert positional(ConnectionManager) == ["pool_size"]
    assert {
        "pool_size": 5,
        "engine": "ssh",
        "sessions_per_connection": 1,
        "persist": 0,
        "max_age": 3600,
        "max_idle": 300,
        "health_interval": 60,
        "max_health_failures": 3,
        "acquire_timeout": None,
        "prompter": None,
        "control_dir": None,
    }.items() <= parameters(ConnectionManager).items()


def test_register_cluster() -> None:
    method = ConnectionManager.register_cluster
    assert positional(method) == [
        "cluster_id",
        "host",
        "port",
        "username",
        "key_file",
        "use_agent",
        "known_hosts_file",
        "strict_host_key_checking",
    ]
    assert {
        "cluster_id": REQUIRED,
        "port": 22,
        "username": None,
        "key_file": None,
        "use_agent": True,
        "known_hosts_file": None,
        "strict_host_key_checking": True,
        "config": None,
        "timeout": 30,
        "keepalive_interval": 60,
    }.items() <= parameters(method).items()


METHODS: dict[str, tuple[bool, dict[str, Any]]] = {
    "start": (True, {}),
    "stop": (True, {}),
    "set_password": (False, {"cluster_id": REQUIRED, "password": REQUIRED}),
    "get_password": (False, {"cluster_id": REQUIRED}),
    "delete_password": (False, {"cluster_id": REQUIRED}),
    "connect": (True, {"cluster_id": REQUIRED}),
    "disconnect": (True, {"cluster_id": REQUIRED}),
    "get_connection": (False, {"cluster_id": REQUIRED, "timeout": None}),
    "test_connection": (True, {"cluster_id": REQUIRED}),
    "get_connection_metrics": (True, {"cluster_id": REQUIRED}),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_the_manager(name: str) -> None:
    method = getattr(ConnectionManager, name)
    is_async, expected = METHODS[name]
    # A coroutine context is a coroutine, too: `asyncio.create_task(manager.connect(1))`.
    returned = str(inspect.signature(method).return_annotation)
    awaited = inspect.iscoroutinefunction(method) or returned.startswith("CoroutineContext[")
    assert awaited is is_async
    # Our own are keyword-only and have defaults: old calls mean what they meant.
    own = [p for p in inspect.signature(method).parameters if p not in (*expected, "self")]
    assert all(
        inspect.signature(method).parameters[p].kind is inspect.Parameter.KEYWORD_ONLY for p in own
    )
    assert REQUIRED not in [parameters(method)[p] for p in own]
    known = {p: default for p, default in parameters(method).items() if p not in own}
    assert list(known.items()) == list(expected.items())


def test_methods_of_a_connection() -> None:
    assert positional(Connection.run) == ["command"]
    assert {
        "command": REQUIRED,
        "check": False,
        "timeout": None,
        "input": None,
        "encoding": "utf-8",
        "errors": "replace",
        "env": None,
        "cwd": None,
    }.items() <= parameters(Connection.run).items()
    assert inspect.iscoroutinefunction(Connection.run)
    assert inspect.iscoroutinefunction(Connection.wait_closed)
    assert not inspect.iscoroutinefunction(Connection.close)
    assert not inspect.iscoroutinefunction(Connection.is_closed)
