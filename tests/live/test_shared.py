"""Masters that programs share: one log-in, whoever wants it, and nobody harms another."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sshmux.openssh.control.naming import is_code
from sshmux.testing import PrivateServer

from ..sharing import SECRET, Desk, Failed, Program, way_to
from ..support import control_directory, masters, nap, processes, sleepers, until
from .test_jumps import config_of

# Whose a session is and where it is refused is the engine's; the rest is the same for both.
on_both_engines = pytest.mark.both_engines


@pytest.fixture
def directory() -> Iterator[Path]:
    with control_directory() as made:
        yield made


@asynccontextmanager
async def desk_at(
    directory: Path, tmp_path: Path, **options: Any
) -> AsyncIterator[tuple[Desk, PrivateServer]]:
    """A user with a one-time code, in front of one server."""
    async with PrivateServer(login_shell="/bin/sh", totp=SECRET, **options) as server:
        yield Desk(directory, tmp_path / "asked", {"hpc": way_to(server)}), server


async def gone(directory: Path) -> None:
    """Waits until no master is left, and nothing of one."""
    await until(lambda: not masters(directory))
    await until(lambda: not [name for name in os.listdir(directory) if not is_code(name)])


def sshmux(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sshmux", *words],
        env={**os.environ, "SSHMUX_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


async def run_command(directory: Path, server: PrivateServer, line: str) -> tuple[int, str]:
    """`sshmux run`, without a terminal: nobody could type anything."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sshmux", "run", "-n", "-F", str(server.config_file)),
        *(server.alias, "--", line),
        env={**os.environ, "SSHMUX_DIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


@on_both_engines
async def test_programs_of_one_second_and_of_one_day_need_one_code(
    directory: Path, tmp_path: Path
) -> None:
    """A TUI, a script and a notebook that start at once; then five commands, while they go on."""
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program() as tui, desk.program() as script, desk.program() as notebook:
            programs = (tui, script, notebook)
            first = [program.start("run", "hpc", f"echo {n}") for n, program in enumerate(programs)]
            assert await asyncio.gather(*first) == ["0\n", "1\n", "2\n"]
            working = [program.start("many", "hpc", "sleep 0.02", 40) for program in programs]
            commands = [run_command(directory, server, f"echo {n}") for n in range(5)]
            assert await asyncio.gather(*commands) == [(0, f"{n}\n") for n in range(5)]
            assert await asyncio.gather(*working) == [40, 40, 40]
            assert (server.logins, server.connections, len(desk.asked)) == (1, 1, 1)
            # Whoever logged in may leave: the others go on, and who comes needs no log-in.
            for program in programs[:2]:
                assert await program.stop() == 0
                assert await run_command(directory, server, "echo in") == (0, "in\n")
                assert await notebook.do("run", "hpc", "echo in") == "in\n"
            assert await notebook.stop() == 0
        await gone(directory)  # the last one has ended it
        assert (server.logins, server.connections, len(desk.asked)) == (1, 1, 1)


async def test_a_command_that_starts_while_another_program_asks_waits_for_it(
    directory: Path, tmp_path: Path
) -> None:
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program(pause=2) as tui:
            first = tui.start("run", "hpc", "echo in")
            await until(lambda: desk.asked)
            assert await run_command(directory, server, "echo in") == (0, "in\n")
            assert await first == "in\n"
            assert await tui.stop() == 0
        await gone(directory)
        assert (server.logins, server.connections) == (1, 1)


async def test_three_clusters_of_three_programs_behind_one_bastion(
    directory: Path, tmp_path: Path
) -> None:
    async with (
        PrivateServer(login_shell="/bin/sh", totp=SECRET) as bastion,
        PrivateServer(login_shell="/bin/sh") as a,
        PrivateServer(login_shell="/bin/sh") as b,
        PrivateServer(login_shell="/bin/sh") as c,
    ):
        behind = (a, b, c)
        config = config_of(
            tmp_path / "config", [bastion, *behind], dict.fromkeys(behind, bastion.alias)
        )
        clusters = {server.alias: way_to(server, config) for server in behind}
        desk = Desk(directory, tmp_path / "asked", clusters)
        async with desk.program() as one, desk.program() as two, desk.program() as three:
            programs = (one, two, three)
            for _ in range(2):
                runs = [
                    program.start("run", server.alias, "echo in")
                    for program, server in zip(programs, behind, strict=True)
                ]
                assert await asyncio.gather(*runs) == ["in\n"] * 3
            # Whoever logged in at the bastion leaves first or last: those behind it go on.
            for program, server in zip(programs, behind, strict=True):
                assert await program.do("run", server.alias, "echo in") == "in\n"
                assert await program.stop() == 0
        await gone(directory)
        assert (bastion.logins, bastion.connections, len(desk.asked)) == (1, 1, 1)
        assert (a.logins, b.logins, c.logins) == (1, 1, 1)


async def test_who_shares_a_target_keeps_its_way_there(directory: Path, tmp_path: Path) -> None:
    """The one who went through the bastion leaves; the other only ever used what is behind."""
    async with (
        PrivateServer(login_shell="/bin/sh") as bastion,
        PrivateServer(login_shell="/bin/sh", totp=SECRET) as a,
    ):
        config = config_of(tmp_path / "config", [bastion, a], {a: bastion.alias})
        desk = Desk(directory, tmp_path / "asked", {"hpc": way_to(a, config)})
        async with desk.program() as one, desk.program() as two:
            assert await one.do("run", "hpc", "echo in") == "in\n"
            assert await two.do("run", "hpc", "echo in") == "in\n"
            running = two.start("run", "hpc", "sleep 2; echo whole")
            assert await one.stop() == 0
            assert await running == "whole\n"
            assert await two.do("run", "hpc", "echo in") == "in\n"
            assert await two.stop() == 0
        await gone(directory)
        assert (bastion.logins, a.logins, len(desk.asked)) == (1, 1, 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_who_ends_badly_harms_nobody(
    directory: Path, tmp_path: Path, number: signal.Signals
) -> None:
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program() as one, desk.program() as two:
            assert await one.do("run", "hpc", "echo in") == "in\n"
            assert await two.do("run", "hpc", "echo in") == "in\n"
            own = nap()
            doomed = one.start("run", "hpc", f"sleep {own}")
            await until(lambda: sleepers(own))
            running = two.start("many", "hpc", "sleep 0.05", 30)
            one.signal(number)
            assert await running == 30
            with pytest.raises(EOFError):
                await doomed
            async with desk.program(user=False) as three:
                assert await three.do("run", "hpc", "echo in") == "in\n"
                assert await three.stop() == 0
            assert await two.stop() == 0
        await gone(directory)
        assert (server.logins, len(desk.asked)) == (1, 1)
        for process in sleepers(own):
            process.kill()


async def test_the_only_holder_is_killed_and_the_next_one_needs_no_code(
    directory: Path, tmp_path: Path
) -> None:
    """Within its grace the log-in is still there; what the dead one ran is ended."""
    async with desk_at(directory, tmp_path) as (desk, server):
        own = nap()
        async with desk.program() as one:
            one.start("run", "hpc", f"sleep {own}")
            await until(lambda: sleepers(own))
            await one.kill()
        async with desk.program(user=False) as two:
            assert await two.do("run", "hpc", "echo in") == "in\n"
            await until(lambda: not sleepers(own))
            assert await two.stop() == 0
        await gone(directory)
        assert (server.logins, len(desk.asked)) == (1, 1)


@on_both_engines
async def test_a_stopped_holder_harms_nobody(directory: Path, tmp_path: Path) -> None:
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program() as one, desk.program() as two:
            assert await one.do("run", "hpc", "echo in") == "in\n"
            one.start("run", "hpc", "sleep 1; seq 100000")
            one.signal(signal.SIGSTOP)
            assert await two.do("run", "hpc", "echo in") == "in\n"
            assert await two.do("many", "hpc", "true", 10) == 10
            assert await two.stop() == 0
            one.signal(signal.SIGCONT)
            assert await one.do("run", "hpc", "echo in") == "in\n"
            assert await one.stop() == 0
        await gone(directory)
        assert (server.logins, len(desk.asked)) == (1, 1)


async def test_a_program_stopped_at_its_log_in_keeps_nobody_waiting(
    directory: Path, tmp_path: Path
) -> None:
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program(pause=60) as one, desk.program() as two:
            one.start("run", "hpc", "echo in")
            await until(lambda: desk.asked)
            one.signal(signal.SIGSTOP)
            assert await two.do("run", "hpc", "echo in") == "in\n"
            assert await two.stop() == 0
        assert server.logins == 1
        await gone(directory)


async def test_a_declined_log_in_lets_the_next_one_try(directory: Path, tmp_path: Path) -> None:
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program(answer=None, pause=1) as one, desk.program() as two:
            declined = one.start("run", "hpc", "echo in")
            await until(lambda: desk.asked)
            assert await two.do("run", "hpc", "echo in") == "in\n"
            with pytest.raises(Failed, match="PromptDeclined"):
                await declined
            assert await two.stop() == 0
        assert (server.logins, len(desk.asked)) == (1, 2)
        await gone(directory)


async def test_a_program_killed_at_its_log_in_lets_the_next_one_try(
    directory: Path, tmp_path: Path
) -> None:
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program(pause=60) as one, desk.program() as two:
            one.start("run", "hpc", "echo in")
            await until(lambda: desk.asked)
            second = two.start("run", "hpc", "echo in")
            await asyncio.sleep(0.3)  # it waits by now; if not yet, the test is only weaker
            await one.kill()
            assert await second == "in\n"
            assert await two.stop() == 0
        assert server.logins == 1
        await gone(directory)


async def test_a_refusal_is_told_to_all_and_tried_once(directory: Path, tmp_path: Path) -> None:
    async with PrivateServer(
        login_shell="/bin/sh", password="right", methods="keyboard-interactive"
    ) as server:
        desk = Desk(directory, tmp_path / "asked", {"hpc": way_to(server)})
        async with (
            desk.program(answer="wrong", pause=2) as one,
            desk.program(answer="wrong", pause=2) as two,
            desk.program(answer="wrong", pause=2) as three,
        ):
            programs: tuple[Program, ...] = (one, two, three)
            runs = [program.start("run", "hpc", "echo in") for program in programs]
            results = await asyncio.gather(*runs, return_exceptions=True)
            assert [str(result).partition(":")[0] for result in results] == ["PermissionDenied"] * 3
            for program in programs:
                assert await program.stop() == 0
        await server.wait_for_log("^Failed ")
        assert server.connections == 1
        assert len({line.split()[0] for line in desk.asked}) == 1
        await gone(directory)


@on_both_engines
async def test_a_full_server_is_waited_for_and_not_learned_as_a_limit(
    directory: Path, tmp_path: Path
) -> None:
    """Another program's sessions are no limit of ours."""
    options = {"options": {"MaxSessions": 4}}
    async with desk_at(directory, tmp_path, **options) as (desk, server):
        many = {"sessions_per_connection": 8}
        async with desk.program(**many) as one, desk.program(**many) as two:
            assert await one.do("run", "hpc", "echo in") == "in\n"
            assert await two.do("run", "hpc", "echo in") == "in\n"
            held = [one.start("run", "hpc", "sleep 3; echo one") for _ in range(3)]
            await asyncio.sleep(0.5)
            runs = [two.start("run", "hpc", "sleep 0.2; echo two") for _ in range(6)]
            assert await asyncio.gather(*runs) == ["two\n"] * 6
            assert await asyncio.gather(*held) == ["one\n"] * 3
            assert await one.stop() == 0
            # Alone with it, the true limit is seen: three at once, and one for control.
            runs = [two.start("run", "hpc", "sleep 0.5; echo two") for _ in range(8)]
            assert await asyncio.gather(*runs) == ["two\n"] * 8
            assert await two.do("limit", "hpc") >= 3
            async with desk.program(**many) as three:
                assert await three.do("run", "hpc", "echo in") == "in\n"
                assert await three.do("limit", "hpc") == await two.do("limit", "hpc")
                assert await three.stop() == 0
            assert await two.stop() == 0
        assert (server.logins, len(desk.asked)) == (1, 1)
        await gone(directory)


async def test_who_holds_it_is_shown_and_stop_asks_for_force(
    directory: Path, tmp_path: Path
) -> None:
    async with PrivateServer(
        login_shell="/bin/sh", password="pw", methods="keyboard-interactive"
    ) as server:
        desk = Desk(directory, tmp_path / "asked", {"hpc": way_to(server)})
        async with desk.program(answer="pw") as one, desk.program(answer="pw") as two:
            for program in (one, two):
                assert await program.do("run", "hpc", "echo in") == "in\n"
            (row,) = json.loads((await asyncio.to_thread(sshmux, directory, "ls", "--json")).stdout)
            assert (row["state"], row["shared"], row["sessions"]) == ("idle", True, 0)
            assert {holder["pid"] for holder in row["holders"]} == {one.pid, two.pid}
            shown = await asyncio.to_thread(sshmux, directory, "ls")
            assert re.search(rf"\b{one.pid} python", shown.stdout)
            assert re.search(rf"\b{two.pid} python", shown.stdout)
            left = await asyncio.to_thread(sshmux, directory, "stop", "--all")
            assert left.returncode == 1
            assert f"{one.pid} python" in left.stderr
            assert f"{two.pid} python" in left.stderr
            assert "--force" in left.stderr
            assert await two.do("run", "hpc", "echo in") == "in\n"
            await one.do("disconnect", "hpc")
            assert await two.do("run", "hpc", "echo in") == "in\n"
            assert server.logins == 1
            ended = await asyncio.to_thread(sshmux, directory, "stop", "--all", "--force")
            assert ended.returncode == 0
            await until(lambda: not masters(directory))
            assert await two.do("run", "hpc", "echo in") == "in\n"
            assert server.logins == 2
            assert await two.stop() == 0
            assert await one.stop() == 0
        await gone(directory)


async def test_who_never_shares_logs_in_and_is_let_alone(directory: Path, tmp_path: Path) -> None:
    """Codes that were used are remembered for the user: the second log-in takes the next one."""
    async with desk_at(directory, tmp_path) as (desk, server):
        async with (
            desk.program(user=False, share="never") as one,
            desk.program(user=False, share="never") as two,
        ):
            assert await one.do("code", "hpc") is True
            assert await two.do("code", "hpc") is True
            assert (server.logins, server.failed_logins) == (2, 0)
            for program in (one, two):
                assert await program.stop() == 0
        await gone(directory)


async def test_a_key_is_shared_where_everything_is(directory: Path, tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        desk = Desk(directory, tmp_path / "asked", {"hpc": way_to(server)})
        async with desk.program(share="always") as one, desk.program(share="always") as two:
            runs = [program.start("run", "hpc", "echo in") for program in (one, two)]
            assert await asyncio.gather(*runs) == ["in\n"] * 2
            assert server.logins == 1
            for program in (one, two):
                assert await program.stop() == 0
        await gone(directory)
        async with desk.program() as one, desk.program() as two:  # a key costs nobody anything
            for program in (one, two):
                assert await program.do("run", "hpc", "echo in") == "in\n"
            assert server.logins == 3
            for program in (one, two):
                assert await program.stop() == 0
        await gone(directory)


async def test_one_that_is_to_stay_stays_whoever_leaves_last(
    directory: Path, tmp_path: Path
) -> None:
    async with desk_at(directory, tmp_path) as (desk, server):
        async with desk.program(persist=60) as one, desk.program() as two:
            for program in (one, two):
                assert await program.do("run", "hpc", "echo in") == "in\n"
            assert await one.stop() == 0
            assert await two.stop() == 0
        assert len(masters(directory)) == 1
        async with desk.program(user=False) as three:
            assert await three.do("run", "hpc", "echo in") == "in\n"
            await three.do("disconnect", "hpc")  # that is to say: not any more
            assert await three.stop() == 0
        await gone(directory)
        assert (server.logins, processes(str(directory))) == (1, [])
