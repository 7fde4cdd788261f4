"""The two configurations, sshd's and ssh's, as text. Pure: nothing here touches a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"

OptionValue = str | int | bool | Sequence[str]


@dataclass(frozen=True)
class ServerFiles:
    """What a server keeps below its private directory."""

    directory: Path

    @property
    def host_key(self) -> Path:
        """The server's private ed25519 key; `.pub` beside it."""
        return self.directory / "host_key"

    @property
    def next_host_key(self) -> Path:
        """The host key of the next start, if it is to be another one."""
        return self.directory / "next_host_key"

    @property
    def user_key(self) -> Path:
        """The private key that logs in; `.pub` beside it."""
        return self.directory / "user_key"

    @property
    def authorized_keys(self) -> Path:
        """The only keys that the server accepts."""
        return self.directory / "authorized_keys"

    @property
    def known_hosts(self) -> Path:
        """The server's host key, for clients."""
        return self.directory / "known_hosts"

    @property
    def sshd_config(self) -> Path:
        """The server's configuration."""
        return self.directory / "sshd_config"

    @property
    def ssh_config(self) -> Path:
        """The configuration for clients (`ssh -F`)."""
        return self.directory / "ssh_config"

    @property
    def banner(self) -> Path:
        """The text shown before authentication."""
        return self.directory / "banner"


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What a server is asked to be; PrivateServer's parameters, which explain them."""

    max_sessions: int
    max_startups: str
    banner: str | None
    delay: float
    password: str | None
    totp: str | None
    methods: str | None
    kbdint: bool
    login_shell: str | Path | None
    login_delay: float
    extra: Mapping[str, OptionValue]

    def __post_init__(self) -> None:
        asking = self._named_methods() - {"publickey"}
        if asking and not self.needs_pam:
            names = ", ".join(sorted(asking))
            raise ValueError(
                f"methods={self.methods!r} has {names}: give a password= with it, or a totp=."
            )
        if self.password is not None and not (self.password and self.password.isprintable()):
            raise ValueError("password must be one line of printable characters, and not empty.")
        if "password" in asking and None not in (self.password, self.totp):
            raise ValueError(
                f"methods={self.methods!r} has password, which asks once: with both password= "
                "and totp= there are two questions, which only keyboard-interactive can ask."
            )

    @property
    def needs_pam(self) -> bool:
        """Whether there is anything to ask for."""
        return self.password is not None or self.totp is not None

    def settings(self) -> dict[str, OptionValue]:
        """What they are in sshd's configuration."""
        named = self._named_methods()
        return {
            "MaxSessions": self.max_sessions,
            "MaxStartups": self.max_startups,
            "UsePAM": self.needs_pam,
            "PubkeyAuthentication": "publickey" in named,
            "PasswordAuthentication": "password" in named,
            "KbdInteractiveAuthentication": "keyboard-interactive" in named,
            "AuthenticationMethods": self._methods(),
        }

    def _methods(self) -> str:
        if self.methods is not None:
            return self.methods
        if self.totp is not None:
            second = "keyboard-interactive"
            return second if self.password is not None else f"publickey,{second}"
        if self.password is None:
            return "publickey"
        return f"publickey {'keyboard-interactive' if self.kbdint else 'password'}"

    def _named_methods(self) -> set[str]:
        # As in "publickey,password publickey,keyboard-interactive:pam".
        return {name.partition(":")[0] for name in self._methods().replace(",", " ").split()}


def server_alias(port: int) -> str:
    """The `Host` name that a client's configuration gives to the server."""
    return f"sshmux-{port}"


def sshd_config(
    files: ServerFiles,
    port: int,
    settings: Mapping[str, OptionValue],
    extra: Mapping[str, OptionValue],
) -> str:
    """The server's configuration. What `extra` has takes the place of what is usual."""
    fixed: dict[str, OptionValue] = {
        "Port": port,
        "ListenAddress": HOST,
        "HostKey": str(files.host_key),
        "AuthorizedKeysFile": str(files.authorized_keys),
        "StrictModes": False,
        "PidFile": "none",
        "LogLevel": "VERBOSE",  # INFO does not log connections
        "UseDNS": False,
        "PrintMotd": False,
        "PrintLastLog": False,
        "AllowTcpForwarding": True,
        "PermitRootLogin": True,
        "Subsystem": "sftp internal-sftp",
        # Post-quantum key exchange takes 0.1 s of a processor for each log-in.
        "KexAlgorithms": "-sntrup761*,mlkem768*",
        # Debian's bash reads ~/.bashrc for sshd, but not in a nested shell. A test is not to
        # depend on that file, nor to kill what it runs half way.
        "SetEnv": "SHLVL=1",
    }
    # Most keywords may be repeated, but a subsystem that is defined twice is an error.
    taken = {keyword.lower() for keyword in extra}
    own = {
        name: value for name, value in {**fixed, **settings}.items() if name.lower() not in taken
    }
    return "".join(
        f"{keyword} {line}\n"
        for options in (extra, own)
        for keyword, value in options.items()
        for line in _lines(value)
    )


def ssh_config(files: ServerFiles, port: int, username: str) -> str:
    """A client's configuration that has nothing of the user's own ~/.ssh.

    Only the named hosts are set up, so that the configurations of two servers can be included
    in one file (a jump host and what is behind it).
    """
    alias = server_alias(port)
    return f"""\
Host {alias}
    HostName {HOST}
    Port {port}
    User {username}
Host {alias} {HOST}
    UserKnownHostsFile {files.known_hosts}
    IdentityFile {files.user_key}
    IdentitiesOnly yes
Host *
    GlobalKnownHostsFile none
    IdentityAgent none
"""


def known_hosts(port: int, public_key: str) -> str:
    """The known_hosts line of a server."""
    return f"[{HOST}]:{port} {public_key}"


def _lines(value: OptionValue) -> Sequence[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value)] if isinstance(value, str | int) else value
