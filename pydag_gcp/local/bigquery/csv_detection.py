"""Schema detection for CSV files.

Reference: https://cloud.google.com/bigquery/docs/schema-detect#csv.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pydag_gcp.local.bigquery.csv_rows import CsvFormat, csv_rows
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.googlesql.types import Field

#: How many rows are looked at, as many as BigQuery looks at.
_SAMPLE = 500
_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"([01]?\d|2[0-3]):\d{2}(:\d{2}(\.\d{1,6})?)?"
#: Type -> what its texts look like; the first that all texts of a column look like is its type.
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("BOOL", re.compile(r"(?i)true|false")),
    ("INT64", re.compile(r"[+-]?\d{1,18}")),
    ("FLOAT64", re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")),
    ("DATE", re.compile(_DATE)),
    ("TIME", re.compile(r"([01]?\d|2[0-3]):\d{2}:\d{2}(\.\d{1,6})?")),
    ("TIMESTAMP", re.compile(rf"\d{{4}}[-/]\d{{2}}[-/]\d{{2}}[ T]{_TIME}( ?(Z|UTC|[+-]\d{{1,2}}(:\d{{2}})?))?")),
)
#: What a column without a heading is called.
_WORDS = {
    "BOOL": "bool", "INT64": "int64", "FLOAT64": "double", "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp",
    "STRING": "string",
}  # fmt: skip


def detect(path: Path, layout: CsvFormat) -> tuple[Sequence[Field], CsvFormat]:
    """Return the columns that a file seems to have, and the format with its heading counted among the rows to skip.

    Raises:
        JobError: There is nothing to detect anything from.
    """
    before = max(0, (layout.skip or 0) - 1)
    sample = [row.values for row in islice(csv_rows(path, layout), before, before + _SAMPLE) if row.error is None]
    if not sample:
        raise JobError("invalid", "Failed to detect the schema: the file holds no rows")
    first, rest = sample[0], sample[1:]
    width = max(len(row) for row in sample)
    heading = layout.skip != 0 and _is_heading(first, rest)
    data = rest if heading or (layout.skip or 0) > 0 else sample
    types = [_type([row[place] for row in data if place < len(row)]) for place in range(width)]
    names = _names(first if heading else [], types)
    skip = before + 1 if heading or (layout.skip or 0) > 0 else 0
    return [Field(name=name, type=kind) for name, kind in zip(names, types, strict=True)], replace(layout, skip=skip)


def _is_heading(first: Sequence[str | None], rest: Sequence[Sequence[str | None]]) -> bool:
    """A heading is a row of nothing but strings, above rows that are not."""
    if not rest or any(text is None or _type([text]) != "STRING" for text in first):
        return False
    types = [_type([row[place] for row in rest if place < len(row)]) for place in range(len(first))]
    return any(kind != "STRING" for kind in types)


def _type(texts: Sequence[str | None]) -> str:
    known = [text for text in texts if text]
    if not known:
        return "STRING"
    return next((kind for kind, pattern in _PATTERNS if all(map(pattern.fullmatch, known))), "STRING")


def _names(heading: Sequence[str | None], types: Sequence[str]) -> list[str]:
    names: list[str] = []
    taken: set[str] = set()
    for place, kind in enumerate(types):
        text = (heading[place] or "") if place < len(heading) else ""
        name = re.sub(r"\W", "_", text.strip(), flags=re.ASCII) or f"{_WORDS[kind]}_field_{place}"
        if name[0].isdigit():
            name = f"_{name}"
        base, number = name, 0
        while name.lower() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names
