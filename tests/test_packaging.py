"""What is installed, and what importing it costs."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
HEAVY = (
    "google",
    "grpc",
    "duckdb",
    "sqlglot",
    "sqlalchemy",
    "pydantic",
    "jinja2",
    "pyspark",
    "pyarrow",
    "psycopg",
    "redis",
)


def shipped_files() -> set[str]:
    """Every file that an installed pydag-gcp needs, as it is named in a wheel."""
    files = {
        (Path("pydag_gcp/operators") / path.relative_to(ROOT / "operators")).as_posix()
        for path in (ROOT / "operators").rglob("*")
        if path.is_file()
    }
    files |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "pydag_gcp").rglob("*") if path.is_file()}
    return {file for file in files if "__pycache__" not in file}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    copy = tmp_path_factory.mktemp("source") / "pydag-gcp"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("pydag_gcp", "operators"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(copy / "dist"), str(copy)], check=True)
    (built,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    assert shipped_files() - set(wheel.namelist()) == set()


@pytest.mark.slow
def test_the_wheel_installs_nothing_but_pydag_gcp(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}

    assert {name for name in top if not name.endswith(".dist-info")} == {"pydag_gcp"}


@pytest.mark.slow
def test_the_wheel_carries_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))

    assert any(name.endswith("/LICENSE") for name in names)
    assert "pydag = pydag_gcp.cli:main" in wheel.read(entry_points).decode()


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_operators_are_loaded_under_their_one_name() -> None:
    loaded = modules_loaded_by("from pydag_gcp.operators import BigQueryQuery")

    assert "pydag_gcp.operators.query" in loaded
    assert "operators" not in loaded


@pytest.mark.parametrize("statement", ["import pydag_gcp", "import pydag_gcp.operators", "import pydag_gcp.cli"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    loaded = modules_loaded_by(statement)

    assert [name for name in HEAVY if name in loaded] == []


def dependencies_of(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Every distribution that installing ``name`` brings, itself included."""
    found: set[str] = set()
    waiting = [(canonicalize_name(name), extras)]
    seen = set(waiting)
    while waiting:
        current, wanted = waiting.pop()
        found.add(current)
        for text in importlib.metadata.requires(current) or []:
            requirement = Requirement(text)
            environments = [{"extra": extra} for extra in ("", *wanted)]
            if requirement.marker is not None and not any(map(requirement.marker.evaluate, environments)):
                continue
            needed = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return found


def test_a_core_install_is_at_most_50_packages() -> None:
    core = dependencies_of("pydag-gcp")

    assert {"google-cloud-bigquery", "google-cloud-dataproc", "google-cloud-storage", "tenacity"} <= core
    assert not core & {"duckdb", "pyspark", "pytest", "psycopg", "redis"}
    assert len(core) <= 50, sorted(core)
