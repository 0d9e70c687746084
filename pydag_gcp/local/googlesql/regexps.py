"""Regular expressions: both sides speak RE2, but not of groups and empty matches in the same way.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/string_functions#regexp_extract.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from pydag_gcp.local.googlesql.coercion import coerce, coerces
from pydag_gcp.local.googlesql.operators import arity, mismatch, stable
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import NOT_HERE, Typed, let, text
from pydag_gcp.local.googlesql.types import BOOL, STRING, array


def regexp_contains(values: list[Typed]) -> Typed:
    """REGEXP_CONTAINS(value, regexp)."""
    arity("REGEXP_CONTAINS", values, 2, 2)
    value, pattern = _regexp("REGEXP_CONTAINS", values)
    return Typed(f"regexp_matches({value.sql}, {pattern.sql})", BOOL, stable=stable(value, pattern))


def regexp_extract(values: list[Typed]) -> Typed:
    """REGEXP_EXTRACT(value, regexp): the group, if there is one, of the first match."""
    if len(values) > 2:
        raise Unsupported("REGEXP_EXTRACT with a position")
    value, pattern = _regexp("REGEXP_EXTRACT", values)
    group = _groups("REGEXP_EXTRACT", pattern)

    def body(v: str, p: str) -> str:
        if not group:
            return f"CASE WHEN regexp_matches({v}, {p}) THEN regexp_extract({v}, {p}) END"
        # a group that took no part is NULL, one that matched nothing is ''; only extract_all tells them apart
        return f"regexp_extract_all({v}, {p}, 1)[1]"

    return Typed(let([value, pattern], body), STRING, stable=stable(value, pattern))


def regexp_extract_all(values: list[Typed]) -> Typed:
    """REGEXP_EXTRACT_ALL(value, regexp)."""
    arity("REGEXP_EXTRACT_ALL", values, 2, 2)
    value, pattern = _regexp("REGEXP_EXTRACT_ALL", values)
    group = _groups("REGEXP_EXTRACT_ALL", pattern)
    if re.search(r"\\[bB]", _constant("REGEXP_EXTRACT_ALL", pattern)):
        raise Unsupported("REGEXP_EXTRACT_ALL with a word boundary")

    def body(v: str, p: str) -> str:
        # DuckDB goes on differently after an empty match, and says NULL where BigQuery says ''
        found = f"regexp_extract_all({v}, {p}, {group})"
        odd = f"regexp_full_match('', {p}) OR list_aggregate({found}, 'count') < len({found})"
        refusal = f"{NOT_HERE}REGEXP_EXTRACT_ALL with empty matches; on a real project it would run"
        return f"CASE WHEN {odd} THEN error({text(refusal)}) ELSE {found} END"

    return Typed(let([value, pattern], body), array(STRING), stable=stable(value, pattern))


def regexp_replace(values: list[Typed]) -> Typed:
    """REGEXP_REPLACE(value, regexp, replacement): every match."""
    arity("REGEXP_REPLACE", values, 3, 3)
    value, pattern = _regexp("REGEXP_REPLACE", values[:2])
    groups = _count_groups(_constant("REGEXP_REPLACE", pattern))
    replacement = values[2].constant
    if not isinstance(replacement, str):
        raise Unsupported("REGEXP_REPLACE with a replacement that is not written as a literal")
    for escape in re.findall(r"\\(.?)", replacement.replace("\\\\", "")):
        if not escape.isdigit() or int(escape) > groups:
            raise InvalidQuery(f"Invalid REGEXP_REPLACE pattern: \\{escape}")
    sql = f"regexp_replace({value.sql}, {pattern.sql}, {text(replacement)}, 'g')"
    return Typed(sql, STRING, stable=stable(value, pattern))


def _regexp(name: str, values: Sequence[Typed]) -> tuple[Typed, Typed]:
    arity(name, values, 2, 2)
    if not all(coerces(value, STRING) for value in values):
        if any(value.type.name == "BYTES" for value in values):
            raise Unsupported(f"{name} on BYTES")
        raise mismatch(name, *values)
    return coerce(values[0], STRING), coerce(values[1], STRING)


def _constant(name: str, pattern: Typed) -> str:
    if not isinstance(pattern.constant, str):
        raise Unsupported(f"{name} with a regular expression that is not written as a literal")
    return pattern.constant


def _groups(name: str, pattern: Typed) -> int:
    groups = _count_groups(_constant(name, pattern))
    if groups > 1:
        raise InvalidQuery(
            "Regular expressions passed into extraction functions must not have more than 1 capturing group"
        )
    return groups


def _count_groups(pattern: str) -> int:
    """Count capturing groups as RE2 does."""
    plain = re.sub(r"\\Q.*?(\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]", "", pattern, flags=re.DOTALL)
    return len(re.findall(r"\((?!\?)|\(\?P?<(?![=!])", plain))


FUNCTIONS: Mapping[str, Callable[[list[Typed]], Typed]] = {
    "REGEXP_CONTAINS": regexp_contains,
    "REGEXP_EXTRACT": regexp_extract,
    "REGEXP_SUBSTR": regexp_extract,
    "REGEXP_EXTRACT_ALL": regexp_extract_all,
    "REGEXP_REPLACE": regexp_replace,
}
