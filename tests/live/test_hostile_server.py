"""The hostile server itself, seen from a plain `ssh` at a terminal."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from ..hostile import LONGEST, HostileServer, Round, question
from ..support import nap, sleepers, until

MENU = "Passcode or option (1-2): "


@contextmanager
def terminal(
    server: HostileServer, *options: str, command: str = "echo in"
) -> Iterator[pexpect.spawn[Any]]:
    arguments = ["-F", str(server.config_file), *options, server.alias, command]
    client = pexpect.spawn("ssh", arguments, encoding="utf-8", timeout=10)
    try:
        yield client
    finally:
        client.close(force=True)


def type_answers(
    server: HostileServer, *dialogue: tuple[str, str], prompts: int = 1
) -> tuple[str, int | None]:
    """Answer each question as it comes; return what the terminal showed, and ssh's status."""
    shown = ""
    with terminal(server, "-o", f"NumberOfPasswordPrompts={prompts}") as client:
        for asked, answer in dialogue:
            client.expect_exact(asked)
            shown += str(client.before) + asked
            client.sendline(answer)
        shown += client.read()
    return shown, client.exitstatus


async def typed(server: HostileServer, *dialogue: tuple[str, str], **options: Any) -> Any:
    return await asyncio.to_thread(type_answers, server, *dialogue, **options)


async def ssh(server: HostileServer, command: str, *options: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(
            "ssh",
            "-F",
            str(server.config_file),
            "-o",
            "BatchMode=yes",
            *options,
            server.alias,
            command,
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


def cat(server: HostileServer, data: bytes) -> bytes:
    command = ["ssh", "-F", str(server.config_file), server.alias, "cat"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


# What it asks


async def test_a_menu_with_echo_on() -> None:
    menu = "Two-factor log-in\n\n 1. Push to phone\n 2. Call\n\n" + MENU
    async with HostileServer(rounds=[question(menu, "2", echo=True)]) as server:
        shown, status = await typed(server, (MENU, "2"))
        assert (status, server.received, server.logins) == (0, ["2"], 1)
        assert " 1. Push to phone\r\n" in shown
        assert shown.endswith(f"{MENU}2\r\nin\r\n"), "what was typed is shown"


async def test_two_questions_in_one_round_and_then_another_round() -> None:
    rounds = [
        Round("Name", "Instructions", [("Password: ", False), ("PIN: ", False)], ["pw", "1234"]),
        Round("", "Nothing is asked here.", []),
        Round("", "", [("Colour: ", True)], lambda answers: answers[0].startswith("re")),
    ]
    async with HostileServer(rounds=rounds) as server:
        dialogue = ("Password: ", "pw"), ("PIN: ", "1234"), ("Colour: ", "red")
        shown, status = await typed(server, *dialogue)
        assert (status, server.received) == (0, ["pw", "1234", "red"])
        assert all(text in shown for text in ("Name", "Instructions", "Nothing is asked here."))
        assert (server.connections, server.attempts, server.logins) == (1, 1, 1)


async def test_a_wrong_answer_is_refused_and_recorded() -> None:
    rounds = [question("First: ", "a"), question("Second: ", "b")]
    async with HostileServer(rounds=rounds) as server:
        dialogue = ("First: ", "x"), ("First: ", "a"), ("Second: ", "y")
        _, status = await typed(server, *dialogue, prompts=2)
        assert (status, server.received) == (255, ["x", "a", "y"])
        assert (server.connections, server.attempts, server.logins) == (1, 2, 0)


async def test_passwords() -> None:
    async with HostileServer(password="right") as server:
        _, status = await typed(
            server, ("'s password: ", "wrong"), ("'s password: ", "right"), prompts=2
        )
        assert (status, server.received) == (0, ["wrong", "right"])
        assert (server.attempts, server.logins) == (2, 1)
        server.password = lambda given: given in ("one", "two")
        assert (await typed(server, ("'s password: ", "two")))[1] == 0


async def test_what_is_right_may_be_refused_all_the_same() -> None:
    async with HostileServer(password="right", public_key=True, accept=False) as server:
        shown, status = await typed(server, ("'s password: ", "right"))
        assert (status, server.received, server.logins) == (255, ["right"], 0)
        assert "Permission denied (publickey,password)" in shown
        server.accept = True
        assert await ssh(server, "echo in") == (0, "in\n")


async def test_a_banner_that_looks_like_a_prompt() -> None:
    banner = b"guest@127.0.0.1's password: \x1b[2J\xff\r\n"
    async with HostileServer(banner=banner, rounds=[question(b"\x07Code: ", "1")]) as server:
        shown, status = await typed(server, ("Code: ", "1"))
        assert (status, server.received) == (0, ["1"])
        assert shown.startswith("guest@127.0.0.1's password: ")


async def test_megabytes_of_banner() -> None:
    async with HostileServer(banner="ü" * 2_000_000, public_key=True) as server:
        status, out = await ssh(server, "echo in")
        assert (status, out.endswith("in\n")) == (0, True)
        assert len(out) >= 2_000_000


async def test_the_longest_prompt_and_longer_ones() -> None:
    async with HostileServer(rounds=[question("x" * LONGEST + ": ")]) as server:
        assert (await typed(server, ("x: ", "a")))[1] == 0
        server.rounds = [question("x" * 3_000_000 + ": ")]
        shown, status = await typed(server)
        assert (status, "xxx" in shown) == (255, False)
        assert "Bad packet length" in shown


@pytest.mark.parametrize("answers", [0, 1, 2])
async def test_it_stalls_for_ever(answers: int) -> None:
    rounds = [question(f"{number}: ") for number in range(3)]
    async with HostileServer(rounds=rounds, stall_after=answers) as server:
        with terminal(server) as client:
            for number in range(answers):
                await asyncio.to_thread(client.expect_exact, f"{number}: ")
                client.sendline("x")
            await until(lambda: server.stalled)
            with pytest.raises(pexpect.TIMEOUT):
                await asyncio.to_thread(client.expect, r"\d: ", timeout=0.3)
        assert (server.received, server.logins) == (["x"] * answers, 0)


# What it does once one is in


async def test_commands_are_real() -> None:
    async with HostileServer(public_key=True) as server:
        assert await ssh(server, "echo a; echo b >&2; exit 3") == (3, "a\nb\n")
        assert await ssh(server, "head -c 3000000 /dev/zero | wc -c") == (0, "3000000\n")
        assert server.commands == [
            "echo a; echo b >&2; exit 3",
            "head -c 3000000 /dev/zero | wc -c",
        ]
        assert await asyncio.to_thread(cat, server, b"\0" * 500_000) == b"\0" * 500_000


async def test_a_command_ends_with_its_client() -> None:
    seconds = nap()
    async with HostileServer(public_key=True) as server:
        running = asyncio.create_task(ssh(server, f"sleep {seconds} & sleep {seconds}"))
        await until(lambda: len(sleepers(seconds)) == 2)
        server.drop_connections()
        assert (await running)[0] == 255
        await until(lambda: not sleepers(seconds))
        running = asyncio.create_task(ssh(server, f"sleep {seconds}"))
        await until(lambda: sleepers(seconds))
    assert (await running)[0] == 255
    assert not sleepers(seconds)


async def test_a_master_and_its_sessions(short_dir: Path) -> None:
    async with HostileServer(public_key=True) as server:
        mux = ["-o", f"ControlPath={short_dir}/m"]
        master = asyncio.create_task(ssh(server, "cat", "-M", "-N", *mux))
        await until((short_dir / "m").exists)
        results = await asyncio.gather(*(ssh(server, f"echo {n}", *mux) for n in range(5)))
        assert results == [(0, f"{n}\n") for n in range(5)]
        assert (server.connections, server.logins, len(server.commands)) == (1, 1, 5)
    await master


async def test_it_may_be_a_jump_host() -> None:
    async with HostileServer(public_key=True, forwarding=True) as server:
        jump = ["-J", server.alias]
        assert await ssh(server, "echo in", *jump) == (0, "in\n")
        assert server.forwards == [("127.0.0.1", server.port)]
        server.forwarding = False
        assert (await ssh(server, "echo in", *jump))[0] == 255


async def test_its_files_are_where_they_are_wanted(tmp_path: Path) -> None:
    async with HostileServer(tmp_path, public_key=True) as server:
        assert server.key_file.parent == tmp_path
        assert (await ssh(server, "true"))[0] == 0
        assert (tmp_path / "user_key").stat().st_mode & 0o777 == 0o600
    async with HostileServer() as server:
        directory = server.config_file.parent
        assert directory.is_dir()
    assert not directory.exists()
