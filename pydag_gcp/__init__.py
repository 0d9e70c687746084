"""GCP data pipelines you can trust with money and data, from one Python file.

The names below are all that most pipelines need. They are imported when they are first used: ``import pydag_gcp`` alone
loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "DAG",
    "Cluster",
    "Context",
    "Done",
    "Failed",
    "GCSObject",
    "Operator",
    "Param",
    "RemoteOperator",
    "Retry",
    "RunResult",
    "Running",
    "Secret",
    "Table",
    "__version__",
    "task",
]

if TYPE_CHECKING:
    from pydag_gcp.dag import DAG
    from pydag_gcp.function import task
    from pydag_gcp.operator import Context, Done, Failed, Operator, RemoteOperator, Running
    from pydag_gcp.resources import Cluster, GCSObject, Table
    from pydag_gcp.result import RunResult
    from pydag_gcp.retry import Retry
    from pydag_gcp.runtime_value import Param
    from pydag_gcp.secret import Secret
else:  # type checkers would take a module's __getattr__ as leave to import any name
    _MODULES = {
        "DAG": "dag",
        "Cluster": "resources",
        "Context": "operator",
        "Done": "operator",
        "Failed": "operator",
        "GCSObject": "resources",
        "Operator": "operator",
        "Param": "runtime_value",
        "RemoteOperator": "operator",
        "Retry": "retry",
        "RunResult": "result",
        "Running": "operator",
        "Secret": "secret",
        "Table": "resources",
        "task": "function",
    }

    def __getattr__(name):
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
