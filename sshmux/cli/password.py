"""sshmux password"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..config import ConnectionConfig
from ..errors import ConfigError, Error, PermissionDenied
from ..login.credentials import Credentials, UnfitKeyring, passphrase_entry, totp_entry
from ..login.totp import check_totp_secret
from ..manager import ConnectionManager
from ..system.secret import Secret
from . import completion, formatting, target

_NONE = 3
_REFUSED = 1

_kinds = (
    click.option("--one-time", is_flag=True, help="The secret of its one-time codes instead."),
    click.option(
        "--key", is_flag=True, help="HOST is a private key's file: its passphrase instead."
    ),
    click.option("--service", default="sshmux", show_default=True, help="As keyring_service=."),
    click.option("-p", "--port", default=22, show_default=True, help="As registered."),
    click.option("-l", "--user", help="As registered; or say user@host."),
)


def _what(function: Any) -> Any:
    for option in reversed(_kinds):
        function = option(function)
    return function


@click.group("password")
def command() -> None:
    """Store, forget or try what a log-in needs, in the system keyring.

    HOST is the host as the program registers it, or as ProxyJump names a jump host: user@host.
    """


@command.command("set")
@click.argument("host", shell_complete=completion.hosts)
@_what
@click.option("--stdin", "from_stdin", is_flag=True, help="Read it from stdin, not the terminal.")
@click.option(
    "--allow-plaintext", is_flag=True, help="Even in a keyring that keeps it readable in a file."
)
def store(host: str, from_stdin: bool, allow_plaintext: bool, **what: Any) -> None:
    """Store a password; it is asked for without being shown.

    \b
    sshmux password set me@cluster
    sshmux password set --one-time me@cluster      base32, or otpauth://totp/...
    sshmux password set --key ~/.ssh/id_ed25519
    pass show cluster | sshmux password set --stdin me@cluster

    Exit status: 0; 1 when there is no keyring that keeps it, or only one that keeps it readable.
    """
    entry = _entry(host, what)
    credentials = Credentials(what["service"], plaintext="allow" if allow_plaintext else "refuse")
    try:
        credentials.check_keyring()  # before anything is asked
        secret = Secret(sys.stdin.readline().rstrip("\r\n")) if from_stdin else _ask(entry)
        if what["one_time"]:
            secret = check_totp_secret(secret)
        if not credentials.set(entry, secret):
            raise UnfitKeyring("the keyring does not keep it")
    except UnfitKeyring as error:
        formatting.echo(f"sshmux: nothing was stored: {error}", err=True)
        sys.exit(1)
    formatting.echo(f"stored as {entry!r} of the service {what['service']!r}")


@command.command("delete")
@click.argument("host", shell_complete=completion.hosts)
@_what
def delete(host: str, **what: Any) -> None:
    """Forget a password. That there is none is no error.

    Exit status: 0; 1 when the keyring did not let it be removed.
    """
    entry = _entry(host, what)
    if not Credentials(what["service"]).delete(entry):
        sys.exit(1)  # the log has said why
    formatting.echo(f"{entry!r} is not in the keyring (any more)")


@command.command("test")
@click.argument("host", shell_complete=completion.hosts)
@target.options
@click.option("--service", default="sshmux", show_default=True, help="As keyring_service=.")
def test(host: str, service: str, **settings: Any) -> None:
    """Log in with the stored password alone, once, and say whether it works.

    Keys and agents are left out, nobody is asked, and nothing stays behind. A wrong password is
    one failed log-in on the server.

    Exit status: 0 when it works, 1 when it was refused, 3 when none is stored, 255 when the
    server could not be reached.
    """
    only = {
        "PubkeyAuthentication": "no",
        "GSSAPIAuthentication": "no",
        "PreferredAuthentications": "password,keyboard-interactive",
    }
    config = target.config(host, settings, **only)
    if Credentials(service).get(config.address) is None:
        formatting.echo(f"sshmux: no password is stored for {config.address!r}", err=True)
        sys.exit(_NONE)
    manager = ConnectionManager(keyring_service=service, dial_attempts=1)
    manager.register_cluster(host, config=config)
    sys.exit(target.until_signalled(_test(manager, host)))


async def _test(manager: ConnectionManager, host: str) -> int:
    try:
        async with manager, await manager.connect(host):
            pass
    except PermissionDenied as error:
        formatting.echo(f"sshmux: {error}", err=True)
        return _REFUSED
    formatting.echo(f"{host}: the stored password works")
    return 0


def _entry(host: str, what: dict[str, Any]) -> str:
    if what["key"]:
        return passphrase_entry(str(Path(host).expanduser().absolute()))
    address = ConnectionConfig(host, what["port"], what["user"]).address
    return totp_entry(address) if what["one_time"] else address


def _ask(entry: str) -> Secret:
    try:
        first = Secret(click.prompt(f"Secret for {entry}", hide_input=True, err=True))
        second = Secret(click.prompt("Again", hide_input=True, err=True))
    except click.Abort:
        raise Error("nothing was stored") from None
    if not first.same(second):
        raise ConfigError("the two are not the same: nothing was stored")
    return first
