"""The askpass, with a script in the place of ssh that says on its terminal what no ssh would.

(Real ssh is behind it in the live tests; here it is about pieces, noise, and ends.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from sshmux.openssh.askpass.dialogue import Answer, Source, launch_dialogue
from sshmux.openssh.askpass.launch import Launch
from sshmux.openssh.askpass.prompts import Prompt
from sshmux.system.secret import Secret

START = """
import os, sys, termios, time
tty = os.open("/dev/tty", os.O_RDWR)
def echo(on):
    flags = termios.tcgetattr(tty)
    flags[3] = flags[3] | termios.ECHO if on else flags[3] & ~termios.ECHO
    termios.tcsetattr(tty, termios.TCSANOW, flags)
def say(text): os.write(tty, text.encode())
def hear(): return os.read(tty, 4096).decode().rstrip("\\n")
echo(False)
"""


class PromptAnswerer:
    """An answerer that gives what a test says."""

    def __init__(self, *answers: str | None, named: bool = True, hidden: bool = False) -> None:
        self.named = named
        self.somebody = True
        self.given: set[Source] = set()
        self.unanswered: Prompt | None = None
        self.why = ""
        self.trouble: BaseException | None = None
        self.asked: list[Prompt] = []
        self.noticed: list[str] = []
        self.refusals: list[str] = []
        self.hidden = hidden
        self._answers = list(answers)

    async def answer(self, prompt: Prompt) -> Answer | None:
        self.asked.append(prompt)
        answer = self._answers.pop(0) if self._answers else None
        if answer == "never":
            await asyncio.sleep(3600)
        return None if answer is None else Answer(Secret(answer), hidden=self.hidden)

    async def notice(self, prompt: Prompt) -> None:
        self.noticed.append(prompt.text)
        await asyncio.sleep(3600)

    def refused(self, prompt: Prompt) -> None:
        self.refusals.append(prompt.text)


def start(script: str, answers: PromptAnswerer) -> Launch:
    code = START + textwrap.dedent(script)
    return launch_dialogue([sys.executable, "-c", code], dict(os.environ), answers)


async def outcome(script: str, answers: PromptAnswerer) -> tuple[int, str]:
    """The script's status and stderr; nothing of it is left."""
    descriptors = len(os.listdir("/dev/fd"))
    launched = start(script, answers)
    try:
        async with asyncio.timeout(20):
            status = await launched.wait()
        text = launched.stderr
    finally:
        await launched.end()
        launched.close()
    assert psutil.Process().children(recursive=True) == []
    await asyncio.sleep(0)
    assert len(os.listdir("/dev/fd")) <= descriptors + 1
    return status, text


async def test_one_question() -> None:
    answers = PromptAnswerer("pw")
    script = """
    say("ada@hpc's password: ")
    sys.exit(0 if hear() == "pw" else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [(p.kind, p.echo) for p in answers.asked] == [("password", False)]


async def test_a_prompt_in_pieces_is_one() -> None:
    answers = PromptAnswerer("pw", "1")
    script = """
    for piece in ("ada@", "hpc's pass", "word: "):
        say(piece); time.sleep(0.2)
    first = hear()
    for piece in ("(ada@hpc) Pass", "code or opt", "ion (1-3): "):
        say(piece); time.sleep(0.01)
    second = hear()
    sys.exit(0 if (first, second) == ("pw", "1") else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [p.kind for p in answers.asked] == ["password", "menu"]


async def test_echo_is_seen_and_is_no_text_of_the_next_question() -> None:
    answers = PromptAnswerer("1", "pw")
    script = """
    echo(True)
    say("(ada@hpc) Option (1-2): ")
    hear()
    echo(False)
    say("(ada@hpc) Password: ")
    sys.exit(0 if hear() == "pw" else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [(p.kind, p.echo) for p in answers.asked] == [("menu", True), ("password", False)]


async def test_a_secret_is_never_typed_into_an_echo() -> None:
    answers = PromptAnswerer("pw", hidden=True)
    script = """
    echo(True)
    say("ada@hpc's password: ")
    sys.stderr.write(repr(hear()))
    """
    status, text = await outcome(script, answers)
    assert status != 0
    assert "pw" not in text


async def test_nobody_answers() -> None:
    answers = PromptAnswerer(None)
    script = """
    say("ada@hpc's password: ")
    sys.stderr.write(hear())
    """
    status, text = await outcome(script, answers)
    assert (status != 0, text) == (True, "")


@pytest.mark.parametrize(
    "script",
    [
        'say("x" * 200_000); hear()',
        'while True: say("line\\n")',
        'while True: say("x")',
    ],
)
async def test_endless_output_is_refused(script: str) -> None:
    answers = PromptAnswerer("pw")
    status, _ = await outcome(script, answers)
    assert status != 0
    assert answers.refusals == ["endless output on the terminal"]
    assert answers.asked == []


async def test_a_terminal_that_changes_while_it_is_asked() -> None:
    answers = PromptAnswerer("never")
    script = """
    say("ada@hpc's password: ")
    time.sleep(0.3)
    say("root@elsewhere's password: ")
    sys.stderr.write(hear())
    """
    status, text = await outcome(script, answers)
    assert (status != 0, text) == (True, "")
    assert answers.refusals == ["the terminal changed while it was asked"]


async def test_unknown_text_is_asked_about_after_a_silence() -> None:
    answers = PromptAnswerer(None)
    assert (await outcome('say("who goes there "); hear()', answers))[0] != 0
    assert [(p.kind, p.text) for p in answers.asked] == [("unknown", "who goes there")]


async def test_a_question_that_ends_in_a_newline() -> None:
    answers = PromptAnswerer("123456")
    script = """
    say("(ada@hpc) Code\\n")
    sys.exit(0 if hear() == "123456" else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [p.text for p in answers.asked] == ["(ada@hpc) Code\n"]


async def test_words_on_the_terminal_want_no_answer() -> None:
    answers = PromptAnswerer()
    script = """
    say("Connecting ...\\n")
    time.sleep(1.5)
    """
    assert await outcome(script, answers) == (0, "")
    assert answers.asked == []


async def test_a_touch_that_is_over_already_is_not_in_the_way() -> None:
    answers = PromptAnswerer("1234")
    script = """
    say("Confirm user presence for key ED25519-SK SHA256:x\\nEnter PIN for ED25519-SK key /k: ")
    sys.exit(0 if hear() == "1234" else 9)
    """
    assert await outcome(script, answers) == (0, "")
    assert [p.kind for p in answers.asked] == ["fido-pin"]


async def test_a_touch_is_announced() -> None:
    answers = PromptAnswerer()
    script = """
    say("Confirm user presence for key ED25519-SK SHA256:x\\n")
    time.sleep(0.3)
    """
    assert await outcome(script, answers) == (0, "")
    assert answers.noticed == ["Confirm user presence for key ED25519-SK SHA256:x\n"]


async def test_it_ends_while_somebody_is_asked() -> None:
    answers = PromptAnswerer("never")
    script = """
    say("ada@hpc's password: ")
    time.sleep(0.3)
    sys.stderr.write("gone"); sys.exit(7)
    """
    assert await outcome(script, answers) == (7, "gone")


async def test_stdout_and_stderr_are_not_the_terminal() -> None:
    answers = PromptAnswerer("pw")
    script = """
    sys.stderr.write("ada@hpc's password: "); sys.stderr.flush()
    print("root@hpc's password: ", flush=True)
    time.sleep(0.3)
    say("ada@hpc's password: ")
    sys.exit(0 if hear() == "pw" else 9)
    """
    assert await outcome(script, answers) == (0, "ada@hpc's password: ")
    assert len(answers.asked) == 1


@pytest.mark.parametrize("when", ["asking", "silent", "flooding"])
async def test_ending_it(when: str) -> None:
    script = {
        "asking": 'say("ada@hpc\'s password: "); hear()',
        "silent": "time.sleep(3600)",
        "flooding": 'while True: say("(ada@hpc) " + "x" * 1000)',
    }[when]
    answers = PromptAnswerer("never")
    launched = start(script, answers)
    waiting = asyncio.ensure_future(launched.wait())
    await asyncio.sleep(0.5)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await launched.end()
    launched.close()
    _, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=5)
    assert alive == []


async def test_what_ssh_started_lives_on_after_a_log_in(tmp_path: Path) -> None:
    """A ProxyCommand that obeys SIGHUP, as `ssh -S` does: the terminal's end must not reach it."""
    script = f"""
    if os.fork() == 0:
        import signal
        signal.signal(signal.SIGHUP, lambda *_: os._exit(1))
        open({str(tmp_path / "new")!r}, "w").write(str(os.getpid()))
        os.rename({str(tmp_path / "new")!r}, {str(tmp_path / "pid")!r})
        time.sleep(3600)  # with the terminal open, too
    while not os.path.exists({str(tmp_path / "pid")!r}): time.sleep(0.01)
    say("ada@hpc's password: ")
    sys.exit(0 if hear() == "pw" else 9)
    """
    launched = start(script, PromptAnswerer("pw"))
    assert await launched.wait() == 0
    launched.close()
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    await asyncio.sleep(0.5)  # what has to be seen is that nothing happens
    assert child.is_running()
    assert child.status() != psutil.STATUS_ZOMBIE
    child.kill()


async def test_an_ssh_that_names_nobody() -> None:
    answers = PromptAnswerer("pw", named=False)
    script = 'say("Password: "); sys.exit(0 if hear() == "pw" else 9)'
    assert await outcome(script, answers) == (0, "")
    assert [(p.kind, p.who) for p in answers.asked] == [("password", "")]
