"""The pipeline as a whole, on a local cloud that each test has for itself."""

from datetime import date
from decimal import Decimal

import pytest

from pydag_gcp.testing import LocalCloud

PIPELINE = "pipelines/my_pipeline.py"


def sales(local_cloud: LocalCloud) -> list[tuple[object, ...]]:
    """The rows of the last table, in a fixed order."""
    return sorted(tuple(row.values()) for row in local_cloud.rows("shop.sales_per_day"))


def test_sales_are_summed_per_day_and_country(local_cloud: LocalCloud) -> None:
    local_cloud.seed("data")

    local_cloud.run(PIPELINE).raise_for_state()

    assert sales(local_cloud) == [
        (date(2022, 1, 30), "ES", 2, Decimal(20)),
        (date(2022, 1, 30), "PE", 1, Decimal(30)),
        (date(2022, 1, 31), "PE", 1, Decimal("18.2")),
    ]


def test_no_orders_are_no_sales(local_cloud: LocalCloud) -> None:
    local_cloud.put("gs://quiet-day/orders.csv", "order_id,day,country,amount\n")

    local_cloud.run(PIPELINE, params={"input": "gs://quiet-day/orders.csv"}).raise_for_state()

    assert sales(local_cloud) == []


@pytest.mark.parametrize("row", ["1,2022-01-30,ES,much", "1,soon,ES,2"])
def test_a_malformed_order_fails_the_run(local_cloud: LocalCloud, row: str) -> None:
    local_cloud.put("gs://shop-landing/orders.csv", f"order_id,day,country,amount\n{row}\n")

    result = local_cloud.run(PIPELINE)

    assert result.tasks["load_orders"].state == "failed"
    assert result.tasks["sales_per_day"].state == "upstream_failed"
