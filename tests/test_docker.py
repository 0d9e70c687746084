"""The images and docker compose: what their files say, and, where there is an engine, a real run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pydag_gcp.local.daemon import Endpoints
from pydag_gcp.local.server import _parse as server_options

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def pairs(file: Path) -> dict[str, str]:
    """The variables of an environment file."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def stage(name: str) -> str:
    """The instructions of one stage."""
    return re.split(r"^FROM ", DOCKERFILE.partition(f" AS {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


# The Dockerfile ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slim", "full"])
def test_an_image_runs_pydag_as_a_user_with_a_fixed_number(name: str) -> None:
    assert "USER 10001:10001\n" in stage(name)
    assert 'ENTRYPOINT ["pydag"]\n' in stage(name)
    assert "useradd --uid 10001" in stage("core")


def test_the_slim_image_is_the_default_and_has_nothing_of_the_local_cloud() -> None:
    assert re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)[-1] == "slim"
    assert "local.txt" not in stage("slim") + stage("core")
    assert "local.txt" in stage("full")


def test_every_download_is_cached() -> None:
    steps = re.sub(r"\\\n", " ", DOCKERFILE).splitlines()
    downloads = [step for step in steps if re.search(r"pip (install|wheel)", step) and "/wheels/*.whl" not in step]

    assert len(downloads) == 3
    assert all("--mount=type=cache,target=/root/.cache/pip" in step for step in downloads)


def test_the_python_of_the_images_is_one_that_pydag_supports() -> None:
    version = re.search(r"^ARG PYTHON=3\.(\d+)$", DOCKERFILE, re.MULTILINE)
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]

    assert version is not None
    assert int(version[1]) >= int(least.removeprefix(">=3."))
    assert f"python:3.{version[1]}-slim-bookworm" in (ROOT / "docs" / "docker.md").read_text()


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()}

    assert allowed == copied
    assert "\n*\n" in (ROOT / ".dockerignore").read_text()
    assert all((ROOT / name).exists() for name in copied)


# docker compose ---------------------------------------------------------------------------------------------------


def test_the_emulator_variables_lead_to_the_services_of_the_local_cloud(services: dict[str, Any]) -> None:
    command = services["local-cloud"]["command"].split()
    options = server_options(command)
    ports = options.ports
    endpoints = Endpoints(
        project=options.project,
        storage=f"http://{options.advertise}:{ports['storage']}",
        bigquery=f"http://{options.advertise}:{ports['bigquery']}",
        bigquery_storage=f"{options.advertise}:{ports['bigquery_storage']}",
        dataproc=f"{options.advertise}:{ports['dataproc']}",
        buckets="",
        pid=0,
    )

    assert pairs(ROOT / "docker" / "local.env") == endpoints.environment()
    assert options.advertise in services
    assert (options.host, options.idle) == ("0.0.0.0", None)


def test_only_the_target_local_has_a_local_cloud_and_its_variables(services: dict[str, Any]) -> None:
    pipeline = services["pipeline"]

    assert pairs(ROOT / ".env") == {"PYDAG_TARGET": "local", "COMPOSE_PROFILES": "${PYDAG_TARGET}"}
    assert services["local-cloud"]["profiles"] == ["local"]
    assert pipeline["env_file"] == [{"path": "docker/${PYDAG_TARGET:-local}.env", "required": False}]
    assert not [name for name in pipeline["environment"] if "EMULATOR" in name]
    assert pipeline["depends_on"]["local-cloud"] == {"condition": "service_healthy", "required": False}


def test_no_credentials_are_needed_and_none_are_here(services: dict[str, Any]) -> None:
    secrets = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["secrets"]

    assert secrets["google"]["file"] == "${PYDAG_CREDENTIALS:-docker/no-credentials.json}"
    assert (ROOT / "docker" / "no-credentials.json").read_bytes() == b""
    assert services["pipeline"]["secrets"] == ["google"]
    assert "secrets" not in services["local-cloud"]


def test_what_is_edited_is_mounted_and_what_is_kept_is_a_volume(services: dict[str, Any]) -> None:
    mounts = dict(mount.split(":", 1) for mount in services["pipeline"]["volumes"])

    assert mounts["./pipelines"] == "/app/pipelines:ro"
    assert mounts["./sql"] == "/app/sql:ro"
    assert mounts["pydag"] == "/var/lib/pydag"
    assert "ENV PYDAG_HOME=/var/lib/pydag" in stage("core")
    assert all((ROOT / name).exists() for name in mounts if name.startswith("."))


def engine() -> bool:
    """Whether containers can be run here."""
    if shutil.which("docker") is None:
        return False
    asked = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(words, capture_output=True, check=False).returncode == 0 for words in asked)


@pytest.fixture
def compose(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The words that begin a compose command of a project of its own, which is removed in the end."""
    if not engine():
        pytest.skip("no Docker engine")
    words = ["docker", "compose", "--project-name", "pydag-gcp-test", "--project-directory", str(ROOT)]
    yield words
    subprocess.run([*words, "down", "--volumes", "--timeout", "30"], capture_output=True, check=True)


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.timeout(1800)  # the first time it downloads and builds
def test_up_runs_the_pipeline_and_shows_its_fact_table(compose: list[str]) -> None:
    up = subprocess.run([*compose, "up"], capture_output=True, text=True, check=False)
    wait = subprocess.run(
        [*compose, "logs", "--follow", "--no-log-prefix", "fact"], capture_output=True, text=True, check=True
    )
    states = subprocess.run([*compose, "ps", "--all", "--format", "json"], capture_output=True, text=True, check=True)

    assert up.returncode == 0, up.stdout + up.stderr
    assert "cars       2022       191\nfood       2021       195\n" in wait.stdout
    containers = {found["Service"]: found for found in map(json.loads, states.stdout.splitlines())}
    assert containers["local-cloud"]["Health"] == "healthy"
    assert containers["pipeline"]["ExitCode"] == 0


@pytest.mark.slow
def test_up_fails_if_the_run_does(compose: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDAG_PIPELINE", "pipelines/nowhere.py")

    plain = subprocess.run([*compose, "up"], capture_output=True, text=True, check=False)
    named = [*compose, "up", "--exit-code-from", "pipeline", "pipeline"]
    exact = subprocess.run(named, capture_output=True, text=True, check=False)
    logs = subprocess.run([*compose, "logs", "pipeline"], capture_output=True, text=True, check=True)

    assert (plain.returncode, exact.returncode) == (1, 2), plain.stderr + exact.stderr
    assert "pipelines/nowhere.py: no such file" in logs.stdout
