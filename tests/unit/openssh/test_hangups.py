"""Each way in which a server closes or keeps silent has its own advice."""

from __future__ import annotations

import pytest

from sshmux import errors
from sshmux.config import ConnectionConfig
from sshmux.openssh import hangups
from sshmux.openssh.diagnostics import closed_at_once, diagnose, through, timed_out

HPC = ConnectionConfig("ada@hpc.example.org")
NO_VERSION = "kex_exchange_identification: Connection closed by remote host\r\n"
CLOSED = "Connection closed by 192.0.2.7 port 22\r\n"
INVALID = "banner exchange: Connection to 192.0.2.7 port 22: invalid format\r\n"

# What ssh logs (9.2), where answers came from, what is said, and whether it may pass.
CASES: dict[str, tuple[str, tuple[str, ...], str, bool]] = {
    "before the version": (f"{NO_VERSION}{CLOSED}", (), "(MaxStartups)", True),
    "reset before the version": (
        "kex_exchange_identification: read: Connection reset by peer\r\n"
        "Connection reset by 192.0.2.7 port 22\r\n",
        (),
        "(PerSourcePenalties, fail2ban)",
        True,
    ),
    "midway": (CLOSED, (), "in the middle of the log-in", True),
    "after an answer": (CLOSED, ("stored",), "after an answer was given", True),
    "a proxy": (
        f"{NO_VERSION}Connection closed by UNKNOWN port 65535\r\n",
        (),
        "What leads to it (ProxyCommand",
        True,
    ),
    "ssh 1": (
        "Protocol major versions differ: 2 vs. 1\r\n"
        "banner exchange: Connection to 192.0.2.7 port 22: could not read protocol version\r\n",
        (),
        "SSH 1 only",
        False,
    ),
    "endless": (
        "kex_exchange_identification: No SSH version received in first 1024 lines from server\r\n"
        f"{INVALID}",
        (),
        "text without end",
        False,
    ),
    "no ssh": (
        f"kex_exchange_identification: banner line too long\r\n{INVALID}",
        (),
        "does not speak SSH 2",
        False,
    ),
}


# What stands where the version should, and what is said.
GREETINGS = {
    "Exceeded MaxStartups": "takes (MaxStartups): try again",
    "Not allowed at this time": "(PerSourcePenalties): many were refused",
    "HTTP/1.1 400 Bad Request": "speaks HTTP",
    "<!DOCTYPE HTML>": "speaks HTTP",
    "220 mail.example.org ESMTP {chmod}": "'220 mail.example.org ESMTP (chmod)'",
}


@pytest.mark.parametrize("words", GREETINGS)
@pytest.mark.parametrize("closed", [CLOSED, "Connection closed by UNKNOWN port 65535\r\n"])
def test_what_stands_where_the_version_should_chooses_words(words: str, closed: str) -> None:
    error = diagnose(HPC, 255, f"{NO_VERSION}{closed}", greeting=[words, ""])
    assert GREETINGS[words] in str(error)
    assert len({other for other in GREETINGS.values() if other in str(error)}) == 1
    assert type(error) is errors.ServerHungUp, "a stranger's words choose no error"
    assert error.transient


def test_words_in_the_place_of_the_version_count_only_there() -> None:
    plain = diagnose(HPC, 255, CLOSED)
    assert str(diagnose(HPC, 255, CLOSED, greeting=["Exceeded MaxStartups"])) == str(plain)
    denied = "ada@hpc: Permission denied (publickey).\r\n"
    error = diagnose(HPC, 255, denied, greeting=["Exceeded MaxStartups"])
    assert "MaxStartups" not in str(error)


def test_a_silent_web_server_is_called_so() -> None:
    assert "speaks HTTP" in str(timed_out(HPC, "", True, ["HTTP/1.1 200 OK"]))
    assert "HTTP" not in str(timed_out(HPC, "", True, ["Welcome"]))


@pytest.mark.parametrize("name", CASES)
def test_each_has_its_own_advice(name: str) -> None:
    log, given, advice, passes = CASES[name]
    error = diagnose(HPC, 255, log, given=given)
    assert advice in str(error)
    assert error.transient is passes
    others = {words for _, _, words, _ in CASES.values()} - {advice}
    together = {"(MaxStartups)", "(PerSourcePenalties, fail2ban)"}  # ssh does not tell them apart
    assert not [
        words for words in others if words in str(error) and not {words, advice} <= together
    ]
    assert "{" not in str(error)


@pytest.mark.parametrize(
    ("connected", "said"),
    [(True, "took the connection"), (False, "nothing answered"), (None, "Check the network")],
)
def test_silence_is_told_with_what_was_seen(connected: bool | None, said: str) -> None:
    error = timed_out(HPC, "", connected)
    assert isinstance(error, errors.ConnectTimeout)
    assert said in str(error)
    assert "10 s" in str(error) or f"{HPC.timeout:g} s" in str(error)


def test_the_reason_that_a_server_gave_is_quoted() -> None:
    log = "Received disconnect from 192.0.2.7 port 22:11: no room\r\nDisconnected from x\r\n"
    error = closed_at_once(HPC, log)
    assert "It said: 'Received disconnect from 192.0.2.7 port 22:11: no room'" in str(error)
    assert not error.transient
    assert "It said" not in str(closed_at_once(HPC, "Warning: something\r\n"))


def test_behind_a_jump_host_it_is_as_final_as_it_was() -> None:
    final = errors.ServerHungUp("closed after a password")
    final.transient = False
    assert through(final).transient is False
    assert through(errors.ServerHungUp("closed")).transient is True
    assert "AllowTcpForwarding" not in str(through(closed_at_once(HPC, "")))


def test_nothing_is_read_into_nothing() -> None:
    assert hangups.advice([], ()) is None
    assert hangups.advice(["ada@hpc: Permission denied (publickey)"], ()) is None
