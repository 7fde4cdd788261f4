"""The dialects there are: ours, and those that other packages bring."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points

from ..errors import ConfigError
from .dialects.base import Dialect
from .dialects.gridengine import GridEngine
from .dialects.lsf import Lsf
from .dialects.pbs import Pbs, Torque
from .dialects.shell import Shell
from .dialects.slurm import Slurm

GROUP = "sshmux.schedulers"


@lru_cache(maxsize=1)
def dialects() -> dict[str, Dialect]:
    """By name. Another package's comes before one of ours that has the same name.

    One that cannot be loaded is an error for all: without it, jobs might go to a login node.
    """
    found: dict[str, Dialect] = {}
    for entry in entry_points(group=GROUP):
        try:
            made = entry.load()()
        except Exception as error:
            raise ConfigError(
                f"the scheduler {entry.name!r} of an installed package ({entry.value}) cannot be "
                f"loaded: {type(error).__name__}: {error}. Repair or uninstall that package"
            ) from error
        if not isinstance(made, Dialect):
            raise ConfigError(f"{entry.value}: this is no dialect: see docs/schedulers.md")
        found[made.name] = made
    own: tuple[Dialect, ...] = (Slurm(), GridEngine(), Pbs(), Torque(), Lsf(), Shell())
    for ours in own:
        found.setdefault(ours.name, ours)
    return found


def dialect(name: str) -> Dialect:
    """One of them. Raises `ConfigError`."""
    try:
        return dialects()[name]
    except KeyError:
        known = ", ".join(sorted(dialects()))
        raise ConfigError(
            f"scheduler {name!r} is not known: use 'auto', or one of {known}"
        ) from None


def detected(schedulers: dict[str, str]) -> Dialect:
    """The one for a cluster that has these: a batch scheduler before its plain shell."""
    for name, each in dialects().items():
        if name != "shell" and name in schedulers:
            return each
    return dialects()["shell"]
