"""A Spark job as it was written for the 2022 pyDag: a CSV object replaces a staging table."""

import argparse
import json

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DateType, LongType, StringType, StructType


def staging(spark: SparkSession, params: dict[str, str]) -> DataFrame:
    schema = StructType().add("col1", LongType(), True).add("col2", StringType(), True).add("col3", DateType(), True)
    frame = (
        spark.read.schema(schema)
        .option("header", "true")
        .option("multiLine", "true")
        .option("escape", '"')
        .csv("gs://{}/{}/{}".format(params["bucket"], params["folder"], params["file_name"]))
    )
    return (
        frame.withColumnRenamed("col1", "id")
        .withColumnRenamed("col2", "category")
        .withColumnRenamed("col3", "lastdate")
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", type=str)
    params = json.loads(parser.parse_args().params)

    spark = SparkSession.builder.master("yarn").appName(params["id"]).getOrCreate()
    spark.conf.set("temporaryGcsBucket", params["temporarygcsbucket"])

    table = "{}.{}".format(params["dataset"], params["destination_table"])
    staging(spark, params).write.format("bigquery").option("table", table).mode("overwrite").save()
    print(params["id"] + " is ready")
    spark.stop()
