"""Every argument of every public method is checked before anything is done with it.

A row of the table is a method: how it is called, and for each parameter a value that is right and
the kinds of values that it takes. Each value of another kind is refused, with `ConfigError`,
`ValueError` or `TypeError`, and what would have been run is not.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import SFTPAttrs
from sshmux.testing import PrivateServer

from ..support import managed, needs_terminals

PATIENCE = 20.0  # seconds: nothing here takes one, but the machine may be busy

# What is given in place of each argument: a kind, and a value of it that nothing can mean.
WRONG: dict[str, Any] = {
    "object": object(),
    "int": -7,
    "float": 1.5,
    "nan": math.nan,
    "str": "\0odd",
    "bytes": b"\0odd",
    "none": None,
    "list": [object()],
    "dict": {7: 7},
}
ANY = " ".join(WRONG)  # what is as good as True or False, or any key

Row = tuple[Callable[..., Any], dict[str, tuple[Any, str]]]
COPY = {
    "preserve": (False, ANY),
    "recurse": (False, ANY),
    "follow_symlinks": (None, "none"),
    "sparse": (True, ANY),
    "block_size": (-1, "int none"),
    "max_requests": (-1, "int"),
    "progress_handler": (None, "none"),
    "error_handler": (None, "none"),
    "on_change": ("error", ""),
    "exclude": ((), ""),
    "include": ((), ""),
}
BULK = {
    "recurse": (False, ANY),
    "preserve": (False, ANY),
    "atomic": (True, ANY),
    "resume": (False, ANY),
    "verify": (None, "none"),
    "parents": (False, ANY),
    "follow_symlinks": (None, "none"),
    "on_change": ("error", ""),
    "exclude": ((), ""),
    "streams": (1, ""),
    "include": ((), ""),
    "progress": (None, "none"),
}
OWNER = {
    "uid_or_owner": (0, "none"),
    "gid_or_group": (None, "none"),
    "uid": (None, "none"),
    "gid": (None, "none"),
    "owner": (None, "none"),
    "group": (None, "none"),
}


def on_connection(conn: sshmux.Connection, ran: Path) -> dict[str, Row]:
    """The methods of a connection."""
    touch = f"touch '{ran}'"
    output = {"encoding": ("utf-8", "none"), "errors": ("replace", "")}
    request = {"command": (touch, ""), "env": (None, "none"), "cwd": (None, "none")}
    terminal = {"term_type": (None, "none"), "term_size": ((80, 24), "")}
    streams: dict[str, tuple[Any, str]] = dict.fromkeys(
        ("stdin", "stdout", "stderr"), (subprocess.PIPE, "")
    )

    async def process(**arguments: Any) -> None:
        async with conn.create_process(**arguments) as started:
            await started.wait()

    async def sftp(**arguments: Any) -> None:
        async with conn.start_sftp_client(**arguments):
            pass

    async def connected(**arguments: Any) -> None:
        _, writer = await conn.open_connection(**arguments)
        writer.close()

    def forward(name: str) -> Callable[..., Any]:
        async def opened(**arguments: Any) -> None:
            async with getattr(conn, name)(**arguments):
                pass

        return opened

    host, port, path = (None, "none"), (0, ""), ("/nowhere/s", "")
    rows: dict[str, Row] = {
        "run": (
            conn.run,
            request
            | output
            | terminal
            | {
                "check": (False, ANY),
                "timeout": (None, "none float"),
                "input": (None, "none str bytes"),
                "stdout": (None, "none"),
                "on_lost": ("leave", ""),
            },
        ),
        "create_process": (
            process,
            request
            | output
            | terminal
            | streams
            | {
                "command": (touch, "none"),
                "request_pty": (True, ""),
                "input": (None, "none str bytes"),
                "bufsize": (0, ""),
                "send_eof": (True, ANY),
                "recv_eof": (True, ANY),
            },
        ),
        "relay": (
            conn.relay,
            request | {"stdin": (None, "none"), "stdout": (len, ""), "stderr": (len, "")},
        ),
        "rsync": (
            lambda source, destination: conn.rsync(source, destination),
            {"source": (":x", ""), "destination": ("/nowhere/", "")},
        ),
        "put": (conn.put, {"localpaths": (__file__, ""), "remotepath": ("x", "")} | BULK),
        "get": (conn.get, {"remotepaths": (__file__, ""), "localpath": ("x", "")} | BULK),
        "check": (conn.check, {"timeout": (10, "float")}),
        "start_sftp_client": (
            sftp,
            {
                "path_encoding": ("utf-8", "none"),
                "path_errors": ("strict", ""),
                "server": (None, "none"),
            },
        ),
        "open_connection": (
            connected,
            {"host": ("localhost", ""), "port": (1, ""), "limit": (1000, "")},
        ),
        "open_unix_connection": (
            conn.open_unix_connection,
            {"dest_path": path, "limit": (1000, "")},
        ),
        "forward_socks": (forward("forward_socks"), {"listen_host": host, "listen_port": port}),
    }
    for side in ("local", "remote"):
        for start, end in (("port", ""), ("port", "_to_path"), ("path", ""), ("path", "_to_port")):
            name = f"forward_{side}_{start}{end}"
            listens = (
                {"listen_host": host, "listen_port": port}
                if start == "port"
                else {"listen_path": path}
            )
            leads = (
                {"dest_path": path}
                if "path" in (end[-4:] or start)
                else {"dest_host": ("localhost", ""), "dest_port": (1, "")}
            )
            rows[name] = (forward(name), listens | leads)
    return rows


def on_process(process: sshmux.RemoteProcess[str], ran: Path) -> dict[str, Row]:
    """Those of a process, its streams among them."""
    assert process.stdin is not None
    assert process.stdout is not None
    size = ("width", "height", "pixwidth", "pixheight")

    async def call(method: Callable[..., Any], **arguments: Any) -> None:
        method(**arguments)

    def sync(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda **arguments: call(method, **arguments)

    return {
        "wait": (process.wait, {"check": (False, ANY), "timeout": (None, "none float")}),
        "communicate": (process.communicate, {"input": (None, "none str")}),
        "send_signal": (sync(process.send_signal), {"signal": ("TERM", "")}),
        "change_terminal_size": (
            sync(process.change_terminal_size),
            dict.fromkeys(size, (80, "")),
        ),
        "stdin.write": (sync(process.stdin.write), {"data": ("x", "str")}),
        "stdin.writelines": (sync(process.stdin.writelines), {"list_of_data": (["x"], "str")}),
        "stdout.readexactly": (process.stdout.readexactly, {"n": (1, "")}),
        "stdout.readuntil": (
            process.stdout.readuntil,
            {"separator": ("x", "str"), "max_separator_len": (0, "")},
        ),
    }


def on_sftp(sftp: sshmux.SFTPClient, place: Path) -> dict[str, Row]:
    """Those of an SFTP client."""
    file = (str(place / "file"), "")
    follow = {"follow_symlinks": (True, ANY)}

    async def opened(**arguments: Any) -> None:
        async with sftp.open(**arguments):
            pass

    async def scanned(**arguments: Any) -> None:
        async for _ in sftp.scandir(**arguments):
            pass

    async def encoded(path: Any) -> None:
        sftp.encode(path)

    async def decoded(**arguments: Any) -> None:
        sftp.decode(**arguments)

    async def composed(**arguments: Any) -> None:
        sftp.compose_path(**arguments)

    async def named(path: Any) -> None:
        sftp.basename(path)

    attrs = (None, "none")
    several = (str(place / "*"), "")
    rows: dict[str, Row] = {
        "open": (
            opened,
            {
                "path": file,
                "pflags_or_mode": ("r", ""),
                "attrs": attrs,
                "encoding": ("utf-8", "none"),
                "errors": ("strict", ""),
                "block_size": (-1, "int none"),
                "max_requests": (-1, "int"),
            },
        ),
        "mkdir": (sftp.mkdir, {"path": file, "attrs": attrs}),
        "makedirs": (sftp.makedirs, {"path": file, "attrs": attrs, "exist_ok": (True, ANY)}),
        "chmod": (sftp.chmod, {"path": file, "mode": (0o600, "")} | follow),
        "chown": (sftp.chown, {"path": file} | OWNER | follow),
        "utime": (
            sftp.utime,
            {"path": file, "times": (None, "none"), "ns": (None, "none")} | follow,
        ),
        "truncate": (sftp.truncate, {"path": file, "size": (0, "")}),
        "rename": (sftp.rename, {"oldpath": file, "newpath": file, "flags": (0, "")}),
        "setstat": (sftp.setstat, {"path": file, "attrs": (SFTPAttrs(), "")} | follow),
        "scandir": (scanned, {"path": file}),
        "glob": (sftp.glob, {"patterns": several, "error_handler": (None, "none")}),
        "glob_sftpname": (
            sftp.glob_sftpname,
            {"patterns": several, "error_handler": (None, "none")},
        ),
        "remote_copy": (
            sftp.remote_copy,
            {
                "src": file,
                "dst": (str(place / "other"), ""),
                "src_offset": (0, ""),
                "src_length": (0, ""),
                "dst_offset": (0, ""),
            },
        ),
        "realpath": (sftp.realpath, {"path": file}),
        "rmtree": (
            sftp.rmtree,
            {"path": file, "ignore_errors": (False, ANY), "onerror": (None, "none")},
        ),
        "encode": (encoded, {"path": file}),
        "decode": (decoded, {"path": (b"x", "bytes"), "want_string": (True, ANY)}),
        "basename": (named, {"path": (b"x", "")}),
        "compose_path": (composed, {"path": file, "parent": (None, "none bytes")}),
        "copy": (
            sftp.copy,
            {"srcpaths": several, "dstpath": (None, "none"), "remote_only": (False, ANY)} | COPY,
        ),
        "mcopy": (
            sftp.mcopy,
            {"srcpaths": several, "dstpath": (None, "none"), "remote_only": (False, ANY)} | COPY,
        ),
    }
    for name in ("get", "mget"):
        paths = {"remotepaths": file, "localpath": (None, "none")}
        rows[name] = (getattr(sftp, name), paths | COPY)
    for name in ("put", "mput"):
        paths = {"localpaths": file, "remotepath": (None, "none")}
        rows[name] = (getattr(sftp, name), paths | COPY)
    for name in ("link", "posix_rename", "symlink"):
        rows[name] = (getattr(sftp, name), {"oldpath": file, "newpath": file})
    for name in (
        *("chdir", "exists", "expand_path", "isdir", "isfile", "islink", "lexists", "listdir"),
        *("getatime", "getatime_ns", "getmtime", "getmtime_ns", "getsize", "lstat", "readdir"),
        *("readlink", "remove", "rmdir", "stat", "statvfs", "unlink"),
    ):
        rows[name] = (getattr(sftp, name), {"path": file} | (follow if name == "stat" else {}))
    return rows


def on_file(file: sshmux.SFTPClientFile[bytes]) -> dict[str, Row]:
    """Those of an open file, for bytes."""
    offset = (0, "none")
    return {
        "read": (file.read, {"size": (1, "int"), "offset": offset}),
        "read_parallel": (file.read_parallel, {"size": (1, "int"), "offset": offset}),
        "write": (file.write, {"data": (b"x", "bytes"), "offset": offset}),
        "seek": (file.seek, {"offset": (0, ""), "from_what": (0, "")}),
        "truncate": (file.truncate, {"size": (None, "none")}),
        "chmod": (file.chmod, {"mode": (0o600, "")}),
        "chown": (file.chown, dict(OWNER)),
        "utime": (file.utime, {"times": (None, "none"), "ns": (None, "none")}),
        "setstat": (file.setstat, {"attrs": (SFTPAttrs(), "")}),
    }


def on_manager(manager: sshmux.ConnectionManager) -> dict[str, Row]:
    """Those of a manager, but for `register_cluster`, which has tests of its own."""

    async def call(method: Callable[..., Any], **arguments: Any) -> None:
        method(**arguments)

    def sync(name: str) -> Callable[..., Any]:
        return lambda **arguments: call(getattr(manager, name), **arguments)

    async def lent(**arguments: Any) -> None:
        async with manager.get_connection(**arguments):
            pass

    async def shell(**arguments: Any) -> None:
        async with manager.get_shell(**arguments):
            pass

    cluster = (1, "")
    stored = {"cluster_id": cluster, "jump_host": (None, "none")}
    keep = {"keyring": (False, "")}
    borrow = {"cluster_id": cluster, "timeout": (None, "none float")}
    return {
        "get_connection": (lent, borrow),
        "get_shell": (shell, borrow),
        "connect": (manager.connect, {"cluster_id": cluster, "listener": (None, "none")}),
        "disconnect": (manager.disconnect, {"cluster_id": cluster}),
        "test_connection": (manager.test_connection, {"cluster_id": cluster}),
        "get_connection_metrics": (manager.get_connection_metrics, {"cluster_id": cluster}),
        "unregister_cluster": (manager.unregister_cluster, {"cluster_id": cluster}),
        "subscribe": (sync("subscribe"), {"subscriber": (print, "")}),
        "set_password": (sync("set_password"), stored | keep | {"password": ("x", "")}),
        "set_totp_secret": (
            sync("set_totp_secret"),
            stored | keep | {"secret": ("JBSWY3DPEHPK3PXP", "")},
        ),
        "set_passphrase": (
            sync("set_passphrase"),
            keep | {"key_file": ("/k", ""), "passphrase": ("x", "")},
        ),
        "get_password": (sync("get_password"), dict(stored)),
        "delete_password": (sync("delete_password"), dict(stored)),
        "delete_totp_secret": (sync("delete_totp_secret"), dict(stored)),
        "delete_passphrase": (sync("delete_passphrase"), {"key_file": ("/k", "")}),
    }


async def refusals(rows: dict[str, Row], ran: Path) -> list[str]:
    """What is not refused, or not as it should be."""
    wrong = []
    for name, (method, parameters) in rows.items():
        right = {parameter: value for parameter, (value, _) in parameters.items()}
        for parameter, (_, taken) in parameters.items():
            for kind in WRONG.keys() - taken.split():
                given = {parameter: WRONG[kind]}
                try:
                    async with asyncio.timeout(PATIENCE):
                        await method(**(right | given))
                except (ValueError, TypeError) as error:  # ConfigError is a ValueError
                    if isinstance(error, sshmux.Error) and not isinstance(
                        error, sshmux.ConfigError
                    ):
                        wrong.append(f"{name}({given}): {error!r}")
                    if not str(error):
                        wrong.append(f"{name}({given}): no word about it")
                except sshmux.SFTPOpUnsupported:  # owners by name
                    pass
                except Exception as error:
                    wrong.append(f"{name}({given}): {error!r}")
                else:
                    wrong.append(f"{name}({given}) was taken")
                if ran.exists():
                    wrong.append(f"{name}({given}) ran the command")
                    ran.unlink()
    return wrong


# What a class has besides: without arguments of its own, for other rooms, or told elsewhere.
OTHERS = {
    sshmux.Connection: {"get_extra_info"},
    sshmux.SFTPClient: set[str](),
    sshmux.SFTPClientFile: set[str](),
    sshmux.RemoteProcess: set[str](),
    sshmux.ConnectionManager: {"call_from_thread", "register_cluster"},
    sshmux.RemoteShell: {"detach"},
    sshmux.RemoteRunner: set[str](),
    sshmux.Database: set[str](),
}


def missing(kind: type, rows: dict[str, Row]) -> set[str]:
    """Its methods that take something, and have no row; and parameters that are not in it."""
    found = set()
    for name, method in inspect.getmembers(kind, callable):
        if name.startswith("_") or name in OTHERS[kind]:
            continue
        known = [
            each.name
            for each in inspect.signature(method).parameters.values()
            if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and each.name != "self"
        ]
        told = rows[name][1] if name in rows else {}
        found |= {f"{name}({parameter})" for parameter in known if parameter not in told}
    return found


async def test_of_a_connection(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as conn:
            rows = on_connection(conn, ran)
            assert not missing(sshmux.Connection, rows)
            assert not await refusals(rows, ran)
            # None of it has harmed the master.
            assert (await conn.run(f"touch '{ran}'")).exit_status == 0
            assert ran.exists()


@needs_terminals
async def test_of_a_process(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as conn:
            async with conn.create_process("cat", term_type="xterm") as process:
                rows = on_process(process, ran)
                assert not missing(sshmux.RemoteProcess, rows)
                assert not await refusals(rows, ran)
                assert process.exit_status is None
            # None of it has harmed the master.
            assert (await conn.run(f"touch '{ran}'")).exit_status == 0
            assert ran.exists()


async def test_of_sftp(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    before = file.stat()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as conn, conn.start_sftp_client() as sftp:
            rows = on_sftp(sftp, tmp_path)
            assert not missing(sshmux.SFTPClient, rows)
            assert not await refusals(rows, tmp_path / "ran")
            async with sftp.open(str(file), "rb+") as opened:
                rows = on_file(opened)
                assert not missing(sshmux.SFTPClientFile, rows)
                assert not await refusals(rows, tmp_path / "ran")
    after = file.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert file.read_bytes() == b"content"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


async def test_of_a_manager(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        rows = on_manager(manager)
        assert not missing(sshmux.ConnectionManager, rows)
        assert not await refusals(rows, tmp_path / "ran")
        assert server.logins == 0


async def test_a_closed_file_is_closed_for_everything(tmp_path: Path) -> None:
    """What is still in its buffer is not given out either."""
    (tmp_path / "file").write_text("one\ntwo\n")
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as conn, conn.start_sftp_client() as sftp:
            file = await sftp.open(str(tmp_path / "file"), "r+")
            assert await file.readline() == "one\n"
            await file.close()
            for method, arguments in (
                *((file.read, ()), (file.read, (1,)), (file.read, (1, 0)), (file.readline, ())),
                *((file.read_parallel, ()), (file.write, ("x",)), (file.write, ("x", 0))),
                *((file.seek, (0,)), (file.tell, ()), (file.stat, ()), (file.statvfs, ())),
                *((file.setstat, (SFTPAttrs(),)), (file.truncate, ()), (file.truncate, (0,))),
                *((file.chmod, (0,)), (file.chown, (0, 0)), (file.utime, ()), (file.fsync, ())),
            ):
                with pytest.raises(ValueError, match="closed"):
                    await method(*arguments)  # type: ignore[operator]
            await file.close()


async def test_an_unknown_encoding_empties_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as conn, conn.start_sftp_client() as sftp:
            for arguments in ({"encoding": "utf9"}, {"errors": "repalce"}, {"attrs": 5}):
                with pytest.raises((sshmux.ConfigError, TypeError)):
                    async with sftp.open(str(tmp_path / "file"), "w", **arguments):  # type: ignore[arg-type]
                        pass
    assert (tmp_path / "file").read_text() == "content"
