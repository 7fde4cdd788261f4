"""What `sshmux doctor` found, as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_WIDTH = 18
_SKEW = 30.0  # seconds, from which on one-time codes and Kerberos tickets begin to fail


def text(facts: dict[str, Any]) -> str:
    """The facts as lines for users; what was not reached is left out."""
    parts = [
        _part("This machine", _machine(facts)),
        _part(f"What ssh makes of {facts['host']}", _resolved(facts.get("resolved", {}))),
        _part("Log-in", _log_in(facts.get("log_in", {}))),
        _part("On the remote", _over_there(facts.get("over_there", {}))),
    ]
    verdict = f"It does not work: {facts['error']}" if "error" in facts else "It works."
    return "\n\n".join([*filter(None, parts), verdict])


Line = tuple[str, object]


def _part(title: str, lines: Iterator[Line]) -> str:
    shown = [f"  {name:<{_WIDTH}}{value}" for name, value in lines if value not in (None, "")]
    return "\n".join([title, *shown]) if shown else ""


def _machine(facts: dict[str, Any]) -> Iterator[Line]:
    machine = facts.get("machine", {})
    yield "versions", f"sshmux {facts['sshmux']}, OpenSSH {facts.get('ssh', 'not found')}"
    yield "socket directory", machine.get("control_directory")
    yield "agent", machine.get("agent")
    yield "keyring", machine.get("keyring")
    yield "", machine.get("keyring_problem")
    if machine:
        stored = [
            name
            for name, key in (
                ("password", "password_stored"),
                ("one-time", "one_time_secret_stored"),
            )
            if machine[key]
        ]
        yield "stored", ", ".join(stored) or "nothing for this host"


def _resolved(resolved: dict[str, Any]) -> Iterator[Line]:
    if not resolved:
        return
    yield "target", f"{resolved['user']}@{resolved['hostname']} port {resolved['port']}"
    yield "through", resolved["proxy_jump"]
    yield "keys", ", ".join(resolved["identity_files"]) or "none there"
    yield "own ControlPath", resolved["control_path"]
    yield "unknown host keys", resolved["strict_host_key_checking"]


def _log_in(login: dict[str, Any]) -> Iterator[Line]:
    if not login:
        return
    yield "server", login["server"]
    yield "host key", login["host_key"]
    yield "key exchange", login["key_exchange"]
    yield "offered", ", then ".join(" or ".join(step) for step in login["offered"])
    yield "tried", ", ".join(login["tried"])
    yield "let us in", " + ".join(login["used"])
    yield "key", login["key"]
    for name, taken in login["seconds"].items():
        if taken is not None:
            yield f"{name.replace('_', ' ')}", f"{taken * 1000:.0f} ms"


def _over_there(there: dict[str, Any]) -> Iterator[Line]:
    if not there:
        return
    yield "login shell", there["login_shell"]
    yield "system", there["system"]
    skew = there.get("clock_ahead_seconds")
    if skew is not None:
        about = f"{skew:+.1f} s, ± {there['clock_uncertainty_seconds']:.1f} s"
        bad = ": one-time codes and tickets may fail" if abs(skew) > _SKEW else ""
        yield "clock", f"{about}{bad}"
    if "sessions" in there:
        more = "" if there["sessions_limited"] else " or more"
        yield "sessions at once", f"{there['sessions']}{more}"
