"""The public API: its names, and that importing the package costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pydag_gcp

HEAVY = {"google", "grpc", "duckdb", "sqlglot", "sqlalchemy", "pydantic", "rich", "click", "jinja2", "tenacity"}


def loaded_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_exported_names() -> None:
    assert set(pydag_gcp.__all__) == {
        "DAG", "Cluster", "Context", "Done", "Failed", "GCSObject", "Operator", "Param", "RemoteOperator", "Retry",
        "RunResult", "Running", "Secret", "Table", "__version__", "task",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(pydag_gcp.__all__))
def test_every_exported_name_can_be_imported_and_is_listed(name: str) -> None:
    assert getattr(pydag_gcp, name) is not None
    assert name in dir(pydag_gcp)


@pytest.mark.parametrize("name", sorted(set(pydag_gcp.__all__) - {"__version__"}))
def test_an_exported_name_is_the_object_of_the_module_that_defines_it(name: str) -> None:
    exported = getattr(pydag_gcp, name)
    assert exported.__module__.startswith("pydag_gcp.")
    assert getattr(sys.modules[exported.__module__], name) is exported


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pydag_gcp' has no attribute 'Dag'"):
        pydag_gcp.Dag  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import pydag_gcp") & HEAVY


def test_importing_the_authoring_names_loads_no_client_database_or_sql_module() -> None:
    loaded = loaded_after("from pydag_gcp import DAG, Cluster, GCSObject, Operator, Retry, RunResult, Table")
    assert not loaded & {"google", "grpc", "duckdb", "sqlglot", "sqlalchemy", "rich", "click"}


def test_importing_the_command_loads_only_what_the_command_line_needs() -> None:
    assert not loaded_after("import pydag_gcp.cli") & (HEAVY - {"click"})
