"""How the command ends: errors become one line on stderr and an exit code, or one JSON document on stdout."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import click

from pydag_gcp import log_format, streams
from pydag_gcp.errors import DefinitionError, PydagError

#: Exit code after Ctrl-C or SIGTERM.
INTERRUPTED = 130
_USAGE = 2
#: Characters of an error that are printed; a value in it may be as long as a file.
_LONGEST = 2000


def exit_code_of(command: click.Command, args: Sequence[str], *, prog_name: str) -> int:
    """Run a command whatever happens; return its exit code.

    Args:
        command: Its function returns the exit code.
        args: The words after the program's name.
        prog_name: What help and messages call the program.
    """
    streams.prepare()
    with log_format.stderr_for(args):
        return _exit_code(command, args, prog_name=prog_name)


def _exit_code(command: click.Command, args: Sequence[str], *, prog_name: str) -> int:
    as_json = "--json" in args
    for word in args:
        if not _is_text(word):
            return _fail(f"the argument {word!r} is no UTF-8 text", _USAGE, as_json=as_json)
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


def _is_text(word: str) -> bool:
    """Tell whether a word can be written down: Python takes in any bytes, as lone surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def say(error: PydagError | str, *, name: str = "") -> str:
    """Print an error on stderr, without its secrets: one line, and what it shows of the source.

    Args:
        error: The error.
        name: What it is about, where that could be one of several.

    Returns:
        The line, without the name.
    """
    from pydag_gcp.redaction import Redactor

    redact = Redactor()
    text = _printable(redact(str(error)))
    click.echo(f"error: {name}: {text}" if name else f"error: {text}", err=True)
    shown = error.excerpt if isinstance(error, DefinitionError) and not log_format.structured() else None
    for line in redact(shown or "").splitlines():
        click.echo(f"  {line}", err=True)
    return text


def _printable(text: str) -> str:
    """One line of at most some hundred words, in which a terminal finds no commands."""
    line = " ".join(text.splitlines())
    shown = line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def print_document(document: Mapping[str, Any], stream: TextIO) -> None:
    """Print the one JSON document, without its secrets."""
    from pydag_gcp.redaction import Redactor

    print(json.dumps(Redactor().within(document), indent=2, default=str), file=stream, flush=True)


def _fail(error: PydagError | str, code: int, *, as_json: bool) -> int:
    text = say(error)
    if as_json:
        with contextlib.suppress(BrokenPipeError):
            print_document({"error": text, "exit_code": code}, sys.stdout)
    return code


def _usage(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split()).removesuffix(".")
    message = re.sub(
        r"\. Did you mean|\. \(Did you mean (.*)\)$", lambda found: f"; did you mean {found[1] or ''}".rstrip(), message
    )
    command = getattr(error, "ctx", None)
    hint = f" (see `{command.command_path} --help`)" if command is not None else ""
    return f"{message[:1].lower()}{message[1:]}{hint}"


def _details(error: BaseException) -> str:
    """Keep a traceback in a file that only its owner may read; return the file's name."""
    import tempfile

    from pydag_gcp.redaction import Redactor

    with tempfile.NamedTemporaryFile("w", prefix="pydag-error-", suffix=".txt", encoding="utf-8", delete=False) as file:
        file.write(Redactor()("".join(traceback.format_exception(error))))
    return file.name
