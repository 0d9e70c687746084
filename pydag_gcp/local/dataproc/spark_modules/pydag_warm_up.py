"""What a fresh JVM runs first, so that the first job finds Spark's classes loaded and compiled.

A few small steps that touch what most jobs touch; between them it looks whether a job waits already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydag_driver  # type: ignore[import-not-found]
from pyspark.sql import SparkSession
from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, WriterCommitMessage


class Discard(DataSource):
    """A data source in Python that takes rows, and does nothing with them."""

    @classmethod
    def name(cls) -> str:
        """Its name in ``format(...)``."""
        return "pydag_discard"

    def writer(self, schema: Any, overwrite: bool) -> DataSourceArrowWriter:  # noqa: FBT001 it is Spark's interface
        """Make a writer."""
        return DiscardWriter()


class DiscardWriter(DataSourceArrowWriter):
    """Takes the way that rows take to BigQuery, up to the last step."""

    def write(self, iterator: Iterator[Any]) -> WriterCommitMessage:
        """Read all rows."""
        for _ in iterator:
            pass
        return WriterCommitMessage()


def main(folder: Path) -> None:
    """Read CSV, aggregate, write Parquet and read it back, and write through Python, in a scratch folder."""
    source = folder / "warm-up.csv"
    source.write_text("id,category,day\n" + "".join(f"{n},c{n % 3},2024-02-29\n" for n in range(100)))
    spark = SparkSession.builder.appName("warm-up").getOrCreate()
    rows = spark.read.option("header", value=True).schema("id INT, category STRING, day DATE").csv(str(source))
    table = str(folder / "warm-up.parquet")
    steps: list[Callable[[], object]] = [
        lambda: rows.filter("id > 5").write.mode("overwrite").parquet(table),
        lambda: rows.groupBy("category").count().collect(),
        lambda: spark.read.parquet(table).count(),
        lambda: spark.dataSource.register(Discard),
        lambda: rows.write.format("pydag_discard").mode("append").save(),
    ]
    for step in steps:
        if pydag_driver.hurry.is_set():
            break
        step()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
