"""What ssh wrote on its controlling terminal, byte for byte, for every kind of prompt.

Captured on Debian 12 from `ssh` 9.2p1 (Debian-2+deb12u10) and a build of 10.5p1, with stdin from
/dev/null, stdout and stderr on pipes, and nothing but the controlling terminal on a pty; with
SSH_ASKPASS_REQUIRE=never, `-F none` or a private configuration, and LANG=C.UTF-8 where a name
says no other locale. The servers: sshd 9.2p1 (`PrivateServer`; for "PAM …" root's, with the
system's PAM and a temporary account), and asyncssh 2.24 where a server had to ask at will
("kbdint: …" but the ones that name PAM, and "password change: …"). The security key is OpenSSH's
regress/misc/sk-dummy, made to want a PIN and to take a second for a touch; the token is SoftHSM's.

Each capture is all that came since the answer before, or the start: so one that follows an answer
begins with its echo, or with the newline that ssh writes in its place. `echo` is the terminal's
ECHO flag, `stderr` what came there meanwhile. "After …" are the last words, mostly no question.

A 10.5p1 is there where it differs from 9.2p1. What was replaced: users and paths of the machine
(with me@cluster.example, user@bastion.example, /home/me/…, lengths kept where ssh cuts), nothing
else: ports and the fingerprints of the test servers are those that were. Where a jump host and the
target are both asked about by address ("…, after its key"), both are me@cluster.example.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capture:
    """One moment of a log-in.

    Attributes:
        name: the kind, and what was done before.
        version: of ssh.
        terminal: the bytes on the terminal, as UTF-8.
        echo: whether the terminal echoed then.
        stderr: the bytes on stderr meanwhile, as UTF-8.
    """

    name: str
    version: str
    terminal: str
    echo: bool
    stderr: str = ""


CAPTURES: tuple[Capture, ...] = (
    Capture("password", "9.2p1", "\rme@cluster.example's password: ", False),
    Capture(
        "password: again after a wrong one",
        "9.2p1",
        "\r\n\rme@cluster.example's password: ",
        False,
        "Permission denied, please try again.\r\n",
    ),
    Capture(
        "password: third after two wrong ones",
        "9.2p1",
        "\r\n\rme@cluster.example's password: ",
        False,
        "Permission denied, please try again.\r\n",
    ),
    Capture("password: after the right answer", "9.2p1", "\r\n", True),
    Capture(
        "password: after the last wrong one",
        "9.2p1",
        "\r\n",
        True,
        "me@cluster.example: Permission denied (publickey,password).\r\n",
    ),
    Capture("password: HostKeyAlias", "9.2p1", "\rme@cluster.example's password: ", False),
    Capture(
        "password: user name of 56 characters",
        "9.2p1",
        ("\rabcdefghijklmnopqrstuvwxyz-a-long-user-name@corp.example@cluster.example's password: "),
        False,
    ),
    Capture(
        "password: HostKeyAlias of 162 characters",
        "9.2p1",
        (
            "\rme@hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh"
            ".iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii.jj"
            "jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj's password: "
        ),
        False,
    ),
    Capture(
        "password: banner that reads like one",
        "9.2p1",
        "\rme@cluster.example's password: ",
        False,
        "me@cluster.example's password: ",
    ),
    Capture(
        "password: after a key (partial success)",
        "9.2p1",
        "\rme@cluster.example's password: ",
        False,
    ),
    Capture("kbdint: PAM Password", "9.2p1", "\r(me@cluster.example) Password: ", False),
    Capture(
        "kbdint: PAM Password again after a wrong one",
        "9.2p1",
        "\r\n\r(me@cluster.example) Password: ",
        False,
    ),
    Capture("kbdint: PAM, after the right answer", "9.2p1", "\r\n", True),
    Capture(
        "kbdint: PAM, after the last wrong one",
        "9.2p1",
        "\r\n",
        True,
        ("me@cluster.example: Permission denied (publickey,keyboard-interactive).\r\n"),
    ),
    Capture(
        "kbdint: PAM Password, user name of 56 characters, HostKeyAlias",
        "9.2p1",
        ("\r(abcdefghijklmnopqrstuvwxyz-a-long-user-name@corp.example@cluster.example) Password: "),
        False,
    ),
    Capture("kbdint: two questions", "9.2p1", "\r(me@cluster.example) Password: ", False),
    Capture(
        "kbdint: two questions, the second",
        "9.2p1",
        "\r\n\r(me@cluster.example) Verification code: ",
        False,
    ),
    Capture("kbdint: echo on", "9.2p1", "\r(me@cluster.example) Verification code: ", True),
    Capture("kbdint: echo on, after the answer", "9.2p1", "123456\r\n", True),
    Capture(
        "kbdint: echo on and then a second question without",
        "9.2p1",
        "bob\r\n\r(me@cluster.example) Password: ",
        False,
    ),
    Capture(
        "kbdint: Duo menu, echo on",
        "9.2p1",
        (
            "\r(me@cluster.example) Duo two-factor login for u\r\n\r\n"
            "Enter a passcode or select one of the following options:\r\n\r\n"
            " 1. Duo Push to XXX-XXX-1234\r\n 2. Phone call to XXX-XXX-1234\r\n\r\n"
            "Passcode or option (1-2): "
        ),
        True,
    ),
    Capture(
        "kbdint: Duo menu, echo off",
        "9.2p1",
        (
            "\r(me@cluster.example) Duo two-factor login for u\r\n\r\n"
            "Enter a passcode or select one of the following options:\r\n\r\n"
            " 1. Duo Push to XXX-XXX-1234\r\n 2. Phone call to XXX-XXX-1234\r\n\r\n"
            "Passcode or option (1-2): "
        ),
        False,
    ),
    Capture(
        "kbdint: Duo menu in the instruction",
        "9.2p1",
        "\r(me@cluster.example) Passcode or option (1-2): ",
        True,
        (
            "Duo\r\nDuo two-factor login for u\n\n"
            "Enter a passcode or select one of the following options:\n\n"
            " 1. Duo Push to XXX-XXX-1234\n 2. Phone call to XXX-XXX-1234\n\r\n"
        ),
    ),
    Capture(
        "kbdint: name and instruction",
        "9.2p1",
        "\r(me@cluster.example) Code: ",
        False,
        "A name\r\nAn instruction.\nOf two lines.\r\n",
    ),
    Capture(
        "kbdint: name and instruction ending in newlines, with an escape sequence, a tab, UTF-8",
        "9.2p1",
        "\r(me@cluster.example) Code: ",
        False,
        "N\\033[31m\n\r\nI\t\\303\\244\r\x07\n\n\r\n",
    ),
    Capture(
        "kbdint: name and instruction, no question",
        "9.2p1",
        "\r(me@cluster.example) Code: ",
        False,
        "A name\r\nPassword has been changed.\r\n",
    ),
    Capture(
        "kbdint: control characters",
        "9.2p1",
        (
            "\r(me@cluster.example) a\\001b\\007c\\033[31mRed\\033[0m\\010\\177\ttab\r"
            "cr\\302\\205\\302\\233: "
        ),
        False,
    ),
    Capture(
        "kbdint: a carriage return alone",
        "9.2p1",
        "\r(me@cluster.example) x\rroot@other's password: ",
        False,
    ),
    Capture(
        "kbdint: UTF-8",
        "9.2p1",
        (
            "\r(me@cluster.example) Passwort f\xfcr m\xfcller (\u6d4b\u8bd5) \U0001f600"
            " \u202egnp\u202c\u200b: "
        ),
        False,
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale C",
        "9.2p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\r\n\\303\\274\\033[1m\r\n",
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale POSIX",
        "9.2p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\r\n\\303\\274\\033[1m\r\n",
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale (none)",
        "9.2p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\r\n\\303\\274\\033[1m\r\n",
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale en_US.ISO-8859-1",
        "9.2p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\r\n\\303\\274\\033[1m\r\n",
    ),
    Capture("kbdint: empty question", "9.2p1", "\r(me@cluster.example) ", False),
    Capture(
        "kbdint: question ends in a newline", "9.2p1", "\r(me@cluster.example) Code\r\n", False
    ),
    Capture(
        "kbdint: a question that forges another",
        "9.2p1",
        "\r(me@cluster.example) \r\n\r\nroot@other's password: ",
        False,
    ),
    Capture(
        "kbdint: Duo menu in the instruction",
        "10.5p1",
        "\r(me@cluster.example) Passcode or option (1-2): ",
        True,
        (
            "Duo\nDuo two-factor login for u\n\n"
            "Enter a passcode or select one of the following options:\n\n"
            " 1. Duo Push to XXX-XXX-1234\n 2. Phone call to XXX-XXX-1234\n\n"
        ),
    ),
    Capture(
        "kbdint: name and instruction",
        "10.5p1",
        "\r(me@cluster.example) Code: ",
        False,
        "A name\nAn instruction.\nOf two lines.\n",
    ),
    Capture(
        "kbdint: name and instruction ending in newlines, with an escape sequence, a tab, UTF-8",
        "10.5p1",
        "\r(me@cluster.example) Code: ",
        False,
        "N\\033[31m\n\nI\t\xe4\r\\007\n\n\n",
    ),
    Capture(
        "kbdint: name and instruction, no question",
        "10.5p1",
        "\r(me@cluster.example) Code: ",
        False,
        "A name\nPassword has been changed.\n",
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale C",
        "10.5p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\n\\303\\274\\033[1m\n",
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale POSIX",
        "10.5p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\n\\303\\274\\033[1m\n",
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale (none)",
        "10.5p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\n\\303\\274\\033[1m\n",
    ),
    Capture(
        "kbdint: UTF-8 and control characters in the locale en_US.ISO-8859-1",
        "10.5p1",
        (
            "\r(me@cluster.example) m\\303\\274ller \\346\\265\\213\\342\\200\\256\\302"
            "\\233 \\033[31m\t: "
        ),
        False,
        "\\303\\244 name\n\\303\\274\\033[1m\n",
    ),
    Capture(
        "kbdint: a code again after a wrong one",
        "9.2p1",
        "\r\n\r(me@cluster.example) Code: ",
        False,
    ),
    Capture(
        "password change: the old one",
        "9.2p1",
        "\r\n\rEnter me@cluster.example's old password: ",
        False,
        "Your password has expired.\r\n",
    ),
    Capture(
        "password change: the new one",
        "9.2p1",
        "\r\n\rEnter me@cluster.example's new password: ",
        False,
    ),
    Capture(
        "password change: the new one again",
        "9.2p1",
        "\r\n\rRetype me@cluster.example's new password: ",
        False,
    ),
    Capture("password change: done", "9.2p1", "\r\n", True),
    Capture(
        "password change: the new one after a mismatch",
        "9.2p1",
        "\r\n\rEnter me@cluster.example's new password: ",
        False,
        "Mismatch; try again, EOF to quit.\r\n",
    ),
    Capture(
        "password change: the old one, after the server refused the new one",
        "9.2p1",
        "\r\n\rEnter me@cluster.example's old password: ",
        False,
        "Too weak.\nTry \\033[31magain.\r\n",
    ),
    Capture(
        "password change: refused for good, password asked again",
        "9.2p1",
        "\r\n\rme@cluster.example's password: ",
        False,
        "Permission denied, please try again.\r\n",
    ),
    Capture(
        "password change: user name of 56 characters",
        "9.2p1",
        ("\r\n\rEnter abcdefghijklmnopqrstuvwxyz-a-l@cluster.example's old password: "),
        False,
        "Your password has expired.\r\n",
    ),
    Capture(
        "password change: the old one",
        "10.5p1",
        "\r\n\rEnter me@cluster.example's old password: ",
        False,
        "Your password has expired.\n",
    ),
    Capture(
        "password change: the old one, after the server refused the new one",
        "10.5p1",
        "\r\n\rEnter me@cluster.example's old password: ",
        False,
        "Too weak.\nTry \\033[31magain.\n",
    ),
    Capture(
        "password change: user name of 56 characters",
        "10.5p1",
        ("\r\n\rEnter abcdefghijklmnopqrstuvwxyz-a-l@cluster.example's old password: "),
        False,
        "Your password has expired.\n",
    ),
    Capture(
        "passphrase: default place",
        "9.2p1",
        "\rEnter passphrase for key '/home/me/.ssh/id_ed25519': ",
        False,
    ),
    Capture("passphrase: default place, after the right one", "9.2p1", "\r\n", True),
    Capture(
        "passphrase: again after a wrong one",
        "9.2p1",
        "\r\n\rEnter passphrase for key '/home/me/.ssh/id_ed25519': ",
        False,
    ),
    Capture(
        "passphrase: third after two wrong ones",
        "9.2p1",
        "\r\n\rEnter passphrase for key '/home/me/.ssh/id_ed25519': ",
        False,
    ),
    Capture(
        "passphrase: after the third wrong one",
        "9.2p1",
        "\r\n",
        True,
        "me@cluster.example: Permission denied (publickey).\r\n",
    ),
    Capture(
        "passphrase: spaces in the path",
        "9.2p1",
        "\rEnter passphrase for key '/home/me/my keys/id of mine': ",
        False,
    ),
    Capture(
        "passphrase: an apostrophe in the path",
        "9.2p1",
        "\rEnter passphrase for key '/home/me/my keys/it's: \xe4': ",
        False,
    ),
    Capture(
        "passphrase: PEM", "9.2p1", "\rEnter passphrase for key '/home/me/my keys/old.pem': ", False
    ),
    Capture(
        "passphrase: no .pub",
        "9.2p1",
        "\rEnter passphrase for key '/home/me/my keys/nopub': ",
        False,
    ),
    Capture(
        "passphrase: PEM, no .pub",
        "9.2p1",
        "\rEnter passphrase for key '/home/me/my keys/oldnopub': ",
        False,
    ),
    Capture(
        "passphrase: a path of over 250 characters",
        "9.2p1",
        (
            "\rEnter passphrase for key '/home/me/dddddddddddddddddddddddddddd"
            "ddddddddddddddddddddddddddddddddddddddddd/ddddddddddddddddddddd': "
        ),
        False,
    ),
    Capture(
        "host key: ask, by address, a port",
        "9.2p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: after yes",
        "9.2p1",
        "yes\r\n",
        True,
        (
            "Warning: Permanently added '[127.0.0.1]:41891' (ED25519) to the "
            "list of known hosts.\r\n"
        ),
    ),
    Capture(
        "host key: no option given (the default)",
        "9.2p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: ask, by name, a port",
        "9.2p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: ask, by name, a port, CheckHostIP",
        "9.2p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture("host key: after no", "9.2p1", "no\r\n", True, "Host key verification failed.\r\n"),
    Capture(
        "host key: again after an empty answer",
        "9.2p1",
        "\r\n",
        True,
        "Host key verification failed.\r\n",
    ),
    Capture(
        "host key: again after maybe",
        "9.2p1",
        "maybe\r\n\rPlease type 'yes', 'no' or the fingerprint: ",
        True,
    ),
    Capture(
        "host key: after the fingerprint",
        "9.2p1",
        "SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3IllNZfmQHi1kWk\r\n",
        True,
        (
            "Warning: Permanently added '[127.0.0.1]:41891' (ED25519) to the "
            "list of known hosts.\r\n"
        ),
    ),
    Capture(
        "host key: ask, MD5 fingerprint option",
        "9.2p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is MD5:5a:c3:96:34:39:3c:10:de:bb:b3:49:"
            "e4:a8:a8:44:e5.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: VisualHostKey",
        "9.2p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\n+--[ED25519 256]--+\r\n|          .+ooooo|\r\n"
            "|         ...*+ Eo|\r\n|          o.=oo.o|\r\n|         . = + Bo|\r\n"
            "|        S   = B *|\r\n|           o . X |\r\n|          . ..O.+|\r\n"
            "|           ..o+=o|\r\n|            +=oo+|\r\n+----[SHA256]-----+\r\n"
            "This key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: a known key under VisualHostKey (nothing asked)",
        "9.2p1",
        "",
        True,
        (
            "Host key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3IllN"
            "ZfmQHi1kWk\n+--[ED25519 256]--+\n|          .+ooooo|\n"
            "|         ...*+ Eo|\n|          o.=oo.o|\n|         . = + Bo|\n"
            "|        S   = B *|\n|           o . X |\n|          . ..O.+|\n"
            "|           ..o+=o|\n|            +=oo+|\n+----[SHA256]-----+\r\n"
        ),
    ),
    Capture(
        "host key: known by a hashed name",
        "9.2p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\n"
            "This host key is known by the following other names/addresses:\r\n"
            "    /home/me/.ssh/known_hosts:1: [hashed name]\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: known by other names",
        "9.2p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\n"
            "This host key is known by the following other names/addresses:\r\n"
            "    /home/me/.ssh/known_hosts:1: [127.0.0.1]:41891\r\n"
            "    /home/me/.ssh/known_hosts:2: cluster.example,192.0.2.7\r\n"
            "    /home/me/.ssh/known_hosts:3: login.cluster.example\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: HostKeyAlias",
        "9.2p1",
        (
            "\rThe authenticity of host 'cluster.example ([127.0.0.1]:41891)' "
            "can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: accept-new",
        "9.2p1",
        "",
        True,
        (
            "Warning: Permanently added '[127.0.0.1]:41891' (ED25519) to the "
            "list of known hosts.\r\n"
        ),
    ),
    Capture(
        "host key: StrictHostKeyChecking no",
        "9.2p1",
        "",
        True,
        (
            "Warning: Permanently added '[127.0.0.1]:41891' (ED25519) to the "
            "list of known hosts.\r\n"
        ),
    ),
    Capture(
        "host key: StrictHostKeyChecking yes",
        "9.2p1",
        "",
        True,
        (
            "No ED25519 host key is known for [127.0.0.1]:41891 and you have "
            "requested strict checking.\r\nHost key verification failed.\r\n"
        ),
    ),
    Capture(
        "host key: changed, ask",
        "9.2p1",
        "",
        True,
        (
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
            "Someone could be eavesdropping on you right now (man-in-the-midd"
            "le attack)!\r\n"
            "It is also possible that a host key has just been changed.\r\n"
            "The fingerprint for the ED25519 key sent by the remote host is\n"
            "SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3IllNZfmQHi1kWk.\r\n"
            "Please contact your system administrator.\r\n"
            "Add correct host key in /home/me/.ssh/known_hosts to get rid of "
            "this message.\r\n"
            "Offending ED25519 key in /home/me/.ssh/known_hosts:1\r\n"
            "  remove with:\r\n"
            '  ssh-keygen -f "/home/me/.ssh/known_hosts" -R "[127.0.0.1]:41891"\r\n'
            "Host key for [127.0.0.1]:41891 has changed and you have requeste"
            "d strict checking.\r\nHost key verification failed.\r\n"
        ),
    ),
    Capture(
        "host key: another type is known, ask",
        "9.2p1",
        "",
        True,
        (
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
            "Someone could be eavesdropping on you right now (man-in-the-midd"
            "le attack)!\r\n"
            "It is also possible that a host key has just been changed.\r\n"
            "The fingerprint for the ED25519 key sent by the remote host is\n"
            "SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3IllNZfmQHi1kWk.\r\n"
            "Please contact your system administrator.\r\n"
            "Add correct host key in /home/me/.ssh/known_hosts to get rid of "
            "this message.\r\nOffending RSA key in /home/me/.ssh/known_hosts:1\r\n"
            "  remove with:\r\n"
            '  ssh-keygen -f "/home/me/.ssh/known_hosts" -R "[127.0.0.1]:41891"\r\n'
            "Host key for [127.0.0.1]:41891 has changed and you have requeste"
            "d strict checking.\r\nHost key verification failed.\r\n"
        ),
    ),
    Capture(
        "host key: @revoked",
        "9.2p1",
        "",
        True,
        (
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "@       WARNING: REVOKED HOST KEY DETECTED!               @\r\n"
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "The ED25519 host key for [127.0.0.1]:41891 is marked as revoked.\r\n"
            "This could mean that a stolen key is being used to\r\n"
            "impersonate this host.\r\n"
            "ED25519 host key for [127.0.0.1]:41891 was revoked and you have "
            "requested strict checking.\r\nHost key verification failed.\r\n"
        ),
    ),
    Capture(
        "host key: ask, by address, a port",
        "10.5p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: no option given (the default)",
        "10.5p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: ask, by name, a port",
        "10.5p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: ask, by name, a port, CheckHostIP",
        "10.5p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: ask, MD5 fingerprint option",
        "10.5p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: MD5:5a:c3:96:34:39:3c:10:de:bb:b3:49"
            ":e4:a8:a8:44:e5\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: VisualHostKey",
        "10.5p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\n+--[ED25519 256]--+\r\n|          .+ooooo|\r\n"
            "|         ...*+ Eo|\r\n|          o.=oo.o|\r\n|         . = + Bo|\r\n"
            "|        S   = B *|\r\n|           o . X |\r\n|          . ..O.+|\r\n"
            "|           ..o+=o|\r\n|            +=oo+|\r\n+----[SHA256]-----+\r\n"
            "This key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: a known key under VisualHostKey (nothing asked)",
        "10.5p1",
        "",
        True,
        (
            "Host key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3Ill"
            "NZfmQHi1kWk\n+--[ED25519 256]--+\n|          .+ooooo|\n"
            "|         ...*+ Eo|\n|          o.=oo.o|\n|         . = + Bo|\n"
            "|        S   = B *|\n|           o . X |\n|          . ..O.+|\n"
            "|           ..o+=o|\n|            +=oo+|\n+----[SHA256]-----+\r\n"
        ),
    ),
    Capture(
        "host key: known by a hashed name",
        "10.5p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\n"
            "This host key is known by the following other names/addresses:\r\n"
            "    /home/me/.ssh/known_hosts:1: [hashed name]\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: known by other names",
        "10.5p1",
        (
            "\rThe authenticity of host '[localhost]:41891 ([127.0.0.1]:41891)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\n"
            "This host key is known by the following other names/addresses:\r\n"
            "    /home/me/.ssh/known_hosts:1: [127.0.0.1]:41891\r\n"
            "    /home/me/.ssh/known_hosts:2: cluster.example,192.0.2.7\r\n"
            "    /home/me/.ssh/known_hosts:3: login.cluster.example\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: HostKeyAlias",
        "10.5p1",
        (
            "\rThe authenticity of host 'cluster.example ([127.0.0.1]:41891)' "
            "can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: changed, ask",
        "10.5p1",
        "",
        True,
        (
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
            "Someone could be eavesdropping on you right now (man-in-the-midd"
            "le attack)!\r\n"
            "It is also possible that a host key has just been changed.\r\n"
            "The fingerprint for the ED25519 key sent by the remote host is\n"
            "SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3IllNZfmQHi1kWk.\r\n"
            "Please contact your system administrator.\r\n"
            "Add correct host key in /home/me/.ssh/known_hosts to get rid of "
            "this message.\r\n"
            "Offending ED25519 key in /home/me/.ssh/known_hosts:1\r\n"
            "Host key for [127.0.0.1]:41891 has changed and you have requeste"
            "d strict checking.\r\nHost key verification failed.\r\n"
        ),
    ),
    Capture(
        "host key: another type is known, ask",
        "10.5p1",
        "",
        True,
        (
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
            "sshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmuxsshmux@\r\n"
            "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
            "Someone could be eavesdropping on you right now (man-in-the-midd"
            "le attack)!\r\n"
            "It is also possible that a host key has just been changed.\r\n"
            "The fingerprint for the ED25519 key sent by the remote host is\n"
            "SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3IllNZfmQHi1kWk.\r\n"
            "Please contact your system administrator.\r\n"
            "Add correct host key in /home/me/.ssh/known_hosts to get rid of "
            "this message.\r\nOffending RSA key in /home/me/.ssh/known_hosts:1\r\n"
            "Host key for [127.0.0.1]:41891 has changed and you have requeste"
            "d strict checking.\r\nHost key verification failed.\r\n"
        ),
    ),
    Capture(
        "host key: through a ProxyCommand, by name",
        "9.2p1",
        (
            "\rThe authenticity of host 'cluster.example (<no hostip for proxy"
            " command>)' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3I"
            "llNZfmQHi1kWk.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "host key: through a ProxyCommand, by name",
        "10.5p1",
        (
            "\rThe authenticity of host 'cluster.example (<no hostip for proxy"
            " command>)' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:dctdgDYTjOHv+NOu25N/QxMD+s3m3"
            "IllNZfmQHi1kWk\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture("PAM expired: the password", "9.2p1", "\r(me@cluster.example) Password: ", False),
    Capture(
        "PAM expired: the current password",
        "9.2p1",
        (
            "\r\n\r(me@cluster.example) You are required to change your password i"
            "mmediately (administrator enforced).\r\nChanging password for me.\r\n"
            "Current password: "
        ),
        False,
    ),
    Capture(
        "PAM expired: the new password", "9.2p1", "\r\n\r(me@cluster.example) New password: ", False
    ),
    Capture(
        "PAM expired: the new password again",
        "9.2p1",
        "\r\n\r(me@cluster.example) Retype new password: ",
        False,
    ),
    Capture("PAM expired: done", "9.2p1", "\r\n", True),
    Capture(
        "PAM expired: after a wrong current password",
        "9.2p1",
        "\r\n\r(me@cluster.example) Password: ",
        False,
    ),
    Capture(
        "PAM expired: after a mismatch",
        "9.2p1",
        "\r\n\r(me@cluster.example) Password: ",
        False,
        "Sorry, passwords do not match.\n\r\n",
    ),
    Capture(
        "PAM expired: after a bad new password",
        "9.2p1",
        ("\r\n\r(me@cluster.example) You must choose a longer password.\r\nNew password: "),
        False,
    ),
    Capture(
        "PAM expired: after the same password",
        "9.2p1",
        ("\r\n\r(me@cluster.example) The password has not been changed.\r\nNew password: "),
        False,
    ),
    Capture(
        "PAM expired: after a mismatch",
        "10.5p1",
        "\r\n\r(me@cluster.example) Password: ",
        False,
        "Sorry, passwords do not match.\n\n",
    ),
    Capture(
        "PAM: a password that expires in days", "9.2p1", "\r(me@cluster.example) Password: ", False
    ),
    Capture(
        "PAM: a password that expires in days, after the answer",
        "9.2p1",
        "\r\n",
        True,
        "Warning: your password will expire in 2 days.\n",
    ),
    Capture(
        "PAM: an account that has expired, after the answer",
        "9.2p1",
        "\r\n",
        True,
        (
            "Your account has expired; please contact your system administrator.\n"
            "\r\nConnection closed by 127.0.0.1 port 48329\r\n"
        ),
    ),
    Capture(
        "PAM: an account that has expired, after the answer",
        "10.5p1",
        "\r\n",
        True,
        (
            "Your account has expired; please contact your system administrator.\n"
            "\nConnection closed by 127.0.0.1 port 48329\r\n"
        ),
    ),
    Capture(
        "password method: expired, PAM, a command",
        "9.2p1",
        "\r\n",
        True,
        (
            "You are required to change your password immediately (administra"
            "tor enforced).\nWARNING: Your password has expired.\n"
            "Password change required but no TTY available.\n"
        ),
    ),
    Capture(
        "password method: expired, PAM, -N",
        "9.2p1",
        "\r\n",
        True,
        ("You are required to change your password immediately (administrator enforced).\n"),
    ),
    Capture(
        "LoginGraceTime over while asked: after the answer",
        "9.2p1",
        "\r\n",
        True,
        "Connection closed by 127.0.0.1 port 48329\r\n",
    ),
    Capture("FIDO: touch id_ed25519_sk, no SSH_ASKPASS (nothing shown)", "9.2p1", "", True),
    Capture(
        "FIDO: touch id_ed25519_sk, with DISPLAY and an SSH_ASKPASS that writes to /dev/tty",
        "9.2p1",
        (
            "Confirm user presence for key ED25519-SK SHA256:7UsMrS177KegI0L6"
            "WNIwPtUB56EfMi3uSeautONsQIQ\r\n"
        ),
        True,
    ),
    Capture("FIDO: touch id_ecdsa_sk, no SSH_ASKPASS (nothing shown)", "9.2p1", "", True),
    Capture(
        "FIDO: touch id_ecdsa_sk, with DISPLAY and an SSH_ASKPASS that writes to /dev/tty",
        "9.2p1",
        (
            "Confirm user presence for key ECDSA-SK SHA256:JT225AM40+WIuRhYtO"
            "tNVmVfeXshj8Z4kmthnDrpDmM\r\n"
        ),
        True,
    ),
    Capture("FIDO: PIN", "9.2p1", "\rEnter PIN for ED25519-SK key /home/me/.ssh/id_uv_sk: ", False),
    Capture("FIDO: PIN, after the right one", "9.2p1", "\r\n", True),
    Capture(
        "FIDO: after a wrong PIN",
        "9.2p1",
        "\r\n",
        True,
        (
            'sign_and_send_pubkey: signing failed for ED25519-SK "/home/me/.s'
            'sh/id_uv_sk": incorrect passphrase supplied to decrypt private key\r\n'
            "me@cluster.example: Permission denied (publickey,password,keyboa"
            "rd-interactive).\r\n"
        ),
    ),
    Capture(
        "FIDO: touch and PIN, with DISPLAY and an SSH_ASKPASS that writes to /dev/tty",
        "9.2p1",
        "\rEnter PIN for ED25519-SK key /home/me/.ssh/id_uv_sk: ",
        False,
    ),
    Capture(
        "FIDO: touch again after the PIN, with DISPLAY and an SSH_ASKPASS that writes to /dev/tty",
        "9.2p1",
        (
            "\r\nConfirm user presence for key ED25519-SK SHA256:ZxucU87xrmkk1+FV"
            "PC2wjMC0y4C8JhJ4tjQi/eDsZhQ\r\n"
        ),
        True,
    ),
    Capture("PKCS#11: PIN", "9.2p1", "\rEnter PIN for 'my token': ", False),
    Capture("PKCS#11: PIN, after the right one", "9.2p1", "\r\n", True),
    Capture(
        "PKCS#11: PIN, with DISPLAY and SSH_ASKPASS", "9.2p1", "\rEnter PIN for 'my token': ", False
    ),
    Capture(
        "PKCS#11: PIN, with DISPLAY and SSH_ASKPASS, after the right one", "9.2p1", "\r\n", True
    ),
    Capture(
        "PKCS#11: after a wrong PIN",
        "9.2p1",
        "\r\n",
        True,
        (
            "PKCS#11 login failed: PIN incorrect\r\nlogin failed\r\n"
            "pkcs11_get_key failed\r\n"
            'sign_and_send_pubkey: signing failed for RSA "my key": error in '
            "libcrypto\r\nme@cluster.example: Permission denied (publickey).\r\n"
        ),
    ),
    Capture(
        "PKCS#11: after a wrong PIN",
        "10.5p1",
        "\r\n",
        True,
        (
            "PKCS#11 login failed: PIN incorrect\r\nlogin failed\r\n"
            "pkcs11_get_key failed\r\n"
            'sign_and_send_pubkey: signing failed for RSA "my key": agent ref'
            "used operation\r\n"
            "me@cluster.example: Permission denied (publickey).\r\n"
        ),
    ),
    Capture(
        "ProxyJump: the jump host's password", "9.2p1", "\ruser@bastion.example's password: ", False
    ),
    Capture(
        "ProxyJump: then the target's password",
        "9.2p1",
        "\r\n\rme@cluster.example's password: ",
        False,
    ),
    Capture("ProxyJump: after the target's answer", "9.2p1", "\r\n", True),
    Capture(
        "ProxyJump: the jump host's password again",
        "9.2p1",
        "\r\n\ruser@bastion.example's password: ",
        False,
        "Permission denied, please try again.\r\n",
    ),
    Capture(
        "ProxyJump: after the jump host refused",
        "9.2p1",
        "\r\n",
        True,
        (
            "me@cluster.example: Permission denied (publickey,password).\r\n"
            "kex_exchange_identification: Connection closed by remote host\r\n"
            "Connection closed by UNKNOWN port 65535\r\n"
        ),
    ),
    Capture(
        "ProxyJump: then the target's keyboard-interactive",
        "9.2p1",
        "\r\n\r(me@cluster.example) Password: ",
        False,
    ),
    Capture(
        "ProxyJump: the jump host's key",
        "9.2p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:32933 ([127.0.0.1]:32933)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:KHWRXwmB+zB6SP7pqrqhlo3IGoq8YC"
            "mn6kQx+v34Olg.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "ProxyJump: the jump host's password, after its key",
        "9.2p1",
        "yes\r\n\rme@cluster.example's password: ",
        False,
        (
            "Warning: Permanently added '[127.0.0.1]:32933' (ED25519) to the "
            "list of known hosts.\r\n"
        ),
    ),
    Capture(
        "ProxyJump: the target's key (it has the address, not that of the jump host)",
        "9.2p1",
        (
            "\r\n\rThe authenticity of host '[127.0.0.1]:56461 (<no hostip for pro"
            "xy command>)' can't be established.\r\n"
            "ED25519 key fingerprint is SHA256:4GI9bUco0Png6zUVvj0MXRYte9gD/F"
            "OosLtYAZBq3C4.\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "ProxyJump: the target's password, after its key",
        "9.2p1",
        "yes\r\n\rme@cluster.example's password: ",
        False,
        (
            "Warning: Permanently added '[127.0.0.1]:56461' (ED25519) to the "
            "list of known hosts.\r\n"
        ),
    ),
    Capture(
        "ProxyJump: after the jump host's password, AllowTcpForwarding no",
        "9.2p1",
        "\r\n",
        True,
        (
            "channel 0: open failed: administratively prohibited: open failed\r\n"
            "stdio forwarding failed\r\n"
            "kex_exchange_identification: Connection closed by remote host\r\n"
            "Connection closed by UNKNOWN port 65535\r\n"
        ),
    ),
    Capture(
        "ProxyJump: after the jump host refused",
        "10.5p1",
        "\r\n",
        True,
        (
            "me@cluster.example: Permission denied (publickey,password).\r\n"
            "Connection closed by UNKNOWN port 65535\r\n"
        ),
    ),
    Capture(
        "ProxyJump: the jump host's key",
        "10.5p1",
        (
            "\rThe authenticity of host '[127.0.0.1]:32933 ([127.0.0.1]:32933)"
            "' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:KHWRXwmB+zB6SP7pqrqhlo3IGoq8Y"
            "Cmn6kQx+v34Olg\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "ProxyJump: the target's key (it has the address, not that of the jump host)",
        "10.5p1",
        (
            "\r\n\rThe authenticity of host '[127.0.0.1]:56461 (<no hostip for pro"
            "xy command>)' can't be established.\r\n"
            "ED25519 key fingerprint is: SHA256:4GI9bUco0Png6zUVvj0MXRYte9gD/"
            "FOosLtYAZBq3C4\r\nThis key is not known by any other names.\r\n"
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        ),
        True,
    ),
    Capture(
        "ProxyJump: after the jump host's password, AllowTcpForwarding no",
        "10.5p1",
        "\r\n",
        True,
        (
            "channel 0: open failed: administratively prohibited: open failed\r\n"
            "stdio forwarding failed\r\nConnection closed by UNKNOWN port 65535\r\n"
        ),
    ),
)
