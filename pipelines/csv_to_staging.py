"""The PySpark job of ``initial_ingestion_1``: a CSV object becomes the BigQuery staging table, exactly or not at all.

It runs unmodified on a Dataproc cluster and on the local cloud::

    csv_to_staging.py --input gs://bucket/input/test.csv --table project.dataset.mytable

The columns col1, col2, col3 become ``id INT64``, ``category STRING`` and ``lastdate DATE``. Spark reads lines and
Python's csv module, in strict mode, makes records of them: Spark's own CSV reader rewrites CRLF inside quotes, joins
rows where line ends are mixed, drops blanks behind a closing quote and cannot name the line of a bad row. The first
malformed row ends the job before the table is touched.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import DataFrame, SparkSession

HEADER = ["col1", "col2", "col3"]
LONGEST_FIELD = 10_000_000  # characters; bounds what an unclosed quote can swallow
LONGEST_SHOWN = 300  # characters of a row that a message shows

INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
EPOCH = date(1970, 1, 1).toordinal()
NOT_UTF8 = "\N{REPLACEMENT CHARACTER}".encode()  # what Hadoop makes of bytes that are not UTF-8

#: id, category, and lastdate as days since 1970: what Spark takes from Python at the least cost.
Row = tuple[int, str, int]


class MalformedInput(ValueError):
    """The input is not what the schema says; one line that names the file and shows the row."""


class Lines:
    """The lines of a file on their way to the csv module; remembers those of the current record."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.number = 0
        self.record: list[bytes] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            self.record.append(line)
            if NOT_UTF8 in line:
                raise ValueError("expected UTF-8, found other bytes (or U+FFFD, which stands for them)")
            text = line.decode() + "\n"
            yield text.removeprefix("\ufeff") if self.number == 1 else text

    def shown(self) -> str:
        """The current record as it stands in the file, on one line, cut if it is long."""
        text = b"\n".join(self.record).decode(errors="backslashreplace").rstrip("\r\n")
        return repr(text[:LONGEST_SHOWN]) + ("..." if len(text) > LONGEST_SHOWN else "")


def rows(source: Iterable[bytes], file: str) -> Iterator[Row]:
    """Parse and check one file. Blank lines are no records.

    Args:
        source: Its lines, split at line feeds, without these.
        file: Its name, for messages.

    Raises:
        MalformedInput: The header or a record is wrong.
    """
    csv.field_size_limit(LONGEST_FIELD)
    day_number = lru_cache(maxsize=100_000)(day)  # a file has few distinct days
    lines = Lines(source)
    records = csv.reader(lines, strict=True)
    try:
        check_header(next(records, None))
        lines.record.clear()
        for record in records:
            if record:
                number, category, text = three(record)
                yield integer(number), category, day_number(text)
            lines.record.clear()
    except (ValueError, csv.Error) as error:
        raise MalformedInput(f"{file}, line {lines.number}: {error}; the row is {lines.shown()}") from error


def check_header(record: list[str] | None) -> None:
    """Check the first record.

    Raises:
        ValueError: It is not the header.
    """
    if record != HEADER:
        raise ValueError(f"expected the header {','.join(HEADER)}")


def three(record: list[str]) -> list[str]:
    """Check the width of a record.

    Raises:
        ValueError: It has not three columns.
    """
    if len(record) != len(HEADER):
        raise ValueError(f"expected {len(HEADER)} columns, found {len(record)}")
    return record


def integer(text: str) -> int:
    """Read an INT64.

    Raises:
        ValueError: It is none.
    """
    if INTEGER.fullmatch(text) and -(2**63) <= (value := int(text)) < 2**63:
        return value
    raise ValueError(f"col1: expected a 64-bit integer, found {text!r}")


def day(text: str) -> int:
    """Read a DATE, as days since 1970.

    Raises:
        ValueError: It is none.
    """
    if not DAY.fullmatch(text):
        raise ValueError(f"col3: expected a date such as 2022-01-31, found {text!r}")
    try:
        return date.fromisoformat(text).toordinal() - EPOCH
    except ValueError as error:
        raise ValueError(f"col3: impossible date {text!r}: {error}") from error


def session() -> SparkSession:
    """Start Spark, so that files come as they are: whole, and split into lines at line feeds only.

    A quoted line end may lie anywhere, so a file must not be split, and a carriage return may be data.
    https://hadoop.apache.org/docs/stable/hadoop-mapreduce-client/hadoop-mapreduce-client-core/mapred-default.xml
    """
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.appName("csv_to_staging")
        .config("spark.hadoop.textinputformat.record.delimiter", "\n")
        .config("spark.hadoop.mapreduce.input.fileinputformat.split.minsize", str(2**62))
        .config("spark.sql.parquet.datetimeRebaseModeInWrite", "CORRECTED")  # days before 1582 are legal
        .getOrCreate()
    )


def read(spark: SparkSession, uri: str) -> DataFrame:
    """Read the CSV object at ``uri``; a malformed row shows when the rows are used.

    Raises:
        MalformedInput: It is empty, or its name would mean several objects to Spark.
    """
    if re.search(r"[,*?{}\[\]\\]", uri):
        raise MalformedInput(f"{uri}: expected one object, with none of ,*?{{}}[]\\ in its name")
    # without use_unicode these are bytes, whatever pyspark's annotation says
    lines = cast("RDD[bytes]", spark.sparkContext.textFile(uri, minPartitions=1, use_unicode=False))
    if lines.getNumPartitions() == 0:
        raise MalformedInput(f"{uri}: expected the header {','.join(HEADER)}, found an empty object")
    checked = lines.mapPartitions(lambda part: rows(part, uri))
    frame = spark.createDataFrame(checked, "id BIGINT, category STRING, day INT", verifySchema=False)
    return frame.selectExpr("id", "category", "date_add(DATE '1970-01-01', day) AS lastdate")


def write(frame: DataFrame, table: str, temporary_bucket: str) -> None:
    """Replace the table by one load job, which takes effect as a whole or not at all.

    https://github.com/GoogleCloudDataproc/spark-bigquery-connector#writing-data-to-bigquery
    """
    options = {"table": table, "writeMethod": "indirect", "temporaryGcsBucket": temporary_bucket}
    frame.write.format("bigquery").options(**options).mode("overwrite").save()


def explained(error: Exception, uri: str) -> str | None:
    """Find what is wrong with the input in an error, in whose text Spark wraps what its workers raised."""
    text = f"{type(error).__name__}: {error}"
    if re.search(r"(Input path|The specified bucket) does not exist", text):
        return f"{uri}: no such object"
    found = re.search(r"MalformedInput: (.*)", text)
    return found[1] if found else None


def main() -> int:
    """Run the job; 1 if the input is malformed."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    parser = argparse.ArgumentParser(description="Replace a BigQuery table by the rows of a CSV object.")
    parser.add_argument("--input", required=True, help="gs://bucket/name of the CSV object")
    parser.add_argument("--table", required=True, help="[project.]dataset.table to replace")
    parser.add_argument("--temporary-bucket", help="bucket for the load's files; default: the input's")
    args = parser.parse_args()
    spark = session()
    try:
        write(read(spark, args.input), args.table, args.temporary_bucket or args.input.split("/")[2])
    except (MalformedInput, PySparkException, Py4JError) as error:
        reason = explained(error, args.input)
        if reason is None:
            raise
        print(reason, file=sys.stderr)
        return 1
    finally:
        spark.stop()
    print(f"{args.input} is now table {args.table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
