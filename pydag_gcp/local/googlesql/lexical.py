r"""Literals of GoogleSQL: their values, read from the query's own text.

sqlglot unescapes string and bytes literals alike and so cannot tell ``b'\\xff'`` from ``b'ÿ'``; the text can.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#literals.
"""

from __future__ import annotations

import re

from sqlglot import exp

from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement

_SIMPLE = {
    "a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11,
    "\\": 92, "?": 63, '"': 34, "'": 39, "`": 96, "\n": 10,
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:([0-3][0-7]{2})|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.)|$)", re.DOTALL)
_OPENING = re.compile(r"(?P<prefix>[rRbB]{0,2})(?P<quote>'''|\"\"\"|'|\")", re.DOTALL)


def string_value(node: exp.Expr, statement: Statement) -> str:
    """Return the value of a string literal.

    Raises:
        InvalidQuery: An escape sequence that GoogleSQL does not know.
    """
    body, raw = _body(node, statement)
    if raw or "\\" not in body:
        return body
    return _ESCAPE.sub(_character, body)


def bytes_value(node: exp.Expr, statement: Statement) -> bytes:
    """Return the value of a bytes literal.

    Raises:
        InvalidQuery: An escape sequence that GoogleSQL does not know in bytes.
    """
    body, raw = _body(node, statement)
    if raw:
        return body.encode()
    parts, end = [], 0
    for match in _ESCAPE.finditer(body):
        if match[3] or match[4]:
            raise InvalidQuery(f"Illegal escape sequence: {match[0]} in bytes literal")
        parts += [body[end : match.start()].encode(), bytes([ord(_character(match))])]
        end = match.end()
    return b"".join([*parts, body[end:].encode()])


def _body(node: exp.Expr, statement: Statement) -> tuple[str, bool]:
    start, end = node.meta.get("start"), node.meta.get("end")
    if start is None or end is None:  # made by the parser, not written
        return str(node.this), True
    source = statement.text[start : end + 1]
    opening = _OPENING.match(source)
    if opening is None:
        return str(node.this), True
    quote = opening["quote"]
    body = source[opening.end() : len(source) - len(quote)].replace("\r\n", "\n")
    return body, "r" in opening["prefix"].lower()


def _character(match: re.Match[str]) -> str:
    octal, short, medium, long, simple = match.groups()
    if simple is not None and simple in _SIMPLE and simple != "\n":
        return chr(_SIMPLE[simple])
    digits = short or medium or long
    code = int(octal, 8) if octal else int(digits, 16) if digits else None
    if code is None or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise InvalidQuery(f"Syntax error: Illegal escape sequence: {match[0]}")
    return chr(code)
