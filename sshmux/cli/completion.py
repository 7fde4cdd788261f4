"""sshmux completion, and what it completes."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from ..openssh.config_hosts import named_hosts


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
    return [CompletionItem(name) for name in named_hosts() if name.startswith(incomplete)]
