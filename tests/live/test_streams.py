"""One large file over several sessions at once: as over one, and what goes wrong, for real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Connection, ConnectionManager
from sshmux.session.link import Link
from sshmux.testing import PrivateServer
from sshmux.transfer import lanes, pieces, streamed_get, streamed_put
from sshmux.transfer.pieces import MIB, SMALL

from ..support import managed, processes, until
from .test_transfer import begun, small

SIZE = 64 * MIB + 12345
# An eighth of what is called large: enough where nothing has to last for a while.
LESS = SIZE // 8
SMALL_LESS = SMALL // 8


@pytest.fixture(autouse=True)
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the way were long: nearby fewer sessions take part."""
    monkeypatch.setattr(lanes, "_NEAR", 0)


@pytest.fixture
def less(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if files were large from an eighth of the size on."""
    for module in (streamed_get, streamed_put):
        monkeypatch.setattr(module, "SMALL", SMALL_LESS)
    for name in ("_SHORTEST", "_LONG"):
        monkeypatch.setattr(pieces, name, getattr(pieces, name) // 8)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def large(path: Path, size: int = SIZE) -> Path:
    """A file no two megabytes of which are the same."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(number.to_bytes(8, "big") + block[8:])
        file.write(block[: size % MIB])
    return path


def same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while data := first.read(MIB):
            if data != second.read(MIB):
                return False
        return not second.read(1)


@contextlib.asynccontextmanager
async def lent(**options: Any) -> AsyncIterator[Connection]:
    async with PrivateServer(login_shell="/bin/sh", **options) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            yield connection


async def warm(manager: ConnectionManager, count: int) -> None:
    """So many masters, all idle."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(manager.get_connection(1))


def idle_links(manager: ConnectionManager, used: Connection) -> list[Link]:
    [pool] = manager._clusters.pools()
    return [each.connection for each in pool.slots.members if each.connection is not used.link]


Way = Callable[..., Awaitable[Any]]


def way(connection: Connection, up: bool) -> Way:
    return connection.put if up else connection.get


OPTIONS: list[dict[str, Any]] = [
    {},
    {"preserve": True, "verify": "sha256"},
    {"resume": True, "progress": lambda *_: None},
    {"resume": True, "verify": "sha256", "preserve": True},
    {"on_change": "accept"},
    {"atomic": False},
]


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
async def test_the_same_as_over_one(
    up: bool, options: dict[str, Any], here: Path, there: Path
) -> None:
    source, into = (here, there) if up else (there, here)
    large(source / "a b", LESS)
    (source / "a b").chmod(0o640)
    os.utime(source / "a b", (1_600_000_000, 1_600_000_000))
    async with lent() as connection:
        move = way(connection, up)
        for streams in (1, 4):
            (into / str(streams)).mkdir()
            result = await move(source / "a b", into / str(streams), streams=streams, **options)
            assert (result.files, result.bytes) == (1, LESS)
    first, second = into / "1" / "a b", into / "4" / "a b"
    assert same(source / "a b", second)
    one, other = first.stat(), second.stat()
    assert (one.st_mode, one.st_uid) == (other.st_mode, other.st_uid)
    assert (one.st_mtime == other.st_mtime) is bool(options.get("preserve"))
    assert os.listdir(into / "4") == ["a b"]


_OVER = (0, 1, MIB, 2 * MIB + 1)
SIZES = [0, 1, SMALL_LESS - 1, *(SMALL_LESS + more for more in _OVER), SMALL + 9 * MIB + 1]


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("size", SIZES)
async def test_sizes(size: int, here: Path, there: Path) -> None:
    large(here / "a", size)
    async with lent() as connection:
        await connection.put(here / "a", there / "b", streams=3)
        await connection.get(there / "b", here / "c", streams=3)
        await connection.get(there / "b", here / "d", streams=3, resume=True)
    assert same(here / "a", there / "b")
    assert same(here / "a", here / "c")
    assert same(here / "a", here / "d")


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("up", [True, False])
async def test_places(up: bool, here: Path, there: Path) -> None:
    """Directories, links and devices are what they are for one stream."""
    source, into = (here, there) if up else (there, here)
    large(source / "a", SMALL_LESS + 3 * MIB)
    (source / "link").symlink_to("a")
    (into / "d").mkdir()
    (into / "old").write_text("old")
    (into / "old").chmod(0o600)
    (into / "to-old").symlink_to("old")
    async with lent() as connection:
        move = way(connection, up)
        await move(source / "link", into / "d", streams=4)
        await move(source / "a", into / "to-old", streams=4)
        await move(source / "a", into / "new" / "b", parents=True, streams=4)
        await move(source / "a", "/dev/null", streams=4)
        with pytest.raises(sshmux.SourceNotFound):
            await move(source / "nothing", into / "x", streams=4)
        with pytest.raises(sshmux.TransferError):
            await move(source / "a", into / "nowhere" / "b", streams=4)
    assert same(source / "a", into / "d" / "link")
    assert not (into / "d" / "link").is_symlink()
    assert same(source / "a", into / "old")
    assert (into / "to-old").is_symlink()
    assert same(source / "a", into / "new" / "b")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(os.listdir(into)) == ["d", "new", "old", "to-old"]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("seen", [True, False])
async def test_holes_stay(up: bool, seen: bool, here: Path, there: Path) -> None:
    source, into = (here, there) if up else (there, here)
    with (source / "a b").open("wb") as file:
        file.write(b"begin")
        file.seek(3 * SMALL)
        file.write(b"end")
    progress = (lambda *_: None) if seen else None
    async with lent() as connection:
        await way(connection, up)(source / "a b", into, streams=4, progress=progress)
    assert same(source / "a b", into / "a b")
    assert (into / "a b").stat().st_blocks * 512 < MIB


@pytest.mark.parametrize("up", [True, False])
async def test_idle_connections_help_and_can_be_borrowed(up: bool, here: Path, there: Path) -> None:
    source, into = (here, there) if up else (there, here)
    large(source / "a")
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, pool_size=3, max_idle=0.5) as manager,
    ):
        await warm(manager, 3)
        async with manager.get_connection(1) as connection:
            others = idle_links(manager, connection)
            moving = asyncio.ensure_future(way(connection, up)(source / "a", into, streams=4))
            await until(lambda: all(each.executions for each in others))
            async with contextlib.AsyncExitStack() as stack:
                for _ in others:  # they are free: nobody waits, nobody logs in
                    borrowed = manager.get_connection(1, timeout=5)
                    lent = await stack.enter_async_context(borrowed)
                    assert (await lent.run("echo mine")).stdout == "mine\n"
            await moving
            assert server.logins == 3
            assert not any(each.executions for each in others)
            metrics = await manager.get_connection_metrics(1)
            assert metrics["requests_timed_out"] == metrics["requests_failed"] == 0
    assert same(source / "a", into / "a")


class Lender:
    """A pool with other connections than a pool would have."""

    def __init__(self, *links: Link) -> None:
        self.links = links

    @contextlib.contextmanager
    def guests(self, link: Link, most: int) -> Iterator[Sequence[Link]]:
        yield self.links[:most]


@pytest.mark.parametrize("up", [True, False])
async def test_a_connection_to_another_host_is_left_out(up: bool, tmp_path: Path) -> None:
    """Behind one name may be several login nodes, each with files of its own."""
    homes = [tmp_path / "one", tmp_path / "two"]
    shells = []
    for home in homes:
        home.mkdir()
        shells.append(home / "shell")
        shells[-1].write_text(f'#!/bin/sh\nHOME={home}; export HOME\nexec /bin/sh "$@"\n')
        shells[-1].chmod(0o755)
    large(homes[0] / "a")
    large(homes[1] / "a", SIZE)
    async with (
        PrivateServer(login_shell=shells[0]) as one,
        PrivateServer(login_shell=shells[1]) as two,
        managed(one) as manager,
    ):
        two.register(manager, 2)
        async with manager.get_connection(1) as connection, manager.get_connection(2) as other:
            connection._helpers = Lender(other.link)
            if up:
                await connection.put(homes[0] / "a", "b", streams=4)
                assert same(homes[0] / "a", homes[0] / "b")
            else:
                await connection.get("a", tmp_path / "b", streams=4)
                assert same(homes[0] / "a", tmp_path / "b")
    assert sorted(os.listdir(homes[1])) == ["a", "shell"]


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_a_server_that_takes_few_sessions(most: int, here: Path, there: Path) -> None:
    large(here / "a")
    async with lent(max_sessions=most) as connection:
        await connection.put(here / "a", there / "b", streams=8)
        await connection.get(there / "b", here / "c", streams=8)
        await connection.run("true", check=True)
    assert same(here / "a", here / "c")
    assert os.listdir(there) == ["b"]


@pytest.mark.both_engines
@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("trouble", ["cancel", "own", "other", "server"])
async def test_half_way(up: bool, trouble: str, here: Path, there: Path) -> None:
    source, into = (here, there) if up else (there, here)
    large(source / "a", 2 * SIZE)
    (into / "a").write_text("old")
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, pool_size=2) as manager,
    ):
        await warm(manager, 2)
        async with manager.get_connection(1) as connection:
            [other] = idle_links(manager, connection)
            moving = asyncio.ensure_future(way(connection, up)(source / "a", into, streams=4))
            await until(lambda: bool(other.executions and connection.link.executions))
            await begun(into)
            if trouble == "cancel":
                moving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await moving
                assert not connection.link.executions
                assert not other.executions
                await connection.run("true", check=True)
            else:
                if trouble == "server":
                    server.drop_connections()
                else:
                    lost = connection.link if trouble == "own" else other
                    os.kill(lost.master.pid, signal.SIGKILL)
                with pytest.raises(sshmux.TransferInterrupted) as failed:
                    await moving
                assert isinstance(failed.value, sshmux.ConnectionLost)
                assert failed.value.not_moved == (str(source / "a"),)
            await until(lambda: os.listdir(into) == ["a"])
            assert (into / "a").read_text() == "old"
            await until(lambda: not processes(str(into)))


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("trouble", ["cancel", "other", "server"])
async def test_an_interrupted_one_goes_on(up: bool, trouble: str, here: Path, there: Path) -> None:
    source, into = (here, there) if up else (there, here)
    large(source / "a", 2 * SIZE)
    told: list[tuple[int, int]] = []

    def tell(_source: str, _target: str, done: int, total: int) -> None:
        told.append((done, total))

    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, pool_size=2) as manager,
    ):
        await warm(manager, 2)
        async with manager.get_connection(1) as connection:
            [other] = idle_links(manager, connection)
            move = way(connection, up)
            moving = asyncio.ensure_future(
                move(source / "a", into, streams=4, resume=True, progress=tell)
            )
            await until(lambda: bool(told and told[-1][0] >= SIZE // 2 and other.executions))
            if trouble == "cancel":
                moving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await moving
            else:
                if trouble == "server":
                    server.drop_connections()
                else:
                    os.kill(other.master.pid, signal.SIGKILL)
                with pytest.raises(sshmux.TransferInterrupted):
                    await moving
        assert os.listdir(into) == [".a.sshmux-part"]
        told.clear()
        async with manager.get_connection(1) as connection:
            move = way(connection, up)
            await move(source / "a", into, streams=4, resume=True, progress=tell)
    assert told[0][0] >= 8 * MIB  # the chunks of each piece that had come whole
    assert told[-1] == (2 * SIZE, 2 * SIZE)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert same(source / "a", into / "a")
    assert os.listdir(into) == ["a"]


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("up", [True, False])
async def test_a_part_of_something_else_is_not_used(up: bool, here: Path, there: Path) -> None:
    """What one stream left can be used, and what is of another file is written anew."""
    source, into = (here, there) if up else (there, here)
    large(source / "a", LESS)
    part = into / ".a.sshmux-part"
    whole = (source / "a").read_bytes()
    async with lent() as connection:
        for data in (whole[: 6 * MIB], os.urandom(MIB), whole + b"more", b""):
            part.write_bytes(data)
            await way(connection, up)(source / "a", into / "a", streams=4, resume=True)
            assert same(source / "a", into / "a")
            assert os.listdir(into) == ["a"]
            (into / "a").unlink()
        (into / "victim").write_text("mine")
        part.symlink_to("victim")
        with pytest.raises(sshmux.TransferError):
            await way(connection, up)(source / "a", into / "a", streams=4, resume=True)
        part.unlink()
        os.link(into / "victim", part)
        with pytest.raises(sshmux.TransferDenied):
            await way(connection, up)(source / "a", into / "a", streams=4, resume=True)
    assert (into / "victim").read_text() == "mine"
    assert not (into / "a").exists()


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("change", ["longer", "shorter", "another", "rewritten"])
async def test_a_file_that_changes_on_the_way(
    up: bool, change: str, here: Path, there: Path
) -> None:
    source, into = (here, there) if up else (there, here)
    large(source / "a", 2 * SIZE)
    os.link(source / "a", source / "before")
    large(source / "b", 2 * SIZE)
    async with lent() as connection:
        moving = asyncio.ensure_future(way(connection, up)(source / "a", into, streams=4))
        await begun(into)
        if change == "another":
            os.replace(source / "b", source / "a")
        elif change == "rewritten":
            with (source / "a").open("r+b") as file:
                file.seek(SIZE)
                file.write(b"new")
        else:
            os.truncate(source / "a", 2 * SIZE + (1 if change == "longer" else -SIZE))
        if change == "another" and up:  # all sessions may have had the first one open by then
            with contextlib.suppress(sshmux.SourceChanged):
                await moving
                assert same(source / "before", into / "a")
                (into / "a").unlink()
        else:
            with pytest.raises(sshmux.SourceChanged):
                await moving
        await connection.run("true", check=True)
    assert os.listdir(into) == []


async def test_a_full_disk(here: Path, there: Path) -> None:
    large(here / "big", SMALL + 40 * MIB)
    (here / "small").mkdir()
    async with lent() as connection:
        with small(there, "40m"):
            (there / "big").write_text("old")
            with pytest.raises(sshmux.NoSpaceLeft):
                await connection.put(here / "big", there, streams=4)
            assert (there / "big").read_text() == "old"
            assert os.listdir(there) == ["big"]
        await connection.put(here / "big", there, streams=4)
        with small(here / "small", "40m"):
            with pytest.raises(sshmux.NoSpaceLeft):
                await connection.get(there / "big", here / "small", streams=4)
            assert os.listdir(here / "small") == []


async def test_a_start_up_file_that_prints(here: Path, there: Path) -> None:
    shell = there / "shell"
    shell.write_text('#!/bin/sh\necho welcome\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    large(there / "a")
    async with PrivateServer(login_shell=shell) as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            with pytest.raises(sshmux.SourceChanged, match="prints something"):
                await connection.get(there / "a", here, streams=4)
    assert os.listdir(here) == []


async def test_a_connection_that_is_given_back_ends_it(here: Path, there: Path) -> None:
    large(there / "a", 2 * SIZE)
    async with (
        PrivateServer(login_shell="/bin/sh") as server,
        managed(server, pool_size=2) as manager,
    ):
        await warm(manager, 2)
        async with manager.get_connection(1) as connection:
            [other] = idle_links(manager, connection)
            moving = asyncio.ensure_future(connection.get(there / "a", here, streams=4))
            await until(lambda: bool(other.executions and connection.link.executions))
        assert not other.executions
        with pytest.raises(sshmux.ConnectionReleased):
            await moving
    assert os.listdir(here) == []


async def test_nearby_one_connection_goes_over_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def begin() -> float:
        """Seconds until a session that does nothing has told that it has begun."""
        await connection.run("true", check=True)
        return connection.link.quickest

    async with lent() as connection:
        first = await begin()
        quickest = await begin()
        assert 0 < quickest <= first
        for near, expected in ((quickest / 2, 4), (quickest * 2, 1)):
            monkeypatch.setattr(lanes, "_NEAR", near)
            async with lanes.lanes(connection.transfers(), None, 4) as found:
                assert len(found.remotes) == expected


@pytest.mark.parametrize("streams", [0, -1, 65, 1.5, "4", True, None])
async def test_numbers_that_are_none(streams: Any, here: Path, there: Path) -> None:
    (here / "a").write_text("a")
    async with lent() as connection:
        with pytest.raises(sshmux.ConfigError, match="streams="):
            await connection.put(here / "a", there, streams=streams)
    assert os.listdir(there) == []
