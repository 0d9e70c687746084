"""Show the fact table that staging_to_fact.py made: rows per category and year, and the first rows.

::

    python pipelines/show_fact.py [--target my-project] [--dataset datasettest]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydag_gcp import settings
from pydag_gcp.errors import PydagError
from pydag_gcp.gcp import Clients

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

COUNTS = """
SELECT category, EXTRACT(YEAR FROM lastdate) AS year, COUNT(*) AS number
FROM mytable3 GROUP BY category, year ORDER BY category, year
"""
FIRST = "SELECT id, category, lastdate FROM mytable3 ORDER BY lastdate, id LIMIT 10"


def show(bigquery: Client, dataset: str) -> None:
    """Print the table."""
    from google.cloud.bigquery import QueryJobConfig

    config = QueryJobConfig(default_dataset=f"{bigquery.project}.{dataset}")
    print(f"{'category':<10} {'year':>4} {'rows':>9}")
    for row in bigquery.query_and_wait(COUNTS, job_config=config):
        print(f"{row.category:<10} {row.year:>4} {row.number:>9,}")
    print(f"\n{'id':<12} {'category':<10} lastdate")
    for row in bigquery.query_and_wait(FIRST, job_config=config):
        print(f"{row.id:<12} {row.category:<10} {row.lastdate}")


def main() -> int:
    """Print the table that the options name; 1 if it cannot be read."""
    parser = argparse.ArgumentParser(description="Show the fact table of staging_to_fact.py.")
    parser.add_argument("--target", help="local or a GCP project (default: the setting)")
    parser.add_argument("--dataset", default="datasettest", help="its dataset (default: datasettest)")
    args = parser.parse_args()
    from google.api_core.exceptions import GoogleAPICallError

    try:
        show(Clients(settings.load(Path(__file__)).target(args.target)).bigquery(), args.dataset)
    except (PydagError, GoogleAPICallError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
