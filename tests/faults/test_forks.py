"""A forked child, another thread, another loop: an error there, and no harm to the owner."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Connection, ConnectionManager
from sshmux.testing import PrivateServer

from ..support import managed, masters, nap, needs_terminals, sleepers, until

pytestmark = [
    pytest.mark.both_engines,
    pytest.mark.filterwarnings("ignore:This process"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def forked(work: Callable[[], object]) -> int:
    """Does it in a forked child, as multiprocessing does: no `finally` of the parent's runs."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            status = 0 if work() is not False else 1
        os._exit(status)
    return pid


async def ended(pid: int) -> int:
    status: list[int] = []

    def over() -> bool:
        found, code = os.waitpid(pid, os.WNOHANG)
        if found:
            status.append(os.waitstatus_to_exitcode(code))
        return bool(found)

    await until(over)
    return status[0]


def _refused(use: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    try:
        asyncio.run(use())
    except sshmux.WrongEventLoop as error:
        return "another process" in str(error)
    return False


def _borrow(manager: ConnectionManager, connection: Connection) -> bool:
    async def use() -> None:
        async with manager.get_connection(1, timeout=5):
            pass

    return _refused(use)


def _run(manager: ConnectionManager, connection: Connection) -> bool:
    return _refused(lambda: connection.run("true"))


def _stop(manager: ConnectionManager, connection: Connection) -> bool:
    return _refused(manager.stop)


def _collect(manager: ConnectionManager, connection: Connection) -> bool:
    manager._abandon(end=False)  # what __del__ does
    connection.link.master.abandon()
    return True


def _nothing(manager: ConnectionManager, connection: Connection) -> bool:
    return True


@pytest.mark.parametrize("work", [_borrow, _run, _stop, _collect, _nothing])
async def test_a_forked_child_harms_nothing(
    work: Callable[[ConnectionManager, Connection], bool],
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                async with connection.create_process("cat") as cat:
                    running = asyncio.ensure_future(connection.run("sleep 1; echo done"))
                    await asyncio.sleep(0.2)
                    pid = forked(lambda: work(manager, connection))
                    assert await ended(pid) == 0
                    assert (await running).stdout == "done\n"
                    cat.stdin.write("x\n")
                    assert await cat.stdout.readline() == "x\n"
                    assert (await connection.run("echo on")).stdout == "on\n"
                os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
                await until(connection.is_closed)


async def test_a_child_that_lives_on_holds_nothing_open() -> None:
    """Neither a command's stdin, nor the lease of a master whose program has let go of it."""
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1, grace=1) as manager:
            async with manager.get_connection(1) as connection:
                async with connection.create_process("cat") as cat:
                    pid = forked(signal.pause)
                    try:
                        cat.stdin.write_eof()
                        async with asyncio.timeout(5):
                            assert await cat.stdout.read() == ""
                    except BaseException:
                        os.kill(pid, signal.SIGKILL)
                        raise
            try:
                assert masters(manager.control_dir.path)
                assert manager._care is not None
                manager._care.cancel()
                manager._abandon(end=False)  # as the kernel does it when this program is killed
                await until(lambda: not masters(manager.control_dir.path))
            finally:
                os.kill(pid, signal.SIGKILL)
                await ended(pid)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    out: list[Any] = []

    def target() -> None:
        try:
            out.append(work())
        except BaseException as error:
            out.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, out


async def test_a_second_loop_gets_an_error_and_the_first_goes_on() -> None:
    long = nap()
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            running = asyncio.ensure_future(connection.run("sleep 1; echo done"))

            async def borrow() -> None:
                async with manager.get_connection(1, timeout=5):
                    pass

            uses: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
                borrow,
                manager.start,
                manager.stop,
                lambda: manager.connect(1),
                lambda: manager.disconnect(1),
                lambda: manager.test_connection(1),
                lambda: connection.run(f"sleep {long}"),
                lambda: connection.check(),
            )
            for use in uses:
                thread, out = in_thread(lambda use=use: asyncio.run(use()))
                await until(lambda thread=thread: not thread.is_alive())
                assert isinstance(out[0], sshmux.WrongEventLoop), (use, out)
                assert "call_from_thread" in str(out[0])
            assert (await running).stdout == "done\n"
            assert not sleepers(long)


@needs_terminals
async def test_so_does_what_is_made_of_a_connection(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with (
            managed(server) as manager,
            manager.connect(1) as own,
            own.create_process("cat", term_type="dumb") as typed,
            own.create_process("cat") as process,
            own.start_sftp_client() as sftp,
            sftp.open(str(tmp_path / "file")) as file,
            own.create_shell() as shell,
            own.forward_local_port("127.0.0.1", 0, "127.0.0.1", server.port) as listener,
        ):

            async def call(method: Callable[..., object], *arguments: object) -> None:
                found: Any = method(*arguments)
                if found is not None:
                    await found

            async def scan() -> None:
                async for _ in sftp.scandir(str(tmp_path)):
                    pass

            uses: tuple[tuple[Any, ...], ...] = (
                *((process.wait,), (process.communicate, "x"), (process.send_signal, "TERM")),
                *((process.close,), (process.stdout.read,), (process.stdout.readline,)),
                *((process.stdout.readexactly, 1), (process.stdout.readuntil, "x")),
                *((process.stdin.write, "x"), (process.stdin.write_eof,), (process.stdin.close,)),
                *((typed.change_terminal_size, 90, 30), (typed.close,)),
                *((own.create_process, "true"), (own.create_shell,), (own.start_sftp_client,)),
                *((own.put, __file__, tmp_path), (own.get, __file__, tmp_path)),
                *((own.forward_socks, None, 0), (own.open_connection, "127.0.0.1", server.port)),
                *((sftp.stat, "/"), (sftp.get, __file__, tmp_path), (sftp.exit,), (scan,)),
                *((file.read,), (file.close,)),
                *((shell.run, "true"), (listener.close,), (own.close,)),
                *((manager.check_health,), (manager.unregister_cluster, 1)),
                *((manager.get_connection_metrics, 1), (manager.register_cluster, 1, "other")),
            )
            for method, *arguments in uses:
                work = partial(call, method, *arguments)
                thread, out = in_thread(lambda work=work: asyncio.run(work()))
                await until(lambda thread=thread: not thread.is_alive())
                assert isinstance(out[0], sshmux.WrongEventLoop), (method, out)
                assert "call_from_thread" in str(out[0])
            process.stdin.write("alive\n")
            assert await process.stdout.readline() == "alive\n"
            assert await file.read() == "content"
            assert (await shell.run("echo alive")).stdout == "alive\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
            assert (await reader.readline()).startswith(b"SSH-2.0")
            writer.close()
            assert not list(tmp_path.glob("*.py"))


async def test_call_from_thread() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:

        async def work(command: str) -> str:
            async with manager.get_connection(1) as connection:
                return (await connection.run(command)).stdout

        thread, out = in_thread(lambda: manager.call_from_thread(work("echo x")))
        await until(lambda: not thread.is_alive())
        assert out == ["x\n"]
        thread, out = in_thread(lambda: manager.call_from_thread(work("sleep 30"), timeout=0.3))
        await until(lambda: not thread.is_alive())
        assert isinstance(out[0], TimeoutError)
        with pytest.raises(sshmux.WrongEventLoop):
            manager.call_from_thread(work("echo x"))
    thread, out = in_thread(lambda: ConnectionManager().call_from_thread(asyncio.sleep(0)))
    await until(lambda: not thread.is_alive())
    assert isinstance(out[0], sshmux.WrongEventLoop)
