"""What is asked of a scheduler that fails, hangs, or tells without end: real shells, real commands.

The jobs' own files are told in each case.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sshmux.runner import scripts
from sshmux.runner.dialects.shell import Shell
from sshmux.runner.journal import Look, parse_look
from sshmux.runner.submission import Submitted, next_step

from ...support import nap, sleepers, until

TOKEN = "smaaaaaaaaaaaa"
NONCE = "0123456789abcdef"
SHELLS = [
    words
    for words in (["dash"], ["bash", "--posix"], ["ksh"], ["busybox", "sh"])
    if shutil.which(words[0])
]


def place(directory: Path) -> str:
    (directory / TOKEN).mkdir()
    (directory / TOKEN / "owner").write_text("7\n")
    return str(directory)


def looked(shell: list[str], directory: Path, command: str, *, limit: int = 20) -> Look:
    text = scripts.look(place(directory), NONCE, [TOKEN], queue=["sh", "-c", command])
    text = text.replace("timeout -k 5 60", f"timeout -k 5 {limit}")
    done = subprocess.run(
        [*shell, "-s"], input=text.encode(), stdout=subprocess.PIPE, timeout=60, check=False
    )
    assert len(done.stdout) < 25 * 1024 * 1024
    return parse_look(done.stdout.decode("utf-8", "replace"), NONCE)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("command", "told"),
    {
        "well": ("echo a row", "a row"),
        "without the end of its last line": ("printf 'a row'", "a row"),
        "nothing": ("true", ""),
        "failing": ("echo a row; exit 3", None),
        "ended by a signal": ("echo a row; kill -9 $$", None),
        "not there": ("exec /no/such/qstat", None),
        "control characters": (r"printf 'a row\033]0;x\007\000\377\r\n'", "a row"),
        "the words that follow it": (f"echo '=queue {NONCE}x 0'; echo a row", "a row"),
    }.values(),
)
def test_answers(shell: list[str], command: str, told: str | None, tmp_path: Path) -> None:
    look = looked(shell, tmp_path, command)
    assert look.complete
    assert look.jobs[TOKEN].owner == "7"
    assert (look.queue is None) is (told is None)
    assert told is None or told in (look.queue or "")


def test_an_answer_without_end_is_a_failure(tmp_path: Path) -> None:
    look = looked(["sh"], tmp_path, "yes a row")
    assert look.complete
    assert look.queue is None
    assert look.jobs[TOKEN].owner == "7"


async def test_a_scheduler_that_hangs_is_ended_with_all_that_it_began(tmp_path: Path) -> None:
    seconds = nap()
    look = looked(["sh"], tmp_path, f"echo a row; sleep {seconds}; :", limit=1)
    assert look.complete
    assert look.queue is None
    assert look.jobs[TOKEN].owner == "7"
    await until(lambda: not sleepers(seconds))


async def test_who_ends_the_script_ends_what_it_asks(tmp_path: Path) -> None:
    seconds = nap()
    text = scripts.look(place(tmp_path), NONCE, [TOKEN], queue=["sh", "-c", f"sleep {seconds}; :"])
    script = tmp_path / "script"
    script.write_text(text)
    running = subprocess.Popen(["sh", script], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        await until(lambda: sleepers(seconds))
        os.killpg(running.pid, signal.SIGTERM)
        await until(lambda: not sleepers(seconds))
    finally:
        running.wait(20)


def test_many_lines_before_the_id_do_not_hide_it(tmp_path: Path) -> None:
    """Sites print greetings; the id comes last."""
    text = scripts.look(place(tmp_path), NONCE, [TOKEN])
    job = tmp_path / TOKEN
    (job / "owner").unlink()
    (job / "submit.rc").write_text("0 1700000000\n")
    (job / "submit.out").write_text("a greeting\n" * 2000 + "24\n")
    (job / "submit.err").write_text("x" * 1_000_000)
    done = subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True, check=False)
    assert len(done.stdout) < 20_000
    assert parse_look(done.stdout, NONCE).jobs[TOKEN].submit_out[-1] == "24"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("when", ["lock", "rc", "meta", "now"])
def test_a_job_that_takes_its_lock_while_it_is_looked_at(
    shell: list[str], when: str, tmp_path: Path
) -> None:
    """Either the lock or the submit command's answer is told, whenever that happens."""
    job = tmp_path / TOKEN
    (job / "submit.lock").mkdir(parents=True)
    (job / "submit.lock" / "at").write_text("100\n")
    (job / "submit.rc").write_text("0 101\n")
    (job / "submit.out").write_text("4711\n")
    (job / "meta").write_text("{}\n")
    # The job's own part of it, at the moment when that line is told.
    between = f"""\
echo() {{ command echo "$@"; case $1 in {when}*) command echo 4711 >owner ;; esac; }}
printf() {{ command printf "$@"; case "$1 $2" in *" {when}"|{when}*) command echo 4711 >owner ;;
esac; }}
"""
    text = between + scripts.look(str(tmp_path), NONCE, [TOKEN])
    done = subprocess.run(
        [*shell, "-s"], input=text.encode(), stdout=subprocess.PIPE, timeout=60, check=False
    )
    files = parse_look(done.stdout.decode(), NONCE).jobs[TOKEN]
    assert (job / "owner").exists()
    assert next_step(files, None, Shell(), now=0.0) == Submitted("4711")
