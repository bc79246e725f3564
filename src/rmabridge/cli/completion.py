"""``rmabridge completion``: the shell's completion script."""

from __future__ import annotations

import click

from .app import App, command
from .output import dumped


@click.command(
    epilog='\b\nbash: eval "$(rmabridge completion bash)"\nzsh:  eval "$(rmabridge completion zsh)"\n'
    "fish: rmabridge completion fish | source"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@command
def completion(app: App, shell: str) -> None:
    """Print the shell's completion script."""
    from click.shell_completion import get_completion_class

    from . import main

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"{shell}: not known to this version of click")
    script = made(main, {}, "rmabridge", "_RMABRIDGE_COMPLETE").source()
    click.echo(dumped({"shell": shell, "script": script}) if app.as_json else script)
