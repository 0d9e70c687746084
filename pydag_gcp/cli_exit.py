"""How the command ends: errors become one line on stderr and an exit code, or one JSON document on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import click

from pydag_gcp import streams
from pydag_gcp.errors import PydagError

#: Exit code after Ctrl-C or SIGTERM.
INTERRUPTED = 130
_USAGE = 2


def exit_code_of(command: click.Command, args: Sequence[str], *, prog_name: str) -> int:
    """Run a command whatever happens; return its exit code.

    Args:
        command: Its function returns the exit code.
        args: The words after the program's name.
        prog_name: What help and messages call the program.
    """
    streams.prepare()
    as_json = "--json" in args
    try:
        code = command.main(list(args), prog_name=prog_name, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return _USAGE
    except click.ClickException as error:
        return _fail(_usage(error), error.exit_code, as_json=as_json)
    except PydagError as error:
        return _fail(error, error.exit_code, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        streams.discard(sys.stdout)
        return 1
    except Exception as error:  # noqa: BLE001 - the last place: what comes here is a bug of ours, and is kept in a file
        brief = "".join(traceback.format_exception_only(error)).strip()
        return _fail(f"internal error: {brief} (details: {_details(error)})", 1, as_json=as_json)
    return int(code or 0)


def say(error: PydagError | str) -> str:
    """Print an error as one line on stderr, without its secrets; return that line."""
    from pydag_gcp.logs import Redactor

    text = " ".join(Redactor()(str(error)).splitlines())
    click.echo(f"error: {text}", err=True)
    return text


def print_document(document: Mapping[str, Any], stream: TextIO) -> None:
    """Print the one JSON document."""
    print(json.dumps(document, indent=2, default=str), file=stream, flush=True)


def _fail(error: PydagError | str, code: int, *, as_json: bool) -> int:
    text = say(error)
    if as_json:
        with contextlib.suppress(BrokenPipeError):
            print_document({"error": text, "exit_code": code}, sys.stdout)
    return code


def _usage(error: click.ClickException) -> str:
    message = error.format_message().strip().removesuffix(".")
    command = getattr(error, "ctx", None)
    hint = f" (see `{command.command_path} --help`)" if command is not None else ""
    return f"{message[:1].lower()}{message[1:]}{hint}"


def _details(error: BaseException) -> str:
    """Keep a traceback in a file that only its owner may read; return the file's name."""
    from pydag_gcp.logs import Redactor

    with tempfile.NamedTemporaryFile("w", prefix="pydag-error-", suffix=".txt", encoding="utf-8", delete=False) as file:
        file.write(Redactor()("".join(traceback.format_exception(error))))
    return file.name
