"""What is said to a shell that stays open, and how its answers are told apart: on real shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import ConfigError
from sshmux.openssh import remote_shell as shell
from sshmux.openssh.remote_shell import OutputSplitter

SHELLS = [
    ["sh"],
    ["bash"],
    ["dash"],
    ["busybox", "sh"],
    ["ksh"],
    ["mksh"],
    ["zsh", "--emulate", "sh"],
]
KEY = shell.new_key()


def talk(program: list[str], data: bytes) -> tuple[int, bytes, bytes]:
    """Runs the shell's loop on this machine, with `data` on its stdin."""
    if shutil.which(program[0]) is None:
        pytest.skip(f"needs {program[0]}")
    loop = shell.start_line().removeprefix("exec sh -c ")
    words = subprocess.run(["sh", "-c", f"printf %s {loop}"], capture_output=True, check=True)
    done = subprocess.run(
        [*program, "-c", words.stdout], input=data, capture_output=True, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


def command(line: str, token: str, **options: object) -> bytes:
    return shell.command_line(line, KEY, token, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("program", SHELLS, ids=" ".join)
def test_commands_and_their_ends(program: list[str]) -> None:
    data = (
        shell.greeting(KEY, "T0")
        + command("printf 'a\\0b'; echo e >&2", "T1")
        + command("exit 3", "T2")
        + command("echo 'x\ny'\necho \"it's\"", "T3")
        + command("cat", "T4", input_size=5)
        + b"12345"
        + command("true", "T5", input_size=200_000)
        + b"z" * 200_000
        + command("cd /; X=1", "T6", keep=True)
        + command("X=2; pwd", "T7")
        + command("pwd; echo $X", "T8")
        + command("cat", "T9")
    )
    status, out, err = talk(program, data)
    assert status == 0
    assert out == (
        b"T0 0\na\0bT1 0\nT2 3\nx\ny\nit's\nT3 0\n12345T4 0\nT5 0\nT6 0\n"
        b"/\nT7 0\n/\n1\nT8 0\nT9 0\n"
    )
    assert err == b"T0\ne\n" + b"".join(b"T%d\n" % number for number in range(1, 10))


@pytest.mark.parametrize("program", SHELLS, ids=" ".join)
def test_a_syntax_error_is_the_commands_own(program: list[str]) -> None:
    data = shell.greeting(KEY, "T0") + command("if", "T1") + command("echo on", "T2")
    status, out, err = talk(program, data)
    assert status == 0
    first, second = out.removeprefix(b"T0 0\nT1 ").split(b"\n", 1)
    assert int(first) > 0
    assert second == b"on\nT2 0\n"
    assert b"T1\n" in err


@pytest.mark.parametrize("program", SHELLS, ids=" ".join)
def test_what_is_left_of_an_input_is_never_a_command(program: list[str]) -> None:
    """Whoever reads the input may be killed: the shell then meets it, and leaves."""
    data = shell.greeting(KEY, "T0") + b"echo owned\n" + command("echo owned", "T1")
    status, out, _ = talk(program, data)
    assert (status, out) == (125, b"T0 0\n")


def test_a_signal_is_told_as_a_shell_tells_it_and_nothing_is_said_of_it() -> None:
    data = shell.greeting(KEY, "T0") + command("exec sh -c 'kill -9 $$'", "T1")
    status, out, err = talk(["bash"], data)
    assert (status, out, err) == (0, b"T0 0\nT1 137\n", b"T0\nT1\n")


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 255)), min_size=1, max_size=5),
    st.lists(st.integers(1, 9), max_size=60),
)
def test_every_command_gets_its_own_bytes_however_they_are_cut(
    commands: list[tuple[bytes, int]], cuts: list[int]
) -> None:
    splitter = OutputSplitter()
    got: list[tuple[bytearray, list[int | None]]] = []
    stream = b""
    for number, (output, status) in enumerate(commands):
        token = f"sshmux-{number}-token"
        mine: tuple[bytearray, list[int | None]] = (bytearray(), [])
        got.append(mine)
        splitter.expect(token, mine[0].extend, mine[1].append, with_status=True)
        stream += output + f"{token} {status}\n".encode()
    at = 0
    for cut in [*cuts, len(stream)]:
        splitter.feed(stream[at : at + cut])
        at += cut
    splitter.feed(b"noise that nobody waits for")
    assert [(bytes(output), ends) for output, ends in got] == [
        (output, [status]) for output, status in commands
    ]


def test_the_end_of_the_stream_gives_back_what_was_held() -> None:
    splitter, out = OutputSplitter(), bytearray()
    splitter.expect("token", out.extend, lambda _: None)
    splitter.feed(b"text tok")
    assert out == b"text "
    splitter.flush()
    assert out == b"text tok"


@pytest.mark.parametrize(
    ("line", "background"),
    [
        ("sleep 9 &", True),
        ("a & b", True),
        ("a && b", False),
        ("a 2>&1", False),
        ("a >&2", False),
        ("a &>file", False),
        ("a\\&b", False),
    ],
)
def test_what_seems_to_leave_something_running(line: str, background: bool) -> None:
    assert shell.starts_background(line) is background


def test_what_no_shell_can_take() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        command("a\0b", "T")
    with pytest.raises(ConfigError, match="send it as a script"):
        command("x" * shell.MAX_LINE, "T")
