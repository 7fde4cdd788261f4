"""What ssh wrote, and what it means.

The texts of OpenSSH 9.2 were captured from runs of `ssh -M -N` against a private sshd and
listeners of our own, with the names changed afterwards; carriage returns are ssh's. The others
are the same places of other versions and systems.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import errors
from sshmux.config import ConnectionConfig
from sshmux.openssh.askpass import prompts
from sshmux.openssh.diagnostics import (
    declined,
    diagnose,
    expired,
    log_in_by_hand,
    session_failure,
    through,
    timed_out,
)

HPC = ConnectionConfig("ada@hpc.example.org")
FULL = ConnectionConfig(
    "ada@hpc.example.org",
    2222,
    key_file=Path("/home/ada/my keys/id"),
    known_hosts_file=Path("/home/ada/known"),
    config_file=Path("/home/ada/conf"),
)


@dataclass
class Case:
    name: str
    text: str
    error: type[errors.Error]
    transient: bool
    advice: tuple[str, ...] = ()


CHANGED = """\
sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r
sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r
Someone could be eavesdropping on you right now (man-in-the-middle attack)!\r
It is also possible that a host key has just been changed.\r
The fingerprint for the ED25519 key sent by the remote host is
SHA256:B9sQp17U8KMALkZjO5FKYKqj8fFy5vsl9apESgop6l0.\r
Please contact your system administrator.\r
Add correct host key in /home/ada/.ssh/known_hosts to get rid of this message.\r
Offending ED25519 key in /home/ada/.ssh/known_hosts:17\r
  remove with:\r
  ssh-keygen -f "/home/ada/.ssh/known_hosts" -R "[hpc.example.org]:2222"\r
Host key for [hpc.example.org]:2222 has changed and you have requested strict checking.\r
Host key verification failed.\r
"""

REVOKED = """\
sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r
@       WARNING: REVOKED HOST KEY DETECTED!               @\r
sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r
The ED25519 host key for hpc.example.org is marked as revoked.\r
This could mean that a stolen key is being used to\r
impersonate this host.\r
ED25519 host key for hpc.example.org was revoked and you have requested strict checking.\r
Host key verification failed.\r
"""

UNPROTECTED = """\
sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r
@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\r
sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r
Permissions 0644 for '/home/ada/.ssh/id_ed25519' are too open.\r
It is required that your private key files are NOT accessible by others.\r
This private key will be ignored.\r
Load key "/home/ada/.ssh/id_ed25519": bad permissions\r
ada@hpc.example.org: Permission denied (publickey,password).\r
"""

LOGIN = "ssh ada@hpc.example.org"

CAPTURED = [
    Case(
        "refused",
        "ssh: connect to host hpc.example.org port 22: Connection refused\r\n",
        errors.ConnectionRefused,
        True,
        ("host and port",),
    ),
    Case(
        "unknown name",
        "ssh: Could not resolve hostname hpc.example.org: Name or service not known\r\n",
        errors.HostNotFound,
        False,
        ("spelling", "ssh_config"),
    ),
    Case(
        "key unknown",
        "No ED25519 host key is known for hpc.example.org and you have requested strict checking."
        "\r\nHost key verification failed.\r\n",
        errors.HostKeyUnknown,
        False,
        (f"by logging in once: {LOGIN} ", "accept-new"),
    ),
    Case(
        "key unknown, nobody to ask",
        "Host key verification failed.\r\n",
        errors.HostKeyUnknown,
        False,
        (LOGIN,),
    ),
    Case(
        "key changed",
        CHANGED,
        errors.HostKeyChanged,
        False,
        ("run: ssh-keygen -R '[hpc.example.org]:2222' -f /home/ada/.ssh/known_hosts",),
    ),
    Case("key revoked", REVOKED, errors.HostKeyNotVerifiable, False, ("revoked", "operators")),
    Case(
        "denied",
        "ada@hpc.example.org: Permission denied (publickey,password).\r\n",
        errors.PermissionDenied,
        False,
        ("is the user name right",),
    ),
    Case(
        "too many keys",
        "Received disconnect from 192.0.2.7 port 22:2: Too many authentication failures\r\n"
        "Disconnected from 192.0.2.7 port 22\r\n",
        errors.PermissionDenied,
        False,
        ("key_file=", "use_agent=False"),
    ),
    Case(
        "unprotected key",
        UNPROTECTED,
        errors.PermissionDenied,
        False,
        ("run chmod 600 /home/ada/.ssh/id_ed25519",),
    ),
    Case(
        "bad option",
        "command-line: line 0: Bad configuration option: nosuchoption\r\n",
        errors.ConfigError,
        False,
        ("nosuchoption",),
    ),
    Case(
        "bad value",
        'command-line line 0: unsupported option "maybe".\r\n',
        errors.ConfigError,
        False,
        ('unsupported option "maybe"',),
    ),
    Case(
        "bad option in a file",
        "/home/ada/conf: line 1: Bad configuration option: foo\r\n"
        "/home/ada/conf: terminating, 1 bad configuration options\r\n",
        errors.ConfigError,
        False,
        ("line 1: Bad configuration option: foo",),
    ),
    *(
        Case(
            f"in a file: {words}",
            f"/home/ada/conf line 1: {words}\r\n"
            "/home/ada/conf: terminating, 1 bad configuration options\r\n",
            errors.ConfigError,
            False,
            (f"/home/ada/conf line 1: {words.rstrip('.')}",),
        )
        for words in (
            'no argument after keyword "user"',
            "Bad SSH2 cipher spec 'nosuch'.",
            "Bad SSH2 MAC spec 'nosuch'.",
            "Bad key types 'nosuch'.",
            "Bad port 'abc'.",
            "invalid time value.",
            "keyword user extra arguments at end of line",
            "invalid quotes",
            'Invalid ProxyJump "asshmux@b:c:d"',
            "Bad Match condition",
            "Bad number '1x': Invalid argument",
        )
    ),
    Case(
        "bad cipher name",
        "command-line line 0: Bad SSH2 cipher spec 'nosuch'.\r\n",
        errors.ConfigError,
        False,
        ("nosuch",),
    ),
    Case(
        "no config file",
        "Can't open user config file /home/ada/conf: No such file or directory\r\n",
        errors.ConfigError,
        False,
        ("/home/ada/conf",),
    ),
    Case(
        "cipher",
        "Unable to negotiate with 192.0.2.7 port 22: no matching cipher found. Their offer: "
        "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr\r\n",
        errors.KeyExchangeFailed,
        False,
        ("Their offer", "ssh_options"),
    ),
    Case(
        "key exchange",
        "Unable to negotiate with 192.0.2.7 port 22: no matching key exchange method found. Their "
        "offer: diffie-hellman-group1-sha1\r\n",
        errors.KeyExchangeFailed,
        False,
    ),
    Case(
        "host key algorithm",
        "Unable to negotiate with 192.0.2.7 port 22: no matching host key type found. Their offer: "
        "ssh-rsa,ssh-dss\r\n",
        errors.KeyExchangeFailed,
        False,
        ("HostKeyAlgorithms",),
    ),
    Case(
        "closed before the banner",
        "kex_exchange_identification: Connection closed by remote host\r\n"
        "Connection closed by 192.0.2.7 port 22\r\n",
        errors.ServerHungUp,
        True,
        ("MaxStartups",),
    ),
    Case("reset", "Connection reset by 192.0.2.7 port 22\r\n", errors.ServerHungUp, True),
    Case(
        "a proxy that fails",
        "kex_exchange_identification: Connection closed by remote host\r\n"
        "Connection closed by UNKNOWN port 65535\r\n",
        errors.ServerHungUp,
        True,
    ),
    Case(
        "silent server",
        "Connection timed out during banner exchange\r\n"
        "Connection to 192.0.2.7 port 22 timed out\r\n",
        errors.ConnectTimeout,
        True,
        ("VPN", "timeout="),
    ),
    Case(
        "protocol 1",
        "Protocol major versions differ: 2 vs. 1\r\n"
        "banner exchange: Connection to 192.0.2.7 port 22: could not read protocol version\r\n",
        errors.KeyExchangeFailed,
        False,
    ),
    Case(
        "no route",
        "ssh: connect to host 2001:db8::1 port 22: No route to host\r\n",
        errors.HostUnreachable,
        True,
        ("VPN",),
    ),
    Case(
        "bind address",
        "bind 203.0.113.9: Cannot assign requested address\r\n"
        "ssh: connect to host hpc.example.org port 22: failure\r\n",
        errors.HostUnreachable,
        True,
    ),
    Case(
        "path of the socket too long",
        'unix_listener: path "/very/long/a.sock.IYXSuzWeaHA0kNpc" too long for Unix domain '
        "socket\r\n",
        errors.ControlDirError,
        False,
        ("$SSHMUX_DIR",),
    ),
    Case(
        "no directory for the socket",
        "unix_listener: cannot bind to path /run/x/a.sock.0cTcF9f11O9HthlW: No such file or "
        "directory\r\n",
        errors.ControlDirError,
        False,
        ("$SSHMUX_DIR",),
    ),
]

OTHERS = [
    Case(
        "macOS: unknown name",
        "ssh: Could not resolve hostname hpc: nodename nor servname provided, or not known\r\n",
        errors.HostNotFound,
        False,
    ),
    Case(
        "name server away",
        "ssh: Could not resolve hostname hpc: Temporary failure in name resolution\r\n",
        errors.HostNotFound,
        True,
        ("name server",),
    ),
    Case(
        "Linux: timed out",
        "ssh: connect to host hpc.example.org port 22: Connection timed out\r\n",
        errors.ConnectTimeout,
        True,
    ),
    Case(
        "macOS: timed out",
        "ssh: connect to host hpc.example.org port 22: Operation timed out\r\n",
        errors.ConnectTimeout,
        True,
    ),
    Case(
        "keepalives",
        "Timeout, server hpc.example.org not responding.\r\n",
        errors.ConnectTimeout,
        True,
    ),
    Case(
        "network down",
        "ssh: connect to host hpc.example.org port 22: Network is unreachable\r\n",
        errors.HostUnreachable,
        True,
    ),
    Case(
        "macOS: host down",
        "ssh: connect to host hpc.example.org port 22: Host is down\r\n",
        errors.HostUnreachable,
        True,
    ),
    Case(
        "macOS: bind address",
        "ssh: connect to host localhost port 22: Can't assign requested address\r\n",
        errors.HostUnreachable,
        True,
    ),
    Case(
        "a firewall on this machine",
        "ssh: connect to host hpc.example.org port 22: Operation not permitted\r\n",
        errors.HostUnreachable,
        True,
    ),
    Case(
        "a prohibited route, or SELinux",
        "ssh: connect to host hpc.example.org port 22: Permission denied\r\n",
        errors.HostUnreachable,
        True,
    ),
    Case(
        "7.4: closed before the banner",
        "ssh_exchange_identification: Connection closed by remote host\r\n",
        errors.ServerHungUp,
        True,
    ),
    Case(
        "9.8: a penalty",
        "kex_exchange_identification: read: Connection reset by peer\r\n"
        "Connection reset by 192.0.2.7 port 22\r\n",
        errors.ServerHungUp,
        True,
    ),
    Case(
        "8.0: broken while exchanging keys",
        "ssh_dispatch_run_fatal: Connection to 192.0.2.7 port 22: Broken pipe\r\n",
        errors.ServerHungUp,
        True,
    ),
    Case(
        "7.4: too many",
        "Received disconnect from 192.0.2.7 port 22:2: Too many authentication failures for ada\r\n"
        "Authentication failed.\r\n",
        errors.PermissionDenied,
        False,
        ("key_file=",),
    ),
    Case("7.4: denied", "Permission denied (publickey).\r\n", errors.PermissionDenied, False),
    Case(
        "wrong password",
        "Permission denied, please try again.\r\n"
        "ada@hpc.example.org: Permission denied (publickey,password).\r\n",
        errors.PermissionDenied,
        False,
    ),
    Case(
        "Kerberos and friends",
        "ada@hpc: Permission denied (publickey,gssapi-keyex,gssapi-with-mic,keyboard-interactive)."
        "\r\n",
        errors.PermissionDenied,
        False,
    ),
    Case(
        "a changed key in DNS spoofing words",
        CHANGED.replace("Host key for [hpc.example.org]:2222", "ED25519 host key for hpc"),
        errors.HostKeyChanged,
        False,
        ("ssh-keygen -R hpc -f /home/ada/.ssh/known_hosts",),
    ),
    Case(
        "6.6: no cipher",
        "no matching cipher found: client aes128-cbc server aes128-ctr,aes256-ctr\r\n",
        errors.KeyExchangeFailed,
        False,
    ),
    Case(
        "a config that others may write",
        "Bad owner or permissions on /home/ada/.ssh/config\r\n",
        errors.ConfigError,
        False,
        ("/home/ada/.ssh/config",),
    ),
    Case(
        "a config that cannot be read",
        "Can't open user config file /home/ada/conf: Permission denied\r\n",
        errors.ConfigError,
        False,
        ("/home/ada/conf",),
    ),
    Case(
        "a directory that cannot be written to",
        "unix_listener: cannot bind to path /run/x/a.sock.0cTcF9f11O9HthlW: Permission denied\r\n",
        errors.ControlDirError,
        False,
        ("$SSHMUX_DIR",),
    ),
    Case(
        "no hard links there",
        "muxserver_listen: link mux listener /x/a.sock.0cTcF9f11O9HthlW => /x/a.sock: Operation "
        "not permitted\r\n",
        errors.ControlDirError,
        False,
        ("$SSHMUX_DIR",),
    ),
    Case(
        "a home without ~/.ssh, then an overloaded server",
        "Could not create directory '/home/ada/.ssh' (Permission denied).\r\n"
        "Connection closed by 192.0.2.7 port 22\r\n",
        errors.ServerHungUp,
        True,
    ),
    Case(
        "a proxy's own trouble, then a refusal",
        "/home/ada/bin/proxy: Permission denied\r\n"
        "kex_exchange_identification: Connection closed by remote host\r\n"
        "Connection closed by UNKNOWN port 65535\r\n",
        errors.ServerHungUp,
        True,
    ),
    Case(
        "a banner before the refusal",
        "Connection refused? Call 0123. Unable to negotiate? Call 0124.\r\n"
        "ada@hpc.example.org: Permission denied (publickey).\r\n",
        errors.PermissionDenied,
        False,
    ),
]

CASES = [*CAPTURED, *OTHERS]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_text_has_its_class_and_its_advice(case: Case) -> None:
    error = diagnose(HPC, 255, case.text)
    assert isinstance(error, case.error)
    assert error.transient is case.transient
    for words in (HPC.address, *case.advice):
        assert words in str(error)
    assert "{" not in str(error)
    assert "\r" not in str(error)
    assert "!." not in str(error)
    if isinstance(error, errors.DisconnectError):
        assert error.stderr.splitlines()[0] in case.text


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_unix_line_ends_mean_the_same(case: Case) -> None:
    assert str(diagnose(HPC, 255, case.text.replace("\r", ""))) == str(
        diagnose(HPC, 255, case.text)
    )


def test_a_revoked_key_is_not_to_be_trusted_anew() -> None:
    message = str(diagnose(HPC, 255, REVOKED))
    assert "accept-new" not in message
    assert "logging in once" not in message


def test_the_line_to_run_says_all_that_sshmux_says_to_ssh() -> None:
    text = "No ED25519 host key is known for hpc and you have requested strict checking.\r\n"
    login = (
        "ssh -F /home/ada/conf -o UserKnownHostsFile=/home/ada/known -i '/home/ada/my keys/id' "
        "-p 2222 ada@hpc.example.org"
    )
    assert login in str(diagnose(FULL, 255, text))
    assert f"{login} -v" in str(diagnose(FULL, 255, "what is this?\r\n"))
    assert f"{login} -v" in str(timed_out(FULL, ""))


def test_the_key_to_forget_is_named_even_when_ssh_does_not() -> None:
    text = "REMOTE HOST IDENTIFICATION HAS CHANGED!\r\n"
    assert "run: ssh-keygen -R hpc.example.org" in str(diagnose(HPC, 255, text))
    assert "run: ssh-keygen -R '[hpc.example.org]:2222'" in str(diagnose(FULL, 255, text))


def test_an_unprotected_key_that_only_the_config_names() -> None:
    assert "chmod 600 '/home/ada/my keys/id'" in str(
        diagnose(
            FULL, 255, UNPROTECTED.replace("/home/ada/.ssh/id_ed25519", "/home/ada/my keys/id")
        )
    )


def test_what_nobody_knows_is_quoted_and_can_be_looked_into() -> None:
    error = diagnose(HPC, 255, "first\r\nsomething new\x1b[2J\r\n")
    assert type(error) is errors.DisconnectError
    assert not error.transient
    assert "ada@hpc.example.org: something new[2J. To see more, run: " + LOGIN + " -v" in str(error)
    assert "ssh exited with 254" in str(diagnose(HPC, 254, ""))


@pytest.mark.parametrize(
    ("prompt", "advice"),
    [
        (prompts.PasswordPrompt("ada@hpc's password: "), "set_password()"),
        (
            prompts.NewPasswordPrompt("(ada@hpc) New password: "),
            f"expired: log in by hand and change it: {LOGIN}",
        ),
        (prompts.PassphrasePrompt("Enter passphrase for key '/k': "), "set_passphrase()"),
        (prompts.OneTimePrompt("(ada@hpc) Code\x1b[2J: "), "sshmux login"),
        (prompts.MenuPrompt("(ada@hpc) Option (1-3): "), "prompter="),
        (prompts.InteractivePrompt("(ada@hpc) Shoe size? "), "prompter="),
        (prompts.SecurityKeyPinPrompt("Enter PIN for ED25519-SK key /k: "), "prompter="),
        (prompts.TokenPinPrompt("Enter PIN for 'card': "), "ssh-add -s"),
        (prompts.UnknownPrompt("what?"), "does not know that question"),
    ],
)
def test_a_prompt_that_nobody_answered(prompt: prompts.Prompt, advice: str) -> None:
    error = declined(HPC, prompt, "nobody here can answer", "")
    assert type(error) is errors.PromptDeclined
    assert error.final
    assert f"asked {prompts.sanitise(prompt.text)!r}, and nobody here can answer" in str(error)
    assert advice in str(error)
    assert "\x1b" not in str(error)


def test_a_host_key_that_nobody_confirmed() -> None:
    text = "The authenticity of host 'x' can't be established.\nAre you sure …? "
    error = declined(HPC, prompts.HostKeyPrompt(text), "it was declined", "")
    assert type(error) is errors.HostKeyUnknown
    assert "Compare the fingerprint" in str(error)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"stored"}, "The stored password was refused"),
        ({"stored", "code"}, "The one-time code was refused"),
        ({"stored", "user"}, "What was typed was refused"),
        (set(), "It is not tried again until you ask for it"),
    ],
)
def test_what_was_refused(sources: set[str], words: str) -> None:
    stderr = "ada@hpc: Permission denied (password,keyboard-interactive).\r\n"
    error = diagnose(HPC, 255, stderr, given=sources)
    assert type(error) is errors.PermissionDenied
    assert words in str(error)


def test_a_server_that_wants_a_code_and_nobody_was_asked() -> None:
    error = diagnose(HPC, 255, "ada@hpc: Permission denied (keyboard-interactive).")
    assert "sshmux login" in str(error)


def test_what_to_type_when_nobody_has_logged_in() -> None:
    assert "sshmux login ada@hpc.example.org" in log_in_by_hand(HPC, None)
    assert f"{LOGIN} -fNM -S '/run/my own'" in log_in_by_hand(HPC, Path("/run/my own"))


def test_behind_a_jump_host() -> None:
    error = errors.ServerHungUp("Connection closed")
    error.stderr = "its words"
    told = through(error)
    assert "AllowTcpForwarding" in str(told)
    assert (told.stderr, told.transient) == ("its words", True)


def test_an_expired_password() -> None:
    said = "WARNING: Your password has expired.\nPassword change required but no TTY available.\n"
    assert session_failure(said) == "expired"
    assert LOGIN in str(expired(HPC))


def test_our_own_deadline() -> None:
    error = timed_out(HPC, "debug1: so far\r\n")
    assert isinstance(error, errors.ConnectTimeout)
    assert error.transient
    assert "no log-in within 30 s" in str(error)
    assert error.stderr == "debug1: so far"


@given(st.text(max_size=300), st.integers(1, 255))
def test_any_text_has_a_diagnosis_without_control_characters(text: str, status: int) -> None:
    error = diagnose(HPC, status, text)
    assert isinstance(error, errors.Error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 1200


# Sessions

SESSIONS = [
    ("mux_client_request_session: session request failed: Session open refused by peer", "refused"),
    ("Session open refused by peer\r\n", "refused"),
    ("mux_client_request_session: Master refused session request: Permission denied", "refused"),
    ("Control socket connect(/run/x/a.sock): No such file or directory\r\n", "unreachable"),
    ("Control socket connect(/run/x/a.sock): Connection refused\r\n", "unreachable"),
    ("mux_client_hello_exchange: write packet: Broken pipe\r\n", "unreachable"),
    ("mux_client_request_session: read from master failed: Broken pipe\r\n", "unreachable"),
    (
        "kex_exchange_identification: Connection closed by remote host\r\n"
        "Connection closed by UNKNOWN port 65535\r\n",
        "unreachable",
    ),
    ("Connection closed by UNKNOWN port 65535\r\n", "unreachable"),
    ("", None),
    ("ls: cannot access 'x': No such file or directory\n", None),
    ("my script: Control socket connect is a nice phrase\n", None),
]


@pytest.mark.parametrize(("text", "why"), SESSIONS)
def test_why_a_client_got_no_session(text: str, why: str | None) -> None:
    assert session_failure(text) == why


# The texts above age; these runs of the real ssh do not.

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")


def real(*words: str) -> errors.Error:
    done = subprocess.run(
        ["ssh", "-F", "none", "-o", "BatchMode=yes", *words, "--", "127.0.0.1", "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return diagnose(HPC, done.returncode, done.stderr)


@needs_ssh
def test_really_refused() -> None:
    with socket.socket() as bound:  # bound and not listening: nobody else can take the port
        bound.bind(("127.0.0.1", 0))
        assert isinstance(real("-p", str(bound.getsockname()[1])), errors.ConnectionRefused)


@needs_ssh
def test_really_closed_before_the_banner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closer = threading.Thread(target=lambda: listener.accept()[0].close())
        closer.start()
        error = real("-p", str(listener.getsockname()[1]))
        closer.join()
    assert isinstance(error, errors.ServerHungUp)


@needs_ssh
def test_really_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and never speaks
        error = real("-o", "ConnectTimeout=1", "-p", str(listener.getsockname()[1]))
    assert isinstance(error, errors.ConnectTimeout)


@needs_ssh
@pytest.mark.parametrize(
    "words",
    [
        ("-o", "NoSuchOption=1"),
        ("-o", "Compression=maybe"),
        ("-o", "Ciphers=nosuch"),
        ("-F", "/no/such/file"),
    ],
)
def test_really_misconfigured(words: tuple[str, ...]) -> None:
    assert isinstance(real(*words), errors.ConfigError)


@pytest.mark.parametrize(
    "log",
    [
        "hostkeys_find_by_key_hostfile: hostkeys_foreach failed for /k/known_hosts: Too many open "
        "files\r\nHost key verification failed.\r\n",
        "Can't open user config file /k/config: Too many open files\r\n",
        "dup() in/out/err failed\r\n",
        'Load key "/k/id": Too many open files\r\nada@hpc: Permission denied (publickey).\r\n',
    ],
    ids=["known hosts", "configuration", "streams", "key"],
)
def test_an_ssh_without_descriptors_is_called_so(log: str) -> None:
    """Not a host that is unknown, nor a key that is refused: that would not be tried again."""
    error = diagnose(HPC, 255, log)
    assert isinstance(error, errors.DescriptorLimit)
    assert "ulimit -n" in str(error)
