"""CSV in a bucket -> PySpark on Dataproc -> BigQuery staging table -> SQL -> fact table.

::

    pydag run pipelines/staging_to_fact.py
    pydag run pipelines/staging_to_fact.py --target my-project --param input=gs://my-bucket/input/test.csv

Every table is replaced as a whole by one job, so a run can be repeated, and one that fails half-way leaves each table
either as it was or as it should be.
"""

from pydag_gcp import DAG, Cluster, GCSObject, Retry, Table
from pydag_gcp.operators import BigQueryQuery, DataprocCreateCluster, DataprocPySparkJob

CLUSTER = Cluster("cluster-dataproc-pydag-2022", region="us-central1")
DATASET = "{{ params.project or project }}.{{ params.dataset }}"
COLUMNS = "id INT64, category STRING, lastdate DATE"

STAGING = Table(f"{DATASET}.mytable")
CARS = Table(f"{DATASET}.mytable1")
FOOD = Table(f"{DATASET}.mytable2")
FACT = Table(f"{DATASET}.mytable3")

with DAG(
    "staging_to_fact",
    schedule="0 6 * * *",
    retry=Retry(attempts=3),
    params={"input": "gs://project-pydag/input/test.csv", "dataset": "datasettest", "project": None},
    description="Cars of 2022 and food of 2021, from a CSV object to a partitioned fact table",
) as dag:
    cluster = DataprocCreateCluster(task_id="startup_dataproc_1", cluster=CLUSTER)

    final = BigQueryQuery(
        task_id="create_table_final",
        sql="create_table.sql",
        params={"table": FACT, "columns": COLUMNS, "partition_column": "lastdate", "cluster_columns": ["category"]},
    )
    stg_1 = BigQueryQuery(
        task_id="create_table_stg_1", sql="create_table_stg.sql", params={"table": CARS, "columns": COLUMNS}
    )
    stg_2 = BigQueryQuery(
        task_id="create_table_stg_2", sql="create_table_stg.sql", params={"table": FOOD, "columns": COLUMNS}
    )

    ingest = DataprocPySparkJob(
        task_id="initial_ingestion_1",
        cluster=CLUSTER,
        main="csv_to_staging.py",
        args=["--input", "{{ params.input }}", "--table", STAGING.table],
        reads=[GCSObject("{{ params.input }}")],
        writes=[STAGING],
        idempotent=True,  # it replaces the staging table
    )

    extract_1 = BigQueryQuery(
        task_id="extract_from_stg_1",
        sql="extract_from_stg.sql",
        params={"source": STAGING, "year": 2022, "category": "cars"},
        destination=CARS,
        write="WRITE_TRUNCATE",
    )
    extract_2 = BigQueryQuery(
        task_id="extract_from_stg_2",
        sql="extract_from_stg.sql",
        params={"source": STAGING, "year": 2021, "category": "food"},
        destination=FOOD,
        write="WRITE_TRUNCATE",
    )
    fact = BigQueryQuery(
        task_id="insert_to_fact",
        sql="insert_to_fact.sql",
        params={"table1": CARS, "table2": FOOD},
        destination=FACT,
        write="WRITE_TRUNCATE",
        partition_by="lastdate",
        cluster_by=["category"],
    )

    [cluster, final, stg_1, stg_2] >> ingest >> [extract_1, extract_2] >> fact

if __name__ == "__main__":
    dag.cli()
