"""CSV files into a table: quickly by DuckDB's reader where it agrees with BigQuery, else row by row.

The quick way is tried first and either loads everything or fails; then the careful way finds out which rows are bad.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa

from pydag_gcp.local.bigquery.csv_rows import UNCLOSED, CsvFormat, CsvRow, csv_rows
from pydag_gcp.local.bigquery.load_sources import BadRows, Source
from pydag_gcp.local.bigquery.text_values import stored_value
from pydag_gcp.local.googlesql.types import Field, quoted

_BATCH = 20_000
_PIECE = 1 << 22


class CsvLoad:
    """Loads CSV files into one DuckDB table.

    Args:
        layout: How the files are written.
        storage: The DuckDB table.
        columns: The columns to fill: the files' fields, in order.
    """

    def __init__(self, layout: CsvFormat, storage: str, columns: Sequence[Field]) -> None:
        self._layout = layout
        self._columns = columns
        self._values = [self._value(column, number) for number, column in enumerate(columns)]
        names = ", ".join(quoted(column.name) for column in columns)
        self._insert = f"INSERT INTO {storage} ({names}) "

    def _value(self, column: Field, number: int) -> str:
        """Return the expression for a column's value; NULL where its text is not NULL but cannot be read."""
        text = f"c{number}"
        value = stored_value(column, text)
        markers = [marker for marker in self._layout.null_markers if marker]
        ambiguous = " OR ".join(f"{text} = {_literal(marker)}" for marker in markers) or "false"
        if column.type != "STRING":
            empty = f"{text} = ''" if "" in self._layout.null_markers else "false"
            return f"CASE WHEN {empty} OR {ambiguous} THEN NULL ELSE {value} END"
        broken = "false" if self._layout.quoted_newlines else f"regexp_matches({text}, '[\\r\\n]')"
        return f"CASE WHEN {ambiguous} OR {broken} THEN NULL ELSE {value} END"

    def _unreadable(self, number: int, value: str) -> str:
        """Return the condition under which a text is neither NULL nor readable, where ``value`` is what it gave."""
        text, column = f"c{number}", self._columns[number]
        nothing = f"{text} IS NULL"
        if column.type != "STRING" and "" in self._layout.null_markers:
            nothing += f" OR {text} = ''"  # "" in quotes is no text either, except for a STRING
        return f"({value}) IS NULL AND NOT ({nothing})"

    def quick(self, connection: duckdb.DuckDBPyConnection, path: Path) -> int:
        """Load one file by DuckDB's own reader; return its number of rows.

        Raises:
            duckdb.Error: It cannot be done this way, or not at all.
        """
        if self._layout.jagged or self._layout.ignore_unknown or self._layout.encoding != "utf-8":
            raise duckdb.InvalidInputException("these options are for the careful way")
        if not path.stat().st_size:
            return 0
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            self._check(connection, path, content)
        bad = [self._unreadable(number, f"v{number}") for number in range(len(self._columns))]
        checked = ", ".join(
            f"CASE WHEN {condition} THEN error('unreadable: ' || c{number}) ELSE v{number} END"
            for number, condition in enumerate(bad)
        )
        values = ", ".join(f"c{number}, {value} AS v{number}" for number, value in enumerate(self._values))
        sql = f"{self._insert} SELECT {checked} FROM (SELECT {values} FROM {self._reader(self._layout.skip or 0)})"
        row = connection.execute(sql, (str(path),)).fetchone()
        return int(row[0]) if row else 0

    def _reader(self, skip: int) -> str:
        """Return the call of DuckDB's reader; its parameter is the path."""
        names = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(self._columns)))
        markers = ", ".join(_literal(marker) for marker in self._layout.null_markers)
        quote = _literal(self._layout.quote.decode())
        return (
            f"read_csv(?, auto_detect = false, header = false, columns = {{{names}}}, skip = {skip},"
            f" delim = {_literal(self._layout.delimiter.decode())}, quote = {quote}, escape = {quote},"
            f" nullstr = [{markers}], allow_quoted_nulls = false, compression = 'none')"
        )

    def _check(self, connection: duckdb.DuckDBPyConnection, path: Path, content: mmap.mmap) -> None:
        """Refuse a file that DuckDB might split in another way than :mod:`csv_rows` does.

        DuckDB overlooks blanks between a quote and a delimiter or another quote, keeps NUL, reads a blank line as
        a row where there is only one column, overlooks one NULL too many at the end of a row, and skips another part
        of the file where the rows to be skipped have quotes, are blank, or end in different line breaks.
        """
        layout = self._layout
        if layout.skip and _odd_heading(content, layout):
            raise duckdb.InvalidInputException("DuckDB might skip other rows than BigQuery")
        signs = [b"\0"]
        if len(self._columns) == 1:
            signs += [b"\n\n", b"\r\r", b"\n\r"]
        first = content[:4].removeprefix(b"\xef\xbb\xbf")[:1]
        odd = first in (b" ", b"\t", b"\n", b"\r") or any(content.find(sign) >= 0 for sign in signs)
        if odd or self._has_blanks_beside_quotes(content):
            raise duckdb.InvalidInputException("DuckDB might split this file in another way than BigQuery")
        ends = [content.find(layout.delimiter + end) >= 0 for end in (b"\n", b"\r")]
        doubtful = any(ends) or content[-1:] == layout.delimiter or any(layout.null_markers)
        if doubtful and self._delimiters(connection, path) != _count(content, layout.delimiter):
            raise duckdb.InvalidInputException("a row has a field too many at its end")

    def _has_blanks_beside_quotes(self, content: mmap.mmap) -> bool:
        quote, delimiter = self._layout.quote, re.escape(self._layout.delimiter)
        around = [sign for blank in (b" ", b"\t") for sign in (blank + quote, quote + blank)]
        if not quote or all(content.find(sign) < 0 for sign in around):
            return False
        before = rb"(?:" + delimiter + rb"|[\r\n])[ \t]+" + quote
        after = quote + rb"[ \t]+(?:" + delimiter + rb"|[\r\n]|" + quote + rb"|\Z)"
        return re.search(before + rb"|" + after, content) is not None

    def _delimiters(self, connection: duckdb.DuckDBPyConnection, path: Path) -> int:
        """Count the delimiters of a file as DuckDB understands it: between fields, and inside them."""
        delimiter = _literal(self._layout.delimiter.decode())
        inside = " + ".join(
            f"coalesce(length(c{number}) - length(replace(c{number}, {delimiter}, '')), 0)"
            for number in range(len(self._columns))
        )
        between = len(self._columns) - 1
        sql = f"SELECT coalesce(sum({between} + {inside}), 0) FROM {self._reader(0)}"
        row = connection.execute(sql, (str(path),)).fetchone()
        return int(row[0]) if row else 0

    def careful(self, connection: duckdb.DuckDBPyConnection, source: Source, path: Path, bad: BadRows) -> int:
        """Load one file row by row; return its number of good rows.

        Raises:
            JobError: It has too many bad rows.
        """
        rows = islice(csv_rows(path, self._layout), self._layout.skip or 0, None)
        loaded = 0
        while batch := list(islice(rows, _BATCH)):
            loaded += self._batch(connection, source, batch, bad)
        return loaded

    def _batch(
        self, connection: duckdb.DuckDBPyConnection, source: Source, batch: Sequence[CsvRow], bad: BadRows
    ) -> int:
        wrong = {place: problem for place, row in enumerate(batch) if (problem := self._misshapen(row)) is not None}
        good = [place for place in range(len(batch)) if place not in wrong]
        width = len(self._columns)
        padded = ([*batch[place].values[:width], *[None] * (width - len(batch[place].values))] for place in good)
        texts = list(zip(*padded, strict=True)) or [()] * width
        arrays = {f"c{number}": pa.array(column, pa.string()) for number, column in enumerate(texts)}
        connection.register("batch", pa.table({"place": pa.array(good, pa.int64()), **arrays}))
        for number, column in enumerate(self._columns):
            wrong.update(self._unfit(connection, batch, number, column, wrong))
        for place, problem in sorted(wrong.items()):
            bad.rows = batch[place].number - (self._layout.skip or 0)
            row = batch[place]
            bad.add(source, problem, row=row.text or _text(row, self._layout), number=row.number)
        excluded = f" WHERE place NOT IN ({', '.join(map(str, wrong))})" if wrong else ""
        sql = f"{self._insert} SELECT {', '.join(self._values)} FROM batch{excluded} ORDER BY place"
        inserted = connection.execute(sql).fetchone()
        connection.unregister("batch")
        return int(inserted[0]) if inserted else 0

    def _misshapen(self, row: CsvRow) -> str | None:
        found, expected = len(row.values), len(self._columns)
        if row.error is not None:
            return row.error
        if found > expected and not self._layout.ignore_unknown:
            return (
                f"Too many values in row starting at position: {row.start}. Found {found} column(s) while expected "
                f"{expected}."
            )
        if found < expected and not self._layout.jagged:
            return (
                f"CSV table references column position {found}, but line starting at position:{row.start} contains "
                f"only {found} columns."
            )
        return None

    def _unfit(
        self,
        connection: duckdb.DuckDBPyConnection,
        batch: Sequence[CsvRow],
        number: int,
        column: Field,
        known: dict[int, str],
    ) -> Iterator[tuple[int, str]]:
        """Yield the rows whose value of one column cannot be stored, and why."""
        unreadable = (
            f"SELECT place, c{number} FROM batch WHERE {self._unreadable(number, self._values[number])} ORDER BY place"
        )
        for place, text in connection.execute(unreadable).fetchall():
            if place not in known:
                yield place, self._reason(column, number, text, batch[place].start)
        if column.mode == "REQUIRED":
            missing = f"SELECT place FROM batch WHERE ({self._values[number]}) IS NULL ORDER BY place"
            for (place,) in connection.execute(missing).fetchall():
                if place not in known:
                    start = f"in row starting at position: {batch[place].start}"
                    yield place, f"Required column value for column index: {number} is missing {start}"
        yield from self._too_long(connection, batch, number, column)

    def _too_long(
        self, connection: duckdb.DuckDBPyConnection, batch: Sequence[CsvRow], number: int, column: Field
    ) -> Iterator[tuple[int, str]]:
        if column.max_length is None:
            return
        size = "octet_length" if column.type == "BYTES" else "length"
        sql = f"SELECT place FROM batch WHERE {size}({self._values[number]}) > {column.max_length} ORDER BY place"
        for (place,) in connection.execute(sql).fetchall():
            yield (
                place,
                (
                    f"Value has length greater than the maximum {column.max_length} of field {column.name} (position "
                    f"{number}) starting at location {batch[place].start}"
                ),
            )

    def _reason(self, column: Field, number: int, text: str, start: int) -> str:
        field = f"field {column.name} (position {number}) starting at location {start}"
        if column.type == "STRING" and text in self._layout.null_markers:
            return f"not implemented by the local cloud: the null marker {text!r} in quotes, for {field}"
        if column.type == "STRING":
            return f"Error detected while parsing row starting at position: {start}. Error: {UNCLOSED}"
        return f"Could not parse '{text}' as {column.type} for {field} with message 'Unable to parse'"


def _text(row: CsvRow, layout: CsvFormat) -> str:
    return layout.delimiter.decode().join(value or "" for value in row.values)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _odd_heading(content: mmap.mmap, layout: CsvFormat) -> bool:
    """Tell whether the rows to be skipped, and the first one after them, are not plain lines."""
    line_break = rb"(\r\n|\n|\r|\Z)"
    lines = re.match(rb"(?:[^\r\n]*" + line_break + rb"){%d}" % ((layout.skip or 0) + 1), content)
    if lines is None:
        return True
    pieces = re.split(line_break[:-4] + rb")", lines[0])
    texts, breaks = pieces[: 2 * (layout.skip or 0) : 2], set(pieces[1::2])
    return len(breaks) > 1 or b"" in texts or any(layout.quote and layout.quote in text for text in texts)


def _count(content: mmap.mmap, byte: bytes) -> int:
    return sum(content[start : start + _PIECE].count(byte) for start in range(0, len(content), _PIECE))
