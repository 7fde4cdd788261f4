"""The keyring of a Linux desktop: a real gnome-keyring, in the tempers that real ones have."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sshmux.testing import PrivateServer

from ..keyring_programs import Program, program
from ..secret_service import (
    SecretService,
    missing,
    private_directory,
    private_environment,
    secret_service,
)
from ..support import control_directory

SECRET = "correct horse battery staple"
HPC = "ada@hpc"
SOON = 1.0  # seconds: the deadline where a keyring does not answer
LATE = SOON + 2  # on a busy machine

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture
def service() -> Iterator[SecretService]:
    with secret_service() as running:
        yield running


def the_warning(told: Program) -> str:
    """The one warning of a program that its keyring cannot be used."""
    (warning,) = (each for each in told.warnings if "could not be removed" not in each)
    assert "kept in memory only" in warning
    assert SECRET not in warning
    return warning


# One that works


def test_what_one_program_stores_another_finds(service: SecretService) -> None:
    with program(service.env) as first:
        assert first.get(HPC) is None
        first.set(HPC, SECRET)
    with program(service.env) as second:
        assert second.get(HPC) == SECRET
        assert second.lookup(HPC) == SECRET
        assert first.warnings == second.warnings == []


def test_a_user_recognises_the_entry(service: SecretService) -> None:
    with program(service.env, service="my-program") as told:
        told.set(HPC, SECRET)
    ((label, attributes),) = service.entries()
    assert label == "Password for 'ada@hpc' on 'my-program'"
    assert (attributes["service"], attributes["username"]) == ("my-program", HPC)
    assert SECRET not in label + str(attributes)  # both can be read while it is locked


def test_a_newer_secret_replaces_the_older(service: SecretService) -> None:
    for secret in ("old", SECRET):
        with program(service.env) as told:
            told.set(HPC, secret)
            assert told.get(HPC) == secret
    assert len(service.entries()) == 1
    assert service.secrets() == {HPC: SECRET}


def test_deleting(service: SecretService) -> None:
    with program(service.env) as told:
        told.set(HPC, SECRET)
        told.set("ada@other", SECRET)
        told.delete(HPC)
        assert service.secrets() == {"ada@other": SECRET}
        assert told.get(HPC) is None
        told.delete(HPC)  # there is none any more
        told.delete("nobody@nowhere")
        assert told.warnings == []
    with program(service.env) as another:
        assert another.lookup(HPC) is None
        assert another.warnings == []


def test_two_services_do_not_see_each_other(service: SecretService) -> None:
    with program(service.env) as ours, program(service.env, service="another") as theirs:
        ours.set(HPC, "ours")
        assert theirs.get(HPC) is None
        theirs.delete(HPC)
        theirs.set(HPC, "theirs")
        assert (ours.get(HPC), theirs.get(HPC)) == ("ours", "theirs")
        theirs.delete(HPC)
        assert ours.get(HPC) == "ours"


def test_it_outlives_a_reboot(service: SecretService) -> None:
    with program(service.env) as told:
        told.set(HPC, SECRET)
    service.restart_daemon()
    with program(service.env) as told:
        assert told.get(HPC) == SECRET
        service.restart_daemon()  # nor does a program mind that goes on meanwhile
        assert told.get(HPC) == SECRET
        told.set(HPC, "new")
        assert told.warnings == []
    assert service.secrets() == {HPC: "new"}


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("zoë@höchst-leistung.example", "pässwörd 密码 🔑"),
        ('o\'brien@"hpc" (one-time codes)', 'it\'s \\ "quoted" $HOME %h\t'),
        (HPC, "x" * 1000),
        (HPC, "🔑" * 250),  # as many bytes
    ],
    ids=["unicode", "quotes", "long", "long unicode"],
)
def test_any_text_comes_back_as_it_was(service: SecretService, name: str, secret: str) -> None:
    with program(service.env) as told:
        assert told.set(name, secret) is None
        assert told.warnings == []
    service.restart_daemon()
    assert service.secrets() == {name: secret}
    with program(service.env) as told:
        assert told.get(name) == secret


def test_one_that_no_prompt_takes_changes_nothing(service: SecretService) -> None:
    with program(service.env) as told:
        told.set(HPC, SECRET)
        assert "1,000 bytes" in told.set(HPC, "x" * 2000)
        assert told.get(HPC) == SECRET
    assert service.secrets() == {HPC: SECRET}


def test_it_is_found_without_being_named(service: SecretService) -> None:
    """As on a desktop, where no variable says which backend to use."""
    env = {k: v for k, v in service.env.items() if k != "PYTHON_KEYRING_BACKEND"}
    with program(env) as told:
        told.set(HPC, SECRET)
        assert told.lookup(HPC) == SECRET
        assert told.warnings == []
    assert service.secrets() == {HPC: SECRET}


# A locked one


def test_a_locked_one_is_replaced_by_memory_with_one_warning(service: SecretService) -> None:
    with program(service.env) as told:
        told.set(HPC, SECRET)
    service.restart_daemon(unlocked=False)  # no prompt can appear here, so nobody unlocks it
    with program(service.env) as told:
        assert told.lookup(HPC) is None
        assert "KeyringLocked" in the_warning(told)
        told.set(HPC, "meanwhile")
        assert told.get(HPC) == told.lookup(HPC) == "meanwhile"
        the_warning(told)
    service.unlock()
    assert service.secrets() == {HPC: SECRET}


def test_unlocked_again_it_keeps_what_is_set(service: SecretService) -> None:
    service.lock()
    with program(service.env) as told:
        told.set(HPC, "meanwhile")
        service.unlock()
        assert service.secrets() == {}
        told.set(HPC, SECRET)
        assert service.secrets() == {HPC: SECRET}
        told.delete(HPC)
        assert service.secrets() == {}
        the_warning(told)


def test_a_prompt_that_nobody_answers_is_waited_for_no_longer_than_the_deadline(
    service: SecretService,
) -> None:
    service.lock()
    with service.nobody_at_the_prompt(), program(service.env, deadline=SOON) as told:
        secret, ticks, pause = told.lookup_while_ticking(HPC)
        assert secret is None
        assert SOON <= told.seconds < LATE
        assert ticks > 20
        assert pause < 0.5
        told.set(HPC, SECRET)
        assert told.seconds < LATE
        assert told.get(HPC) == SECRET
        assert "did not answer" in the_warning(told)
        assert told.end() < 2


# One that hangs


def test_the_deadline_holds_for_every_method(service: SecretService) -> None:
    with program(service.env, deadline=SOON) as told:
        service.freeze()
        told.get(HPC)
        assert SOON <= told.seconds < LATE
        told.set(HPC, SECRET)
        assert SOON <= told.seconds < LATE
        told.delete("ada@other")
        assert SOON <= told.seconds < LATE
        assert told.get(HPC) == told.lookup(HPC) == SECRET
        assert "did not answer" in the_warning(told)


def test_a_write_that_was_given_up_undoes_nothing_that_came_after(service: SecretService) -> None:
    with program(service.env, deadline=SOON) as told:
        told.set(HPC, "first")
        service.freeze()
        assert told.set(HPC, "old") is None
        service.thaw()
        assert told.delete(HPC) is True
        assert service.secrets() == {}
        service.freeze()
        told.set(HPC, "older")
        told.set(HPC, "newer")
        service.thaw()
        told.set(HPC, SECRET)
        assert list(service.secrets().values()) == [SECRET]


def test_it_says_when_an_entry_could_not_be_removed(service: SecretService) -> None:
    with program(service.env, deadline=SOON) as told:
        told.set(HPC, SECRET)
        service.lock()
        assert told.lookup(HPC) == SECRET or told.get(HPC) is None
        for count in (1, 2):
            assert told.delete(HPC) is False
            removals = [each for each in told.warnings if "could not be removed" in each]
            assert len(removals) == count
            assert HPC in removals[-1]
        service.unlock()
        assert told.delete(HPC) is True
        assert service.secrets() == {}


def test_it_is_left_alone_after_it_hung(service: SecretService) -> None:
    with program(service.env, deadline=SOON) as told:
        service.freeze()
        assert told.lookup(HPC) is None
        assert told.seconds >= SOON
        for name in (HPC, "ada@other"):
            assert told.lookup(name) is None
            assert told.get(name) is None
            assert told.seconds < SOON / 2


def test_the_loop_goes_on_while_it_hangs(service: SecretService) -> None:
    with program(service.env, deadline=SOON) as told:
        told.set(HPC, SECRET)
        service.freeze()
        secret, ticks, pause = told.lookup_while_ticking(HPC)
        assert secret is None
        assert SOON <= told.seconds < LATE
        assert ticks > 20
        assert pause < 0.5
        the_warning(told)


def test_a_slow_one_is_waited_for(service: SecretService) -> None:
    with program(service.env) as told:
        told.set(HPC, SECRET)
        service.freeze()
        thawing = threading.Timer(1.0, service.thaw)
        thawing.start()
        assert told.lookup(HPC) == SECRET
        assert told.seconds > 0.5
        assert told.warnings == []
        thawing.join()


def test_recovered_it_keeps_what_is_set(service: SecretService) -> None:
    with program(service.env, deadline=SOON) as told:
        service.freeze()
        assert told.lookup(HPC) is None
        service.thaw()
        told.set(HPC, SECRET)
        assert service.secrets() == {HPC: SECRET}


def test_the_program_ends_while_it_hangs(service: SecretService) -> None:
    with program(service.env, deadline=SOON) as told:
        service.freeze()
        told.lookup(HPC)
        told.set(HPC, SECRET)
        told.delete("ada@other")
        assert told.end() < 2


def test_one_that_dies_under_a_program(service: SecretService) -> None:
    with program(service.env) as told:
        told.set(HPC, SECRET)
        service.stop_daemon()
        assert told.get(HPC) is None
        the_warning(told)
        told.set(HPC, "meanwhile")
        assert told.lookup(HPC) == "meanwhile"
        the_warning(told)
    service.start_daemon()
    assert service.secrets() == {HPC: SECRET}


# None at all, and others


@pytest.fixture
def nowhere() -> Iterator[dict[str, str]]:
    """An environment without a D-Bus, as after `ssh` to a server."""
    with private_directory() as directory:
        yield private_environment(directory)


def test_without_one_memory_serves(nowhere: dict[str, str]) -> None:
    with program(nowhere) as told:
        assert told.lookup(HPC) is None
        assert told.warnings == []  # a log-in with a key is nobody's reason to have a keyring
        told.set(HPC, SECRET)
        told.set("ada@other", SECRET)
        assert told.get(HPC) == told.lookup(HPC) == SECRET
        the_warning(told)
        told.delete(HPC)
        assert told.get(HPC) is None
    with program(nowhere) as another:
        assert another.get("ada@other") is None


def test_a_d_bus_that_is_gone_is_as_good_as_none(nowhere: dict[str, str]) -> None:
    """A terminal multiplexer that outlived its session leaves such an address behind."""
    with program(nowhere | {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}) as told:
        told.set(HPC, SECRET)
        assert told.lookup(HPC) == SECRET
        the_warning(told)


def test_a_chosen_one_that_is_not_there_is_warned_about(nowhere: dict[str, str]) -> None:
    chosen = {"PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring"}
    with program(nowhere | chosen) as told:
        assert told.lookup(HPC) is None
        the_warning(told)


def test_a_chosen_one_is_used(service: SecretService, tmp_path: Path) -> None:
    file = tmp_path / "keyring"
    chosen = {"PYTHON_KEYRING_BACKEND": "tests.file_keyring.Keyring"}
    env = service.env | chosen | {"TEST_KEYRING": str(file)}
    with program(env) as told:
        told.set(HPC, SECRET)
        assert told.lookup(HPC) == SECRET
        assert json.loads(file.read_text()) == {"sshmux": {HPC: SECRET}}
        told.delete(HPC)
        assert json.loads(file.read_text()) == {"sshmux": {}}
        assert told.warnings == []
    assert service.entries() == []


def test_the_null_backend_is_found_out(service: SecretService) -> None:
    env = service.env | {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    with program(env) as told:
        told.set(HPC, SECRET)
        assert told.get(HPC) == SECRET
        assert "keeps nothing" in the_warning(told)
    assert service.entries() == []


# Logging in


def cluster(server: PrivateServer) -> dict[str, Any]:
    """What a program registers to log in with a password."""
    return {
        "host": server.host,
        "port": server.port,
        "username": server.username,
        "known_hosts_file": str(server.known_hosts_file),
        "config_file": None,
        "use_agent": False,
    }


async def test_a_password_that_one_program_stored_logs_another_in(service: SecretService) -> None:
    async with PrivateServer(login_shell="/bin/sh", password=SECRET, methods="password") as server:
        with control_directory() as directory:
            await asyncio.to_thread(_store_and_log_in, service, server, directory)
        assert (server.logins, server.failed_logins) == (1, 0)


def _store_and_log_in(service: SecretService, server: PrivateServer, directory: Path) -> None:
    env = service.env | {"SSHMUX_DIR": str(directory)}
    with program(env) as storing:
        storing.register(**cluster(server))
        storing.set_password(SECRET)
    ((label, _),) = service.entries()
    assert label == f"Password for '{server.username}@127.0.0.1:{server.port}' on 'sshmux'"
    service.restart_daemon()
    with program(env) as logging_in:
        logging_in.register(**cluster(server))
        assert logging_in.log_in() == "in\n"
        assert logging_in.get_password() == SECRET
        logging_in.delete_password()
        assert logging_in.get_password() is None
        assert logging_in.warnings == []
    assert service.entries() == []


async def test_a_refused_log_in_mentions_a_locked_keyring(service: SecretService) -> None:
    async with PrivateServer(login_shell="/bin/sh", password=SECRET, methods="password") as server:
        with control_directory() as directory:
            said = await asyncio.to_thread(_log_in_locked, service, server, directory)
        assert "PermissionDenied" in said
        assert "KeyringLocked" in said
        assert "what is stored there was not used" in said


def _log_in_locked(service: SecretService, server: PrivateServer, directory: Path) -> str:
    with program(service.env) as storing:
        storing.register(**cluster(server))
        storing.set_password(SECRET)
    service.restart_daemon(unlocked=False)
    with program(service.env | {"SSHMUX_DIR": str(directory)}) as locked_out:
        locked_out.register(**cluster(server))
        return str(locked_out.log_in())


async def test_a_hanging_keyring_delays_a_log_in_with_a_key_at_most_once(
    service: SecretService,
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        with control_directory() as directory:
            await asyncio.to_thread(_log_in_while_it_hangs, service, server, directory)
        assert server.logins == 2


def _log_in_while_it_hangs(service: SecretService, server: PrivateServer, directory: Path) -> None:
    env = service.env | {"SSHMUX_DIR": str(directory)}
    with program(env, deadline=SOON) as told:
        told.register(**cluster(server), key_file=str(server.key_file))
        service.freeze()
        assert told.log_in() == "in\n"
        assert told.seconds >= SOON
        assert told.log_in() == "in\n"
        assert told.seconds < 5
        assert "did not answer" in the_warning(told)
        assert told.end() < 2
