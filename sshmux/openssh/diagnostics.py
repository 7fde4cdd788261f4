"""From what ssh wrote to the error that it means. Pure.

Each diagnosis is one class with its pattern beside its advice; they are tried in order, most
specific first, on ssh's stderr. The texts are OpenSSH's own (ssh.c, sshconnect.c, kex.c, packet.c),
the system's (strerror, gai_strerror) on Linux and macOS.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass

from .. import errors
from ..config import ConnectionConfig
from .askpass.prompts import HostKeyPrompt, Prompt, sanitise


@dataclass(frozen=True)
class Diagnosis:
    """What a pattern in ssh's stderr means, and what a user can do about it."""

    pattern: re.Pattern[str]
    error: type[errors.Error]
    advice: str
    transient: bool | None = None  # None: as the class says


# What was refused, by where it came from; the last one that applies counts.
_REFUSED_ANSWERS = {
    "stored": "The stored password was refused: store the right one with set_password(). "
    "It is not tried again until you do, or ask for it.",
    "code": "The one-time code was refused: is its secret the right one, and is this machine's "
    "clock right? It is not tried again until you ask for it.",
    "user": "What was typed was refused. It is not tried again until you ask for it.",
}
_ASKED = {
    "password": "store it with set_password(), give the manager a prompter=, or use a key or an "
    "agent",
    "new-password": "the password has expired: log in by hand and change it: {login}",
    "passphrase": "store it with set_passphrase(), load the key into an agent (ssh-add), or give "
    "the manager a prompter=",
    "fido-pin": "give the manager a prompter=",
    "pkcs11-pin": "give the manager a prompter=, or load the token into an agent (ssh-add -s)",
    "unknown": "sshmux does not know that question: see what it is with {login}",
}
_ASKED_CODE = (
    "give the manager a prompter=, store the secret of the codes with set_totp_secret(), or log in "
    "by hand beforehand with `sshmux login` and persist="
)


def _d(
    pattern: str, error: type[errors.Error], advice: str, transient: bool | None = None
) -> Diagnosis:
    return Diagnosis(re.compile(pattern, re.IGNORECASE | re.MULTILINE), error, advice, transient)


DIAGNOSES: tuple[Diagnosis, ...] = (
    _d(
        r"REVOKED HOST KEY|host key .* (is marked as|was) revoked",
        errors.HostKeyNotVerifiable,
        "The key is marked as revoked: it may have been stolen. Ask the operators; do not log in.",
    ),
    _d(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        errors.HostKeyChanged,
        "The host key is not the one on record. Somebody may be listening in, or the server was "
        "set up anew. Ask its operators; only when they confirm the new key, run: {forget}",
    ),
    _d(
        r"No .* host key is known for|Host key verification failed|host key .* is not trusted"
        r"|Host certificate .*(invalid|expired)",
        errors.HostKeyUnknown,
        "No trusted key of this host is on record. Compare its fingerprint with what the operators "
        "publish, by logging in once: {login} (or register the cluster with "
        "strict_host_key_checking='accept-new' to trust the first key seen)",
    ),
    _d(
        r"^(command-line|/.*?):? line \d+: |Bad configuration option|bad configuration options"
        r"|Can't open user config file|Bad owner or permissions on",
        errors.ConfigError,
        "ssh cannot use its configuration: mend the option that it names.",
    ),
    _d(
        r"path too long for Unix domain socket|ControlPath too long"
        r"|(cannot bind to path|unix_listener|mux_listener|ControlSocket|muxserver_listen|"
        r"link mux listener)",
        errors.ControlDirError,
        "The control socket could not be made: choose another directory with $SSHMUX_DIR.",
    ),
    _d(
        r"(connect to|bind) .*(Permission denied|Operation not permitted)",
        errors.HostUnreachable,
        "This machine does not allow it: check its firewall and routes.",
    ),
    _d(
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        errors.PermissionDenied,
        "The private key was ignored because others can read it: run {chmod}",
    ),
    _d(
        r"Too many authentication failures",
        errors.PermissionDenied,
        "The server counted too many keys: name the right one with key_file=, or use_agent=False.",
    ),
    _d(
        r"Permission denied( \(|, please)|No more authentication methods|Authentication failed",
        errors.PermissionDenied,
        "{denied}",
    ),
    _d(
        r"Temporary failure in name resolution",
        errors.HostNotFound,
        "The name server did not answer: check the network.",
        transient=True,
    ),
    _d(
        r"Could not resolve hostname",
        errors.HostNotFound,
        "The name does not resolve: check its spelling, or the Host in ssh_config.",
    ),
    _d(
        r"Connection refused",
        errors.ConnectionRefused,
        "Nothing listens there: check host and port, and whether the server is up.",
    ),
    _d(
        r"(connect to host|connect to address).*(timed out)|Connection timed out"
        r"|Timeout, server .* not responding|banner exchange.*timed out",
        errors.ConnectTimeout,
        "Check the network (VPN, firewall), or raise timeout=.",
    ),
    _d(
        r"No route to host|Network is unreachable|Network is down|Host is down"
        r"|Can(not|'t) assign requested address",
        errors.HostUnreachable,
        "Check the network (VPN, firewall) and the address.",
    ),
    _d(
        r"no matching (host key type|cipher|MAC|key exchange method|compression)[^\n]*"
        r"|Unable to negotiate with|incompatible version|Protocol major versions differ",
        errors.KeyExchangeFailed,
        "Client and server have no algorithm in common: see ssh_options (KexAlgorithms, "
        "HostKeyAlgorithms, …) and man ssh_config.",
    ),
    _d(
        r"Connection (closed|reset)|Connection to .* closed|kex_exchange_identification"
        r"|ssh_exchange_identification|Broken pipe|Not allowed at this time|Exceeded MaxStartups",
        errors.ServerHungUp,
        "The server closed the connection before the log-in: it may be overloaded (MaxStartups), "
        "be restarting, or refuse this address for a while.",
    ),
)


def declined(config: ConnectionConfig, prompt: Prompt, why: str, stderr: str) -> errors.Error:
    """The error for a log-in that a prompt ended which nobody answered."""
    asked = f"{config.address}: ssh asked {sanitise(prompt.text, 1000)!r}, and {why}"
    if isinstance(prompt, HostKeyPrompt):
        advice = (
            "Compare the fingerprint with what the operators publish, and confirm it by logging "
            "in once: {login}"
        )
        return _with_words(
            errors.HostKeyUnknown(f"{asked}. {_fill(advice, config, stderr)}"), stderr
        )
    advice = _fill(_ASKED.get(prompt.kind, _ASKED_CODE), config, stderr)
    return _with_words(errors.PromptDeclined(f"{asked}: {advice}"), stderr)


def expired(config: ConnectionConfig) -> errors.PermissionDenied:
    """The error for commands of an account whose password has expired."""
    return errors.PermissionDenied(
        f"{config.address} let us in, but runs nothing: the password has expired. "
        f"Log in by hand and change it: {_login(config)}"
    )


def through(error: errors.ServerHungUp) -> errors.ServerHungUp:
    """The same, for a host behind a jump host, whose own words ssh throws away (sshconnect.c)."""
    hint = (
        "It is reached through a jump host: does that one allow forwarding (AllowTcpForwarding), "
        "and can it reach the host?"
    )
    told = errors.ServerHungUp(f"{error} {hint}")
    told.stderr = error.stderr
    return told


def log_in_by_hand(config: ConnectionConfig, path: os.PathLike[str] | None) -> str:
    """What to type when there is no master to use, and dial="never"."""
    if path is None:
        where, how = "no master of sshmux's", f"sshmux login {_host(config)}"
    elif config.control_path == "config":
        where, how = f"no master at {path}", f"{_login(config)} -fNM"
    else:
        where, how = f"no master at {path}", f"{_login(config)} -fNM -S {shlex.quote(str(path))}"
    return (
        f'{config.address} is not logged in to: there is {where}, and dial="never". '
        f"Log in first: {how}"
    )


def diagnose(
    config: ConnectionConfig, status: int, stderr: str, *, given: Collection[str] = ()
) -> errors.Error:
    """The error for a log-in that ended with `status` and wrote `stderr`.

    Parameters:
        given: where answers to prompts came from: "stored", "code", "user".
    """
    # ssh's verdict is its last line. What stands above it may be a banner, in a stranger's words.
    denied = re.search(r"Permission denied \([^)]*\)\.?\s*\Z", stderr) is not None
    for diagnosis in DIAGNOSES:
        if denied and diagnosis.error is not errors.PermissionDenied:
            continue
        if found := diagnosis.pattern.search(stderr):
            words = sanitise(_line_of(stderr, found.start()))
            advice = _fill(diagnosis.advice, config, stderr)
            if diagnosis.error is errors.PermissionDenied:
                for source, words_of_it in _REFUSED_ANSWERS.items():
                    advice = words_of_it if source in given else advice
            error = diagnosis.error(f"Cannot connect to {config.address}: {words}. {advice}")
            if diagnosis.transient is not None:
                error.transient = diagnosis.transient
            return _with_words(error, stderr)
    words = sanitise(stderr.strip().rpartition("\n")[2]) or f"ssh exited with {status}"
    return _with_words(
        errors.DisconnectError(
            f"Cannot connect to {config.address}: {words}. To see more, run: {_login(config)} -v"
        ),
        stderr,
    )


def timed_out(config: ConnectionConfig, stderr: str) -> errors.Error:
    """The error for a log-in that our own deadline ended."""
    error = errors.ConnectTimeout(
        f"Cannot connect to {config.address}: no log-in within {config.timeout:g} s. "
        f"Check the network, or raise timeout=. To see where it stops, run: {_login(config)} -v"
    )
    return _with_words(error, stderr)


# How `ssh -S` begins to complain of itself. (mux.c, sshconnect.c)
_CLIENT_WORDS = (
    b"mux_client_",
    b"Master refused session request",
    b"Control socket ",
    b"ControlSocket ",
    b"Connection closed by UNKNOWN port",
    b"banner exchange: Connection to UNKNOWN port",
    b"kex_exchange_identification",
    b"ssh_exchange_identification",
)


def may_be_clients_own(text: bytes) -> bool:
    """Whether stderr that begins so may be the client's own words, and not the command's."""
    return any(text.startswith(words) or words.startswith(text) for words in _CLIENT_WORDS)


def session_failure(stderr: str) -> str | None:
    """Why there was no session: "refused" by the server, "unreachable" socket, "expired", or None.

    Expired is the password, and sshd runs its own complaint instead of the command (session.c).
    Only for a command that never announced itself: the same words could otherwise be the
    command's own. (mux.c: mux_client_request_session)
    """
    if re.search(r"^Password change required but no TTY available", stderr, re.MULTILINE):
        return "expired"
    if re.search(r"[Ss]ession open refused by peer|Master refused session request", stderr):
        return "refused"
    if re.search(
        r"^(Control socket connect|mux_client_|muxclient|Connection closed by UNKNOWN port"
        r"|banner exchange: Connection to UNKNOWN port"
        r"|kex_exchange_identification|ssh_exchange_identification|read from master failed)",
        stderr,
        re.MULTILINE,
    ):
        return "unreachable"
    return None


def _with_words(error: errors.Error, stderr: str) -> errors.Error:
    if isinstance(error, errors.DisconnectError):
        error.stderr = sanitise(stderr, 4000)
    return error


def _line_of(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start:] if end < 0 else text[start:end]
    return line.strip().strip("@").strip().rstrip(".!")


def _login(config: ConnectionConfig) -> str:
    words = [config.ssh_program]
    if config.config_file is not None:
        words += ["-F", str(config.config_file)]
    if config.known_hosts_file is not None:
        words += ["-o", f"UserKnownHostsFile={config.known_hosts_file}"]
    if config.key_file is not None:
        words += ["-i", str(config.key_file)]
    if config.port != 22:
        words += ["-p", str(config.port)]
    return shlex.join([*words, _host(config)])


def _host(config: ConnectionConfig) -> str:
    return f"{config.username}@{config.host}" if config.username else config.host


def _fill(advice: str, config: ConnectionConfig, stderr: str) -> str:
    return (
        advice.replace("{login}", _login(config))
        .replace("{forget}", _forget(config, stderr))
        .replace("{chmod}", _protect(config, stderr))
        .replace("{denied}", _denied(config, stderr))
    )


def _forget(config: ConnectionConfig, stderr: str) -> str:
    """ssh-keygen -R, for the name under which ssh holds the key, in the file that ssh names."""
    offending = re.search(r"Offending .* key in (.*):\d+", stderr)
    named = re.search(r"[Hh]ost key for (\S+) has changed", stderr)
    host = named.group(1) if named else config.host
    if not named and config.port != 22:
        host = f"[{config.host}]:{config.port}"
    words = ["ssh-keygen", "-R", host]
    if offending:
        words += ["-f", offending.group(1)]
    return shlex.join(words)


def _protect(config: ConnectionConfig, stderr: str) -> str:
    """chmod, for the key that ssh names: it need not be the one of `key_file`."""
    named = re.search(r"Permissions \d+ for '(.*)' are too open", stderr)
    return shlex.join(["chmod", "600", named.group(1) if named else str(config.key_file or "KEY")])


def _denied(config: ConnectionConfig, stderr: str) -> str:
    hints = []
    offered = re.search(r"Permission denied \(([^)]*)\)", stderr)
    if offered and "keyboard-interactive" in offered[1]:
        hints.append(
            "does the server want a password or a one-time code (see set_password(), prompter=, "
            "and `sshmux login`)"
        )
    if config.key_file is not None:
        hints.append(f"is the public half of {config.key_file} in authorized_keys there")
    else:
        hints.append("is a key or a password set up")
    hints.append("is the user name right")
    return f"Check: {', and '.join(hints)}? It is not tried again until you ask for it."
