"""The command lines, word for word, and what the real ssh makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from sshmux.config import ConnectionConfig
from sshmux.errors import ConfigError
from sshmux.openssh import argv

NEW = (9, 2)
GUARD = ["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]
needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")


def options(line: list[str]) -> list[str]:
    """The -o values, in their order."""
    return [value for flag, value in pairwise(line) if flag == "-o"]


def asked(line: list[str]) -> dict[str, list[str]]:
    """What the real ssh understands: `ssh -G` with the same words. It connects to nothing."""
    done = subprocess.run(
        [line[0], "-G", *line[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for answer in done.stdout.splitlines():
        keyword, _, value = answer.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


# Exact lines


def test_session() -> None:
    assert argv.session(ConnectionConfig("hpc"), "/d/a.sock", "ls -la") == [
        *["ssh", "-F", "none", "-S", "/d/a.sock", *GUARD],
        *["-o", "LogLevel=ERROR", "-T", "--", "x", "ls -la"],
    ]


def test_session_with_agent_and_environment() -> None:
    line = argv.session(
        ConnectionConfig("hpc"), "/d/a.sock", "ls", forward_agent=True, send_env=["LANG", "LC_*"]
    )
    assert line[-7:] == ["-T", "-A", "-o", "SendEnv=LANG LC_*", "--", "x", "ls"]


def test_control() -> None:
    assert argv.control("ssh", "/d/a.sock", "check") == [
        *["ssh", "-F", "none", "-S", "/d/a.sock", *GUARD],
        *["-O", "check", "x"],
    ]


def test_master() -> None:
    assert argv.master(ConnectionConfig("hpc"), "/d/a.sock", persist=20, version=NEW) == [
        *["ssh", "-M", "-N", "-T", "-n", "-S", "/d/a.sock"],
        *["-E", "/dev/stdout", "-o", "LogLevel=INFO"],
        *["-o", "LogVerbose=kex.c:kex_exchange_identification():*"],
        *["-o", "ControlMaster=yes"],
        *["-o", "RemoteCommand=none"],
        *["-o", "RequestTTY=no"],
        *["-o", "ClearAllForwardings=yes"],
        *["-o", "Tunnel=no"],
        *["-o", "EscapeChar=none"],
        *["-o", "ForkAfterAuthentication=no"],
        *["-o", "ControlPersist=20"],
        *["-o", "BatchMode=yes"],
        *["-o", "NumberOfPasswordPrompts=1"],
        *["-o", "StrictHostKeyChecking=yes"],
        *["-o", "ServerAliveInterval=60"],
        *["-o", "ServerAliveCountMax=3"],
        *["--", "hpc"],
    ]


FULL = ConnectionConfig(
    "hpc",
    2222,
    "ada",
    Path("/keys/id"),
    False,
    60,
    30,
    Path("/keys/known"),
    "accept-new",
    config_file=Path("/keys/config"),
    ssh_options={"ProxyJump": "bastion", "Compression": True, "IdentityFile": ["/a", "/b"]},
)


def test_resolve_says_everything_of_where_and_as_whom() -> None:
    assert argv.resolve(FULL) == [
        *["ssh", "-G", "-F", "/keys/config", "-l", "ada", "-p", "2222"],
        *["-o", "ServerAliveInterval=30"],
        *["-o", "ServerAliveCountMax=3"],
        *["-o", 'IdentityFile="/keys/id"', "-o", "IdentitiesOnly=yes"],
        *["-o", "IdentityAgent=none"],
        *["-o", 'UserKnownHostsFile="/keys/known"'],
        *["-o", "ProxyJump=bastion", "-o", "Compression=yes"],
        *["-o", "IdentityFile=/a", "-o", "IdentityFile=/b"],
        *["--", "hpc"],
    ]


def test_master_and_resolve_mean_the_same_target() -> None:
    target = argv.resolve(FULL)[2:]
    assert argv.master(FULL, "/d/s", persist=1, version=NEW)[-len(target) :] == target


@pytest.mark.parametrize(
    ("strict", "said"),
    [
        (True, ["yes"]),
        (False, ["no"]),
        ("yes", ["yes"]),
        ("ask", ["ask"]),
        ("accept-new", ["accept-new"]),
        ("config", []),
    ],
)
def test_strictness(strict: bool, said: list[str]) -> None:
    config = ConnectionConfig("hpc", strict_host_key_checking=strict)
    line = options(argv.master(config, "/d/s", persist=1, version=NEW))
    assert [word for word in line if "Strict" in word] == [
        f"StrictHostKeyChecking={value}" for value in said
    ]
    # `ssh -G` is asked what the user's own config says of it.
    assert not any("Strict" in word for word in argv.resolve(config))


def test_a_user_who_may_confirm_a_key_is_asked_ahead_of_the_config() -> None:
    line = options(
        argv.master(ConnectionConfig("hpc"), "/d/s", persist=1, version=NEW, confirm=True)
    )
    assert [word for word in line if "Strict" in word] == [
        "StrictHostKeyChecking=ask",
        "StrictHostKeyChecking=yes",
    ]


def test_agent_forwarding_is_left_to_ssh_config_unless_given() -> None:
    assert not any("ForwardAgent" in word for word in argv.resolve(ConnectionConfig("hpc")))
    for value, said in ((True, "yes"), (False, "no")):
        config = ConnectionConfig("hpc", agent_forwarding=value)
        assert f"ForwardAgent={said}" in options(argv.resolve(config))


def test_the_default_port_is_left_to_ssh_config_unless_forced() -> None:
    assert "-p" not in argv.resolve(ConnectionConfig("hpc"))
    assert "Port=22" in options(argv.resolve(ConnectionConfig("hpc", ssh_options={"Port": 22})))


@pytest.mark.parametrize(("interval", "said"), [(0, "0"), (60, "60"), (2.6, "3"), (0.2, "1")])
def test_a_short_keepalive_is_never_rounded_to_none(interval: float, said: str) -> None:
    line = argv.resolve(ConnectionConfig("hpc", keepalive_interval=interval))
    assert f"ServerAliveInterval={said}" in options(line)


def test_somebody_who_answers_prompts_switches_batch_mode_off() -> None:
    config = ConnectionConfig("hpc")
    for answers, batch, tries in (("none", "yes", 1), ("stored", "no", 1), ("user", "no", 3)):
        line = argv.master(config, "/d/s", persist=1, version=NEW, answers=answers)  # type: ignore[arg-type]
        assert f"BatchMode={batch}" in options(line)
        assert f"NumberOfPasswordPrompts={tries}" in options(line)


def test_through_a_jump_hosts_master() -> None:
    line = options(
        argv.master(FULL, "/d/s", persist=1, version=NEW, via="/odd 'dir/100%/jump!.sock")
    )
    (command,) = (word for word in line if word.startswith("ProxyCommand="))
    assert command == (
        "ProxyCommand=ssh -F none -S "
        "'/odd '\\''dir/100%%%%/jump'\\!'.sock' "  # doubled for either ssh
        "-o 'ControlMaster=no' -o 'ProxyCommand=false' -W '[%h]:%p' x"
    )
    assert line.index(command) < line.index("ProxyJump=bastion")  # the first one counts
    assert "ProxyUseFdpass=no" in line


@pytest.mark.parametrize(("version", "there"), [((8, 6), False), ((8, 7), True), ((10, 0), True)])
def test_an_old_ssh_is_not_given_options_it_would_stop_at(
    version: tuple[int, int], there: bool
) -> None:
    line = argv.master(ConnectionConfig("hpc"), "/d/s", persist=1, version=version)
    assert any("ForkAfterAuthentication" in word for word in line) is there


@pytest.mark.parametrize(("version", "there"), [((8, 4), False), ((8, 5), True), ((10, 0), True)])
def test_how_a_server_greets_is_asked_for_where_ssh_can_tell(
    version: tuple[int, int], there: bool
) -> None:
    line = argv.master(ConnectionConfig("hpc"), "/d/s", persist=1, version=version)
    assert any(word.startswith("LogVerbose=") for word in line) is there
    line = argv.master(ConnectionConfig("hpc"), "/d/s", persist=1, version=version, verbose=True)
    assert not any(word.startswith("LogVerbose=") for word in line)


def test_another_program() -> None:
    config = ConnectionConfig("hpc", ssh_program="/opt/ssh")
    assert argv.master(config, "/s", persist=1, version=NEW)[0] == "/opt/ssh"
    assert argv.session(config, "/s", "ls")[0] == "/opt/ssh"
    assert argv.resolve(config)[0] == "/opt/ssh"


# The guard, and whose word counts

LINES = {
    "session": argv.session(ConnectionConfig("hpc"), "/d/a%b", "ls"),
    "agent": argv.session(FULL, "/d/a%b", "ls", forward_agent=True, send_env=["A"]),
    **{
        operation: argv.control("ssh", "/d/a%b", operation)
        for operation in ("check", "stop", "exit")
    },
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_every_line_but_the_masters_starts_with_the_guard(line: list[str]) -> None:
    assert line[: len(argv.guard("ssh", "/d/a%b"))] == argv.guard("ssh", "/d/a%b")
    assert "hpc" not in line  # the real host is not even known to it


@needs_ssh
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_ssh_itself_understands_the_guard(line: list[str]) -> None:
    words = [word for word in line if word not in ("-O", "check", "stop", "exit")]
    meant = asked(words)
    assert meant["proxycommand"] == ["false"]
    assert meant["controlmaster"] == ["false"]
    assert meant["controlpath"] == ["/d/a%b"]
    assert meant["hostname"] == ["x"]


@needs_ssh
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_guarded_line_without_a_master_fails_at_once(line: list[str]) -> None:
    done = subprocess.run(
        line, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10
    )
    assert done.returncode == 255


def test_ours_come_first_since_the_first_value_wins() -> None:
    line = options(argv.master(FULL, "/d/s", persist=1, version=NEW))
    theirs = min(line.index("ProxyJump=bastion"), line.index("Compression=yes"))
    ours = ["ControlMaster=yes", "RemoteCommand=none", "ControlPersist=1", "BatchMode=yes"]
    ours += ["ServerAliveInterval=30", "StrictHostKeyChecking=accept-new"]
    assert all(line.index(option) < theirs for option in ours)


@needs_ssh
def test_a_hostile_config_changes_nothing_of_the_master(tmp_path: Path) -> None:
    config_file = tmp_path / "config"
    config_file.write_text(
        "ControlMaster no\nControlPath /elsewhere\nControlPersist no\nRemoteCommand rm -rf /\n"
        "RequestTTY force\nLocalForward 8080 localhost:80\nTunnel yes\nEscapeChar ~\n"
        "BatchMode no\nNumberOfPasswordPrompts 9\nServerAliveInterval 0\nServerAliveCountMax 99\n"
        "StrictHostKeyChecking no\nForkAfterAuthentication yes\nStdinNull no\nSessionType default\n"
    )
    config = ConnectionConfig("hpc", config_file=config_file)
    meant = asked(argv.master(config, "/d/s", persist=20, version=NEW))
    said = {name: values[0] for name, values in meant.items()}
    assert said["controlmaster"] == "true"
    assert said["controlpath"] == "/d/s"
    assert said["controlpersist"] == "20"
    assert said.get("remotecommand", "none") == "none"
    assert said["requesttty"] == "false"
    assert "localforward" not in said
    assert said["tunnel"] == "false"
    assert said["escapechar"] == "none"
    assert said["batchmode"] == "yes"
    assert said["numberofpasswordprompts"] == "1"
    assert said["serveraliveinterval"] == "60"
    assert said["serveralivecountmax"] == "3"
    assert said["stricthostkeychecking"] == "true"
    assert said["forkafterauthentication"] == "no"
    assert said["stdinnull"] == "yes"
    assert said["sessiontype"] == "none"


@needs_ssh
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ServerAliveCountMax", 7),
        ("Port", 2222),
        ("User", "bob"),
        ("HostName", "192.0.2.7"),
        ("Compression", True),
        ("ConnectTimeout", 9),
        ("IdentitiesOnly", True),
        ("IdentityAgent", "/a"),
        ("ForwardAgent", True),
        ("ProxyJump", "bastion"),
    ],
)
def test_an_option_that_is_accepted_takes_effect_or_else_is_refused(
    name: str, value: str | int | bool
) -> None:
    """Silence would be the worst answer to an option that sshmux overrules."""
    try:
        config = ConnectionConfig("hpc", ssh_options={name: value})
    except ConfigError:
        return
    shown = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    program, _, *target = argv.resolve(config)
    assert asked([program, *target])[name.lower()] == [shown]


# File names

NAMES = ["plain", "with space", "100%", "%h", "%%", "it's", "a#b", "a=b", "tab", "a,b", "ü", "$x"]
NAMES += ["back\\slash", "two\\\\slashes", "end\\", "-dash", "~", "a:b"]


@needs_ssh
@pytest.mark.parametrize("name", NAMES)
def test_ssh_reads_file_names_as_they_are_or_they_were_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    try:
        config = ConnectionConfig("hpc", key_file=path, known_hosts_file=path)
    except ConfigError:
        return
    meant = asked(argv.master(config, path, persist=20, version=NEW))
    # IdentityFile is expanded when it is used, the others before they are shown.
    assert meant["identityfile"] == [os.fspath(path).replace("%", "%%")]
    assert meant["userknownhostsfile"] == [os.fspath(path)]
    assert meant["controlpath"] == [os.fspath(path)]


@needs_ssh
@pytest.mark.parametrize("name", ["with space", "100%", "%h"])
def test_ssh_finds_a_config_file_of_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("Port 4711\n")
    config = ConnectionConfig("hpc", config_file=path)
    assert asked(argv.master(config, "/d/s", persist=20, version=NEW))["port"] == ["4711"]


def test_every_percent_is_doubled() -> None:
    assert argv.escape_path("/a%b%%c%") == "/a%%b%%%%c%%"
    assert argv.escape_path(Path("/a%h")) == "/a%%h"
    assert "/d/%%C" in argv.master(ConnectionConfig("h"), "/d/%C", persist=1, version=NEW)
    assert "/d/%%C" in argv.control("ssh", "/d/%C", "check")
