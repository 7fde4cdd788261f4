"""Names in the control directory: of sockets, records, and what a crash leaves half made.

    hpc.1.k3f7a2.sock   the control socket: cluster, slot, and letters that never come again
    hpc.1.k3f7a2.json   its record: whose it is, where it leads, which process it is

and, where several programs share a master, the lock that they hold and a file for each of them
(`holders`). The rest is for log-ins: whose turn it is (`turn`), and which codes were used.

Whatever has another form is somebody else's, and is neither read nor removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys

# sun_path, less its NUL, less "." and 16 random characters: ssh binds PATH.XXXXXXXXXXXXXXXX and
# links it to PATH (misc.c: unix_listener; mux.c: muxserver_listen).
MAX_PATH = 86 if sys.platform == "darwin" else 90
MIN_LABEL = 8  # what must remain of a cluster's name for a user to know it
SOCKET_SUFFIX = ".sock"
RECORD_SUFFIX = ".json"
LOCK_SUFFIX = ".lock"
HOLDER_SUFFIX = ".holder"
JUMP_LABEL = "jump-"  # before the name of a jump host, whose master is the way to others
_UNIQUE = 6  # characters
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LABEL = r"[A-Za-z0-9_@+=,~][A-Za-z0-9_@+=,.~-]*"
_ENTRY = rf"{_LABEL}\.[A-Za-z0-9]+\.[{_ALPHABET}]{{{_UNIQUE}}}"
_OF_ENTRY = re.compile(_ENTRY)
_HOLDER = re.compile(
    rf"({_ENTRY})\.[{_ALPHABET}]{{{_UNIQUE}}}{re.escape(HOLDER_SUFFIX)}",
)
_FILE = re.compile(rf"({_ENTRY})({re.escape(SOCKET_SUFFIX)}|{re.escape(RECORD_SUFFIX)})")
_LOCK = re.compile(rf"({_ENTRY}){re.escape(LOCK_SUFFIX)}")
_TURN = re.compile(r"\.login\.[0-9a-f]{16}\.(lock|sock)")
_CODE = re.compile(r"\.code\.[0-9a-f]{16}\.[0-9]{1,20}")
_HALF_MADE = re.compile(
    rf"\.{_ENTRY}\.[0-9a-f]{{8}}"  # a record that was being written or claimed
    r"|\.probe\.[0-9a-f]{8}(\.link)?"  # of the proof that sockets and links can be made
    rf"|{_ENTRY}{re.escape(SOCKET_SUFFIX)}\.[A-Za-z0-9]{{16}}"  # ssh's own, before its link()
)
# The same for a shell, as patterns of file names.
_LETTERS_GLOB = f"[{_ALPHABET}]" * _UNIQUE
RECORD_GLOB = f"*.*.{_LETTERS_GLOB}{RECORD_SUFFIX}"
TURN_GLOB = ".login.*.lock"
HOLDER_GLOB = f"*.*.{_LETTERS_GLOB}.{_LETTERS_GLOB}{HOLDER_SUFFIX}"


def entry_name(label: str, slot: str) -> str:
    """A new name for an entry."""
    return f"{label}.{slot}.{_letters()}"


def entry_of(file: str) -> str | None:
    """The entry that a socket or a record belongs to, by the file's name; None for others'."""
    found = _FILE.fullmatch(file)
    return found[1] if found is not None else None


def shared_entry_of(file: str) -> str | None:
    """The entry that a lock or a holder belongs to; None for other files."""
    found = _LOCK.fullmatch(file) or _HOLDER.fullmatch(file)
    return found[1] if found is not None else None


def holder_name(name: str) -> str:
    """A new name for the file of one holder of an entry."""
    return f"{name}.{_letters()}{HOLDER_SUFFIX}"


def is_holder_of(file: str, name: str) -> bool:
    """Whether it is the file of a holder of that entry."""
    found = _HOLDER.fullmatch(file)
    return found is not None and found[1] == name


def turn_name(digest: str) -> str:
    """What the files of a log-in's turn are called, without their suffixes."""
    return f".login.{digest}"


def is_turn(file: str) -> bool:
    """Whether it is the lock or the socket of a log-in's turn."""
    return _TURN.fullmatch(file) is not None


def code_name(key: str, step: int) -> str:
    """The mark of a one-time code that was used."""
    return f".code.{key}.{step}"


def is_code(file: str) -> bool:
    """Whether it marks a one-time code that was used."""
    return _CODE.fullmatch(file) is not None


def is_entry(name: str) -> bool:
    """Whether it is the name of an entry."""
    return _OF_ENTRY.fullmatch(name) is not None


def is_half_made(file: str) -> bool:
    """Whether it is a temporary name, of ours or of ssh's, that a crash may have left."""
    return _HALF_MADE.fullmatch(file) is not None


def half_made(name: str) -> str:
    """A new temporary name for an entry's record."""
    return f".{name}.{secrets.token_hex(4)}"


def probe_name() -> str:
    """A new temporary name for the proof that sockets can be made."""
    return f".probe.{secrets.token_hex(4)}"


def label_room(directory: os.PathLike[str], slot: str) -> int:
    """How many characters are left for a cluster's name in the path of a control socket."""
    fixed = len(f"/.{slot}.{'x' * _UNIQUE}{SOCKET_SUFFIX}")
    return MAX_PATH - len(os.fsencode(directory)) - fixed


def readable(cluster: str) -> str:
    """A cluster's name as part of a file name. What is lost lives on in a hash, for users."""
    plain = re.sub(r"[^A-Za-z0-9_@+=,.-]", "_", cluster).lstrip(".-") or "cluster"
    return plain if plain == cluster else f"{plain}~{_hash(cluster)}"


def shorten(label: str, room: int) -> str:
    """At most `room` characters; what is cut away lives on in a hash."""
    if len(label) <= room:
        return label
    return f"{label[: max(0, room - 5)]}~{_hash(label)}"[:room]


def _letters() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_UNIQUE))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:4]
