"""``pydag init``: the project it writes works as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import DAG, loader
from pydag_gcp.errors import SettingsError
from pydag_gcp.init import create, dag_id_of

PYDAG = str(Path(sys.executable).with_name("pydag"))
TEMPLATE = Path(__file__).parent.parent / "pydag_gcp" / "template_project"


def pydag(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PYDAG, *words], cwd=cwd, capture_output=True, text=True, check=False)


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


@pytest.mark.parametrize(
    ("name", "dag_id"),
    [
        ("demo", "demo"),
        ("daily-sales", "daily-sales"),
        ("daily sales", "daily_sales"),
        ("año/nuevo.v2", "a_o_nuevo_v2"),
        ("2022", "pipeline_2022"),
        ("...", "pipeline"),
        ("-x-", "x"),
        ("json", "json_pipeline"),  # in its folder, it would be what `import json` finds
        ("google", "google_pipeline"),
        ("__main__", "main"),
    ],
)
def test_the_pipeline_is_named_after_the_folder(name: str, dag_id: str) -> None:
    assert dag_id_of(name) == dag_id


@given(st.text(max_size=300))
def test_any_name_gives_the_id_of_a_dag(name: str) -> None:
    assert DAG(dag_id_of(name)).dag_id == dag_id_of(name)


def test_every_file_of_the_template_is_written_under_its_name(tmp_path: Path) -> None:
    create(tmp_path / "daily sales")

    written = files(tmp_path / "daily sales")
    templates = {path for path in files(TEMPLATE) if "__pycache__" not in path}
    expected = {path.replace("my_pipeline", "daily_sales").replace("gitignore", ".gitignore") for path in templates}
    assert set(written) == expected | {".pydag/python.mk"}
    assert not [path for path, text in written.items() if "my_pipeline" in text]
    assert ".pydag/" in written[".gitignore"].splitlines()


def test_its_pipeline_is_valid(tmp_path: Path) -> None:
    create(tmp_path / "2022 numbers")

    done = pydag("validate", "pipeline_2022_numbers", cwd=tmp_path / "2022 numbers")

    assert (done.returncode, done.stderr) == (0, "")
    assert loader.load(tmp_path / "2022 numbers/pipelines/pipeline_2022_numbers.py").dag_id == "pipeline_2022_numbers"


@pytest.mark.parametrize("path", ["/opt/my tools/python", "/opt/a$b#c/python"])
def test_make_reads_the_path_of_any_python(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", path)
    create(tmp_path / "demo")

    done = subprocess.run(["make", "-n", "stop"], cwd=tmp_path / "demo", capture_output=True, text=True, check=True)

    assert done.stdout == f'"{path}" -m pydag_gcp local down\n'


def test_make_uses_the_python_it_is_given_else_python3(tmp_path: Path) -> None:
    create(tmp_path)
    given = subprocess.run(
        ["make", "-n", "stop", "PYTHON=py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (tmp_path / ".pydag" / "python.mk").unlink()
    other = subprocess.run(["make", "-n", "stop"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert given.stdout == '"py" -m pydag_gcp local down\n'
    assert other.stdout == '"python3" -m pydag_gcp local down\n'


def test_what_to_do_next_is_said(tmp_path: Path) -> None:
    done = pydag("init", "new project", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "the pipeline new_project" in done.stdout
    assert re.findall(r"^  (\S.*?)(?:  +#.*)?$", done.stdout, re.MULTILINE) == [
        "cd 'new project'",
        "make test",
        "make run",
    ]


def test_the_folder_may_be_there_if_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()

    assert pydag("init", ".", cwd=tmp_path / "demo").returncode == 0
    assert (tmp_path / "demo" / "pipelines" / "demo.py").is_file()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")

    done = pydag("init", ".", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: .: is not empty; name a new folder\n"
    assert files(tmp_path) == {"README.md": "mine"}


@pytest.mark.parametrize("name", ["file", "file/below", "link"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "gone")

    done = pydag("init", name, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {name}: is there already, and no folder")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written: File name too long"):
        create(tmp_path / ("x" * 300))


@pytest.mark.slow
def test_make_test_passes_without_an_activated_environment(tmp_path: Path) -> None:
    create(tmp_path / "demo")
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHON"}}
    environment["PATH"] = "/usr/bin:/bin"

    done = subprocess.run(
        ["make", "test"], cwd=tmp_path / "demo", env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
