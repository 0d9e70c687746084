"""GoogleSQL text to statements, and the errors that name a place in it.

sqlglot parses, with its knowledge of functions switched off: a call keeps the name it was written with, so that
:mod:`pydag_gcp.local.googlesql.functions` alone decides what a name means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.bigquery import BigQuery
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.bigquery import BigQueryParser
from sqlglot.tokenizer_core import Token, TokenType


class InvalidQuery(Exception):
    """BigQuery would not run this; an ``errorResult`` of reason ``invalidQuery``, location ``query``.

    Args:
        message: What is wrong, in BigQuery's wording where we know it, without the place.
        line: Line in the query's text, from 1; None where no place is known.
        column: Column in that line, from 1.
    """

    reason = "invalidQuery"

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        self.message = message
        self.line = line
        self.column = column
        super().__init__(self.text)

    @property
    def text(self) -> str:
        """The whole sentence, with the place."""
        return f"{self.message} at [{self.line}:{self.column}]" if self.line else self.message

    def at(self, line: int, column: int) -> InvalidQuery:
        """Return the same error with a place, unless it has one."""
        return self if self.line else type(self)(self.message, line, column)


class Unsupported(InvalidQuery):
    """BigQuery would run this, the local cloud does not; ``message`` names what."""

    reason = "notImplemented"

    @property
    def text(self) -> str:
        """The whole sentence, with the place."""
        place = f" at [{self.line}:{self.column}]" if self.line else ""
        return f"not supported by the local cloud: {self.message}{place}; on a real project it would run"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a query.

    Attributes:
        kind: BigQuery's statementType: SELECT, INSERT, UPDATE, DELETE, MERGE, TRUNCATE_TABLE, CREATE_TABLE,
            CREATE_TABLE_AS_SELECT, CREATE_VIEW, DROP_TABLE, DROP_VIEW, ALTER_TABLE, CREATE_SCHEMA, DROP_SCHEMA,
            EXPORT_DATA.
        tree: What sqlglot parsed.
        text: The text of the query that it is part of; places count in it.
        line: The line in the query it starts at, from 1.
    """

    kind: str
    tree: exp.Expr
    text: str
    line: int = 1

    def place(self, node: exp.Expr) -> tuple[int, int]:
        """Return line and column of the first token of ``node`` that sqlglot kept the place of."""
        starts = [start for part in node.walk() if (start := part.meta.get("start")) is not None]
        above = node
        while not starts and above.parent is not None:
            above = above.parent
            starts = [start for part in above.walk() if (start := part.meta.get("start")) is not None]
        if not starts:
            return self.line, 1
        return position(self.text, min(starts))


def position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, from 1, of a character of ``text``."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


#: Marks a CAST that was written as one; sqlglot makes ARRAY<T>[...] and DATE '...' casts too.
EXPLICIT = "explicit"


class _Parser(BigQueryParser):
    """BigQuery's grammar as sqlglot knows it, with every call left as it was written."""

    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        "ARRAY": BigQueryParser.FUNCTION_PARSERS["ARRAY"],
        "EXTRACT": BigQueryParser.FUNCTION_PARSERS["EXTRACT"],
        "CAST": lambda self: self.parse_conversion(exp.Cast),
        "SAFE_CAST": lambda self: self.parse_conversion(exp.TryCast),
    }
    #: OPTIONS(format = ...) is an option like any other; sqlglot would make other dialects' clauses of some.
    PROPERTY_PARSERS: ClassVar[dict[str, Any]] = {
        name: parser
        for name, parser in BigQueryParser.PROPERTY_PARSERS.items()
        if name in ("OPTIONS", "PARTITION BY", "CLUSTER BY", "LIKE", "TEMP", "TEMPORARY", "EXTERNAL", "MATERIALIZED")
    }
    PRIMARY_PARSERS: ClassVar[dict[Any, Any]] = {
        **BigQueryParser.PRIMARY_PARSERS,
        TokenType.BYTE_STRING: lambda _, token: exp.ByteString(this=token.text).update_positions(token),
        TokenType.RAW_STRING: lambda _, token: exp.RawString(this=token.text).update_positions(token),
        TokenType.NULL: lambda _, token: exp.Null().update_positions(token),
    }
    PLACEHOLDER_PARSERS: ClassVar[dict[Any, Any]] = {
        **BigQueryParser.PLACEHOLDER_PARSERS,
        TokenType.PLACEHOLDER: lambda self: exp.Placeholder().update_positions(self.previous),
        TokenType.PARAMETER: lambda self: self.parse_named(),
    }

    @property
    def previous(self) -> Token:
        return self._prev

    def parse_named(self) -> exp.Expr:
        at = self._prev
        name = self._parse_parameter()
        return name.update_positions(at)

    def _warn_unsupported(self) -> None:
        """Say nothing: a statement that sqlglot does not know is refused by name."""

    def parse_conversion(self, kind: type[exp.Cast]) -> exp.Expr:
        value = self._parse_disjunction()
        if not self._match(TokenType.ALIAS):
            self.raise_error("Expected AS after CAST")
        to = self._parse_types()
        if to is None:
            self.raise_error("Expected a type after AS")
        pattern = self._parse_bitwise() if self._match(TokenType.FORMAT) else None
        node = self.expression(kind(this=value, to=to, format=pattern))
        node.meta[EXPLICIT] = True
        return node


class GoogleSql(BigQuery):
    """The dialect that :func:`parse` reads."""

    Parser = _Parser


#: Spellings that sqlglot would read although GoogleSQL has no such operator.
_NOT_GOOGLESQL = {
    TokenType.DCOLON: "::",
    TokenType.ILIKE: "ILIKE",
    TokenType.RLIKE: "RLIKE",
    TokenType.GLOB: "GLOB",
    TokenType.SIMILAR_TO: "SIMILAR TO",
    TokenType.DPIPE: "",  # allowed
    TokenType.FETCH: "FETCH",
    TokenType.ARROW: "->",
    TokenType.DARROW: "->>",
    TokenType.HASH_ARROW: "#>",
    TokenType.XOR: "XOR",
    TokenType.DIV: "DIV",
    TokenType.NULLSAFE_EQ: "<=>",
}
_SCRIPTING = {
    "DECLARE", "SET", "IF", "LOOP", "WHILE", "REPEAT", "FOR", "BEGIN", "CALL", "EXECUTE", "RAISE", "RETURN", "COMMIT",
    "ROLLBACK", "ASSERT", "LEAVE", "BREAK", "CONTINUE", "ITERATE", "CASE", "GRANT", "REVOKE", "EXPLAIN", "LOAD",
    "UNDROP", "DESCRIBE", "FROM",
}  # fmt: skip
_BEGINNINGS = {
    "SELECT", "WITH", "(", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "CREATE", "DROP", "ALTER", "EXPORT",
}  # fmt: skip
_KINDS: tuple[tuple[type[exp.Expr], str], ...] = (
    (exp.Query, "SELECT"),
    (exp.Insert, "INSERT"),
    (exp.Update, "UPDATE"),
    (exp.Delete, "DELETE"),
    (exp.Merge, "MERGE"),
    (exp.TruncateTable, "TRUNCATE_TABLE"),
    (exp.Export, "EXPORT_DATA"),
)


def parse(sql: str) -> tuple[Statement, ...]:
    """Split a query into its statements and parse them.

    Raises:
        InvalidQuery: ``Syntax error: ... at [line:column]``.
        Unsupported: Scripting and statements that the local cloud does not run.
    """
    dialect = GoogleSql()
    try:
        tokens = dialect.tokenize(sql)
    except TokenError as error:
        raise InvalidQuery(f"Syntax error: {error.__cause__ or error}", 1, 1) from None
    _refuse_foreign(sql, tokens)
    statements = []
    for part in _split(tokens):
        line, column = position(sql, part[0].start)
        _refuse_others(part, line, column)
        try:
            (tree,) = dialect.parser().parse(part, sql)
        except ParseError as error:
            raise _syntax_error(error, line, column) from None
        except RecursionError:
            raise InvalidQuery("Not enough stack space: the query is nested too deeply", line, column) from None
        if tree is None:
            raise InvalidQuery("Syntax error: Unexpected end of statement", line, column)
        statements.append(Statement(kind=_kind(tree, part, line, column), tree=tree, text=sql, line=line))
    if not statements:
        raise InvalidQuery("Syntax error: Unexpected end of script", *position(sql, len(sql)))
    return tuple(statements)


def _split(tokens: list[Token]) -> Iterator[list[Token]]:
    part: list[Token] = []
    for token in tokens:
        if token.token_type != TokenType.SEMICOLON:
            part.append(token)
        elif part:
            yield part
            part = []
    if part:
        yield part


def _refuse_foreign(sql: str, tokens: list[Token]) -> None:
    for token in tokens:
        foreign = _NOT_GOOGLESQL.get(token.token_type)
        if foreign:
            raise InvalidQuery(f'Syntax error: Unexpected "{token.text}"', *position(sql, token.start))
        if token.token_type == TokenType.PIPE_GT:
            raise Unsupported("pipe syntax |>", *position(sql, token.start))


def _refuse_others(part: list[Token], line: int, column: int) -> None:
    """Refuse what begins like none of our statements."""
    word = part[0].text.upper()
    if word.split(" ")[0] in _SCRIPTING:
        raise Unsupported(f"statement {word}", line, column)
    if word not in _BEGINNINGS:
        raise InvalidQuery(f'Syntax error: Unexpected "{part[0].text}"', line, column)


def _kind(tree: exp.Expr, part: list[Token], line: int, column: int) -> str:
    for node, kind in _KINDS:
        if isinstance(tree, node):
            return kind
    if isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW", "SCHEMA"):
        with_query = tree.kind == "TABLE" and tree.expression is not None
        return f"CREATE_{tree.kind}" + ("_AS_SELECT" if with_query else "")
    if isinstance(tree, exp.Drop) and tree.kind in ("TABLE", "VIEW", "SCHEMA"):
        return f"DROP_{tree.kind}"
    if isinstance(tree, exp.Alter) and tree.args.get("kind") == "TABLE":
        return "ALTER_TABLE"
    named = isinstance(tree, (exp.Create, exp.Drop, exp.Alter, exp.Command))
    words = [token.text.upper() for token in part[: 3 if named else 1]]
    if not named:
        raise InvalidQuery(f'Syntax error: Unexpected "{part[0].text}"', line, column)
    raise Unsupported(f"statement {' '.join(words)}", line, column)


def _syntax_error(error: ParseError, line: int, column: int) -> InvalidQuery:
    detail = error.errors[0] if error.errors else {}
    what = str(detail.get("description") or "unexpected end of statement").rstrip(".")
    near = str(detail.get("highlight") or "")
    message = f'Syntax error: {what}, near "{near}"' if near else f"Syntax error: {what}"
    found = detail.get("line"), detail.get("col")
    if found[0] is None or found[1] is None:
        return InvalidQuery(message, line, column)
    return InvalidQuery(message, found[0], max(1, found[1] - len(near) + 1))
