"""CSV files, row by row, exactly as BigQuery splits them; it knows where each row begins and what is wrong with it.

Slower than DuckDB's reader, and the judge of it: this is what reads a file that DuckDB's reader would take otherwise,
or refuses, or that has bad rows to be counted.

Reference: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-csv#csv-options.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydag_gcp.local.bigquery.job import JobError

#: What BigQuery says of a quoted field that does not end.
UNCLOSED = 'Missing close double quote (") character.'
_BOM = b"\xef\xbb\xbf"
_ENCODINGS = {"UTF-8": "utf-8", "ISO-8859-1": "latin-1"}


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """How a CSV file is written.

    Attributes:
        delimiter: One byte between fields.
        quote: One byte around fields that need it; empty: nothing is quoted.
        encoding: Python's name of the encoding.
        skip: How many rows at the top are no data; None: not said.
        quoted_newlines: Whether a quoted field may hold line breaks.
        jagged: Whether columns may be missing at the end of a row.
        ignore_unknown: Whether there may be more fields than columns.
        null_markers: The texts that mean NULL.
    """

    delimiter: bytes = b","
    quote: bytes = b'"'
    encoding: str = "utf-8"
    skip: int | None = None
    quoted_newlines: bool = False
    jagged: bool = False
    ignore_unknown: bool = False
    null_markers: tuple[str, ...] = ("",)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> CsvFormat:
        """Read it out of a load job's configuration.

        Raises:
            JobError: It is nothing that BigQuery reads, or that the local cloud does.
        """
        encoding = str(options.get("encoding") or "UTF-8").upper()
        if encoding not in _ENCODINGS:
            raise JobError("notImplemented", f"The local cloud does not implement encoding {encoding} of CSV files")
        if options.get("nullMarkers") and options.get("nullMarker"):
            raise JobError("invalid", "Only one of nullMarker and nullMarkers can be set")
        markers = options.get("nullMarkers") or [options.get("nullMarker") or ""]
        return cls(
            delimiter=_byte("fieldDelimiter", options.get("fieldDelimiter") or ",", tab=True),
            quote=_byte("quote", options["quote"]) if options.get("quote") not in (None, "") else _quote(options),
            encoding=_ENCODINGS[encoding],
            skip=None if options.get("skipLeadingRows") is None else int(options["skipLeadingRows"]),
            quoted_newlines=bool(options.get("allowQuotedNewlines")),
            jagged=bool(options.get("allowJaggedRows")),
            ignore_unknown=bool(options.get("ignoreUnknownValues")),
            null_markers=tuple(markers),
        )


def _quote(options: Mapping[str, Any]) -> bytes:
    return b"" if options.get("quote") == "" else b'"'


def _byte(name: str, text: str, *, tab: bool = False) -> bytes:
    if tab and text.lower() in ("\\t", "tab"):
        return b"\t"
    if len(text) != 1 or not text.isascii() or text in "\r\n":
        raise JobError(
            "notImplemented", f"The local cloud does not implement {name} {text!r}: only one ASCII character"
        )
    return text.encode()


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row.

    Attributes:
        start: The byte it begins at.
        number: Which row of the file it is, from 1.
        values: Its fields; None: NULL.
        error: What is wrong with it; then ``values`` is empty.
        text: Its text, of a row that has an error.
    """

    start: int
    number: int
    values: list[str | None]
    error: str | None = None
    text: str = ""


def csv_rows(path: Path, layout: CsvFormat) -> Iterator[CsvRow]:
    """Yield the rows of a file, those to be skipped too; blank lines are no rows.

    Args:
        path: The file, not compressed.
        layout: How it is written.
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield from _Reader(content, layout).rows()


class _Reader:
    """Splits one file."""

    def __init__(self, content: mmap.mmap, layout: CsvFormat) -> None:
        self._content = content
        self._layout = layout
        self._markers = {marker.encode(layout.encoding, "replace") for marker in layout.null_markers}
        self._empty_is_null = b"" in self._markers
        delimiter, quote = re.escape(layout.delimiter), re.escape(layout.quote)
        end = rb"(" + delimiter + rb"|\r\n|\n|\r|\Z)"
        bare = rb"([^" + delimiter + rb"\r\n]*)"
        if layout.quote:
            inner = rb"[^" + quote + (rb"]" if layout.quoted_newlines else rb"\r\n]")
            quoted = quote + rb"(" + inner + rb"*(?:" + quote * 2 + inner + rb"*)*)" + quote
            bare = rb"((?!" + quote + rb")[^" + delimiter + rb"\r\n]*)"
            self._field = re.compile(rb"(?:" + quoted + rb"|" + bare + rb")" + end)
        else:
            self._field = re.compile(rb"(\Zx)?" + bare + end)  # group 1 never takes part

    def rows(self) -> Iterator[CsvRow]:
        position = len(_BOM) if self._content[:3] == _BOM else 0
        size, number = len(self._content), 0
        while position < size:
            start = position
            fields, position, broken = self._row(position)
            if broken is None and fields == [(b"", False)]:
                continue
            number += 1
            error = broken or self._bad_character(fields)
            if error is not None:
                text = self._decode(self._content[start : min(position, start + 1000)]).rstrip("\r\n")
                yield CsvRow(start, number, [], f"Error detected while parsing row starting at position: {start}. "
                             f"Error: {error}", text)  # fmt: skip
            else:
                yield CsvRow(start, number, [self._value(raw, quoted) for raw, quoted in fields])

    def _row(self, position: int) -> tuple[list[tuple[bytes, bool]], int, str | None]:
        """Return the fields of the row at a position, each with whether it is quoted, and where the next row begins."""
        fields: list[tuple[bytes, bool]] = []
        while True:
            match = self._field.match(self._content, position)
            if match is None:
                return fields, self._line_end(position), self._why(position)
            quoted = match[1] is not None
            fields.append((match[1] if quoted else match[2], quoted))
            position = match.end()
            if match[3] != self._layout.delimiter:
                return fields, position, None

    def _line_end(self, position: int) -> int:
        match = re.compile(rb"\r\n|\n|\r|\Z").search(self._content, position)
        return match.end() if match else len(self._content)

    def _why(self, position: int) -> str:
        """Say why the quoted field at a position is none."""
        quote = re.escape(self._layout.quote)
        inner = rb"[^" + quote + (rb"]*" if self._layout.quoted_newlines else rb"\r\n]*")
        closed = re.compile(quote + inner + rb"(?:" + quote * 2 + inner + rb")*" + quote)
        if closed.match(self._content, position):
            return 'Data between close double quote (") and field separator.'
        return UNCLOSED

    def _bad_character(self, fields: list[tuple[bytes, bool]]) -> str | None:
        return "Bad character (ASCII 0) encountered." if any(b"\0" in raw for raw, _ in fields) else None

    def _value(self, raw: bytes, quoted: bool) -> str | None:  # noqa: FBT001
        if quoted:
            return self._decode(raw.replace(self._layout.quote * 2, self._layout.quote))
        return None if raw in self._markers else self._decode(raw)

    def _decode(self, raw: bytes) -> str:
        # BigQuery puts U+FFFD where bytes are no UTF-8.
        return raw.decode(self._layout.encoding, "replace")
