"""Rendered SQL: a template's pieces put together, with a check that each placeholder stands where its text is safe."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydag_gcp.errors import DefinitionError, did_you_mean, did_you_mean_one_of
from pydag_gcp.googlesql import Token, Unclosed, literal, one_type, tokens
from pydag_gcp.resources import GCSObject, Table
from pydag_gcp.unresolved import Unresolved

if TYPE_CHECKING:
    from pydag_gcp.jinja import Piece, Prepared, Span
    from pydag_gcp.placeholders import Fragment

#: Stands for a placeholder's text while what is around it is split into tokens: it opens and closes nothing.
_FILLER = "\ue000"

_INSIDE = {
    "string": ("quotes", "write it without the quotes: it brings its own; for a part of a string use CONCAT, or | raw"),
    "quoted": ("backticks", "write a Table or {{ name | ident }} without the backticks, or | raw"),
    "comment": ("a comment", "write the comment as {# ... #}"),
}


@dataclass(frozen=True, kw_only=True)
class Query:
    """Rendered SQL.

    Attributes:
        sql: The text to send.
        parameters: The values of the ``@name`` in it: int, float, bool, str, bytes, Decimal, date, datetime, time or a
            non-empty list of one of them; never None, an empty list or a Table.
        tables: The tables that parameters put into the text, fully qualified.
        origin: The template's place in the text, for messages.
    """

    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tables: frozenset[Table] = frozenset()
    origin: Origin | None = field(default=None, repr=False)

    def place(self, offset: int) -> str:
        """Name the place in the template that an offset into ``sql`` comes from."""
        return (self.origin or Origin(text=self.sql, file=None, where="SQL")).of_rendered(offset)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where rendered SQL comes from.

    Attributes:
        text: The template's text.
        file: The template's file.
        where: The place that the template is used at.
        starts: Where each piece starts in the rendered text.
        spans: Where each piece starts in the template, and whether it is text.
    """

    text: str
    file: Path | str | None
    where: str
    starts: Sequence[int] = ()
    spans: Sequence[tuple[int, bool]] = ()

    def of_rendered(self, offset: int) -> str:
        """Name the place of an offset into the rendered text."""
        index = bisect.bisect_right(self.starts, offset) - 1
        if index < 0:
            return self.of_template(offset)
        start, is_text = self.spans[index]
        return self.of_template(start + (offset - self.starts[index] if is_text else 0))

    def of_template(self, offset: int) -> str:
        """Name the place of an offset into the template."""
        before = self.text[:offset]
        return self.of_line(before.count("\n") + 1, offset - before.rfind("\n"))

    def of_line(self, line: int | None, column: int | None = None) -> str:
        """Name a line of the template."""
        if self.file is not None:
            parts = [part for part in (shown(self.file), line, column) if part is not None]
            return f"{self.where}: {':'.join(map(str, parts))}"
        return f"{self.where}: line {line}" + (f", column {column}" if column else "") if line else self.where


def qualified(table: Table, project: str, dataset: str | None) -> Table:
    """Fill in the defaults of a table's name, as BigQuery does with a job's default dataset.

    Args:
        table: The table.
        project: The job's project.
        dataset: The default dataset: ``dataset``, or ``project.dataset`` for tables that name neither.

    Raises:
        DefinitionError: There is no dataset; without a place.
    """
    if table.dataset is None and dataset is not None and "." in dataset:
        project, _, dataset = dataset.rpartition(".")
    return table.qualified(project, dataset)


def shown(file: Path | str) -> str:
    """Write a file's name as short as it can be."""
    if isinstance(file, Path) and file.is_absolute() and file.is_relative_to(Path.cwd()):
        return str(file.relative_to(Path.cwd()))
    return str(file)


@dataclass(frozen=True, slots=True)
class _Hole:
    """What a placeholder became in the rendered text."""

    start: int
    end: int
    span: Span
    fragment: Fragment


def query(prepared: Prepared, names: Mapping[str, Any], *, own: Mapping[str, Any], origin: Origin) -> Query:
    """Evaluate a template and bind its ``@name`` parameters.

    Args:
        prepared: The template.
        names: What its placeholders and ``@name`` may name.
        own: Those of ``names`` that must be used.
        origin: Where the template stands.

    Raises:
        DefinitionError: A placeholder's value cannot be written where it stands, or a parameter is unknown or unused.
        TemplateFault: An expression fails.
    """
    sql, masked, holes, origin = _join(prepared.pieces(names), origin)
    found = _tokens(masked, origin)
    for before, hole in zip([None, *holes], holes, strict=False):
        _check_inside(hole, found, origin)
        _check_glued(hole, sql, before, origin)
    if any(hole.fragment.is_raw for hole in holes):
        found = _check_raw(sql, found, holes, origin)
    parameters = _bind(sql, found, names, origin)
    for name in own.keys() - prepared.used - parameters.keys():
        used = sorted(prepared.used | parameters.keys())
        hint = did_you_mean(name, used) or "remove it"
        what = f"parameter {name!r} is used neither as {{{{ {name} }}}} nor as @{name}"
        raise DefinitionError(what, where=origin.of_line(None), hint=hint)
    tables = frozenset(table for hole in holes for table in hole.fragment.tables)
    return Query(sql=sql, parameters=parameters, tables=tables, origin=origin)


def _join(pieces: Iterable[Piece], origin: Origin) -> tuple[str, str, list[_Hole], Origin]:
    """Put the pieces together, twice: as they are, and with the placeholders masked."""
    text, masked, holes, starts = [""], [], [], []
    spans = []
    offset = 0
    for piece in pieces:
        starts.append(offset)
        spans.append((piece.span.start, piece.span.is_text))
        chunk = shown_chunk = piece.value
        if not piece.span.is_text:
            fragment = _written(piece, origin)
            chunk = fragment.text
            if text[-1].endswith("-") and chunk.startswith("-") and not fragment.is_raw:
                chunk = f" {chunk}"  # "-" and a negative number would make a comment of the rest of the line
            shown_chunk = _FILLER * len(chunk)
            holes.append(_Hole(offset, offset + len(chunk), piece.span, fragment))
        text.append(chunk)
        masked.append(shown_chunk)
        offset += len(chunk)
    return "".join(text), "".join(masked), holes, replace(origin, starts=tuple(starts), spans=tuple(spans))


def _written(piece: Piece, origin: Origin) -> Fragment:
    from pydag_gcp.placeholders import written

    try:
        return written(piece.value)
    except DefinitionError as error:
        what = f"{_source(piece.span, origin)}: {error.what}"
        raise DefinitionError(what, where=origin.of_template(piece.span.start), hint=error.hint) from error


def _source(span: Span, origin: Origin) -> str:
    return " ".join(origin.text[span.start : span.end].split())


def _tokens(sql: str, origin: Origin) -> list[Token]:
    try:
        return list(tokens(sql))
    except Unclosed as error:
        raise DefinitionError(str(error), where=origin.of_rendered(error.offset)) from None


def _check_inside(hole: _Hole, found: Sequence[Token], origin: Origin) -> None:
    index = bisect.bisect_right(found, hole.start, key=lambda token: token.start) - 1
    if index < 0 or hole.fragment.is_raw:
        return
    token = found[index]
    if token.kind in _INSIDE and token.start < hole.start < token.end:
        inside, hint = _INSIDE[token.kind]
        what = f"{_source(hole.span, origin)} stands inside {inside}"
        raise DefinitionError(what, where=origin.of_template(hole.span.start), hint=hint)


def _check_glued(hole: _Hole, sql: str, before: _Hole | None, origin: Origin) -> None:
    """Refuse ``stg_{{ year }}``: what would be one name, number or string must be one value."""
    if hole.fragment.is_raw or hole.start == hole.end:
        return
    marks = r"[\w@$`'\"]" if hole.fragment.is_name else r"[\w@$`'\".]"
    touching = re.match(marks, sql[hole.start - 1 : hole.start]) or re.match(marks, sql[hole.end : hole.end + 1])
    if touching or (before is not None and before.end == hole.start and not before.fragment.is_raw):
        raise DefinitionError(
            f"{_source(hole.span, origin)} touches what stands beside it",
            where=origin.of_template(hole.span.start),
            hint="make one value of it all (a Table, a name with | ident), put a space between, or use | raw",
        )


def _check_raw(sql: str, found: Sequence[Token], holes: Sequence[_Hole], origin: Origin) -> list[Token]:
    """Make sure that raw text opens and closes nothing around it; return the tokens of the whole."""

    def fenced(all_tokens: Iterable[Token]) -> list[Token]:
        return [token for token in all_tokens if token.kind in _INSIDE and not _is_in_a_hole(token, holes)]

    try:
        real = list(tokens(sql))
        end, same = len(sql), fenced(real) == fenced(found)
    except Unclosed as error:
        end, same = error.offset, False
    if same:
        return real
    raw = [hole for hole in holes if hole.fragment.is_raw]
    hole = next((hole for hole in reversed(raw) if hole.start <= end), raw[0])
    what = f"the text of {_source(hole.span, origin)} opens or closes a quote or a comment"
    hint = "pass it as a value, without | raw"
    raise DefinitionError(what, where=origin.of_template(hole.span.start), hint=hint)


def _is_in_a_hole(token: Token, holes: Sequence[_Hole]) -> bool:
    index = bisect.bisect_right(holes, token.start, key=lambda hole: hole.start) - 1
    return index >= 0 and token.end <= holes[index].end


def _bind(sql: str, found: Iterable[Token], names: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Find the value of each ``@name``; BigQuery does not heed its case."""
    known = {name.lower(): name for name in names}
    bound: dict[str, Any] = {}
    for token in found:
        if token.kind != "parameter":
            continue
        written = sql[token.start + 1 : token.end]
        name = known.get(written.lower())
        place = origin.of_rendered(token.start)
        if name is None:
            hint = did_you_mean_one_of(written, sorted(names))
            raise DefinitionError(f"unknown parameter @{written}", where=place, hint=hint)
        bound[name] = _bindable(name, names[name], place)
    return bound


def _bindable(name: str, value: Any, place: str) -> Any:
    """Take a value that a query parameter can have.

    https://cloud.google.com/bigquery/docs/parameterized-queries
    """
    if isinstance(value, Unresolved):
        return value
    if isinstance(value, Table):
        hint = f"write {{{{ {name} }}}}"
        raise DefinitionError(f"@{name} is a table, which no query parameter can be", where=place, hint=hint)
    if value is None or (isinstance(value, (list, tuple)) and all(part is None for part in value)):
        hint = f"write {{{{ {name} }}}}"
        raise DefinitionError(f"@{name} is {value!r}, whose type nobody knows", where=place, hint=hint)
    try:
        literal(value)  # what has no literal has no parameter
        if isinstance(value, (list, tuple)):
            one_type(value)
    except DefinitionError as error:
        raise DefinitionError(f"@{name}: {error.what}", where=place, hint=error.hint) from error
    if isinstance(value, (list, tuple)):
        return [part.uri if isinstance(part, GCSObject) else part for part in value]
    return value.uri if isinstance(value, GCSObject) else value
