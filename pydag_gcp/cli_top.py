"""``pydag top``: who holds and who waits for processors."""

from __future__ import annotations

import sys

import click

from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_options import json_option


@click.command()
@click.option("--once", is_flag=True, help="Print the table once, as into a pipe.")
@json_option
def top(*, once: bool, as_json: bool) -> int:
    """Show which runs on this machine hold processors, and which wait for some.

    On a terminal the table is drawn again twice a second, until Ctrl-C.
    """
    from pydag_gcp.pool_census import take_census

    census = take_census()
    if as_json:
        print_document(census.to_json(), sys.stdout)
        return 0
    from pydag_gcp.streams import is_terminal
    from pydag_gcp.top import follow, print_census

    if once or not is_terminal(sys.stdout):
        print_census(census, sys.stdout)
    else:
        follow(take_census, sys.stdout)
    return 0
