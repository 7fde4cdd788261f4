"""The askpass from outside: what it leaves behind, however it ends, and what gets through it.

As in test_dialogue.py, a script stands in for ssh: it does what no ssh can be made to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from sshmux.openssh.askpass.dialogue import Answer, DialogueLaunch, launch_dialogue
from sshmux.openssh.askpass.prompts import Prompt
from sshmux.system.secret import Secret

from .test_dialogue import PromptAnswerer, outcome, start

PASSWORD = "ada@hpc's password: "


class Slow(PromptAnswerer):
    """An answerer that takes its time."""

    seconds = 0.5

    async def answer(self, prompt: Prompt) -> Answer | None:
        await asyncio.sleep(self.seconds)
        return await super().answer(prompt)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


async def soon(true: Callable[[], object], patience: float = 5) -> bool:
    """Whether it becomes true: for what other processes do."""
    for _ in range(int(patience / 0.02)):
        if true():
            return True
        await asyncio.sleep(0.02)
    return False


# However it ends, nothing is left

STATES = {
    "asked": f'say("{PASSWORD}"); mark(); hear()',
    "silent": "mark(); time.sleep(3600)",
    "telling": 'say("Confirm user presence for key X\\n"); mark(); time.sleep(3600)',
    "unsettled": 'say("who goes there "); mark(); hear()',
    "flooding": 'mark()\nwhile True: say("(ada@hpc) " + "x" * 1000)',
    "flooding lines": 'mark()\nwhile True: say("x\\n")',
    "echoing": f'echo(True); say("{PASSWORD}"); mark(); hear()',
    "stubborn": f'signal.signal(15, signal.SIG_IGN); say("{PASSWORD}"); mark(); hear(); pause()',
    "with a child": f'os.fork() or pause(); say("{PASSWORD}"); mark(); hear(); pause()',
    "without a terminal": "os.close(tty); mark(); pause()",
}
PREFIX = """
import signal
def mark(): open({path!r} + str(os.getpid()), "w").close()
def pause():
    while True: time.sleep(3600)
"""


async def by_end(launched: DialogueLaunch) -> None:
    await launched.end()


async def by_hanging_up(launched: DialogueLaunch) -> None:
    """As when the manager is killed: all that the helper sees is the end of its stdin."""
    os.close(launched._task)
    launched._task = -1


async def by_killing_the_helper(launched: DialogueLaunch) -> None:
    os.kill(launched._child.pid, signal.SIGKILL)


async def left_after(
    script: str, directory: Path, end: Callable[[DialogueLaunch], Awaitable[None]]
) -> list[psutil.Process]:
    before = descriptors()
    path = str(directory / "pid-")
    launched = start(PREFIX.format(path=path) + script, PromptAnswerer("never"))
    assert isinstance(launched, DialogueLaunch)
    waiting = asyncio.ensure_future(launched.wait())
    assert await soon(lambda: os.listdir(directory), 20)
    await asyncio.sleep(0.1)  # the helper has read by now what there is
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):  # a flood may be over already
        family.append(psutil.Process(launched._child.pid))
        family += family[0].children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        await end(launched)
    await soon(lambda: not any(map(alive, family)), 3)
    left = [process for process in family if alive(process)]
    for process in left:
        process.kill()
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await launched.end()
    launched.close()
    await asyncio.sleep(0)
    assert descriptors() <= before + 1
    return left


@pytest.mark.parametrize("end", [by_end, by_hanging_up, by_killing_the_helper])
@pytest.mark.parametrize("state", STATES)
async def test_nothing_is_left(
    state: str, end: Callable[[DialogueLaunch], Awaitable[None]], tmp_path: Path
) -> None:
    if state == "without a terminal" and end is by_killing_the_helper:
        pytest.skip("what has left the terminal hears nothing of its end; no ssh does that")
    assert await left_after(STATES[state], tmp_path, end) == []


@pytest.mark.parametrize("end", [by_end, by_hanging_up])
async def test_not_even_what_obeys_no_signal(
    end: Callable[[DialogueLaunch], Awaitable[None]], tmp_path: Path
) -> None:
    script = "signal.signal(15, signal.SIG_IGN); signal.signal(1, signal.SIG_IGN); mark(); pause()"
    assert await left_after(script, tmp_path, end) == []


@pytest.mark.parametrize("noise", ["", "\n    say('x' * 1000)"], ids=["quiet", "loud"])
async def test_declined_it_is_over_soon_whatever_ssh_makes_of_it(noise: str) -> None:
    script = f"""
    import signal
    signal.signal(15, signal.SIG_IGN)
    say("{PASSWORD}")
    while True:
        time.sleep(0.01){noise.replace(chr(10), chr(10) + "    ")}
    """
    async with asyncio.timeout(5):
        status, _ = await outcome(script, PromptAnswerer(None))
    assert status == -signal.SIGKILL


async def test_many_at_once_leave_nothing() -> None:
    before = descriptors()
    script = f'say("{PASSWORD}"); sys.exit(0 if hear() == "pw" else 9)'

    async def one() -> int:
        launched = start(script, PromptAnswerer("pw"))
        try:
            return await launched.wait()
        finally:
            await launched.end()
            launched.close()

    assert await asyncio.gather(*(one() for _ in range(6))) == [0] * 6
    assert psutil.Process().children(recursive=True) == []
    await asyncio.sleep(0)
    assert descriptors() <= before + 1


# What ssh gets of us


async def test_ssh_has_a_terminal_stderr_and_nothing_else() -> None:
    script = """
    names = [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)]
    more = [n for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]
    sys.stderr.write(f"{names[:2]} {names[2][:5]} {len(more)} {os.isatty(tty)}")
    sys.exit(3)
    """
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("read from /proc")
    _, text = await outcome(script, PromptAnswerer())
    assert re.fullmatch(r"\['/dev/null', 'pipe:\[\d+\]'\] pipe: 4 True", text)


async def test_ssh_ignores_no_signal_because_we_do() -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("read from /proc")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        shell = ["sh", "-c", "grep -E '^Sig(Ign|Blk)' /proc/self/status >&2; exit 3"]
        launched = launch_dialogue(shell, dict(os.environ), PromptAnswerer())
        assert await launched.wait() == 3
    finally:
        signal.signal(signal.SIGHUP, before)
    await launched.end()
    launched.close()
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in launched.stderr.splitlines()}
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTTOU, signal.SIGPIPE):
        assert not masks["SigIgn"] & (1 << (number - 1))
    assert masks["SigBlk"] == 0


async def test_no_secret_is_seen_from_outside(tmp_path: Path) -> None:
    script = f'say("{PASSWORD}"); hear(); open({str(tmp_path / "x")!r}, "w").close(); time.sleep(9)'
    launched = start(script, PromptAnswerer("hunter2-s3cret"))
    assert await soon(lambda: os.listdir(tmp_path), 20)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may be ending at this moment
            assert "hunter2" not in " ".join(process.cmdline())
        with contextlib.suppress(psutil.Error):
            assert "hunter2" not in repr(process.environ())
    assert "hunter2" not in repr(vars(launched))
    await launched.end()
    launched.close()
    assert "hunter2" not in launched.stderr


async def test_endless_stderr_is_no_obstacle() -> None:
    script = f"""
    for _ in range(100): sys.stderr.write("x" * 100_000)
    say("{PASSWORD}")
    sys.exit(0 if hear() == "pw" else 9)
    """
    status, text = await outcome(script, PromptAnswerer("pw"))
    assert status == 0
    assert len(text) == 64 * 1024


async def test_a_status_of_its_own_and_one_of_a_signal() -> None:
    assert (await outcome("sys.exit(255)", PromptAnswerer()))[0] == 255
    assert (await outcome("os.kill(os.getpid(), 9)", PromptAnswerer()))[0] == -9


# What gets through


@pytest.mark.parametrize(
    "answer",
    ["", " ", "pass word", "pass\tword", "pässwörd €", '"; $(x) `y` \\n', "x" * 1000, "€" * 333],
    ids=range(8),
)
@pytest.mark.parametrize("echo", [False, True])
async def test_an_answer_arrives_as_it_is(answer: str, echo: bool) -> None:
    answers = PromptAnswerer(answer, "after")
    script = f"""
    echo({echo})
    say("(ada@hpc) Code: ")
    first = hear()
    echo(False)
    say("{PASSWORD}")
    second = hear()
    sys.exit(0 if (first, second) == ({answer!r}, "after") else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [prompt.text for prompt in answers.asked] == ["(ada@hpc) Code: ", PASSWORD]


async def test_an_answer_that_is_no_text_is_never_sent_as_another() -> None:
    """A lone surrogate, as a password typed in another encoding may have: a wrong try costs."""
    script = f'say("{PASSWORD}"); sys.stderr.write(ascii(hear())); sys.exit(9)'
    _, text = await outcome(script, PromptAnswerer("p\udce4w"))
    assert text in ("", "''")


async def test_a_long_question_is_one() -> None:
    answers = PromptAnswerer("x")
    script = 'say("(ada@hpc) " + "word " * 4000 + "? "); sys.exit(0 if hear() == "x" else 9)'
    assert await outcome(script, answers) == (0, "")
    assert [(prompt.kind, len(prompt.text)) for prompt in answers.asked] == [("interactive", 20012)]


async def test_a_character_in_two_pieces() -> None:
    answers = PromptAnswerer("x")
    script = """
    question = "(ada@hpc) Größe ".encode()
    os.write(tty, question[:13]); time.sleep(0.02); os.write(tty, question[13:])
    sys.exit(0 if hear() == "x" else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [prompt.text for prompt in answers.asked] == ["(ada@hpc) Größe "]


async def test_bytes_that_are_no_text() -> None:
    answers = PromptAnswerer("x")
    script = r'os.write(tty, b"(ada@hpc) \xff\xfe? "); sys.exit(0 if hear() == "x" else 9)'
    assert await outcome(script, answers) == (0, "")
    assert [prompt.text for prompt in answers.asked] == ["(ada@hpc) \ufffd\ufffd? "]


@pytest.mark.parametrize(
    "text",
    [
        r"x\n" + PASSWORD,
        r"x\r" + PASSWORD,
        r"\x1b[2K" + PASSWORD,
        r"(eve@jump) x\r" + PASSWORD,
        r"(eve@jump) x\x1b[2K\n" + PASSWORD,
        r"words\nEnter passphrase for key '/k': ",
        r"words\n(ada@hpc) Password: ",
    ],
)
async def test_a_part_of_the_text_is_no_prompt(text: str) -> None:
    answers = PromptAnswerer(None)
    await outcome(f'say("{text}"); hear()', answers)
    assert [prompt.kind for prompt in answers.asked] == ["unknown"]


async def test_a_question_that_begins_with_a_name_is_that_hosts_to_the_end() -> None:
    answers = PromptAnswerer(None)
    await outcome(rf'say("(eve@jump) x\n{PASSWORD}"); hear()', answers)
    assert [(prompt.kind, prompt.who) for prompt in answers.asked] == [("interactive", "eve@jump")]


async def test_what_is_typed_is_gone_when_the_echo_comes_on_meanwhile() -> None:
    script = f"""
    say("{PASSWORD}")
    time.sleep(0.2)
    echo(True)
    sys.stderr.write(hear())
    """
    status, text = await outcome(script, Slow("pw", hidden=True))
    assert (status != 0, "pw" in text) == (True, False)


async def test_ssh_may_be_slow_to_switch_the_echo_off() -> None:
    answers = PromptAnswerer("pw", hidden=True)
    script = f"""
    echo(True)
    say("{PASSWORD}")
    time.sleep(0.3)
    echo(False)
    sys.exit(0 if hear() == "pw" else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [prompt.echo for prompt in answers.asked] == [False]


async def test_the_same_question_again_is_asked_again() -> None:
    answers = PromptAnswerer("wrong", "wrong", "right")
    script = f"""
    for _ in range(3):
        say("{PASSWORD}")
        if hear() == "right": sys.exit(0)
        say("\\n")
        sys.stderr.write("Permission denied, please try again.\\r\\n"); sys.stderr.flush()
    sys.exit(9)
    """
    status, text = await outcome(script, answers)
    assert (status, len(answers.asked)) == (0, 3)
    assert text.count("denied") == 2


async def test_a_touch_is_announced_whole_however_it_comes() -> None:
    """After an answer the terminal shows an empty line first."""
    answers = PromptAnswerer("1234")
    script = r"""
    say("\nConfirm user presence for key ED25519-SK SH")
    time.sleep(0.2)
    say("A256:x\n")
    time.sleep(0.2)
    say("Enter PIN for ED25519-SK key /k: ")
    sys.exit(0 if hear() == "1234" else 9)
    """
    status, _ = await outcome(script, answers)
    assert answers.noticed == ["Confirm user presence for key ED25519-SK SHA256:x\n"]
    assert [prompt.kind for prompt in answers.asked] == ["fido-pin"]
    assert status == 0


async def test_a_touch_is_over_when_ssh_asks_something() -> None:
    ended = asyncio.Event()

    class Touched(PromptAnswerer):
        async def notice(self, prompt: Prompt) -> None:
            try:
                await super().notice(prompt)
            finally:
                ended.set()

    answers = Touched("pw")
    script = f"""
    say("Confirm user presence for key X\\n")
    time.sleep(0.3)
    say("{PASSWORD}")
    sys.exit(0 if hear() == "pw" else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert ended.is_set()
    assert len(answers.noticed) == 1


@pytest.mark.parametrize("error", [RuntimeError("x"), asyncio.CancelledError()])
async def test_whatever_the_answerer_does_ssh_is_ended(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(PromptAnswerer):
        async def answer(self, prompt: Prompt) -> Answer | None:
            raise error

    async with asyncio.timeout(10):
        status, _ = await outcome(f'say("{PASSWORD}"); hear()', Broken())
    assert status != 0
    assert ("failed" in caplog.text) is isinstance(error, RuntimeError)


async def test_nothing_is_typed_after_a_refusal() -> None:
    """The answer is on its way while the terminal changes."""
    script = f"""
    import signal
    signal.signal(15, signal.SIG_IGN)
    say("{PASSWORD}")
    time.sleep(0.2)
    say("x")
    sys.stderr.write(hear())
    """
    answers = Slow("pw")
    status, text = await outcome(script, answers)
    assert (status != 0, text) == (True, "")
    assert answers.refusals == ["the terminal changed while it was asked"]


def test_the_answer_does_not_show() -> None:
    assert "hunter2" not in repr(Answer(Secret("hunter2"), hidden=True))


def test_the_module_is_cheap() -> None:
    """It is imported anew for each log-in: nothing of the package that it does not need."""
    import subprocess

    code = (
        "import sys, sshmux.openssh.askpass.helper; "
        "print('asyncio' in sys.modules, len(sys.modules))"
    )
    path = [entry for entry in sys.path if entry]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    assert said.stdout.split()[0] == b"False"
