"""SQL scripts of the 2022 pyDag: ``{name}`` placeholders, filled with what can stand in their place and nothing else.

The 2022 pyDag called ``str.format``, so a value could be any text and become any SQL. Here the place decides
(:mod:`.places`): inside quotes a value is text, in a path or in backticks a name, in the column list of
CREATE TABLE column definitions, and so on; where nothing else fits, one number or quoted text. A statement means what
it meant in 2022, or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pydag_gcp.errors import DefinitionError, did_you_mean
from pydag_gcp.googlesql import Token, Unclosed, literal, tokens
from pydag_gcp.pydag2022.columns import column_definitions, quoted_name, quoted_names, quoted_path
from pydag_gcp.pydag2022.places import Hole, Kind, Misplaced, Place, places
from pydag_gcp.rendering import Origin, Query

if TYPE_CHECKING:
    from pydag_gcp.sql import Template

#: Longer scripts are refused; BigQuery takes no more characters in one query.
#: https://cloud.google.com/bigquery/quotas#query_jobs
LONGEST: Final = 1024 * 1024

#: Characters of a value that a message repeats.
_LONGEST_SHOWN: Final = 80

#: Stands for a placeholder while what is around it is split into tokens: it opens and closes nothing.
_FILLER: Final = "\ue000"

_BRACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_LITERAL: Final = rf"""(?:{_NUMBER}|'[^'\\\n]*'|"[^"\\\n]*")"""

#: Replacing of ``[start, end)`` by a text.
_Edit = tuple[int, int, str]


def fill(template: Template, params: Mapping[str, str], *, where: str) -> Query:
    """Fill in the placeholders of a script.

    Args:
        template: The script.
        params: Values by name; those that are not used do no harm.
        where: The place that uses it, for messages.

    Raises:
        DefinitionError: A brace is alone, a name is unknown, or a value cannot stand in its place; with file and line.
    """
    text = template.text.replace("\r\n", "\n").replace("\r", "\n")
    origin = Origin(text=text, file=template.file, where=where)
    if len(text) > LONGEST:
        raise DefinitionError(f"a script of more than {LONGEST:,} characters", where=origin.of_line(None))
    holes, edits = _braces(text, params, origin)
    masked = _masked(text, holes)
    try:
        found, backticks = places(masked, _tokens(masked, origin), holes)
    except Misplaced as error:
        raise DefinitionError(error.what, where=origin.of_template(error.hole.start), hint=error.hint) from None
    edits += [(offset, offset, "`") for offset in backticks]
    edits += [_filled(place, params[place.hole.name], text, origin) for place in found]
    return _edited(text, sorted(edits), origin)


def _braces(text: str, params: Mapping[str, str], origin: Origin) -> tuple[list[Hole], list[_Edit]]:
    """Read braces as ``str.format`` does: placeholders, and the doubled ones that stand for one."""
    holes, edits = [], []
    for match in _BRACE.finditer(text):
        start, end, name = match.start(), match.end(), match[1]
        if name is None and end - start == 2:
            edits.append((start, end, text[start]))
        elif name is None:
            hint = "double it where it is meant as it is"
            raise DefinitionError(f"a {text[start]!r} stands alone", where=origin.of_template(start), hint=hint)
        else:
            _check_name(name, params, start, origin)
            holes.append(Hole(name, start, end))
    return holes, edits


def _check_name(name: str, params: Mapping[str, str], start: int, origin: Origin) -> None:
    if name in params:
        return
    where = origin.of_template(start)
    if re.search(r"[.\[\]!:]", name):
        what = f"{{{name}}}: attributes, indexes, conversions and formats are not allowed"
        raise DefinitionError(what, where=where, hint="write {name}, and put the final value into params")
    known = f"params has: {', '.join(params)}" if params else "the task has no params"
    raise DefinitionError(f"params has no {name!r}", where=where, hint=did_you_mean(name, params) or known)


def _masked(text: str, holes: Sequence[Hole]) -> str:
    parts, end = [], 0
    for hole in holes:
        parts += [text[end : hole.start], _FILLER * (hole.end - hole.start)]
        end = hole.end
    return "".join([*parts, text[end:]])


def _tokens(masked: str, origin: Origin) -> list[Token]:
    try:
        return list(tokens(masked))
    except Unclosed as error:
        raise DefinitionError(str(error), where=origin.of_template(error.offset)) from None


def _edited(text: str, edits: Sequence[_Edit], origin: Origin) -> Query:
    """Put the query together, remembering where each piece comes from."""
    pieces: list[tuple[str, int, bool]] = []
    end = 0
    for start, stop, new in edits:
        pieces += [(text[end:start], end, True), (new, start, False)]
        end = stop
    pieces.append((text[end:], end, True))
    starts, offset = [], 0
    for piece, _, _ in pieces:
        starts.append(offset)
        offset += len(piece)
    spans = tuple((start, is_text) for _, start, is_text in pieces)
    placed = Origin(text=origin.text, file=origin.file, where=origin.where, starts=tuple(starts), spans=spans)
    return Query(sql="".join(piece for piece, _, _ in pieces), origin=placed)


# values ----------------------------------------------------------------------------------------------------------


def _filled(place: Place, value: str, text: str, origin: Origin) -> _Edit:
    hole, kind = place.hole, place.kind
    try:
        written = _WRITERS[kind](value)
    except DefinitionError as error:
        what = f"{{{hole.name}}} stands for {kind.value}, got {_short(value)!r}"
        reason = "" if error.what == value else f": {error.what}"
        where = origin.of_template(hole.start)
        hint = error.hint or _HINTS.get(kind, "").replace("name", hole.name) or None
        raise DefinitionError(what + reason, where=where, hint=hint) from None
    if written.startswith("-") and text[hole.start - 1 : hole.start] == "-":
        written = f" {written}"  # two would make a comment of the rest of the line
    return hole.start, hole.end, written


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}..."


def _text(value: str) -> str:
    return literal(value)[1:-1].replace('"', '\\"')


def _comment(value: str) -> str:
    return re.sub(r"[^\w .,:-]", " ", value)


def _matching(pattern: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise DefinitionError(value)
        return value

    return check


def _literals(value: str) -> str:
    if not re.fullmatch(rf"\s*{_LITERAL}\s*(?:,\s*{_LITERAL}\s*)*", value, re.ASCII):
        raise DefinitionError(value)
    return ", ".join(map(_literal, re.findall(_LITERAL, value, re.ASCII)))


def _literal(value: str) -> str:
    value = value.strip()
    if not re.fullmatch(_LITERAL, value, re.ASCII):
        raise DefinitionError(value)
    return literal(value[1:-1]) if value[0] in "'\"" else value


def _flag(value: str) -> str:
    upper = value.strip().upper()
    return upper if upper in {"TRUE", "FALSE"} else _literal(value)


def _array(value: str) -> str:
    inner = re.fullmatch(r"\s*\[(.*)\]\s*", value)
    if inner is None:
        raise DefinitionError(value)
    return f"[{_literals(inner[1])}]"


_WRITERS: Final[Mapping[Kind, Callable[[str], str]]] = {
    Kind.TEXT: _text,
    Kind.COMMENT: _comment,
    Kind.PATH: quoted_path,
    Kind.QUOTED_PATH: _matching(r"[\w-]+(\.[\w-]+){0,2}"),
    Kind.PART: _matching(r"[\w-]+"),
    Kind.NAME: quoted_name,
    Kind.NAMES: quoted_names,
    Kind.COLUMNS: column_definitions,
    Kind.ARRAY: _array,
    Kind.LITERALS: _literals,
    Kind.LITERAL: _literal,
    Kind.FLAG: _flag,
}

_AS_WRITTEN: Final = "in the script, write '{name}' for text, or `{name}` for a column or table"
_HINTS: Final[Mapping[Kind, str]] = {
    Kind.PART: "it has letters A-Z, digits, _ and -; a whole path stands alone: `{name}`",
    Kind.QUOTED_PATH: "it has letters A-Z, digits, _ and -, with dots between",
    Kind.LITERAL: _AS_WRITTEN,
    Kind.FLAG: _AS_WRITTEN,
}
