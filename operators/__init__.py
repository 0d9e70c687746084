"""The typed operators: ``from pydag_gcp.operators import BigQueryQuery``.

Each is loaded when it is first asked for; Google's clients only when a task talks to the cloud.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydag_gcp.operators.cluster import DataprocCreateCluster
    from pydag_gcp.operators.cluster_delete import DataprocDeleteCluster
    from pydag_gcp.operators.extract import BigQueryToGCS
    from pydag_gcp.operators.load import GCSToBigQuery
    from pydag_gcp.operators.pyspark_job import DataprocPySparkJob
    from pydag_gcp.operators.query import BigQueryQuery
    from pydag_gcp.operators.table_copy import BigQueryCopy
    from pydag_gcp.operators.table_layout import Column, Partitioning

_MODULES = {
    "BigQueryCopy": "table_copy",
    "BigQueryQuery": "query",
    "BigQueryToGCS": "extract",
    "Column": "table_layout",
    "DataprocCreateCluster": "cluster",
    "DataprocDeleteCluster": "cluster_delete",
    "DataprocPySparkJob": "pyspark_job",
    "GCSToBigQuery": "load",
    "Partitioning": "table_layout",
}

__all__ = [
    "BigQueryCopy",
    "BigQueryQuery",
    "BigQueryToGCS",
    "Column",
    "DataprocCreateCluster",
    "DataprocDeleteCluster",
    "DataprocPySparkJob",
    "GCSToBigQuery",
    "Partitioning",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
