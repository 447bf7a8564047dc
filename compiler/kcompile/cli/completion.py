"""``kcompile completion``: the shell's own completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    For bash:  kcompile completion bash > /etc/bash_completion.d/kcompile
    """
    from . import main

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(main, {}, "kcompile", "_KCOMPILE_COMPLETE").source())
