"""``pydag completion``: what a shell needs to complete commands, options, pipelines, tasks and runs."""

from __future__ import annotations

import click

_HELP = """Print a script that makes a shell complete commands, options, pipelines, tasks and runs.

\b
bash: echo 'eval "$(pydag completion bash)"' >> ~/.bashrc
zsh:  echo 'eval "$(pydag completion zsh)"' >> ~/.zshrc
fish: pydag completion fish > ~/.config/fish/completions/pydag.fish
"""


@click.command(help=_HELP, short_help="Make a shell complete what is typed.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the script of a shell."""
    from click.shell_completion import get_completion_class

    from pydag_gcp.cli import pydag

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the three that click knows
    # https://click.palletsprojects.com/en/stable/shell-completion/#enabling-completion
    script = kind(pydag, {}, "pydag", "_PYDAG_COMPLETE")
    click.echo(script.source_template % script.source_vars())  # source() would ask bash for its version, and warn
    return 0
