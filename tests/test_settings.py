"""Settings: where they come from, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pydag_gcp.errors import SettingsError
from pydag_gcp.settings import load

EMULATORS = {
    "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1",
    "STORAGE_EMULATOR_HOST": "127.0.0.1:2",
    "DATAPROC_EMULATOR_HOST": "127.0.0.1:3",
}


def write(folder: Path, text: str) -> Path:
    (folder / "pydag.toml").write_text(text)
    return folder


def test_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, environ={})
    assert found.home == found.project_folder / ".pydag"
    assert found.target(environ={}).name == "local"
    assert found.store_url == f"sqlite:///{found.home / 'pydag.db'}"


def test_the_project_is_the_folder_of_the_nearest_settings(tmp_path: Path) -> None:
    write(tmp_path, "processors = 3")
    nested = tmp_path / "a" / "b"
    nested.mkdir(parents=True)
    (nested / "pipeline.py").write_text("")
    found = load(nested / "pipeline.py", environ={})
    assert found.project_folder == tmp_path.resolve()
    assert found.processors == 3


def test_variables_win(tmp_path: Path) -> None:
    write(tmp_path, 'processors = 3\ntarget = "from-file"\nstore = "sqlite:///a.db"')
    home = tmp_path / "elsewhere"
    environ = {
        "PYDAG_PROCESSORS": "5",
        "PYDAG_TARGET": "from-env",
        "PYDAG_STORE": "sqlite:///b.db",
        "PYDAG_HOME": str(home),
    }
    found = load(tmp_path, environ=environ)
    assert (found.processors, found.target_name, found.store_url) == (5, "from-env", "sqlite:///b.db")
    assert found.home == home.resolve()


def test_a_table_per_target(tmp_path: Path) -> None:
    write(tmp_path, '[targets.my-project]\nlocation = "EU"\ncredentials = "key.json"\ncreate_datasets = true\n')
    target = load(tmp_path, environ={}).target("my-project", environ={})
    assert (target.project, target.location, target.create_datasets) == ("my-project", "EU", True)
    assert target.credentials == str(tmp_path.resolve() / "key.json")
    assert not target.is_local


def test_local_is_local_whatever_google_cloud_project_says(tmp_path: Path) -> None:
    target = load(tmp_path, environ={}).target(environ={"GOOGLE_CLOUD_PROJECT": "production"})
    assert (target.name, target.project) == ("local", "pydag-local")
    assert target.create_datasets
    assert target.is_local


def test_emulator_variables_say_where_the_local_cloud_is(tmp_path: Path) -> None:
    target = load(tmp_path, environ={}).target(environ=EMULATORS)
    assert target.endpoints is not None
    assert target.endpoints.bigquery == "http://127.0.0.1:1"
    assert target.endpoints.storage == "http://127.0.0.1:2"
    assert target.endpoints.dataproc == "127.0.0.1:3"


def test_a_real_target_beside_emulator_variables_is_refused(tmp_path: Path) -> None:
    # else half of the calls would go to each
    with pytest.raises(SettingsError, match=r"target 'my-project' is a real project, but .* is set; unset it"):
        load(tmp_path, environ={}).target("my-project", environ=EMULATORS)


def test_half_of_the_emulator_variables_is_refused(tmp_path: Path) -> None:
    some = {"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1"}
    with pytest.raises(SettingsError, match="BIGQUERY_EMULATOR_HOST is set, but not DATAPROC_EMULATOR_HOST, STORAGE"):
        load(tmp_path, environ={}).target(environ=some)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("processors = 0", r"pydag.toml: field 'processors': .*greater than or equal to 1, got 0"),
        ('processors = "many"', r"field 'processors': .*valid integer.*, got 'many'"),
        ("procesors = 3", r"field 'procesors': no such setting; did you mean 'processors'\?"),
        (
            "[targets.x]\nlocaton = 'EU'",
            r"field 'targets.x.localon'|field 'targets.x.locaton': no such setting; did you",
        ),
        ("[spark]\nx = 1", r"field 'spark.x': .*valid string, got 1"),
        ("spark = 'x'", r"field 'spark': .*valid dictionary, got 'x'"),
        ("home = 'x'", r"field 'home': no such setting"),
        ("= 3", r"pydag.toml: cannot be read: "),
    ],
)
def test_wrong_settings_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(SettingsError, match=message):
        load(tmp_path, environ={})


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"PYDAG_PROCESSORS: field 'processors'"):
        load(tmp_path, environ={"PYDAG_PROCESSORS": "many"})


def test_what_spark_scripts_of_2022_are_given(tmp_path: Path) -> None:
    write(tmp_path, '[spark]\nspark.jars = "gs://a/b.jar"\ntemporaryGcsBucket = "c"\n"A.b" = "d"\n')

    given = load(tmp_path, environ={}).spark

    assert given == {"spark.jars": "gs://a/b.jar", "temporarygcsbucket": "c", "a.b": "d"}


def test_a_pipeline_written_for_one_project_runs_there_or_locally(tmp_path: Path) -> None:
    write(tmp_path, '[targets.prod]\nproject = "acme-1"\n')
    loaded = load(tmp_path, environ={})

    assert loaded.target("local", environ={}, written_for="acme-1").project == "acme-1"
    assert loaded.target("prod", environ={}, written_for="acme-1").project == "acme-1"
    with pytest.raises(SettingsError, match="target 'other' is project 'other', but the pipeline is written for"):
        loaded.target("other", environ={}, written_for="acme-1")
