"""Names in the control directory: of sockets, records, and what a crash leaves half made.

    hpc.1.k3f7a2.sock   the control socket: cluster, slot, and letters that never come again
    hpc.1.k3f7a2.json   its record: whose it is, where it leads, which process it is

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
JUMP_LABEL = "jump-"  # before the name of a jump host, whose master is the way to others
_UNIQUE = 6  # characters
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LABEL = r"[A-Za-z0-9_@+=,~][A-Za-z0-9_@+=,.~-]*"
_ENTRY = rf"{_LABEL}\.[A-Za-z0-9]+\.[{_ALPHABET}]{{{_UNIQUE}}}"
_OF_ENTRY = re.compile(_ENTRY)
_FILE = re.compile(rf"({_ENTRY})({re.escape(SOCKET_SUFFIX)}|{re.escape(RECORD_SUFFIX)})")
_HALF_MADE = re.compile(
    rf"\.{_ENTRY}\.[0-9a-f]{{8}}"  # a record that was being written or claimed
    r"|\.probe\.[0-9a-f]{8}(\.link)?"  # of the proof that sockets and links can be made
    rf"|{_ENTRY}{re.escape(SOCKET_SUFFIX)}\.[A-Za-z0-9]{{16}}"  # ssh's own, before its link()
)
# The same for a shell, as a pattern of file names.
RECORD_GLOB = f"*.*.{f'[{_ALPHABET}]' * _UNIQUE}{RECORD_SUFFIX}"


def entry_name(label: str, slot: str) -> str:
    """A new name for an entry."""
    unique = "".join(secrets.choice(_ALPHABET) for _ in range(_UNIQUE))
    return f"{label}.{slot}.{unique}"


def entry_of(file: str) -> str | None:
    """The entry that a socket or a record belongs to, by the file's name; None for others'."""
    found = _FILE.fullmatch(file)
    return found[1] if found is not None else None


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


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:4]
