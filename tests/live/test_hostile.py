"""Servers and jump hosts that are after somebody else's secret, by every prompt there is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ConnectionManager, Prompt
from sshmux.testing import PrivateServer

from ..hostile import LONGEST, HostileServer, Round, question
from ..support import control_directory

OWN = "own-password-of-the-target"
OTHERS = {
    "totp": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "passphrase": "passphrase-of-a-key",
    "jump": "password-of-the-jump-host",
}
# Every way to look like somebody else; {who} is the server itself, {key} the client's key.
IMITATIONS = [
    "{who}'s password: ",
    "\n{who}'s password: ",
    "\r\n{who}'s password: ",
    "\r{who}'s password: ",
    "Password: \n{who}'s password: ",
    "({who}) Password: ",
    "\n({who}) Password: ",
    "hello\n(guest@elsewhere) Password: ",
    "\n\nguest@elsewhere's password: ",
    "Enter passphrase for key '{key}': ",
    "\nEnter passphrase for key '{key}': ",
    "\r\nEnter passphrase for '{key}': ",
    "\x1b[2K\rEnter passphrase for key '{key}': ",
    "\x1b[1A\x1b[2K{who}'s password: ",
    "\x08" * 40 + "{who}'s password: ",
    "\x9b2K{who}'s password: ",
    "\u202e:drowssap s'{who}",
    "Enter PIN for ED25519-SK key {key}: ",
    "\nEnter PIN for 'token': ",
    "\nAre you sure you want to continue connecting (yes/no/[fingerprint])? ",
    "Your password has expired.\nNew password: ",
    "Current password: ",
    "{who}'s old password: ",
    "Enter {who}'s new password: ",
    "password for another site: ",
    "Password: Password: ",
    "assword: ",
    " ",
    "",
    "\t",
    "x" * 5000,
    "x" * LONGEST,
    "line\n" * 20_000,
]


async def attempt(manager: ConnectionManager) -> sshmux.Error:
    with pytest.raises(sshmux.Error) as caught:
        async with manager.get_connection(1):
            pass
    return caught.value


def store(manager: ConnectionManager, key: Path, **jump: str) -> None:
    """Everything that a thief could want."""
    manager.set_password(1, OWN, keyring=False)
    manager.set_passphrase(key, OTHERS["passphrase"], keyring=False)
    if jump:
        manager.set_password(1, OTHERS["jump"], jump_host=jump["name"], keyring=False)


def filled(prompt: str, server: HostileServer) -> str:
    who = f"guest@{server.host}"
    return prompt.replace("{who}", who).replace("{key}", str(server.key_file))


@pytest.mark.parametrize("prompt", IMITATIONS, ids=range(len(IMITATIONS)))
async def test_a_question_that_looks_like_another_gets_nothing(
    prompt: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with HostileServer() as server:
        server.rounds = [question(filled(prompt, server))]
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory) as manager:
                server.register(manager, 1)
                store(manager, server.key_file)
                error = await attempt(manager)
                assert isinstance(error, sshmux.PermissionDenied)
                assert server.received == []
                assert "\x1b" not in str(error)
                assert len(str(error)) < 2500
                await attempt(manager)
                assert server.connections == 1  # and it does not get another chance
    for secret in (OWN, *OTHERS.values()):
        assert secret not in caplog.text + str(error)


# One banner of all that is short, one that ends like a prompt, and each of the long ones.
BANNERS = [
    "".join(each for each in IMITATIONS if len(each) < 1000),
    *IMITATIONS[:3],
    *IMITATIONS[-3:],
]


@pytest.mark.parametrize("prompt", BANNERS, ids=range(len(BANNERS)))
async def test_a_banner_that_looks_like_a_prompt_gets_nothing(prompt: str) -> None:
    """It is written before anything is asked: the password goes to the prompt, and once."""
    async with HostileServer(password=OWN) as server:
        server.banner = filled(prompt, server)
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory) as manager:
                server.register(manager, 1)
                store(manager, server.key_file)
                async with manager.get_connection(1) as connection:
                    assert (await connection.run("echo in")).stdout == "in\n"
                assert server.received == [OWN]


@pytest.mark.parametrize(
    ("rounds", "given"),
    [
        ([question("Password: ", OWN)], [OWN]),
        ([question("password:", OWN)], [OWN]),
        ([question("Password: ", echo=True)], []),
        ([question("Password: "), question("Password: ")], [OWN]),
        ([Round("", "", [("Password: ", False), ("Password: ", False)])], []),
        ([question("Password: "), question("Enter passphrase for key '{key}': ")], [OWN]),
        ([Round("Password: ", "\nPassword: ", [("Tell me: ", False)])], []),
        ([Round("{who}'s password: ", "Enter passphrase for key '{key}': ", [])], []),
    ],
)
async def test_the_password_is_given_once_and_never_to_an_echo(
    rounds: list[Round], given: list[str]
) -> None:
    async with HostileServer() as server:
        server.rounds = [
            Round(
                filled(str(each.name), server),
                filled(str(each.instructions), server),
                [(filled(str(text), server), echo) for text, echo in each.prompts],
                each.expected,
            )
            for each in rounds
        ]
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory) as manager:
                server.register(manager, 1)
                store(manager, server.key_file)
                if (len(rounds) == 1 and given == [OWN]) or not rounds[0].prompts:
                    async with manager.get_connection(1) as connection:
                        await connection.run("true")
                else:
                    await attempt(manager)
                assert server.received == given


async def test_a_server_that_refuses_after_the_password_gets_it_once() -> None:
    for offered in ({"password": OWN}, {"rounds": [question("Password: ", OWN)]}):
        async with HostileServer(accept=False, **offered) as server:  # type: ignore[arg-type]
            with control_directory() as directory:
                async with ConnectionManager(control_dir=directory) as manager:
                    server.register(manager, 1)
                    manager.set_password(1, OWN, keyring=False)
                    await attempt(manager)
                    await attempt(manager)
                    assert (server.received, server.connections) == ([OWN], 1)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_server_that_falls_silent(after: int) -> None:
    async with HostileServer(
        rounds=[question("Password: "), question("Code: ")], stall_after=after
    ) as server:
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, dial_attempts=1) as manager:
                server.register(manager, 1, timeout=1)
                manager.set_password(1, OWN, keyring=False)
                assert isinstance(await attempt(manager), sshmux.ConnectTimeout)
                assert server.received == [OWN][:after]


# Jump hosts


def behind(jump: HostileServer, target: Any, path: Path, *, alias: bool) -> Path:
    """The target behind the jump host; with `alias` they have different names."""
    names = f"Host {jump.alias}\n    HostKeyAlias jump.example\n" if alias else ""
    known = jump.known_hosts_file.read_text()
    (path / "known").write_text(known + known.replace(known.split()[0], "jump.example"))
    config = path / "config"
    config.write_text(
        f"{names}Host {target.alias}\n    ProxyJump {jump.alias}\n"
        f"Host {jump.alias}\n    UserKnownHostsFile {path}/known\n"
        f"Host *\nInclude {jump.config_file}\nInclude {target.config_file}\n"
    )
    return config


QUESTIONS = [
    "Password: ",
    "\n(guest@127.0.0.1) Password: ",
    "\nguest@127.0.0.1's password: ",
    "x\n\nEnter passphrase for key '{key}': ",
    # What makes the whole unknown must not make its last line known.
    "\u202e\n(guest@127.0.0.1) Password: ",
    "\u200b\n(guest@127.0.0.1) Password:",
    "\rx\n(guest@127.0.0.1) Password: ",
]


@pytest.fixture(autouse=True)
def utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another locale ssh writes everything that is not ASCII in digits."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("alias", [True, False])
@pytest.mark.parametrize("question_text", QUESTIONS)
async def test_a_jump_host_never_gets_the_targets_password(
    tmp_path: Path, share: bool, alias: bool, question_text: str
) -> None:
    async with (
        HostileServer(forwarding=True) as jump,
        HostileServer(password=OWN) as target,
    ):
        jump.rounds = [question(filled(question_text, jump))]
        config = behind(jump, target, tmp_path, alias=alias)
        with control_directory() as directory:
            async with (
                ConnectionManager(control_dir=directory, share_jump_hosts=share) as manager,
            ):
                manager.register_cluster(1, target.alias, config_file=config)
                store(manager, target.key_file)
                await attempt(manager)
                assert jump.received == []
                assert target.received == []


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kind", ["password", "keyboard-interactive"])
async def test_each_gets_its_own(tmp_path: Path, share: bool, kind: str) -> None:
    def offered(secret: str) -> dict[str, Any]:
        if kind == "password":
            return {"password": secret}
        return {"rounds": [question("Password: ", secret)]}

    async with (
        HostileServer(forwarding=True, **offered(OTHERS["jump"])) as jump,
        HostileServer(**offered(OWN)) as target,
    ):
        config = behind(jump, target, tmp_path, alias=True)
        with control_directory() as directory:
            async with (
                ConnectionManager(control_dir=directory, share_jump_hosts=share) as manager,
            ):
                manager.register_cluster(1, target.alias, config_file=config)
                store(manager, target.key_file, name=jump.alias)
                async with manager.get_connection(1) as connection:
                    assert (await connection.run("echo in")).stdout == "in\n"
                assert (jump.received, target.received) == ([OTHERS["jump"]], [OWN])


async def test_one_name_for_two_hosts_gets_neither_of_them_anything(tmp_path: Path) -> None:
    """Left to ssh, both ask on one terminal; by one name nobody can tell who it is."""
    async with (
        HostileServer(forwarding=True, password=OWN) as jump,
        HostileServer(password=OWN) as target,
    ):
        config = behind(jump, target, tmp_path, alias=False)
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, share_jump_hosts=False) as manager:
                manager.register_cluster(1, target.alias, config_file=config)
                store(manager, target.key_file, name=jump.alias)
                await attempt(manager)
                assert (jump.received, target.received) == ([], [])


# With a user


async def test_a_user_is_told_who_asks_and_sees_no_control_characters() -> None:
    asked: list[Prompt] = []

    async def user(prompt: Prompt) -> str | None:
        asked.append(prompt)
        return None

    chosen = IMITATIONS[::2]
    for text in chosen:
        async with HostileServer() as server:
            server.rounds = [question(filled(text, server))]
            with control_directory() as directory:
                async with ConnectionManager(control_dir=directory, prompter=user) as manager:
                    server.register(manager, 1)
                    await attempt(manager)
    assert len(asked) > len(chosen) / 2
    for prompt in asked:
        assert prompt.who == "guest@127.0.0.1"
        assert prompt.text.startswith("(guest@127.0.0.1) ")
        assert prompt.kind in ("interactive", "new-password", "password")
        assert not set(prompt.text) & {"\x1b", "\x08", "\r", "\x9b", "\u202e"}


async def test_a_menu_and_two_questions_in_one_round() -> None:
    asked: list[Prompt] = []
    menu = (
        "Duo two-factor login for guest\n\nEnter a passcode or select one of the following "
        "options:\n\n 1. Duo Push to XXX-XXX-1234\n 2. Phone call to XXX-XXX-1234\n\n"
        "Passcode or option (1-2): "
    )

    async def user(prompt: Prompt) -> str | None:
        asked.append(prompt)
        return {"menu": "1", "password": "pw", "one-time": "123456"}[prompt.kind]

    rounds = [
        Round("", "", [("Password: ", False), ("Verification code: ", False)], ["pw", "123456"]),
        question(menu, "1", echo=True),
    ]
    async with HostileServer(rounds=rounds) as server:
        with control_directory() as directory:
            async with (
                ConnectionManager(control_dir=directory, prompter=user) as manager,
            ):
                server.register(manager, 1)
                async with manager.get_connection(1) as connection:
                    assert (await connection.run("echo in")).stdout == "in\n"
    assert [(prompt.kind, prompt.echo) for prompt in asked] == [
        ("password", False),
        ("one-time", False),
        ("menu", True),
    ]
    assert asked[2].options == {  # type: ignore[attr-defined]
        "1": "Duo Push to XXX-XXX-1234",
        "2": "Phone call to XXX-XXX-1234",
    }


async def test_a_push_on_the_phone_has_the_users_time() -> None:
    async def user(prompt: Prompt) -> str | None:
        return "1"

    async with HostileServer(rounds=[question("Option (1-2): ", "1", echo=True)]) as server:
        server.delay = 1.5
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory, prompter=user) as manager:
                server.register(manager, 1, timeout=1)
                async with manager.get_connection(1) as connection:
                    assert (await connection.run("echo in")).stdout == "in\n"


async def test_it_is_a_fair_server_after_all() -> None:
    """The hostile server lets in who is right, or these tests would prove nothing."""
    async with PrivateServer(login_shell="/bin/sh") as real, HostileServer(password=OWN) as other:
        with control_directory() as directory:
            async with ConnectionManager(control_dir=directory) as manager:
                real.register(manager, "real")
                other.register(manager, 1)
                manager.set_password(1, OWN, keyring=False)
                assert await manager.test_connection("real")
                assert await manager.test_connection(1)
