"""ConnectionConfig and PoolConfig: what is refused, and what goes through unharmed."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.config import ConnectionConfig, PoolConfig, check_seconds, field_names
from sshmux.errors import ConfigError, Error


def refused(*args: Any, **fields: Any) -> str:
    """The message with which these fields are refused."""
    with pytest.raises(ConfigError) as caught:
        ConnectionConfig(*args, **fields)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, Error)
    return str(caught.value)


# Hosts and users

METACHARACTERS = list("'\"`$;&<>|(){} \t\n\r\v\f")


@pytest.mark.parametrize("bad", [*METACHARACTERS, "\\", "\0", "\x1b", "\x7f", "\u2028", "\xa0"])
@pytest.mark.parametrize("form", ["{}hpc", "hp{}c", "hpc{}"])
def test_host_with_a_character_that_a_shell_could_read_is_refused(bad: str, form: str) -> None:
    message = refused(form.format(bad))
    assert message.startswith("host ")


@pytest.mark.parametrize("bad", [*METACHARACTERS, "\0", "\x1b", "\x7f", "\u2028"])
@pytest.mark.parametrize("form", ["{}ada", "ad{}a", "ada{}"])
def test_user_with_a_character_that_a_shell_could_read_is_refused(bad: str, form: str) -> None:
    message = refused("hpc", username=form.format(bad))
    assert message.startswith("username ")


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "-", "--", "ada@-oProxyCommand=x"])
def test_host_that_ssh_would_read_as_an_option_is_refused(host: str) -> None:
    assert "begins with '-': ssh would read it as an option" in refused(host)


@pytest.mark.parametrize("user", ["-l", "-"])
def test_user_that_ssh_would_read_as_an_option_is_refused(user: str) -> None:
    assert "begins with '-'" in refused("hpc", username=user)
    assert "begins with '-'" in refused(f"{user}@hpc")


@pytest.mark.parametrize("host", ["", "ada@", None, 5, b"hpc", Path("hpc")])
def test_host_that_is_no_name_is_refused(host: Any) -> None:
    assert refused(host).startswith("host")


@pytest.mark.parametrize("host", ["ssh://hpc", "ssh://ada@hpc:2222", "ssh://hpc:99/"])
def test_a_uri_is_no_host_since_ssh_would_take_it_apart_behind_our_back(host: str) -> None:
    assert refused(host).startswith("host")


@pytest.mark.parametrize("user", ["", 5, b"ada", "ada\\"])
def test_user_that_is_no_name_is_refused(user: Any) -> None:
    assert refused("hpc", username=user).startswith("username")


@pytest.mark.parametrize(
    ("host", "user", "name", "address"),
    [
        ("hpc", None, "hpc", "hpc"),
        ("ada@hpc", "ada", "hpc", "ada@hpc"),
        ("ada@corp.example@hpc", "ada@corp.example", "hpc", "ada@corp.example@hpc"),
        ("CORP\\ada@hpc", "CORP\\ada", "hpc", "CORP\\ada@hpc"),
        ("hpc.example.org", None, "hpc.example.org", "hpc.example.org"),
        ("192.0.2.7", None, "192.0.2.7", "192.0.2.7"),
        ("::1", None, "::1", "[::1]"),
        ("ada@2001:db8::7", "ada", "2001:db8::7", "ada@[2001:db8::7]"),
        ("fe80::1%eth0", None, "fe80::1%eth0", "[fe80::1%eth0]"),
        ("my_host-1", None, "my_host-1", "my_host-1"),
        ("bücher.example", None, "bücher.example", "bücher.example"),
    ],
)
def test_host_forms(host: str, user: str | None, name: str, address: str) -> None:
    config = ConnectionConfig(host)
    assert (config.username, config.host, config.address) == (user, name, address)


def test_address_shows_a_port_that_was_given() -> None:
    assert ConnectionConfig("ada@hpc", 2222).address == "ada@hpc:2222"
    assert ConnectionConfig("::1", 2222).address == "[::1]:2222"


def test_user_in_host_and_username_must_agree() -> None:
    assert ConnectionConfig("ada@hpc", username="ada").username == "ada"
    assert "disagree" in refused("ada@hpc", username="bob")


# Numbers


@pytest.mark.parametrize("port", [0, -1, 65536, 70000, True, False, "22", 22.0, None])
def test_port_out_of_range_is_refused(port: Any) -> None:
    assert refused("hpc", port=port).startswith(f"port={port}" if port != "22" else "port='22'")


@pytest.mark.parametrize("port", [1, 22, 65535])
def test_port_in_range(port: int) -> None:
    assert ConnectionConfig("hpc", port).port == port


@pytest.mark.parametrize("field", ["timeout", "keepalive_interval"])
@pytest.mark.parametrize(
    "value", [-1, -0.001, float("nan"), float("inf"), float("-inf"), True, "30", None, 1j]
)
def test_time_that_makes_no_sense_is_refused(field: str, value: Any) -> None:
    assert refused("hpc", **{field: value}).startswith(f"{field}={value!r}: use ")


def test_zero_keepalive_means_none_but_a_timeout_of_zero_means_nothing() -> None:
    assert ConnectionConfig("hpc", keepalive_interval=0).keepalive_interval == 0
    assert "more than 0" in refused("hpc", timeout=0)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "10", None])
def test_max_sessions_that_makes_no_sense_is_refused(value: Any) -> None:
    assert refused("hpc", max_sessions=value).startswith("max_sessions=")


# Choices


@pytest.mark.parametrize("value", ["no", "off", "", "YES", None, 2, 1, 0])
def test_strict_host_key_checking_that_ssh_does_not_know_is_refused(value: Any) -> None:
    assert "use True, False, 'yes', 'ask', 'accept-new' or 'config'" in refused(
        "hpc", strict_host_key_checking=value
    )


@pytest.mark.parametrize("value", [True, False, "yes", "ask", "accept-new"])
def test_strict_host_key_checking(value: Any) -> None:
    config = ConnectionConfig("hpc", strict_host_key_checking=value)
    assert config.strict_host_key_checking is value


@pytest.mark.parametrize("field", ["use_agent", "agent_forwarding"])
@pytest.mark.parametrize("value", ["no", "yes", 0, 1, "false"])
def test_a_switch_takes_only_true_and_false(field: str, value: Any) -> None:
    assert refused("hpc", **{field: value}).startswith(f"{field}=")


@pytest.mark.parametrize("value", ["bash", "", None, True])
def test_remote_shell_that_is_no_family_is_refused(value: Any) -> None:
    assert refused("hpc", remote_shell=value).startswith("remote_shell=")


def test_agent_forwarding_needs_the_agent() -> None:
    assert "needs use_agent=True" in refused("hpc", use_agent=False, agent_forwarding=True)


@pytest.mark.parametrize("value", ["", "-x", "s\nsh", "s\0sh", None, 5])
def test_ssh_program_that_is_none_is_refused(value: Any) -> None:
    assert refused("hpc", ssh_program=value).startswith("ssh_program")


# Paths

PATHS = ["key_file", "known_hosts_file", "config_file"]


@pytest.mark.parametrize("field", PATHS)
@pytest.mark.parametrize(
    "value", ["", "a\nb", "a\0b", "a\x1bb", "${HOME}/k", 'a"b', 5, b"key", True, ["key"]]
)
def test_path_that_ssh_could_misread_is_refused(field: str, value: Any) -> None:
    assert refused("hpc", **{field: value}).startswith(field)


@pytest.mark.parametrize("field", PATHS)
def test_tilde_is_expanded_here(
    field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    config = ConnectionConfig("hpc", **{field: "~/a key"})  # type: ignore[arg-type]
    assert getattr(config, field) == tmp_path / "a key"


@pytest.mark.parametrize("field", PATHS)
def test_home_of_a_user_who_does_not_exist_is_refused(field: str) -> None:
    assert refused("hpc", **{field: "~no-such-user-here/key"}).startswith(field)


@pytest.mark.parametrize("field", PATHS)
def test_relative_path_becomes_absolute(
    field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ConnectionConfig("hpc", **{field: "key"})  # type: ignore[arg-type]
    assert getattr(config, field) == tmp_path / "key"


def test_the_snippet_of_the_seed_works_without_its_file() -> None:
    config = ConnectionConfig(
        host="cluster.example.com",
        port=2222,
        username="admin",
        key_file=Path("/secure/keys/cluster_key"),
        use_agent=False,
        timeout=60,
        keepalive_interval=30,
    )
    assert config.key_file == Path("/secure/keys/cluster_key")
    assert config.address == "admin@cluster.example.com:2222"


def test_check_files_names_the_file_that_is_missing(tmp_path: Path) -> None:
    for field in ("key_file", "config_file"):
        for path in (tmp_path / "none", tmp_path):
            config = ConnectionConfig("hpc", **{field: path})  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match=field) as caught:
                config.check_files()
            assert repr(str(path)) in str(caught.value)


def test_check_files_accepts_what_is_there_and_a_known_hosts_file_to_be(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    ConnectionConfig("hpc", key_file=key, known_hosts_file=tmp_path / "new").check_files()


@pytest.mark.skipif(os.getuid() == 0, reason="root can read everything")
def test_check_files_refuses_what_cannot_be_read(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o000)
    with pytest.raises(ConfigError, match="cannot be read"):
        ConnectionConfig("hpc", key_file=key).check_files()


# Options

RESERVED = {
    "ControlMaster": "sshmux starts every master itself",
    "ControlPath": "control_path=",
    "ControlPersist": "persist=",
    "RemoteCommand": "run()",
    "RequestTTY": "no terminal",
    "SessionType": "no session",
    "ForkAfterAuthentication": "ControlPersist",
    "StdinNull": "input",
    "EscapeChar": "no terminal",
    "ClearAllForwardings": "forwards",
    "LocalForward": "every pooled master",
    "RemoteForward": "every pooled master",
    "DynamicForward": "every pooled master",
    "Tunnel": "every pooled master",
    "BatchMode": "anybody to answer",
    "NumberOfPasswordPrompts": "stored password once",
    "ServerAliveInterval": "keepalive_interval=",
    "UserKnownHostsFile": "known_hosts_file=",
    "StrictHostKeyChecking": "strict_host_key_checking=",
    "Include": "config_file=",
    "Match": "config_file=",
    "Host": "config_file=",
}


@pytest.mark.parametrize(("name", "reason"), RESERVED.items())
@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
def test_reserved_option_is_refused_with_its_reason(name: str, reason: str, spell: Any) -> None:
    message = refused("hpc", ssh_options={spell(name): "x"})
    assert f"ssh option {spell(name)!r} cannot be set here" in message
    assert reason in message


@pytest.mark.parametrize(
    "name", ["", " Port", "Port ", "Port=22", "Pro xy", "Proxy\nJump", "-o", "1a", "Port\n", 5]
)
def test_option_name_that_is_none_is_refused(name: Any) -> None:
    assert "use a name of man ssh_config" in refused("hpc", ssh_options={name: "x"})


@pytest.mark.parametrize(
    "value",
    [
        *["", "a\nControlPath=/x", "a\rb", "a\0b", "${HOME}", "x${A}", None, 1.5, b"x", object],
        *[[], ["a", "b\n"], ["a", ""], ["${A}"], [1], {"a": 1}, {"a"}],
    ],
)
def test_option_value_that_ssh_could_misread_is_refused(value: Any) -> None:
    assert "ssh option 'ProxyJump'" in refused("hpc", ssh_options={"ProxyJump": value})


@pytest.mark.parametrize("options", [None, 5, "ProxyJump=x", [("ProxyJump", "x")]])
def test_options_that_are_no_mapping_are_refused(options: Any) -> None:
    assert "ssh_options" in refused("hpc", ssh_options=options)


def test_options_are_kept_apart_from_the_callers_dict() -> None:
    given_options: dict[str, Any] = {"ProxyJump": "bastion", "IdentityFile": ["a", "b"], "Port": 22}
    config = ConnectionConfig("hpc", ssh_options=given_options)
    given_options["ProxyJump"] = "evil"
    assert config.ssh_options == {
        "ProxyJump": "bastion",
        "IdentityFile": ("a", "b"),
        "Port": 22,
    }
    with pytest.raises(TypeError):
        config.ssh_options["ProxyJump"] = "evil"  # type: ignore[index]


@given(st.text())
def test_whatever_is_accepted_as_a_host_is_one_line_and_no_option(text: str) -> None:
    try:
        host = ConnectionConfig(text).host
    except ConfigError:
        return
    assert host
    assert not host.startswith("-")
    assert not set(host) & set(METACHARACTERS)
    assert host.isprintable() or not host.isascii()


# The object


def test_frozen_hashable_and_equal_by_value() -> None:
    one = ConnectionConfig("ada@hpc", ssh_options={"ProxyJump": "b"}, key_file="/k")  # type: ignore[arg-type]
    two = ConnectionConfig(
        "hpc", username="ada", ssh_options={"ProxyJump": "b"}, key_file=Path("/k")
    )
    assert one == two
    assert hash(one) == hash(two)
    assert one != ConnectionConfig("ada@hpc", ssh_options={"ProxyJump": "c"}, key_file=Path("/k"))
    assert {one: 1}[two] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.host = "other"  # type: ignore[misc]


def test_a_config_can_be_replaced_and_copied() -> None:
    config = ConnectionConfig("ada@hpc", ssh_options={"ProxyJump": "b"})
    assert dataclasses.replace(config, port=2222).port == 2222
    assert dataclasses.replace(config) == config
    assert copy.copy(config) == config


def test_field_names() -> None:
    assert {"host", "ssh_options", "ssh_program"} <= field_names(ConnectionConfig)
    assert "pool_size" in field_names(PoolConfig)


# PoolConfig

COUNTS = [
    "pool_size",
    "sessions_per_connection",
    "max_health_failures",
    "max_parallel_dials",
    "dial_attempts",
    "grace",
]
TIMES = ["max_age", "max_idle", "health_interval", "health_timeout"]
TIMES_OR_NONE = ["dial_backoff", "drain_timeout", "acquire_timeout", "leak_threshold"]


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("value", [0, -1, True, "5", 1.5, None])
def test_pool_counts_that_make_no_sense_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{field}="):
        PoolConfig(**{field: value})


@pytest.mark.parametrize("field", [*TIMES, *TIMES_OR_NONE])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "5"])
def test_pool_times_that_make_no_sense_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{field}="):
        PoolConfig(**{field: value})


@pytest.mark.parametrize("field", TIMES)
def test_pool_times_that_must_pass_are_above_zero(field: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field}=0: use more than 0"):
        PoolConfig(**{field: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, True, 0.5, "1", None])
def test_persist_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^persist="):
        PoolConfig(persist=value)


def test_pool_defaults_are_the_documented_ones() -> None:
    config = PoolConfig()
    assert (config.pool_size, config.sessions_per_connection, config.persist) == (5, 1, 0)
    assert (config.max_age, config.max_idle, config.health_interval) == (3600, 300, 60)
    assert (config.max_health_failures, config.acquire_timeout, config.grace) == (3, None, 20)
    assert config == PoolConfig()
    assert hash(config) == hash(PoolConfig())


def test_check_seconds_accepts_zero_unless_it_must_be_positive() -> None:
    check_seconds("timeout", 0)
    check_seconds("timeout", 1e9, positive=True)
    with pytest.raises(ConfigError, match="timeout=0: use more than 0 s"):
        check_seconds("timeout", 0, positive=True)


def test_what_is_no_key_and_no_host(tmp_path: Path) -> None:
    (tmp_path / "id").touch()
    (tmp_path / "id.pub").touch()
    (tmp_path / "agents.pub").touch()
    for key, words in ((tmp_path, "is no file"), (tmp_path / "id.pub", "is a public key")):
        with pytest.raises(ConfigError, match=words):
            ConnectionConfig("hpc", key_file=key).check_files()
    ConnectionConfig("hpc", key_file=tmp_path / "agents.pub").check_files()
    ConnectionConfig("hpc", config_file=Path("/dev/null")).check_files()
    with pytest.raises(ConfigError, match="port=2222"):
        ConnectionConfig("hpc:2222")
    ConnectionConfig("::1")
    with pytest.raises(ConfigError, match="list of texts"):
        ConnectionConfig("hpc", password_prompts="Password")  # type: ignore[arg-type]


@pytest.mark.parametrize("way", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy])
def test_a_config_can_be_pickled_and_copied(
    way: Callable[[ConnectionConfig], ConnectionConfig],
) -> None:
    config = ConnectionConfig("h", username="u", ssh_options={"Port": 22}, key_file=Path("k"))
    again = way(config)
    assert again == config
    assert hash(again) == hash(config)
    with pytest.raises(TypeError):
        again.ssh_options["Port"] = 1  # type: ignore[index]
