"""``pydag local``, with the real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

PYDAG = str(Path(sys.executable).with_name("pydag"))


def pydag(*args: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYDAG, *args], capture_output=True, text=True, env={**os.environ, "PYDAG_HOME": str(home)}, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose local cloud is up, seeded with one bucket of one object."""
    folder = tmp_path_factory.mktemp("home")
    seed = tmp_path_factory.mktemp("seed") / "landing"
    seed.mkdir()
    (seed / "cars.csv").write_text("id,name\n1,beetle\n")
    done = pydag("local", "up", "--seed", str(seed.parent), "--json", home=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "starting the local cloud ...\n"
    (folder / "up.json").write_text(done.stdout)
    yield folder
    assert pydag("local", "down", home=folder).stdout == "the local cloud has stopped\n"


@pytest.mark.parametrize("command", [["status"], ["env"]])
def test_what_is_not_running_is_exit_code_3_and_one_line(command: list[str], tmp_path: Path) -> None:
    done = pydag("local", *command, home=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: the local cloud is not running; start it with `pydag local up`\n"


def test_stopping_what_is_not_running_is_fine(tmp_path: Path) -> None:
    done = pydag("local", "down", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "the local cloud was not running\n")


def test_a_seed_that_is_not_there_is_a_wrong_option(tmp_path: Path) -> None:
    done = pydag("local", "up", "--seed", "nowhere", home=tmp_path)
    assert done.returncode == 2
    assert "Directory 'nowhere' does not exist" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_up_as_json_says_where_everything_is(home: Path) -> None:
    found = json.loads((home / "up.json").read_text())
    assert set(found) == {"project", "bigquery", "storage", "bigquery_storage", "dataproc", "buckets", "pid"}
    assert (Path(found["buckets"]) / "landing" / "cars.csv").read_text() == "id,name\n1,beetle\n"
    with urlopen(f"{found['storage']}/storage/v1/b/landing/o/cars.csv?alt=media") as answer:
        assert answer.read() == b"id,name\n1,beetle\n"


def test_a_second_up_finds_the_first(home: Path) -> None:
    done = pydag("local", "up", "--json", home=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads((home / "up.json").read_text())


def test_options_that_come_too_late_are_told(home: Path) -> None:
    done = pydag("local", "up", "--host", "127.0.0.2", home=home)
    assert done.returncode == 0
    assert "it runs already: --host and --idle hold when it is started" in done.stderr


def test_status_is_told_to_people_and_programs(home: Path) -> None:
    found = json.loads((home / "up.json").read_text())
    assert json.loads(pydag("local", "status", "--json", home=home).stdout) == found
    lines = pydag("local", "status", home=home).stdout.splitlines()
    assert lines[0] == f"the local cloud is up, process {found['pid']}, project pydag-local"
    assert [line.split() for line in lines[1:]] == [
        [name, found[name]] for name in ("bigquery", "bigquery_storage", "storage", "dataproc", "buckets")
    ]


def test_env_is_for_the_shell(home: Path) -> None:
    # When a shell evaluates what `env` prints
    script = f'eval "$({PYDAG} local env)"; env'
    shell = {**os.environ, "PYDAG_HOME": str(home)}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=shell, check=True)
    # Then Google's variables and ours lead to the local cloud
    found = json.loads((home / "up.json").read_text())
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert variables["BIGQUERY_EMULATOR_HOST"] == found["bigquery"]
    assert variables["STORAGE_EMULATOR_HOST"] == found["storage"]
    assert variables["DATAPROC_EMULATOR_HOST"] == found["dataproc"]
    assert variables["SECRETMANAGER_EMULATOR_HOST"] == found["dataproc"]
    assert variables["BIGQUERY_STORAGE_EMULATOR_HOST"] == found["bigquery_storage"]
    assert variables["GOOGLE_CLOUD_PROJECT"] == found["project"]
