"""Format elements of FORMAT_DATE, PARSE_DATE and their kin.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/format-elements#format_elements_date_time.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from pydag_gcp.local.googlesql.operators import within_years
from pydag_gcp.local.googlesql.syntax import Unsupported
from pydag_gcp.local.googlesql.typed import NOT_HERE, Typed, let, text
from pydag_gcp.local.googlesql.types import DATE, DATETIME, TIME, TIMESTAMP, Type

_ELEMENT = re.compile(r"%(E\dS|E\*S|E4Y|Ez|.|$)|([^%]+)", re.DOTALL)
_SHORTHAND = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "D": "%m/%d/%y", "x": "%m/%d/%y", "R": "%H:%M", "X": "%H:%M:%S"}
_DAY = {
    "Y": "CAST(year($1) AS VARCHAR)",
    "E4Y": "strftime($1, '%Y')",
    "m": "strftime($1, '%m')",
    "d": "strftime($1, '%d')",
    "e": "lpad(CAST(day($1) AS VARCHAR), 2, ' ')",
    "y": "strftime($1, '%y')",
    "j": "strftime($1, '%j')",
    "a": "strftime($1, '%a')",
    "A": "strftime($1, '%A')",
    "b": "strftime($1, '%b')",
    "h": "strftime($1, '%b')",
    "B": "strftime($1, '%B')",
    "u": "CAST(isodow($1) AS VARCHAR)",
    "w": "CAST(dayofweek($1) AS VARCHAR)",
    "Q": "CAST(quarter($1) AS VARCHAR)",
    "G": "CAST(isoyear($1) AS VARCHAR)",
    "V": "lpad(CAST(weekofyear($1) AS VARCHAR), 2, '0')",
    "U": "lpad(CAST((dayofyear($1) + 6 - dayofweek($1)) // 7 AS VARCHAR), 2, '0')",
    "W": "lpad(CAST((dayofyear($1) + 6 - (dayofweek($1) + 6) % 7) // 7 AS VARCHAR), 2, '0')",
}
_CLOCK = {
    "H": "strftime($1, '%H')",
    "I": "strftime($1, '%I')",
    "M": "strftime($1, '%M')",
    "S": "strftime($1, '%S')",
    "p": "strftime($1, '%p')",
    **{f"E{n}S": f"left(strftime($1, '%S.%f'), {n + 3})" for n in range(1, 7)},
    "E0S": "strftime($1, '%S')",
    "E*S": r"(strftime($1, '%S') || regexp_replace(strftime($1, '.%f'), '\.?0+$', ''))",
}
_ZONE = {"z": "'+0000'", "Z": "'UTC'", "Ez": "'+00:00'", "s": "CAST(epoch_us($1) // 1000000 AS VARCHAR)"}
_LEAP = text(f"{NOT_HERE}leap seconds; on a real project it would run")
_PLAIN = {"n": "\n", "t": "\t", "%": "%"}

_NAMES = "janfebmaraprmayjunjulaugsepoctnovdec"
_LONG_NAMES = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
    "|jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec"
)
_SPACES = r"[\s\v]*"
#: What a parsed element looks like (a number: how many digits at most), and the field of the moment that it sets.
_READ: Mapping[str, tuple[str | int, str]] = {
    "Y": (4, "year"),
    "E4Y": (r"\d{4}", "year"),
    "y": (2, "short year"),
    "m": (2, "month"),
    "d": (2, "day"),
    "e": (2, "day"),
    "H": (2, "hour"),
    "I": (2, "half hour"),
    "l": (2, "half hour"),
    "p": (r"(?i:[ap]m)", "half"),
    "M": (2, "minute"),
    "S": (2, "second"),
    **{f"E{n}S": (rf"\d{{1,2}}(?:\.\d{{1,{n}}})?", "second") for n in range(1, 7)},
    "E*S": (r"\d{1,2}(?:\.\d{1,6})?", "second"),
    **dict.fromkeys(("b", "h", "B"), (f"(?i:{_LONG_NAMES})", "name")),
    "z": (r"[+-]\d{2}(?:\d{2})?", "zone"),
    "Ez": (r"[+-]\d{2}(?::\d{2})?", "zone"),
}
_DAY_FIELDS = ("year", "short year", "month", "day", "name")
_CLOCK_FIELDS = ("hour", "half hour", "half", "minute", "second")
#: Fields that set the same part of a moment.
_RIVALS = {
    "year": ("year", "short year"),
    "short year": ("year", "short year"),
    "month": ("month", "name"),
    "name": ("month", "name"),
    "hour": ("hour", "half hour", "half"),
    "half hour": ("hour", "half hour"),
    "half": ("hour", "half"),
}


def elements(pattern: str) -> list[tuple[str, str]]:
    """Split a format into (element, "") and ("", plain text)."""
    found: list[tuple[str, str]] = []
    if "\0" in pattern:
        raise Unsupported("a format with a NUL character")
    for element, plain in _ELEMENT.findall(pattern):
        if element in _SHORTHAND:
            found += elements(_SHORTHAND[element])
        elif not element and not plain:
            raise Unsupported("a format that ends in %")
        elif element in _PLAIN:
            found.append(("", _PLAIN[element]))
        else:
            found.append((element, plain))
    return found


def formatted(pattern: str, moment: str, kind: Type) -> str:
    """Return the SQL that prints ``moment``, a DATE, TIME or zoneless TIMESTAMP of DuckDB.

    Raises:
        Unsupported: A format element that we do not print.
    """
    known: dict[str, str] = {}
    known |= _DAY if kind != TIME else {}
    known |= _CLOCK if kind != DATE else {}
    known |= _ZONE if kind == TIMESTAMP else {}
    if kind == TIME:  # DuckDB's strftime wants a date
        moment = f"('1970-01-01'::DATE + {moment})"
    parts = []
    for element, plain in elements(pattern):
        if plain:
            parts.append(text(plain))
        elif element in known:
            parts.append(known[element].replace("$1", moment))
        else:
            raise Unsupported(f"format element %{element} of a {kind}")
    printed = " || ".join(parts) or "''"
    return f"CASE WHEN {moment} IS NOT NULL THEN {printed} END"


def parsed(pattern: str, value: Typed, kind: Type, *, safe: bool) -> Typed:
    """Return the SQL that reads a moment from a string.

    Raises:
        Unsupported: A format element that we do not read.
    """
    regex, groups = _reader(pattern, kind)
    if safe and "zone" in groups:
        raise Unsupported(f"SAFE.PARSE_{kind} with a time zone")
    complaint = "NULL" if safe else "error('Failed to parse input string \"' || $1 || '\"')"

    def body(s: str) -> str:
        parts = _Parts(s, regex, groups)
        complain = complaint.replace("$1", s)
        built = f"TRY(make_timestamp({', '.join(parts.arguments())}))"
        leap = f"WHEN {parts.leaps()} THEN error({_LEAP}) " if "second" in groups else ""
        made = f"CASE {leap}WHEN {parts.sane()} THEN coalesce({built}, {complain}) ELSE {complain} END{parts.offset()}"
        good = f"regexp_full_match({s}, {text(regex)})"
        return f"CASE WHEN {s} IS NULL THEN NULL WHEN {good} THEN CAST({made} AS {_through(kind)}) ELSE {complain} END"

    sql = let([value], body)
    if kind != TIMESTAMP:
        return Typed(sql, kind, stable=value.stable)
    moment = Typed(f"CAST({sql} AS TIMESTAMPTZ)", kind, stable=value.stable)
    return within_years(moment) if "zone" in groups else moment


class _Parts:
    """The fields of a moment, cut out of a string by a regular expression.

    Args:
        source: The string, as SQL.
        regex: Matches the whole string.
        groups: Which group of it holds which field.
    """

    def __init__(self, source: str, regex: str, groups: dict[str, int]) -> None:
        self._source = source
        self._regex = text(regex)
        self._groups = groups

    def _text(self, name: str) -> str:
        return f"regexp_extract({self._source}, {self._regex}, {self._groups[name]})"

    def _number(self, name: str, default: str) -> str:
        if name not in self._groups:
            return default
        return f"CAST(trim({self._text(name)}) AS {'DOUBLE' if name == 'second' else 'BIGINT'})"

    def arguments(self) -> tuple[str, ...]:
        """Return year, month, day, hour, minute and second."""
        year, month, hour = self._number("year", "1970"), self._number("month", "1"), self._number("hour", "0")
        if "short year" in self._groups:
            short = self._number("short year", "")
            year = f"({short} + CASE WHEN {short} < 69 THEN 2000 ELSE 1900 END)"
        if "name" in self._groups:
            month = f"((strpos('{_NAMES}', lower(left({self._text('name')}, 3))) + 2) // 3)"
        if "half hour" in self._groups:
            hour = f"({self._number('half hour', '')} % 12)"
            if "half" in self._groups:
                hour = f"({hour} + CASE WHEN lower({self._text('half')}) = 'pm' THEN 12 ELSE 0 END)"
        second = f"CAST({self._number('second', '0')} AS DOUBLE)"
        return year, month, self._number("day", "1"), hour, self._number("minute", "0"), second

    def offset(self) -> str:
        """Return what to add for the time zone."""
        if "zone" not in self._groups:
            return ""
        digits = f"replace({self._text('zone')}, ':', '')"
        minutes = f"(CAST({digits}[2:3] AS INTEGER) * 60 + CAST(coalesce(nullif({digits}[4:5], ''), '0') AS INTEGER))"
        return f" - to_minutes(CASE WHEN {digits}[1] = '-' THEN -{minutes} ELSE {minutes} END)"

    def leaps(self) -> str:
        """Return the test for a leap second, which we do not carry over."""
        return f"{self._number('second', '0')} >= 60 AND {self._number('second', '0')} < 61"

    def sane(self) -> str:
        """Return the test of what DuckDB would accept and BigQuery does not."""
        tests = [f"{self._number('year', '1')} BETWEEN 1 AND 9999", f"{self._number('second', '0')} < 60"]
        tests.append(f"{self._number('half hour', '1')} BETWEEN 1 AND 12")
        if "zone" in self._groups:
            tests.append(rf"regexp_full_match({self._text('zone')}, '[+-](0\d|1[0-3])(:?[0-5]\d)?|[+-]14(:?00)?')")
        return " AND ".join(tests)


def _through(kind: Type) -> str:
    return "TIMESTAMP" if kind == TIMESTAMP else kind.duckdb


def _reader(pattern: str, kind: Type) -> tuple[str, dict[str, int]]:
    """Return the regular expression of a format, and which group holds which field."""
    groups: dict[str, int] = {}
    parts = [_SPACES]
    pieces = elements(pattern)
    for (element, plain), following in itertools.pairwise([*pieces, ("", "")]):
        if plain:
            parts += [_SPACES if word.isspace() else re.escape(word) for word in re.split(r"(\s+)", plain) if word]
            continue
        shape, field = _READ.get(element, ("", ""))
        wrong = {DATE: (*_CLOCK_FIELDS, "zone"), TIME: (*_DAY_FIELDS, "zone"), DATETIME: ("zone",)}.get(kind, ())
        if not field or field in wrong:
            raise Unsupported(f"format element %{element} in PARSE_{kind}")
        if any(other in groups for other in _RIVALS.get(field, (field,))):
            raise Unsupported(f"a format that sets the {field} twice")
        if following[1][:1].isalnum() and field in ("name", "year"):
            raise Unsupported(f"a format with a letter or digit right after %{element}")
        groups[field] = len(groups) + 1
        parts.append(f"{_SPACES}({_digits(shape, following) if isinstance(shape, int) else shape})")
    parts.append(_SPACES)
    return "".join(parts), groups


def _digits(most: int, following: tuple[str, str]) -> str:
    """Return what matches a number: as many digits as there are, so that a number right after it gets the rest."""
    element, plain = following
    if isinstance(_READ.get(element, ("",))[0], int) or "S" in element or plain[:1].isdigit():
        return rf"\d{{{most}}}|\d{{1,{most - 1}}}\b"
    return rf"\d{{1,{most}}}"
