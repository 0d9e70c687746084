"""The command ``pydag``.

Nothing heavy is imported before a command is chosen, so that ``pydag --version`` and completion are quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from pydag_gcp import __version__
from pydag_gcp.cli_cache import cache
from pydag_gcp.cli_cancel import cancel
from pydag_gcp.cli_completion import completion
from pydag_gcp.cli_exit import exit_code_of
from pydag_gcp.cli_graph import graph
from pydag_gcp.cli_history import runs, show
from pydag_gcp.cli_init import init
from pydag_gcp.cli_local import local
from pydag_gcp.cli_logs import logs
from pydag_gcp.cli_plan import plan
from pydag_gcp.cli_rehearse import rehearse
from pydag_gcp.cli_resume import resume
from pydag_gcp.cli_run import run
from pydag_gcp.cli_top import top
from pydag_gcp.cli_validate import validate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="pydag %(version)s")
def pydag() -> None:
    """Data pipelines on Google Cloud, from one file.

    PIPELINE is a path, or the name of a file under pipelines/ without its ending, or the id of a DAG there.

    Exit codes: 0 success; 1 the run failed or was cancelled; 2 the definition, options or settings are wrong and
    nothing ran; 3 the target could not be reached; 130 interrupted.
    """


for _command in (
    run,
    plan,
    resume,
    cancel,
    validate,
    graph,
    runs,
    show,
    logs,
    top,
    cache,
    rehearse,
    local,
    init,
    completion,
):
    pydag.add_command(_command)


def main(args: Sequence[str] | None = None, *, prog_name: str = "pydag") -> int:
    """Be the command ``pydag``; return its exit code.

    Args:
        args: The words after the program's name; default: those of this process.
        prog_name: What help and messages call it.
    """
    return exit_code_of(pydag, sys.argv[1:] if args is None else args, prog_name=prog_name)
