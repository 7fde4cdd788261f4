"""PrivateServer: a real sshd of one's own on the loopback interface."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import secrets
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import psutil

from sshmux.testing import processes
from sshmux.testing.config import HOST, OptionValue, ServerOptions, server_alias
from sshmux.testing.programs import generate_key
from sshmux.testing.sshd import Sshd
from sshmux.testing.totp import normalize

if TYPE_CHECKING:
    from sshmux.config import ConnectionConfig

_T = TypeVar("_T")


class PrivateServer:
    """A real sshd on 127.0.0.1 with its own keys and configuration, as any user, root or not.

    It is an async context manager, and a plain one for code without an event loop. Its files are
    in a private temporary directory (with `password` or `totp`, in a second one in /tmp), and no
    file and no process is left when the context ends, or when the process that opened it dies.
    Only /run/sshd, which sshd wants when it is root's, is made if it is missing, and stays.

    Sessions have the account's own shell and home, but bash does not read ~/.bashrc.

    ```python
    async with PrivateServer() as server, ConnectionManager() as manager:
        server.register(manager, "test")
        async with manager.get_connection("test") as connection:
            await connection.run("true")
    ```

    Parameters:
        max_sessions: sessions that one connection may have open (sshd's `MaxSessions`).
        max_startups: unauthenticated connections, `start:rate:full` (sshd's `MaxStartups`).
        banner: a text that is shown before authentication; None for none.
        delay: seconds between the TCP connection and the server's first word, its identification.
        password: what the account's password is here; True for a random one, which is `password`
            then; None for keys only. Other users of this machine, root apart, are turned away
            before they can try it. Linux only.
        totp: the base32 secret of time-based one-time codes (six digits, every 30 s), which are
            then asked for by keyboard-interactive ("(user@host) Verification code: "), after the
            password if there is one. Each is good for one log-in, and so are the ones just before
            and after it. Linux only, with libpam-google-authenticator installed.
        methods: which ways to log in there are, as in sshd's `AuthenticationMethods`: "password";
            "publickey keyboard-interactive" for either; "publickey,password" for one and then
            the other. By default "publickey", and with a password "publickey password"; with
            `totp` "publickey,keyboard-interactive", and with both "keyboard-interactive".
        kbdint: let the default `methods` ask for the password by keyboard-interactive
            ("(user@host) Password: "), not by password ("user@host's password: "). With `totp`
            it is keyboard-interactive anyway.
        login_shell: the path of the account's login shell here; None for its own. Linux only,
            with nss_wrapper installed.
        login_delay: seconds that the login shell takes to start, for each session, as a slow
            .bashrc does. Linux only, with nss_wrapper installed.
        options: more lines of sshd_config, by keyword; they win over this class's own. A bool
            becomes yes or no, a list becomes a line for each item: none, for an empty one.

    Raises:
        ValueError: `methods` asks for what is not given, or cannot ask for all that is; the
            password is not one line; `totp` is no base32.
        SshdMissing: at the start, if OpenSSH's server is not installed.
        WrapperMissing: at the start, if a library that an option needs is not installed, or
            the PAM module of `totp`.
        RuntimeError: at the start, if sshd refused to; the message has its log.
    """

    def __init__(
        self,
        *,
        max_sessions: int = 10,
        max_startups: str = "100:30:200",
        banner: str | None = None,
        delay: float = 0.0,
        password: str | Literal[True] | None = None,
        totp: str | None = None,
        methods: str | None = None,
        kbdint: bool = False,
        login_shell: str | Path | None = None,
        login_delay: float = 0.0,
        options: Mapping[str, OptionValue] | None = None,
    ) -> None:
        self._options = ServerOptions(
            max_sessions=max_sessions,
            max_startups=max_startups,
            banner=banner,
            delay=delay,
            password=secrets.token_urlsafe(12) if password is True else password,
            totp=normalize(totp) if totp is not None else None,
            methods=methods,
            kbdint=kbdint,
            login_shell=login_shell,
            login_delay=login_delay,
            extra=dict(options or {}),
        )
        self._sshd: Sshd | None = None

    def __repr__(self) -> str:
        if self._sshd is None:
            return "<PrivateServer not entered>"
        state = "running" if self.is_running else "stopped"
        return f"<PrivateServer {self.username}@{self.host}:{self.port} {state}>"

    # What a client needs to know

    @property
    def host(self) -> str:
        """The address: always 127.0.0.1."""
        return HOST

    @property
    def port(self) -> int:
        """The port, free when the server first started, and kept over `stop` and `start`."""
        return self._entered.port

    @property
    def alias(self) -> str:
        """The host name that `config_file` gives to the server: `ssh -F config_file ALIAS`."""
        return server_alias(self.port)

    @property
    def username(self) -> str:
        """The account to log in to: that of this process, the only one everybody may use."""
        return pwd.getpwuid(os.getuid()).pw_name

    @property
    def password(self) -> str | None:
        """What the account's password is here; None if there is none."""
        return self._options.password

    @property
    def directory(self) -> Path:
        """The private directory (mode 0700), removed when the context ends."""
        return self._entered.files.directory

    @property
    def key_file(self) -> Path:
        """The private key that the server accepts (no passphrase)."""
        return self._entered.files.user_key

    @property
    def known_hosts_file(self) -> Path:
        """A known_hosts file with the server's host key, as it was before `rotate_host_key`."""
        return self._entered.files.known_hosts

    @property
    def config_file(self) -> Path:
        """An ssh_config with `alias`, and without anything of the user's own (`ssh -F`)."""
        return self._entered.files.ssh_config

    def connection_config(self, **overrides: Any) -> ConnectionConfig:
        """Return the ConnectionConfig for this server, with `overrides` of its fields."""
        from sshmux.config import ConnectionConfig

        return ConnectionConfig(**(self._connection_arguments() | overrides))

    def register(self, manager: Any, cluster_id: Hashable, **overrides: Any) -> None:
        """Call `manager.register_cluster(cluster_id, …)` for this server.

        Parameters:
            manager: a ConnectionManager.
            cluster_id: the name that the manager is to know the server by.
            overrides: arguments of `register_cluster` to add or replace.
        """
        manager.register_cluster(cluster_id, **(self._connection_arguments() | overrides))

    def _connection_arguments(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "key_file": self.key_file,
            "known_hosts_file": self.known_hosts_file,
            "config_file": self.config_file,
        }

    # What the server saw

    @property
    def log(self) -> str:
        """All that sshd has logged, over all its starts."""
        return self._entered.log.text

    @property
    def connections(self) -> int:
        """TCP connections that sshd has taken on."""
        return self._entered.log.count(r"^Connection from ")

    @property
    def logins(self) -> int:
        """Logins that sshd has accepted; one with a key and then a code is one."""
        return self._entered.log.count(r"^Accepted \S+ for ")

    @property
    def failed_logins(self) -> int:
        """Passwords and keyboard-interactive answers that sshd has refused, each attempt once."""
        return self._entered.log.count(r"^Failed (password|keyboard-interactive\S*) for ")

    async def wait_for_log(
        self, pattern: str, timeout: float = 5.0, *, count: int = 1
    ) -> re.Match[str]:
        """Wait until sshd has logged what `pattern` finds, since the first start.

        Parameters:
            pattern: a regular expression; `^` and `$` match at each line.
            timeout: seconds to wait.
            count: which occurrence to wait for; 2 waits for the second.

        Returns:
            The match.

        Raises:
            TimeoutError: it was not logged in time; the message has the log.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._entered.log.wait_async(pattern, count=count)
        except TimeoutError:
            raise self._not_logged(pattern, timeout) from None

    def wait_for_log_blocking(
        self, pattern: str, timeout: float = 5.0, *, count: int = 1
    ) -> re.Match[str]:
        """`wait_for_log` for code without an event loop."""
        match = self._entered.log.wait(pattern, timeout, count=count)
        if match is None:
            raise self._not_logged(pattern, timeout)
        return match

    def _not_logged(self, pattern: str, timeout: float) -> TimeoutError:
        return TimeoutError(f"sshd did not log {pattern!r} within {timeout:g} s. Log:\n{self.log}")

    # Trouble to make

    def processes(self) -> list[psutil.Process]:
        """Return the listener and the sshd processes of its connections; empty when stopped."""
        listener = self._entered.listener
        return processes.sshd_processes(listener) if listener else []

    def freeze(self) -> None:
        """Stop the server and its connections dead (SIGSTOP): TCP lives on, nobody answers."""
        processes.suspend(self.processes()[:1])  # so that it takes on nothing meanwhile
        processes.suspend(self.processes())

    def thaw(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        processes.resume(self.processes())

    def drop_connections(self) -> None:
        """Kill the connections (SIGKILL), not the listener: the link is lost without a goodbye."""
        processes.kill(self.processes()[1:])

    def rotate_host_key(self) -> None:
        """Make a new host key, which the next `start` uses; `known_hosts_file` keeps the old."""
        # Aside: sshd before 9.8 reads its key anew for every connection.
        generate_key(self._entered.files.next_host_key, "sshmux.testing host")

    # Life

    @property
    def is_running(self) -> bool:
        """Whether the listener runs."""
        return self._sshd is not None and self._sshd.is_running

    async def start(self) -> None:
        """Start a stopped server again: the same port, the same keys."""
        await _in_thread(self.start_blocking)

    async def stop(self) -> None:
        """End the listener, the connections and what runs in their sessions.

        What was detached from its session lives on, as it does when a real sshd is restarted,
        until the context ends.
        """
        await _in_thread(self.stop_blocking)

    def start_blocking(self) -> None:
        """`start` for code without an event loop."""
        self._entered.start()

    def stop_blocking(self) -> None:
        """`stop` for code without an event loop."""
        self._entered.stop()

    def __enter__(self) -> Self:
        self._sshd = Sshd(self._options)
        try:
            self._sshd.prepare()
            self._sshd.start()
        except BaseException:
            self._sshd.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.remove()

    async def __aenter__(self) -> Self:
        try:
            return await _in_thread(self.__enter__)
        except asyncio.CancelledError:
            await _in_thread(self._entered.remove)  # it was entered all the same
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await _in_thread(self._entered.remove)

    @property
    def _entered(self) -> Sshd:
        if self._sshd is None:
            raise RuntimeError("Enter the server first: `async with PrivateServer() as server: …`.")
        return self._sshd


async def _in_thread(function: Callable[[], _T]) -> _T:
    """Run `function` off the event loop, and to its end even if the caller is cancelled."""
    work = asyncio.ensure_future(asyncio.to_thread(function))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        work.exception()  # looked at, so that asyncio does not report it
        raise cancelled
    return work.result()
