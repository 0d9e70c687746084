"""What each statement of a SQL text is, reads and writes, by sqlglot.

Imports sqlglot, so it is itself imported only when there is SQL to analyse.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from pydag_gcp.analysis import Analysis, StatementInfo
from pydag_gcp.effects import TEMPORARY_FUNCTION, Effect, effect_of
from pydag_gcp.errors import DefinitionError, did_you_mean
from pydag_gcp.googlesql import Token, Unclosed, tokens
from pydag_gcp.references import path_of, references
from pydag_gcp.rendering import Query, qualified
from pydag_gcp.resources import GCSObject, Resource, Table

_Resources = frozenset[Resource] | None

# https://cloud.google.com/bigquery/docs/reference/standard-sql/procedural-language: what a statement of it begins with
_PROCEDURAL = frozenset(
    ("ASSERT", "BREAK", "CALL", "CASE", "CONTINUE", "ELSE", "ELSEIF", "END", "EXCEPTION", "EXECUTE", "FOR", "IF",
     "ITERATE", "LEAVE", "LOOP", "RAISE", "REPEAT", "RETURN", "UNTIL", "WHEN", "WHILE")
)  # fmt: skip

_STATEMENTS = frozenset(
    ("(", "ALTER", "BEGIN", "COMMIT", "CREATE", "DECLARE", "DELETE", "DROP", "EXPORT", "FROM", "GRANT", "INSERT",
     "LOAD", "MERGE", "REVOKE", "ROLLBACK", "SELECT", "SET", "TRUNCATE", "UNDROP", "UPDATE", "WITH")
)  # fmt: skip

#: Words that are often misspelt.
_KEYWORDS = _STATEMENTS | frozenset(
    ("BETWEEN", "CLUSTER", "DISTINCT", "EXISTS", "GROUP", "HAVING", "INTO", "JOIN", "LIMIT", "ORDER", "PARTITION",
     "QUALIFY", "REPLACE", "TABLE", "UNION", "USING", "VALUES", "WHERE", "WINDOW")
)  # fmt: skip

_OPAQUE = Analysis(
    statements=(StatementInfo(kind="SCRIPT", reads=None, writes=None),),
    reads=None,
    writes=None,
    single_atomic=False,
    deterministic=False,
)

#: Statements that are whole or not at all only as part of something, or not even then.
_NOT_ATOMIC = frozenset(
    ("BEGIN_TRANSACTION", "COMMIT_TRANSACTION", "DECLARE", "EXPORT_DATA", "LOAD_DATA", "ROLLBACK_TRANSACTION", "SET")
)

#: Who reads what these make reads what is behind it.
_LIKE_VIEWS = frozenset(("CREATE_EXTERNAL_TABLE", "CREATE_MATERIALIZED_VIEW", "CREATE_VIEW"))

_parsing: ContextVar[bool] = ContextVar("_parsing", default=False)


def _is_news(_: logging.LogRecord) -> bool:
    return not _parsing.get()


@cache
def _quiet() -> None:
    """Stop sqlglot's warnings on our behalf: what it does not know is opaque, no news to who runs a pipeline."""
    logging.getLogger("sqlglot").addFilter(_is_news)


def examine(query: Query, *, project: str, dataset: str | None) -> Analysis:
    """See :func:`pydag_gcp.analysis.analyse`."""
    try:
        found = list(tokens(query.sql))
    except Unclosed as error:
        raise DefinitionError(str(error), where=query.place(error.offset)) from None
    segments = list(_segments(query.sql, found))
    if not segments:
        raise DefinitionError("there is no SQL statement", where=query.place(0))
    if any(_is_procedural(query.sql, segment) for segment in segments):
        return _OPAQUE
    for segment in segments:
        _check_beginning(query, segment[0])
    script = _Script(query, project, dataset)
    trees = _parse(query, found)
    if any(tree.find(exp.Command) for tree in trees):
        return _OPAQUE
    infos = tuple(info for info in map(script.add, trees) if info is not None)
    if len(infos) != len(segments):
        return _OPAQUE
    effective = [info for info in infos if info.kind != TEMPORARY_FUNCTION]
    return Analysis(
        statements=infos,
        reads=_union([info.reads for info in infos]),
        writes=_union([info.writes for info in infos]),
        single_atomic=len(effective) == 1 and effective[0].kind not in _NOT_ATOMIC,
        deterministic=script.steady,
        replaces=frozenset().union(*(info.writes or () for info in infos if info.replaces)),
        views=_views(infos),
        shapes=_shapes(infos),
    )


def _shapes(infos: Sequence[StatementInfo]) -> frozenset[Resource]:
    filled: frozenset[Resource] = frozenset().union(*(info.writes or () for info in infos if not info.shapes))
    made: frozenset[Resource] = frozenset().union(*(info.writes or () for info in infos if info.shapes))
    datasets = frozenset(part for part in made - filled if isinstance(part, Table) and part.name == "*")
    tables = frozenset(part for part in made - datasets if not any(map(part.overlaps, filled)))
    return datasets | tables


def _views(infos: Sequence[StatementInfo]) -> dict[Table, frozenset[Resource]]:
    views: dict[Table, frozenset[Resource]] = {}
    for info in infos:
        if info.kind in _LIKE_VIEWS and info.reads is not None:
            for view in info.writes or ():
                if isinstance(view, Table):
                    views[view] = views.get(view, frozenset()) | info.reads
    return views


def _union(sets: Sequence[_Resources]) -> _Resources:
    known = [tables for tables in sets if tables is not None]
    return frozenset().union(*known) if len(known) == len(sets) else None


def _segments(sql: str, found: Sequence[Token]) -> Iterator[list[Token]]:
    """Split tokens at semicolons; comments and empty statements are left out."""
    segment: list[Token] = []
    for token in found:
        if token.kind == "mark" and sql[token.start] == ";":
            if segment:
                yield segment
            segment = []
        elif token.kind != "comment":
            segment.append(token)
    if segment:
        yield segment


def _is_procedural(sql: str, segment: Sequence[Token]) -> bool:
    first, second = ([sql[token.start : token.end].upper() for token in segment[:2]] + [""])[:2]
    if first == "BEGIN":
        return second not in {"", "TRANSACTION"}
    return first in _PROCEDURAL or (second == ":" and segment[0].kind == "word")


def _check_beginning(query: Query, first: Token) -> None:
    word = query.sql[first.start : first.end]
    if word.upper() not in _STATEMENTS:
        hint = did_you_mean(word.upper(), _STATEMENTS | _PROCEDURAL)
        raise DefinitionError(f"no SQL statement begins with {word!r}", where=query.place(first.start), hint=hint)


def _without_comments(sql: str, found: Sequence[Token]) -> str:
    """Blank the comments out, which sqlglot would nest where GoogleSQL does not."""
    parts, end = [], 0
    for token in found:
        if token.kind == "comment":
            parts += [sql[end : token.start], re.sub(r"[^\n]", " ", sql[token.start : token.end])]
            end = token.end
    return "".join([*parts, sql[end:]])


def _parse(query: Query, found: Sequence[Token]) -> list[exp.Expr]:
    text = _without_comments(query.sql, found)
    _quiet()
    outer = _parsing.set(True)
    try:
        return [tree for tree in sqlglot.parse(text, read="bigquery") if tree is not None]
    except ParseError as error:
        raise _syntax_error(error, text, query) from None
    except (SqlglotError, ValueError, TypeError, AttributeError, LookupError) as error:
        # sqlglot itself trips over some SQL that is wrong
        raise DefinitionError("SQL that cannot be parsed", where=query.place(0)) from error
    except RecursionError:
        raise DefinitionError("SQL nested too deep to be analysed", where=query.place(0)) from None
    finally:
        _parsing.reset(outer)


def _syntax_error(error: ParseError, text: str, query: Query) -> DefinitionError:
    if not error.errors:
        return DefinitionError(f"SQL syntax error: {error}".splitlines()[0], where=query.place(0))
    first = error.errors[0]
    highlight = first.get("highlight") or ""
    lines = text.split("\n")
    offset = sum(len(line) + 1 for line in lines[: (first.get("line") or 1) - 1])
    offset += max((first.get("col") or 1) - len(highlight), 0)
    description = first.get("description") or ""
    expected = f": expected {description.removeprefix('Expecting ')}" if description.startswith("Expecting ") else ""
    words = [*re.findall(r"\w+", text[:offset])[-1:], highlight]
    hint = next((hint for word in words if (hint := _misspelt(word.upper()))), None)
    return DefinitionError(f"SQL syntax error near {highlight!r}{expected}", where=query.place(offset), hint=hint)


def _misspelt(word: str) -> str | None:
    return did_you_mean(word, _KEYWORDS) if word.isalpha() and word not in _KEYWORDS else None


@dataclass
class _Script:
    """Statements so far, and the temporary names they have made."""

    query: Query
    project: str
    dataset: str | None
    steady: bool = True
    tables: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)

    def add(self, tree: exp.Expr) -> StatementInfo | None:
        """Analyse the next statement; None if it is opaque."""
        effect = effect_of(tree)
        if effect is None:
            return None
        found = references(
            tree,
            skip=effect.skip,
            temporary_tables=frozenset(self.tables),
            temporary_functions=frozenset(self.functions),
        )
        self.steady = self.steady and found.steady and not effect.unsteady
        known = found.known and not effect.reads_more
        reads = self._named(found.tables, effect.source_uris) if known else None
        self._remember(tree, effect)
        writes = None
        if effect.targets is not None:
            writes = self._named(self._lasting(effect.targets), effect.target_uris)
            writes = writes if effect.appends else _exclusive(writes)
        return StatementInfo(
            kind=effect.kind, reads=reads, writes=writes, replaces=effect.replaces, shapes=effect.shapes
        )

    def _remember(self, tree: exp.Expr, effect: Effect) -> None:
        if (isinstance(tree, exp.Create) and tree.find(exp.TemporaryProperty)) or tree.args.get("temp"):
            name = tree.find(exp.Table)
            if effect.kind == TEMPORARY_FUNCTION and name is not None:
                self.functions.add(name.name.upper())
            elif name is not None:
                self.tables.add(name.name.lower())

    def _lasting(self, targets: Sequence[exp.Table]) -> list[exp.Table]:
        return [t for t in targets if not (t.name.lower() in self.tables and not t.db) and t.db.upper() != "_SESSION"]

    def _named(self, tables: Sequence[exp.Table], uris: Sequence[str]) -> _Resources:
        try:
            return frozenset([*map(self._table, tables), *map(_object, uris)])
        except _Unnameable:
            return None

    def _table(self, node: exp.Table) -> Table:
        """Name a table; one of a parameter is that very parameter."""
        path = ".".join(path_of(node))
        if not node.db and self.dataset is None:
            hint = "write it as dataset.table, or give the task a default dataset"
            place = self.query.place(node.this.meta.get("start", 0))
            raise DefinitionError(f"table {path!r} has no dataset", where=place, hint=hint)
        try:
            table = qualified(Table(path if node.this else f"{path}.*"), self.project, self.dataset)
        except DefinitionError as error:
            raise _Unnameable from error
        return next((known for known in self.query.tables if known.table == table.table), table)


def _object(uri: str) -> GCSObject:
    try:
        return GCSObject(uri)
    except DefinitionError as error:
        raise _Unnameable from error


def _exclusive(resources: _Resources) -> _Resources:
    """Without leave for others to write at the same time."""
    if resources is None:
        return None
    return frozenset(Table(part.table) if isinstance(part, Table) and part.shared else part for part in resources)


class _Unnameable(Exception):
    """A table's name is none that we know how to write."""
