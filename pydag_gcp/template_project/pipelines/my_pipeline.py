"""Orders of a shop, from a CSV object to sales per day.

::

    pydag run pipelines/my_pipeline.py
    pydag run pipelines/my_pipeline.py --target my-project --param input=gs://my-bucket/orders.csv
"""

from pydag_gcp import DAG, GCSObject, Retry, Table
from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery

STAGING = Table("shop.orders_staging")
SALES = Table("shop.sales_per_day")

with DAG(
    "my_pipeline",
    schedule="0 6 * * *",
    retry=Retry(attempts=3),
    params={"input": "gs://shop-landing/orders.csv"},
    description="Sales per day from a CSV object of orders",
) as dag:
    load = GCSToBigQuery(
        task_id="load_orders",
        source=GCSObject("{{ params.input }}"),
        destination=STAGING,
        schema={"order_id": "INT64", "day": "DATE", "country": "STRING", "amount": "NUMERIC"},
        skip_leading_rows=1,
        write="WRITE_TRUNCATE",
    )
    sales = BigQueryQuery(
        task_id="sales_per_day",
        sql="sales_per_day.sql",
        params={"orders": STAGING, "least": 1},
        destination=SALES,
        write="WRITE_TRUNCATE",
    )
    load >> sales

if __name__ == "__main__":
    dag.cli()
