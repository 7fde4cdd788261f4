"""From what ssh wrote to the error that it means. Pure.

Each diagnosis is one class with its pattern beside its advice; they are tried in order, most
specific first, on the line in which ssh's log says why it ends. The texts are OpenSSH's own (ssh.c,
sshconnect.c, kex.c, packet.c), the system's (strerror, gai_strerror) on Linux and macOS.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .. import errors
from ..config import ConnectionConfig
from . import hangups
from .askpass.prompts import HostKeyPrompt, Prompt, sanitise
from .resolve import Resolved


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


_UNPROTECTED = _d(
    r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
    errors.PermissionDenied,
    "The private key was ignored because others can read it: run {chmod}",
)

# Whatever ssh cannot open then looks as if it were not there: a key, the known hosts.
_STARVED = _d(
    r": Too many open files$|^dup\(\) in/out/err failed$",
    errors.DescriptorLimit,
    "ssh had no descriptors left: raise the limit (`ulimit -n`) of the program that logs in.",
)

DIAGNOSES: tuple[Diagnosis, ...] = (
    _STARVED,
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
    _UNPROTECTED,
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
        r"|Connection to .* port \d+ timed out"
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
        r"banner exchange: .*(could not read protocol version|invalid format)"
        r"|Bad remote protocol version identification",
        errors.KeyExchangeFailed,
        "What listens there does not speak SSH 2: check host and port.",
    ),
    _d(
        r"Connection (closed|reset)|Connection to .* closed|kex_exchange_identification"
        r"|ssh_exchange_identification|Broken pipe|Not allowed at this time|Exceeded MaxStartups",
        errors.ServerHungUp,
        hangups.BEFORE_VERSION,
    ),
)

# What lines above the last one may say: nothing of it can come from a server.
_ABOVE = (
    errors.DescriptorLimit,
    *(errors.HostKeyNotVerifiable, errors.HostKeyChanged, errors.HostKeyUnknown),
    *(errors.ConfigError, errors.PermissionDenied, errors.HostUnreachable),
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
    told = errors.ServerHungUp(str(error) if hangups.AT_ONCE in str(error) else f"{error} {hint}")
    told.stderr = error.stderr
    told.transient = error.transient  # no second try with a password is made of it
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
    config: ConnectionConfig,
    status: int,
    log: str,
    *,
    given: Collection[str] = (),
    told: str = "",
    greeting: Sequence[str] = (),
    known: Resolved | None = None,
    locked: Sequence[str] = (),
) -> errors.Error:
    """The error for a log-in that ended with `status`.

    ssh's verdict is the last line of its log. What stands above it counts only for what is said
    before a server can say anything: with keyboard-interactive the log has the server's words, too.

    Parameters:
        log: ssh's own words, without the banner.
        given: where answers to prompts came from: "stored", "code", "user".
        told: what else came on its stderr: a banner, or the words of a ProxyCommand.
        greeting: what the server sent before its version: it chooses words and no error.
        known: what ssh's configuration says of the host: advice names no other file and no other
            host than are in there. None: whatever ssh names.
        locked: private keys that ssh may use, and that have a passphrase.
    """
    words, diagnosis = _verdict(log, told)
    both = "\n".join(filter(None, (log.strip(), told.strip())))
    if diagnosis is None:
        words = sanitise(words) or f"ssh exited with {status}"
        return _with_words(
            errors.DisconnectError(
                f"Cannot connect to {config.address}: {words}. To see more, run: {_login(config)} "
                "-v"
            ),
            both,
        )
    advice = diagnosis.advice
    if diagnosis.error in (errors.ServerHungUp, errors.KeyExchangeFailed):
        lines = _lines(log)
        seen_there = hangups.advice(lines, given, greeting) if lines[-1:] == [words] else None
        advice = seen_there or advice
    advice = _fill(advice, config, log, known)
    if diagnosis.error is errors.PermissionDenied:
        for source, words_of_it in _REFUSED_ANSWERS.items():
            advice = words_of_it if source in given else advice
        if diagnosis.advice == "{denied}":
            words = "; ".join((*_unloaded(log, config, known), words))
            if locked and not given:
                advice = f"{_locked(config, locked[0])} Otherwise: {advice}"
    error = diagnosis.error(f"Cannot connect to {config.address}: {sanitise(words)}. {advice}")
    if diagnosis.transient is not None:
        error.transient = diagnosis.transient
    return _with_words(error, both)


# ssh says this before anybody logs in, and nothing after it.
_HOST_KEY_FAILED = "Host key verification failed"
_NOT_CONNECTED = "ssh: connect to host"
# The line before tells what the server gave as its reason.
_AFTER_DISCONNECT = ("Disconnected from", "Authentication failed")
_LOAD_KEY = re.compile(r'Load key "(.+)": .+')
_DENIED = re.compile(r"Permission denied \([^)]*\)\.?$")
_HUNG_UP = re.compile(r"Connection (closed|reset|timed out).* UNKNOWN port")


def _unloaded(log: str, config: ConnectionConfig, known: Resolved | None) -> list[str]:
    """What ssh says of keys that it could not load, of those that it was to use."""
    ours = {str(config.key_file), *(known.identity_files if known is not None else ())}
    found = (_LOAD_KEY.match(line) for line in _lines(log))
    return [match[0] for match in found if match and match[1] in ours]


def _locked(config: ConnectionConfig, key: str) -> str:
    shown = shlex.quote(sanitise(key, 500))
    store = f"`sshmux password set --key {shown}` or set_passphrase()"
    if not config.use_agent:
        return (
            f"The key {shown} has a passphrase, which nobody gave: store it with {store}, or "
            f"load the key into an agent (ssh-add {shown}) and register with use_agent=True."
        )
    return (
        f"The key {shown} has a passphrase: unless an agent holds it, nobody gave that. Run "
        f"`ssh-add {shown}`, or store it with {store}."
    )


def _verdict(log: str, told: str) -> tuple[str, Diagnosis | None]:
    """The line that decides, and what it means."""
    lines = _lines(log)
    if not lines:
        # Before it can log, ssh complains of its command line; after that, it never ends without
        # a line in its log.
        lines = _lines(told)
        return (lines[-1], _meaning(lines[-1])) if lines else ("", None)
    last = lines[-1]
    if last.startswith(_AFTER_DISCONNECT) and lines[-2:-1]:
        last = lines[-2]
    between = _lines(told)[-1:] if _HUNG_UP.match(last) else []
    if between and (found := _meaning(between[0])) is not None:
        return between[0], found  # a ProxyCommand's: what it said is all that there is
    found = _meaning(last)
    if found is None and last.startswith(_NOT_CONNECTED):
        return _most_specific(lines, last, None)
    if last.startswith(_HOST_KEY_FAILED) or (found and found.error is errors.ConfigError):
        return _most_specific(lines, last, found)
    if _DENIED.search(last):
        return _most_specific(lines, last, found, only=(_STARVED, _UNPROTECTED))
    return last, found


def _most_specific(
    lines: Sequence[str],
    last: str,
    found: Diagnosis | None,
    only: Sequence[Diagnosis] = DIAGNOSES,
) -> tuple[str, Diagnosis | None]:
    """What the lines above the last one say in more words."""
    for diagnosis in only:
        if diagnosis.error not in _ABOVE:
            continue
        for line in lines:
            if diagnosis.pattern.search(line):
                return line.strip("@ ").rstrip(".!"), diagnosis
    return last, found


def _lines(text: str) -> list[str]:
    found = [line.strip() for line in text.splitlines()]
    return [line.rstrip(".!") for line in found if line.strip("@ ") and line[:5] != "debug"]


def _meaning(line: str) -> Diagnosis | None:
    return next((each for each in DIAGNOSES if each.pattern.search(line)), None)


def timed_out(
    config: ConnectionConfig,
    stderr: str,
    connected: bool | None = None,
    greeting: Sequence[str] = (),
) -> errors.Error:
    """The error for a log-in that our own deadline ended. See `hangups.silence`."""
    silence = hangups.silence(connected, config.timeout, greeting)
    error = errors.ConnectTimeout(
        f"Cannot connect to {config.address}: {silence} "
        f"To see where it stops, run: {_login(config)} -v"
    )
    return _with_words(error, stderr)


def closed_at_once(config: ConnectionConfig, stderr: str) -> errors.ServerHungUp:
    """The error for a server that lets us in, and closes the connection before anything is run."""
    said = hangups.farewell(stderr)
    words = f" It said: {sanitise(said, 1000)!r}" if said else ""
    error = errors.ServerHungUp(f"{config.address}: {hangups.AT_ONCE}{words}")
    error.transient = False
    error.stderr = sanitise(stderr, 4000)
    return error


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


def _fill(advice: str, config: ConnectionConfig, stderr: str, known: Resolved | None = None) -> str:
    return (
        advice.replace("{login}", _login(config))
        .replace("{forget}", _forget(config, stderr, known))
        .replace("{chmod}", _protect(config, stderr, known))
        .replace("{denied}", _denied(config, stderr))
    )


def _forget(config: ConnectionConfig, stderr: str, known: Resolved | None) -> str:
    """ssh-keygen -R, for the name under which ssh holds the key, in the file that ssh names."""
    offending = re.search(r"Offending .* key in (.*):\d+", stderr)
    named = re.search(r"[Hh]ost key for (\S+) has changed", stderr)
    host = config.host if config.port == 22 else f"[{config.host}]:{config.port}"
    if named and (known is None or named[1] in known.key_names):
        host = named[1]
    words = ["ssh-keygen", "-R", host]
    if offending and (known is None or offending[1] in known.known_hosts_files):
        words += ["-f", offending[1]]
    return shlex.join(words)


def _protect(config: ConnectionConfig, stderr: str, known: Resolved | None) -> str:
    """chmod, for the key that ssh names: it need not be the one of `key_file`."""
    named = re.search(r"Permissions \d+ for '(.*)' are too open", stderr)
    key = str(config.key_file or "KEY")
    if named and (known is None or named[1] in known.identity_files):
        key = named[1]
    return shlex.join(["chmod", "600", key])


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
