"""sshmux completion, and what it completes."""

from __future__ import annotations

import glob
import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

_DEPTH = 8  # of Include in ssh_config; ssh itself allows 16


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that completes this command in your shell.

    \b
    bash:  sshmux completion bash > ~/.local/share/bash-completion/completions/sshmux
    zsh:   sshmux completion zsh > "${fpath[1]}/_sshmux"
    fish:  sshmux completion fish > ~/.config/fish/completions/sshmux.fish
    """
    from .main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choices above are click's own
    click.echo(kind(cli, {}, "sshmux", "_SSHMUX_COMPLETE").source())


def names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names and clusters in the control directory."""
    from ..openssh.control.directory import ControlDir
    from .inventory import read

    items = read(ControlDir())
    known = {item.name for item in items} | {item.record.cluster for item in items if item.record}
    return [CompletionItem(name) for name in sorted(known) if name.startswith(incomplete)]


def hosts(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The `Host` names of ssh_config, patterns left out."""
    known: set[str] = set()
    for path in (Path("~/.ssh/config").expanduser(), Path("/etc/ssh/ssh_config")):
        known |= _hosts_in(path, path.parent, _DEPTH)
    return [CompletionItem(name) for name in sorted(known) if name.startswith(incomplete)]


def _hosts_in(path: Path, base: Path, depth: int) -> set[str]:
    found: set[str] = set()
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            keyword, *values = shlex.split(line.replace("=", " ", 1), comments=True) or [""]
        except ValueError:
            continue
        if keyword.lower() == "host":
            found |= {value for value in values if not set(value) & set("*?!")}
        elif keyword.lower() == "include" and depth > 0:
            for value in values:
                pattern = str(base / Path(value).expanduser())
                for included in sorted(glob.glob(pattern)):
                    found |= _hosts_in(Path(included), base, depth - 1)
    return found
