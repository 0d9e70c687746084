"""``format("bigquery")`` in unmodified PySpark programs, against the local BigQuery.

Contract: https://github.com/GoogleCloudDataproc/spark-bigquery-connector
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import bigquery, dataproc_v1

from pydag_gcp.local import rpc

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService
    from tests.local.dataproc.service import DataprocService

pytest_plugins = ("tests.local.bigquery.service", "tests.local.dataproc.service")
pytestmark = [pytest.mark.spark, pytest.mark.slow]

State = dataproc_v1.JobStatus.State

SESSION = """
import datetime
from decimal import Decimal
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.master("yarn").appName("test").getOrCreate()
spark.conf.set("temporaryGcsBucket", "temporary")
"""


@dataclass
class World:
    dataproc: DataprocService
    service: BigQueryService
    client: bigquery.Client

    def run(self, program: str, **pyspark: object) -> dataproc_v1.Job:
        return self.dataproc.run(SESSION + program, **pyspark)

    def succeeds(self, program: str, **pyspark: object) -> str:
        job = self.run(program, **pyspark)
        assert State(job.status.state) == State.DONE, self.dataproc.output(job)
        assert self.left_over() == []
        return self.dataproc.output(job)

    def fails(self, program: str) -> str:
        job = self.run(program)
        assert State(job.status.state) == State.ERROR, self.dataproc.output(job)
        assert self.left_over() == []
        return self.dataproc.output(job)

    def left_over(self) -> list[str]:
        return [stored.name for stored in self.dataproc.objects.list("temporary")]

    def rows(self, table: str) -> list[tuple[object, ...]]:
        return sorted(tuple(row.values()) for row in self.client.list_rows(table))


@pytest.fixture(scope="module")
def world(bigquery_service: BigQueryService) -> Iterator[World]:
    from tests.local.dataproc.service import DataprocService

    server, port = rpc.serve(bigquery_service.bigquery.rpc_handlers, "127.0.0.1", 0, bigquery_service.faults)
    environment = {
        "BIGQUERY_EMULATOR_HOST": bigquery_service.url,
        "BIGQUERY_STORAGE_EMULATOR_HOST": f"127.0.0.1:{port}",
    }
    service = DataprocService(bigquery_service.home, environment=environment)
    service.objects.create_bucket("temporary")
    service.create()
    client = bigquery_service.client()
    client.create_dataset("ds")
    yield World(service, bigquery_service, client)
    client.close()
    service.stop()
    server.stop(None).wait()


def test_every_type_is_written_and_read_back(world: World) -> None:
    # Given a table of every type that can be written; When a program writes it, and reads it again
    printed = world.succeeds(
        """
schema = (
    "i INT NOT NULL, l LONG, s STRING, d DATE, t TIMESTAMP, n TIMESTAMP_NTZ, f DOUBLE, b BOOLEAN, x BINARY,"
    " m DECIMAL(10,2), r STRUCT<a: INT, b: STRING>"
)
moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456)
zoned = moment.replace(tzinfo=datetime.timezone.utc)
day = datetime.date(2024, 2, 29)
row = (1, 2**62, "é'\\"\\n", day, zoned, moment, 1.5, True, bytearray(b"x"), Decimal("1.25"), (1, "y"))
nothing = (2,) + (None,) * 10
spark.createDataFrame([row, nothing], schema).write.format("bigquery").mode("overwrite").save("ds.types")
again = spark.read.format("bigquery").load("ds.types").orderBy("i")
print(again.schema.simpleString())
print(again.collect()[0])
"""
    )

    # Then BigQuery has them, with the right types and modes
    fields = {field.name: (field.field_type, field.mode) for field in world.client.get_table("ds.types").schema}
    assert fields["i"] == ("INTEGER", "REQUIRED")
    assert fields["n"] == ("DATETIME", "NULLABLE")
    assert fields["m"] == ("NUMERIC", "NULLABLE")
    (row,) = world.client.query("SELECT * FROM ds.types WHERE i = 1").result()
    assert row["s"] == "é'\"\n"
    assert row["t"] == dt.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=dt.UTC)
    assert row["m"] == Decimal("1.25")
    assert row["r"] == {"a": 1, "b": "y"}

    # and Spark sees the same values again
    assert "i:bigint,l:bigint,s:string,d:date,t:timestamp,n:timestamp_ntz,f:double" in printed
    assert "d=datetime.date(2024, 2, 29)" in printed
    assert "m=Decimal('1.25')" in printed


def test_save_modes(world: World) -> None:
    # Given a program that saves in every mode
    printed = world.succeeds(
        """
def save(number, mode):
    rows = spark.range(number, number + 1).withColumn("word", F.lit(mode or "default"))
    writer = rows.write.format("bigquery").option("table", "ds.modes")
    try:
        (writer.mode(mode) if mode else writer).save()
    except Exception as error:
        print(mode, str(error).splitlines()[0])
    print(sorted(row.id for row in spark.read.format("bigquery").option("table", "ds.modes").load().collect()))

save(1, None)
save(2, "append")
save(3, "ignore")
save(4, "errorifexists")
save(5, "overwrite")
"""
    )

    # Then each did what Spark says of it
    lines = printed.splitlines()
    assert lines[:3] == ["[1]", "[1, 2]", "[1, 2]"]
    assert "Table p.ds.modes already exists" in lines[3]
    assert lines[4:] == ["[1, 2]", "[5]"]


def test_overwrite_is_one_load_job_that_truncates(world: World) -> None:
    # Given a table; When a program replaces it from several tasks
    before = {job.job_id for job in world.client.list_jobs()}
    world.succeeds(
        "spark.range(1000).repartition(4).write.format('bigquery').mode('overwrite').save('ds.replaced')\n" * 2
    )

    # Then two jobs did it, each as a whole
    jobs = [job for job in world.client.list_jobs() if job.job_id not in before and job.job_type == "load"]
    assert [(job.write_disposition, job.output_rows) for job in jobs] == [("WRITE_TRUNCATE", 1000)] * 2
    assert len(jobs[0].source_uris) == 4


def test_no_rows_still_replace_a_table(world: World) -> None:
    world.succeeds(
        """
spark.range(5).write.format("bigquery").mode("overwrite").save("ds.emptied")
spark.range(0).write.format("bigquery").mode("overwrite").save("ds.emptied")
print(spark.read.format("bigquery").load("ds.emptied").count())
"""
    )
    assert world.client.get_table("ds.emptied").num_rows == 0


def test_a_task_that_fails_leaves_the_table_as_it_was(world: World) -> None:
    # Given a table of three rows
    world.succeeds("spark.range(3).write.format('bigquery').mode('overwrite').save('ds.kept')")

    # When a program dies in one of its tasks while it replaces it
    output = world.fails(
        """
def fail(n):
    if n == 999:
        raise ValueError("a bad row")
    return n

rows = spark.sparkContext.parallelize(range(1000), 4).map(lambda n: (fail(n),)).toDF("id LONG")
rows.write.format("bigquery").mode("overwrite").save("ds.kept")
"""
    )

    # Then the table is what it was, and the row is named
    assert "a bad row" in output
    assert [row[0] for row in world.rows("ds.kept")] == [0, 1, 2]


def test_a_load_that_fails_fails_the_job(world: World) -> None:
    # Given a table with another column; When rows are appended that do not fit; Then the service says so
    world.succeeds("spark.range(1).write.format('bigquery').mode('overwrite').save('ds.fits')")
    output = world.fails(
        "spark.createDataFrame([('x',)], 'other STRING').write.format('bigquery').mode('append').save('ds.fits')"
    )
    assert "other" in output
    assert world.client.get_table("ds.fits").num_rows == 1


@pytest.mark.parametrize("kind", ["accepted-503", "lost-answer", "503"])
def test_a_commit_whose_answer_is_lost_loads_once(world: World, kind: str) -> None:
    world.service.faults.add("bigquery.jobs.insert", kind=kind)
    table = f"ds.once_{kind.replace('-', '_')}"
    world.succeeds(f"spark.range(10).write.format('bigquery').mode('append').save('{table}')")
    assert world.client.get_table(table).num_rows == 10


def test_partitions_and_clusters(world: World) -> None:
    world.succeeds(
        """
rows = spark.createDataFrame([(datetime.date(2024, 2, 29), "a")], "day DATE, category STRING")
writer = rows.write.format("bigquery").option("partitionField", "day").option("partitionType", "MONTH")
writer.option("clusteredFields", "category").mode("overwrite").save("p.ds.parted")
"""
    )
    table = world.client.get_table("ds.parted")
    assert table.time_partitioning is not None
    assert (table.time_partitioning.field, table.time_partitioning.type_) == ("day", "MONTH")
    assert table.clustering_fields == ["category"]


def test_filter_columns_and_queries(world: World) -> None:
    printed = world.succeeds(
        """
rows = spark.range(100).withColumn("word", F.concat(F.lit("w"), F.col("id")))
rows.write.format("bigquery").mode("overwrite").option("writeMethod", "direct").save("ds.filtered")
read = spark.read.format("com.google.cloud.spark.bigquery")
print(read.option("filter", "id >= 97").option("dataset", "ds").load("filtered").select("word").count())
spark.conf.set("viewsEnabled", "true")
print(spark.read.format("bigquery").load("SELECT COUNT(*) AS n FROM ds.filtered WHERE id < 10").first().n)
print(spark.read.format("bigquery").option("query", "SELECT 1 AS one").load().first().one)
"""
    )
    assert printed.split() == ["3", "10", "1"]


def test_views_need_to_be_enabled(world: World) -> None:
    world.succeeds("spark.range(4).write.format('bigquery').mode('overwrite').save('ds.viewed')")
    view = bigquery.Table("p.ds.view_of_it")
    view.view_query = "SELECT id FROM p.ds.viewed WHERE id > 1"
    world.client.create_table(view)
    assert "viewsEnabled" in world.fails("spark.read.format('bigquery').load('ds.view_of_it').count()")
    printed = world.succeeds(
        "print(spark.read.format('bigquery').option('viewsEnabled', 'true').load('ds.view_of_it').count())"
    )
    assert printed == "2\n"


ATTEMPT = """
import json

def attempt(program):
    spark.conf.set("temporaryGcsBucket", "temporary")
    spark.conf.unset("spark.sql.sources.partitionOverwriteMode")
    try:
        exec(program, globals())
    except Exception as error:
        print(json.dumps({"program": program, "error": str(error)}) + "\\n", end="")

def append(value, schema):
    spark.createDataFrame([(value,)], schema).write.format("bigquery").mode("append").save("ds.x")

"""

#: Programs, and what their refusal says.
REFUSED = {
    "append([1], 'a ARRAY<INT>')": r"column 'a'.*array<int>",
    "append({'x': 1}, 'a MAP<STRING, INT>')": r"column 'a'.*map<string,int>",
    "append(Decimal(1), 'a DECIMAL(38, 20)')": r"column 'a'.*NUMERIC",
    "spark.read.format('bigquery').option('snapshotTimeMillis', '1').load('ds.x')": r"snapshotTimeMillis",
    "spark.read.format('bigquery').load('only_a_table')": r"no dataset",
    "spark.read.format('bigquery').load('ds.missing')": r"ds\.missing",
    "spark.range(1).write.format('bigquery').save('ds.x', partitionBy='id')": r"partitionField",
    """
spark.conf.unset('temporaryGcsBucket')
append(1, 'id INT')
""": r"GCS bucket must be set",
    "spark.range(1).write.format('bigquery').option('temporaryGcsBucket', 'none').mode('append').save('ds.x')": (
        r"'none' does not exist"
    ),
    """
spark.conf.set('spark.sql.sources.partitionOverwriteMode', 'dynamic')
spark.range(1).write.format('bigquery').mode('overwrite').save('ds.x')
""": r"partitionOverwriteMode DYNAMIC",
    """
writer = spark.range(1).write.format('bigquery').option('writeMethod', 'direct').option('partitionField', 'id')
writer.mode('append').save('ds.x')
""": r"partitionField",
}


def test_what_is_not_done_is_refused_by_name(world: World) -> None:
    # When a program tries it all
    printed = world.succeeds(ATTEMPT + "".join(f"attempt({program!r})\n" for program in REFUSED))

    # Then each is refused for what it is, and nothing was written
    said = [json.loads(line) for line in printed.splitlines() if line.startswith('{"program": ')]
    errors = {each["program"]: each["error"] for each in said}
    assert errors.keys() == REFUSED.keys()
    for program, named in REFUSED.items():
        assert re.search(named, errors[program], re.DOTALL), f"{program}\n{errors[program]}"
    with pytest.raises(NotFound):
        world.client.get_table("ds.x")


def test_many_rows_stay_exact(world: World) -> None:
    # Given a CSV of more rows than a batch holds; When it is loaded through Spark
    lines = ["id,category\n", *(f"{n},c{n % 7}\n" for n in range(200_000))]
    world.dataproc.put("gs://data/many.csv", "".join(lines))
    world.succeeds(
        """
rows = spark.read.option("header", True).schema("id LONG, category STRING").csv("gs://data/many.csv")
rows.write.format("bigquery").mode("overwrite").save("ds.many")
"""
    )

    # Then each is there once
    (row,) = world.client.query("SELECT COUNT(*) n, COUNT(DISTINCT id) d, SUM(id) s FROM ds.many").result()
    assert tuple(row.values()) == (200_000, 200_000, 19_999_900_000)
