"""What a finished command leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from sshmux.errors import ProcessError, ProcessTimeout
from sshmux.session.completed import CompletedProcess, shown, timed_out


def test_the_fields_of_asyncssh() -> None:
    done = CompletedProcess("ls", 2, "out", "err", {"A": "b"})
    assert (done.command, done.exit_status, done.returncode) == ("ls", 2, 2)
    assert (done.stdout, done.stderr, done.env) == ("out", "err", {"A": "b"})
    assert (done.exit_signal, done.subsystem) == (None, None)


def test_success_is_no_error() -> None:
    CompletedProcess("ls", 0, "", "warning").check_returncode()


@pytest.mark.parametrize("stderr", ["first\nno such file\n", b"first\nno such file\n"])
def test_the_error_names_command_status_and_last_words(stderr: str | bytes) -> None:
    done = CompletedProcess("ls x", 2, "out", stderr, {"A": "b"})
    with pytest.raises(ProcessError) as caught:
        done.check_returncode()
    error = caught.value
    assert str(error) == "'ls x' failed with exit status 2: no such file"
    assert (error.command, error.exit_status, error.returncode) == ("ls x", 2, 2)
    assert (error.stdout, error.stderr, error.env) == ("out", stderr, {"A": "b"})


def test_an_error_without_words() -> None:
    assert str(CompletedProcess("false", 1, "", "").error()) == "'false' failed with exit status 1"


def test_a_timeout_has_what_was_written() -> None:
    error = timed_out("sleep 9", 1.5, "out", "err", fate="ended")
    assert isinstance(error, ProcessTimeout)
    assert isinstance(error, asyncio.TimeoutError)
    assert "'sleep 9' ran longer than timeout=1.5 s" in str(error)
    assert (error.command, error.stdout, error.stderr) == ("sleep 9", "out", "err")
    assert error.exit_status is None


def test_what_became_of_it_is_said_as_it_was_seen() -> None:
    fates = ("unsent", "unknown", "ended", "finished", "running")
    words = {fate: str(timed_out("sleep 9", 1.5, "", "", fate=fate)) for fate in fates}
    assert len(set(words.values())) == len(fates)
    assert "was not begun within timeout=1.5 s; it was not sent" in words["unsent"]
    assert "may still run on the remote" in words["unknown"]
    assert "ended on the remote" in words["ended"]
    assert "by itself" in words["finished"]
    assert all("ended on the remote" not in words[fate] for fate in fates if fate != "ended")


def test_a_long_command_is_cut() -> None:
    assert shown("a\n  b") == "'a b'"
    assert len(shown("x" * 500)) == 82
    assert shown("x" * 500).endswith("…'")
