"""The quick way to load a CSV file and the careful one agree: the law that lets the quick one be used at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pydag_gcp.local.bigquery.csv_loads import CsvLoad
from pydag_gcp.local.bigquery.csv_rows import CsvFormat
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.load_sources import BadRows, Source
from pydag_gcp.local.googlesql.types import Field

#: What CSV files are made of where it matters.
PIECES = st.sampled_from(
    [
        "a",
        "1",
        "-7",
        "2024-02-29",
        ",",
        ",",
        ",",
        '"',
        '"',
        '""',
        "\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "ü",
        "NA",
        "\\N",
        "\0",
    ]
)
COLUMNS = st.sampled_from([("STRING",), ("STRING", "STRING"), ("INT64", "STRING"), ("STRING", "DATE", "STRING")])


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def rows(connection: duckdb.DuckDBPyConnection, path: Path, layout: CsvFormat, kinds: tuple[str, ...], how: str) -> Any:
    """Load a file one way; return its rows, or None if it cannot be loaded that way."""
    columns = [Field(name=f"f{number}", type=kind) for number, kind in enumerate(kinds)]
    stored = {"INT64": "BIGINT", "STRING": "VARCHAR", "DATE": "DATE"}
    connection.execute(f"CREATE OR REPLACE TABLE t ({', '.join(f'{c.name} {stored[c.type]}' for c in columns)})")
    load = CsvLoad(layout, "t", columns)
    try:
        if how == "quick":
            load.quick(connection, path)
        else:
            load.careful(connection, Source(uri="gs://b/x", path=path), path, BadRows("CSV", 0))
    except (duckdb.Error, JobError):
        return None
    return connection.execute("FROM t").fetchall()


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(content='"" ""', kinds=("STRING",), newlines=False, markers=("",), skip=0)
@given(
    content=st.lists(PIECES, max_size=25).map("".join),
    kinds=COLUMNS,
    newlines=st.booleans(),
    markers=st.sampled_from([("",), ("\\N",), ("NA", "")]),
    skip=st.integers(0, 2),
)
def test_what_is_loaded_quickly_is_what_is_loaded_carefully(
    connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    content: str,
    kinds: tuple[str, ...],
    newlines: bool,
    markers: tuple[str, ...],
    skip: int,
) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content.encode())
    layout = CsvFormat(quoted_newlines=newlines, null_markers=markers, skip=skip)
    quick = rows(connection, path, layout, kinds, "quick")
    if quick is not None:
        assert quick == rows(connection, path, layout, kinds, "careful")


def test_a_large_file_is_loaded_quickly_and_alike(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    # Given rows with quoted line breaks, commas and quotes, over several of DuckDB's buffers
    texts = ["plain", '"x,y"', '"line\nbreak"', '"say ""hi"""', '""', ""]
    path = tmp_path / "large.csv"
    path.write_text("".join(f"{number},{texts[number % 6]}\r\n" for number in range(200_000)), newline="")
    layout = CsvFormat(quoted_newlines=True)
    quick = rows(connection, path, layout, ("INT64", "STRING"), "quick")
    assert quick is not None
    assert len(quick) == 200_000
    assert quick == rows(connection, path, layout, ("INT64", "STRING"), "careful")
