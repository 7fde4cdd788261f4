"""What the remote login shell is sent, tried on the real shells of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sshmux.errors import ConfigError
from sshmux.openssh.remote import (
    Preamble,
    Shell,
    command_line,
    end_groups,
    needs_shell,
    quote,
    shell_family,
)

FAMILY: dict[str, Shell] = {
    "sh": "posix",
    "bash": "posix",
    "dash": "posix",
    "zsh": "posix",
    "tcsh": "csh",
    "fish": "fish",
}
SHELLS = [
    pytest.param(
        name,
        id=name,
        marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"),
    )
    for name in FAMILY
]
PRINT = "/usr/bin/printf"
WORDS = r"'%s\000'"  # printf's format for words that may hold anything but NUL


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home without start-up files, which fish fills with its own."""
    return tmp_path_factory.mktemp("home")


def environment(home: Path, locale: str = "C.UTF-8") -> dict[str, str]:
    return {"HOME": os.fspath(home), "PATH": os.environ["PATH"], "LC_ALL": locale}


def run(
    shell: str, line: str, home: Path, locale: str = "C.UTF-8", **more: str
) -> subprocess.CompletedProcess[bytes]:
    """As sshd does it: the login shell with -c."""
    return subprocess.run(
        [shutil.which(shell) or shell, "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(home, locale) | more,
        cwd=home,
        timeout=30,
        check=False,
    )


def printed(shell: str, words: list[str], home: Path, locale: str) -> list[str]:
    line = " ".join([PRINT, WORDS, *(quote(word, FAMILY[shell]) for word in words)])
    done = run(shell, line, home, locale)
    assert done.stderr == b""
    return [part.decode() for part in done.stdout.split(b"\0")[:-1]]


TRICKY = [
    "",
    " ",
    "'",
    "''",
    '"',
    "\\",
    "\\\\",
    "\\'",
    "'\\",
    "\\n",
    "!",
    "!!",
    "a!b",
    "'!'",
    "\\!",
    "$HOME",
    "${HOME}",
    "$(echo x)",
    "`echo x`",
    "~",
    "~root",
    "~/x",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "#",
    "#x",
    "a#b",
    ";",
    "&",
    "|",
    "<",
    ">",
    "(",
    ")",
    "^",
    "^x",
    "-n",
    "--",
    "=ls",
    "=",
    "==",
    "=sh",
    "a=b",
    "%self",
    "%1",
    "%",
    "@",
    ":",
    "\n",
    "a\nb",
    "\n\n",
    "\\\n",
    "'\n'",
    "\n'",
    "\n!",
    "!\n",
    "a\\\nb",
    "\r",
    "\r\n",
    "\t",
    "\x01",
    "\x1b[31m",
    "\x7f",
    "é",
    "日本",
    "😀",
    "\x80",
    "\xa0",
    "\u2028",
    "\ufeff",
    "a\u0301",
]
ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
HOSTILE = st.text(st.sampled_from("\\'\"!$`\n\r \t*?[]{}~#;&|<>()^=%@:-aé😀"), max_size=12)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_quote_on_words_that_mean_something_to_some_shell(
    shell: str, locale: str, home: Path
) -> None:
    assert printed(shell, TRICKY, home, locale) == TRICKY


@pytest.mark.parametrize("shell", SHELLS)
def test_quote_on_every_character_below_128(shell: str, home: Path) -> None:
    words = [
        f"{before}{chr(code)}{after}" for code in range(1, 128) for before, after in ("  ", "xy")
    ]
    words += [chr(code) for code in range(1, 128)]
    assert printed(shell, words, home, "C") == words


@pytest.mark.parametrize("shell", SHELLS)
def test_quote_on_any_text(shell: str, home: Path) -> None:
    # A batch per example: starting a shell costs more than the words do.
    @settings(max_examples=25)
    @given(st.lists(ANY_TEXT | HOSTILE, min_size=30, max_size=60))
    def check(words: list[str]) -> None:
        assert printed(shell, words, home, "C.UTF-8") == words

    check()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_quoted_first_word_is_a_command_and_never_an_assignment(shell: str, home: Path) -> None:
    """`FOO=bar` as the program's name is a program that does not exist, in every shell."""
    line = command_line(["FOO=bar", "/bin/echo", "ran"], shell=FAMILY[shell])
    done = run(shell, line, home)
    assert (done.stdout, done.returncode) == (b"", 127 if FAMILY[shell] != "csh" else 1)


def test_quote_leaves_plain_words_readable() -> None:
    assert quote("/usr/bin/ls") == "/usr/bin/ls"
    assert quote("ada@hpc:2") == "ada@hpc:2"
    assert quote("") == "''"
    assert quote("it's") == r"'it'\''s'"


# Lines


def test_a_str_goes_as_it_is() -> None:
    for shell in ("unknown", "posix", "csh", "fish", "none"):
        assert command_line("ls *; echo $HOME", shell=shell) == "ls *; echo $HOME"


@pytest.mark.parametrize("command", ["", "  ", "\n", []])
def test_an_empty_command_is_refused(command: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="empty"):
        command_line(command)


def test_nul_is_refused_wherever_it_stands() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        command_line("ls \0")
    with pytest.raises(ConfigError, match="NUL"):
        command_line(["ls", "\0"])
    with pytest.raises(ConfigError, match="NUL"):
        command_line("ls", cwd="a\0")
    with pytest.raises(ConfigError, match="NUL"):
        command_line("ls", env={"A": "\0"})


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=", "A;ls", "A\n", "Ä", "A-B", "$A", 5])
def test_a_bad_variable_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="environment name"):
        command_line("ls", env={name: "x"})


def test_values_and_words_must_be_str() -> None:
    with pytest.raises(ConfigError, match="environment value of A"):
        command_line("ls", env={"A": 5})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="holds str only"):
        command_line(["ls", 5])  # type: ignore[list-item]


def test_the_login_shell_must_be_known_only_where_it_matters() -> None:
    assert not needs_shell("ls\nls", None)
    assert not needs_shell(["ls", "a b"], {})
    assert needs_shell(["ls", "a\nb"], None)
    assert needs_shell("ls", {"A": "b"})


VALUES = ["a b", "'", "=ls", "", "x\ny", "~", "$HOME", "é!", "\\"]


@pytest.mark.parametrize("shell", SHELLS)
def test_env_arrives(shell: str, home: Path) -> None:
    env = {f"SSHMUX_{number}": value for number, value in enumerate(VALUES)}
    line = command_line("/usr/bin/env -0", shell=FAMILY[shell], env=env)
    done = run(shell, line, home)
    assert done.stderr == b""
    arrived = dict(item.decode().split("=", 1) for item in done.stdout.split(b"\0")[:-1])
    assert {name: arrived.get(name) for name in env} == env


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["a b", "-x", "--", "-", "+1", "it's", "$HOME", "new\nline", "~x"])
def test_cwd_is_changed_to(shell: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    line = command_line("/bin/pwd -P", shell=FAMILY[shell], cwd=name)
    done = run(shell, line, tmp_path)
    assert (done.stdout.decode(), done.stderr, done.returncode) == (f"{tmp_path / name}\n", b"", 0)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_relative_cwd_is_not_looked_for_along_cdpath(shell: str, tmp_path: Path) -> None:
    """`cd` would print the directory it found, into the command's output."""
    (tmp_path / "other" / "src").mkdir(parents=True)
    (tmp_path / "src").mkdir()
    line = command_line("/bin/pwd -P", shell=FAMILY[shell], cwd="src")
    done = run(shell, line, tmp_path, CDPATH=f"{tmp_path}/other:.")
    assert done.stdout.decode() == f"{tmp_path / 'src'}\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_cwd_that_is_missing_ends_the_command_with_1(shell: str, home: Path) -> None:
    line = command_line("echo ran", shell=FAMILY[shell], cwd="/no/such/directory")
    done = run(shell, line, home)
    assert (done.stdout, done.returncode) == (b"", 1)


@pytest.mark.parametrize("shell", SHELLS)
def test_env_and_cwd_together_with_the_announcement(shell: str, home: Path) -> None:
    for known in ("unknown", FAMILY[shell]):
        preamble = Preamble(known)
        line = command_line("echo $A; exit 7", shell=FAMILY[shell], env={"A": "b c"}, cwd="/")
        done = run(shell, preamble.wrap(line), home, SHELL=f"/bin/{shell}")
        assert (done.stdout, done.returncode) == (b"b c\n", 7)
        assert preamble.feed(done.stderr) + preamble.flush() == b""
        assert preamble.pid is not None
        assert preamble.shell == FAMILY[shell]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_announced_pid_is_the_login_shells_own(shell: str, home: Path) -> None:
    for known in ("unknown", FAMILY[shell]):
        preamble = Preamble(known)
        with subprocess.Popen(
            [shutil.which(shell) or shell, "-c", preamble.wrap("exit 3")],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(home) | {"SHELL": f"/bin/{shell}"},
        ) as process:
            assert process.stderr
            assert preamble.feed(process.stderr.read()) == b""
        assert preamble.pid == process.pid
        assert process.returncode == 3


# Families


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/bin/bash", "posix"),
        ("/usr/bin/zsh", "posix"),
        ("dash", "posix"),
        ("/bin/tcsh", "csh"),
        ("/usr/local/bin/fish", "fish"),
        ("/usr/bin/nu", "unknown"),
        ("", "unknown"),
        ("/bin/bash/", "unknown"),
    ],
)
def test_shell_family(path: str, family: Shell) -> None:
    assert shell_family(path) == family


# The announcement


def announcement(preamble: Preamble, what: str = "4711") -> bytes:
    return f"{preamble.wrap('x').split('sshmux-')[1].split(' ')[0]} {what}\n".join(
        ["sshmux-", ""]
    ).encode()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


def pieces_through(preamble: Preamble, pieces: list[bytes]) -> bytes:
    return b"".join(preamble.feed(piece) for piece in pieces) + preamble.flush()


NOISE = st.binary(max_size=40) | st.sampled_from(
    [b"sshmux-", b"sshmux-sshmux-", b"Last login: now\r\n", b"+ echo ", b"s", b"\n", b"ssh"]
)
PLACES = st.lists(st.integers(0, 200), max_size=30)


@given(before=NOISE, after=NOISE, places=PLACES, crlf=st.booleans(), shell=st.booleans())
@example(before=b"sshmux-", after=b"", places=list(range(60)), crlf=True, shell=True)
def test_any_split_gives_the_same(
    before: bytes, after: bytes, places: list[int], crlf: bool, shell: bool
) -> None:
    preamble = Preamble("unknown" if shell else "posix")
    said = announcement(preamble, "4711 /bin/zsh" if shell else "4711")
    said = said.replace(b"\n", b"\r\n") if crlf else said
    assert pieces_through(preamble, cut(before + said + after, places)) == before + after
    assert preamble.pid == 4711
    assert preamble.shell == "posix"


@given(data=st.binary(max_size=300), places=PLACES)
def test_without_an_announcement_everything_passes(data: bytes, places: list[int]) -> None:
    preamble = Preamble("posix")
    assert pieces_through(preamble, cut(data, places)) == data
    assert preamble.pid is None


@given(length=st.integers(0, 24), places=PLACES)
def test_an_announcement_cut_by_the_end_belongs_to_the_caller(
    length: int, places: list[int]
) -> None:
    preamble = Preamble("posix")
    data = announcement(preamble)[:length]
    assert not data.endswith(b"\n")
    assert pieces_through(preamble, cut(data, places)) == data
    assert preamble.pid is None


def test_output_is_not_held_back_once_the_announcement_was_seen() -> None:
    preamble = Preamble("posix")
    said = announcement(preamble)
    assert preamble.feed(b"noise\n" + said + b"warning: s") == b"noise\nwarning: s"
    assert preamble.feed(said) == said  # a second one is the command's own


def test_noise_is_passed_on_as_it_comes() -> None:
    preamble = Preamble("posix")
    assert preamble.feed(b"a line\n") == b"a line\n"
    assert preamble.feed(b"and ss") == b"and "
    assert preamble.feed(b"o") == b"sso"


def test_huge_noise_is_passed_on_and_searched_no_more() -> None:
    preamble = Preamble("posix")
    noise = b"x" * 65536
    out = b"".join(preamble.feed(noise) for _ in range(5))
    assert out == noise * 5
    said = announcement(preamble)
    assert preamble.feed(said) == said
    assert preamble.pid is None


def test_an_echoed_command_line_does_not_hold_stderr_back_for_ever() -> None:
    """`set verbose` shows the token in a line that is no announcement, and none may follow."""
    preamble = Preamble("csh")
    echoed = preamble.wrap("true").encode() + b"\n"
    noise = b"y" * 65536
    out = preamble.feed(echoed) + b"".join(preamble.feed(noise) for _ in range(6))
    assert len(out) > 256 * 1024
    assert (echoed + noise * 6).startswith(out)


def test_an_echoed_command_line_is_told_from_the_announcement() -> None:
    preamble = Preamble("csh")
    echoed = preamble.wrap("true").encode() + b"\n"
    assert preamble.feed(echoed + announcement(preamble, "4711 /bin/tcsh")) == echoed
    assert preamble.pid == 4711


@pytest.mark.parametrize("pid", ["0", "1", "00", "01", "-5", "99999999999", "abc", ""])
def test_a_pid_that_must_not_be_signalled_is_never_accepted(pid: str) -> None:
    preamble = Preamble("posix")
    preamble.feed(announcement(preamble, pid))
    preamble.flush()
    assert preamble.pid is None


def test_another_commands_announcement_is_not_ours() -> None:
    preamble = Preamble("posix")
    said = announcement(Preamble("posix"))
    assert preamble.feed(said) + preamble.flush() == said
    assert preamble.pid is None


def test_without_a_shell_nothing_is_announced_nor_searched() -> None:
    preamble = Preamble("none")
    assert preamble.wrap("show version") == "show version"
    assert preamble.feed(b"sshmux-") == b"sshmux-"
    assert preamble.shell == "none"


def test_a_family_never_heard_of_stays_unknown() -> None:
    preamble = Preamble("unknown")
    preamble.feed(announcement(preamble, "4711 /usr/bin/nu"))
    assert (preamble.pid, preamble.shell) == (4711, "unknown")


def test_a_family_that_was_given_is_not_overruled() -> None:
    preamble = Preamble("csh")
    preamble.feed(announcement(preamble, "4711 /bin/bash"))
    assert preamble.shell == "csh"


# Ending

_READY = "import signal,sys,time\n{}\nprint('ready', flush=True)\nwhile True: time.sleep(60)"
_STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def group(code: str = "") -> subprocess.Popen[bytes]:
    """A process group as sshd makes one: a shell, a session of its own, and a child that works."""
    process = subprocess.Popen(
        ["sh", "-c", '"$0" -c "$1"; exit 9', sys.executable, _READY.format(code)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


def gone(pid: int) -> bool:
    """Whether nothing but zombies is left of a group."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pgid=", "-o", "stat="], capture_output=True, text=True, check=True
    ).stdout
    members = [line.split() for line in listed.splitlines()]
    return not any(group == str(pid) and not stat.startswith("Z") for group, stat in members)


def clean_up(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_groups_end_and_others_live(shell: str, home: Path) -> None:
    one, two, other = group(), group(), group()
    try:
        done = run(shell, end_groups([one.pid, two.pid]), home)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert gone(one.pid)
        assert gone(two.pid)
        assert other.poll() is None
        assert not gone(other.pid)
    finally:
        clean_up(one, two, other)


def test_a_group_that_ignores_sigterm_is_killed_by_every_shell(home: Path) -> None:
    shells = [name for name in FAMILY if shutil.which(name)]
    stubborn = {name: group(_STUBBORN) for name in shells}
    other = group()
    try:
        # All at once: each takes the two seconds of patience that it promises.
        enders = [
            subprocess.Popen(
                [shutil.which(name) or name, "-c", end_groups([process.pid])],
                stdin=subprocess.DEVNULL,
                env=environment(home),
            )
            for name, process in stubborn.items()
        ]
        assert [ender.wait(20) for ender in enders] == [0] * len(enders)
        assert {name: gone(process.pid) for name, process in stubborn.items()} == dict.fromkeys(
            shells, True
        )
        assert not gone(other.pid)
    finally:
        clean_up(other, *stubborn.values())


def test_a_stopped_group_ends(home: Path) -> None:
    process = group()
    try:
        os.killpg(process.pid, signal.SIGSTOP)
        assert run("sh", end_groups([process.pid]), home).returncode == 0
        assert process.wait(10) == -signal.SIGTERM  # it was continued, and could tidy up
    finally:
        clean_up(process)


def test_a_group_that_is_gone_already_is_a_success(home: Path) -> None:
    process = group()
    clean_up(process)
    assert run("sh", end_groups([process.pid]), home).returncode == 0
