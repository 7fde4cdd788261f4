"""Smart cards and FIDO keys: PINs to type, keys to touch."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import sshmux
from sshmux import ConnectionManager, Prompt
from sshmux.testing import PrivateServer

from ..support import control_directory, managed

PIN = "4321"


class User:
    def __init__(self, *answers: str | None, key: Path | None = None) -> None:
        self.answers = list(answers)
        self.asked: list[Prompt] = []
        self.key = key

    async def __call__(self, prompt: Prompt) -> str | None:
        self.asked.append(prompt)
        if not prompt.wants_answer:
            if self.key is not None:
                self.key.touch()
            return None
        return self.answers.pop(0) if self.answers else None


async def use(manager: ConnectionManager) -> str:
    async with manager.get_connection(1) as connection:
        return str((await connection.run("echo in")).stdout)


# A PKCS#11 token, in software


def softhsm() -> Path | None:
    places = (
        "/usr/lib/softhsm",
        "/usr/lib64/softhsm",
        "/usr/lib64/pkcs11",
        "/usr/local/lib/softhsm",
    )
    found = (Path(place, "libsofthsm2.so") for place in places)
    return next((path for path in found if path.exists()), None)


needs_softhsm = pytest.mark.skipif(
    softhsm() is None or not shutil.which("softhsm2-util"),
    reason="needs a PKCS#11 token in software: apt install softhsm2 (dnf install softhsm)",
)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token with one key; the path of its public half."""
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    key, pem = tmp_path / "key", tmp_path / "pem"
    init = ["--init-token", "--free", "--label", "cluster", "--pin", PIN, "--so-pin", "999999"]
    load = ["--import", pem, "--token", "cluster", "--label", "me", "--id", "01", "--pin", PIN]
    for line in (
        ["softhsm2-util", *init],
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-f", key],
        ["cp", key, pem],
        ["softhsm2-util", *load],
    ):
        subprocess.run(line, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    key.unlink()
    pem.unlink()
    return Path(f"{key}.pub")


def with_token() -> dict[str, object]:
    options = {"PKCS11Provider": str(softhsm()), "IdentityFile": "none"}
    return {"key_file": None, "config_file": None, "use_agent": False, "ssh_options": options}


@needs_softhsm
async def test_the_pin_of_a_smart_card(token: Path) -> None:
    user = User(PIN)
    async with PrivateServer(
        login_shell="/bin/sh", options={"AuthorizedKeysFile": str(token)}
    ) as server:
        async with managed(server, register=with_token(), prompter=user) as manager:
            assert await use(manager) == "in\n"
    (prompt,) = user.asked
    assert (prompt.kind, prompt.text) == ("pkcs11-pin", "Enter PIN for 'cluster': ")
    assert prompt.echo is False


@needs_softhsm
@pytest.mark.parametrize("answer", ["1111", None])
async def test_a_wrong_pin_is_typed_once_as_cards_lock_themselves(
    token: Path, answer: str | None
) -> None:
    user = User(answer, PIN)
    async with PrivateServer(
        login_shell="/bin/sh", options={"AuthorizedKeysFile": str(token)}
    ) as server:
        async with managed(server, register=with_token(), prompter=user) as manager:
            for _ in range(2):
                with pytest.raises(sshmux.PermissionDenied):
                    await use(manager)
            assert len(user.asked) == 1


# A FIDO key. There is none here, nor a package with a middleware that does without. So a script
# takes ssh's place for the moment in which a key is wanted, does what ssh does then (readpass.c:
# notify_start, and read_passphrase), and becomes ssh. The texts are those of OpenSSH 9.2 with its
# own regress/misc/sk-dummy as middleware, with which all of this was run by hand.

TOUCH = '    until rm "$0.key" 2>/dev/null; do sleep 0.05; done\n'
FIDO = f"""\
#!/bin/sh
case " $* " in *" -M "*) ;; *) exec ssh "$@" ;; esac
[ "$SSH_ASKPASS_REQUIRE" = never ] && [ -n "$DISPLAY" ] || exit 9
touched() {{
    SSH_ASKPASS_PROMPT=none "$SSH_ASKPASS" \
        'Confirm user presence for key ED25519-SK SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hS'
{TOUCH}}}
touched
stty -echo </dev/tty
printf "Enter PIN for ED25519-SK key /home/me/.ssh/id_ed25519_sk: " >/dev/tty
read -r pin </dev/tty
printf '\\n' >/dev/tty
stty echo </dev/tty
[ "$pin" = 4321 ] || {{ echo 'me@cluster: Permission denied (publickey).' >&2; exit 255; }}
touched
exec ssh "$@"
"""


@pytest.mark.parametrize("pin", [PIN, "1111", None])
async def test_a_fido_key_is_announced_and_its_pin_asked_for(
    tmp_path: Path, pin: str | None
) -> None:
    program = tmp_path / "ssh-with-a-key"
    program.write_text(FIDO)
    program.chmod(0o700)
    user = User(pin, key=tmp_path / "ssh-with-a-key.key")
    async with PrivateServer(login_shell="/bin/sh") as server:
        register = {"ssh_program": str(program), "timeout": 5}
        async with managed(server, register=register, prompter=user) as manager:
            if pin == PIN:
                assert await use(manager) == "in\n"
            else:
                with pytest.raises(sshmux.PermissionDenied):
                    await use(manager)
                assert server.connections == 0
    kinds = [(prompt.kind, prompt.wants_answer, prompt.echo) for prompt in user.asked]
    expected = [("touch", False, False), ("fido-pin", True, False), ("touch", False, False)]
    assert [(kind, wants) for kind, wants, _ in kinds] == [
        (kind, wants) for kind, wants, _ in expected[: 3 if pin == PIN else 2]
    ]
    assert kinds[1][2] is False
    assert user.asked[0].text.startswith("Confirm user presence for key ED25519-SK SHA256:")


async def test_a_key_that_nobody_touches_has_the_users_time(tmp_path: Path) -> None:
    """What waits to be touched does not count against the log-in's time."""
    program = tmp_path / "ssh-with-a-key"
    announced = FIDO.partition("stty")[0].replace(TOUCH, "    sleep 1.5\n")
    program.write_text(announced + 'exec ssh "$@"\n')
    program.chmod(0o700)
    user = User()
    async with PrivateServer(login_shell="/bin/sh") as server:
        register = {"ssh_program": str(program), "timeout": 1}
        async with managed(server, register=register, prompter=user) as manager:
            assert await use(manager) == "in\n"
        with control_directory() as directory:
            async with ConnectionManager(
                control_dir=directory, prompter=user, prompt_timeout=0.2, dial_attempts=1
            ) as manager:
                server.register(manager, 1, **register)
                with pytest.raises(sshmux.ConnectTimeout):
                    await use(manager)
