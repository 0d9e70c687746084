"""The ``params`` of a 2022 task: a dict written as text, ``{'k': 'v'}``, read as data and never evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydag_gcp.errors import DefinitionError
from pydag_gcp.json_nodes import compose
from pydag_gcp.nodes import Malformed
from pydag_gcp.resources import is_template

#: Longer texts are refused, in characters.
LONGEST: Final = 100_000

#: What Python writes and JSON does not: text in single quotes, and three words. Text in double quotes is left alone.
_PYTHON = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\b(?:True|False|None)\b""", re.DOTALL)
_WORDS: Final = {"True": "true", "False": "false", "None": "null"}


def parse(params: str | Mapping[str, Any]) -> dict[str, Any]:
    """Read params; those whose names begin with ``*`` named key files and variables of 2022, and are dropped.

    Args:
        params: JSON, the same with text in single quotes, or an object of the definition itself.

    Raises:
        DefinitionError: It is none of these, or gives a name twice; without a place.
    """
    given = params if isinstance(params, Mapping) else _read(params)
    return {name: value for name, value in given.items() if not name.startswith("*")}


def _read(text: str) -> dict[str, Any]:
    hint = "write it as {'name': 'value', 'other': 'value'}"
    if len(text) > LONGEST:
        raise DefinitionError(f"params of more than {LONGEST:,} characters")
    if not text.strip():
        return {}
    try:
        found = compose(_PYTHON.sub(_as_json, text)).plain()
    except Malformed as error:
        what = error.what.removeprefix("is no JSON: ")
        raise DefinitionError(f"{what} (character {error.span.column} of params)", hint=error.hint or hint) from None
    if not isinstance(found, dict):
        raise DefinitionError(f"params are no dict but {text[:40]!r}", hint=hint)
    return found


def _as_json(match: re.Match[str]) -> str:
    token = match.group()
    if token[0] != "'":
        return _WORDS.get(token, token)
    return '"' + re.sub(r"\\(.)|\"", _unquoted, token[1:-1], flags=re.DOTALL) + '"'


def _unquoted(match: re.Match[str]) -> str:
    """Keep escapes, but for those of quotes, which change sides."""
    escaped = match[1]
    if escaped is None or escaped == '"':
        return '\\"'
    return "'" if escaped == "'" else match.group()


def verbatim(text: str) -> str:
    """Write text so that it comes through a field's rendering as it is: nothing of 2022 is a template."""
    if not is_template(text):
        return text
    escaped = text.encode("unicode_escape").decode("ascii").replace("'", r"\'")
    return f"{{{{ '{escaped}' }}}}"


def as_argument(params: Mapping[str, Any]) -> str:
    """Write params as the JSON that a 2022 Spark script takes behind ``--params``."""
    return verbatim(json.dumps(params))
