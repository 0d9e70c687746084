"""Runs that use secrets, however they end: the values are found in nothing that they leave behind."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

PYDAG = str(Path(sys.executable).with_name("pydag"))

LOGIN = "s3cr3t/\"v4lue'\\ \u00fc+x"
KEY = "-----BEGIN THING-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAo\n-----END THING-----\n"

PIPELINE = """
import base64, json, logging, sys, time
from pathlib import Path
from urllib.parse import quote
from pydag_gcp import DAG, Context, Secret, task

def log_everything(ctx, login, key):
    for text in (login, key, repr(login), json.dumps({"login": login, "key": key}), quote(login, safe="")):
        ctx.log.info("using %s", text)
        ctx.log.debug("as bytes: %r", text.encode())
    ctx.log.warning("basic %s", base64.b64encode(f"ann:{login}".encode()).decode())
    for line in key.splitlines():
        ctx.log.info("%s", line)
    return {"login": login, "keys": [key, {login: "as a key"}], "dsn": f"postgres://ann:{login}@host/db"}

@task
def use(ctx: Context, login: str, key: str) -> dict:
    return log_everything(ctx, login, key)

@task
def fail(ctx: Context, login: str, keys: list[str]) -> None:
    log_everything(ctx, login, keys[0])
    try:
        raise ConnectionError(f"host refused {login!r}")
    except ConnectionError as error:
        raise ValueError({"login": login, "key": keys[0], "dsn": "ann:" + quote(login)}) from error

@task(timeout=0.3)
def hang(ctx: Context, login: str, key: str) -> None:
    log_everything(ctx, login, key)
    time.sleep(2)
    raise ValueError(login)

@task
def wait(ctx: Context, login: str, key: str) -> None:
    log_everything(ctx, login, key)
    Path("waits").touch()
    time.sleep(2)

@task
def wrong(login: int) -> None: ...

@task
def passes_it_on(result: dict, login: str) -> None:
    assert result["login"] == login, "the real value is passed on"

with DAG("leaks") as dag:
    login, key = Secret("env:DB_LOGIN"), Secret("sm:key")
    END
"""

ENDS = {
    "success": "passes_it_on(use(login, key), login)",
    "failed": "fail(login, [key])",
    "of the wrong type": "wrong(login)",
    "timed out": "hang(login, key)",
}


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project with a pipeline, a local cloud, and two secrets."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DB_LOGIN": LOGIN}

    def pydag(self, *words: str, value: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PYDAG, *words], cwd=self.folder, env=self.environment, input=value, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    def write(self, end: str) -> None:
        (self.folder / "pipeline.py").write_text(PIPELINE.replace("END", end))

    def left(self) -> Iterator[tuple[Path, bytes]]:
        """Everything in .pydag but what Secret Manager itself keeps."""
        for file in (self.folder / ".pydag").rglob("*"):
            if file.is_file() and "secretmanager" not in file.parts:
                yield file, file.read_bytes()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("leaks")
    (folder / "pydag.toml").write_text("")
    project = Project(folder=folder)
    stored = project.pydag("local", "secret", "set", "key", value=KEY)
    assert (stored.returncode, stored.stdout) == (0, "secret key: stored version 1; name it as sm:key\n"), stored.stderr
    yield project
    project.pydag("local", "down")


def traces() -> list[bytes]:
    """What must be found nowhere: the values in every way that a text may hold them."""
    lines = [line for line in KEY.splitlines() if not line.startswith("-")]
    found = [LOGIN, KEY, KEY.strip(), *lines]
    texts = [
        text
        for value in found
        for text in (value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""), quote(value))
    ]
    encoded = [base64.b64encode(value.encode()).rstrip(b"=")[:-1] for value in found]
    basic = base64.b64encode(f"ann:{LOGIN}".encode())[8:-4]
    return [*(text.encode() for text in texts), *encoded, basic, b"s3cr3t", b"v4lue"]


def assert_clean(project: Project, *outputs: str) -> None:
    """Look for the values everywhere."""
    for trace in traces():
        for output in outputs:
            assert trace not in output.encode()
        for file, content in project.left():
            assert trace not in content, file


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("as_json", [["--json"], []], ids=["json", "text"])
def test_a_run_leaves_no_secret_behind(project: Project, end: str, as_json: list[str]) -> None:
    # Given a pipeline that logs, returns and raises secrets
    project.write(ENDS[end])

    # When it runs
    ended = project.pydag("run", "pipeline.py", *as_json)

    # Then the secrets did their work and left no trace
    assert ended.returncode == int(end != "success"), ended.stderr
    assert_clean(project, ended.stdout, ended.stderr)
    logs = [content for file, content in project.left() if file.suffix == ".log" and "leaks" in file.parts]
    assert end == "of the wrong type" or any(b"using [redacted]" in content for content in logs)
    assert "[redacted]" in ended.stdout + ended.stderr or end == "timed out" or not as_json


def test_a_run_that_is_interrupted_leaves_no_secret_behind(project: Project) -> None:
    project.write("wait(login, key)")
    command = [PYDAG, "run", "pipeline.py", "--json"]
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (project.folder / "waits").exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert_clean(project, out, err)


def test_a_bug_of_ours_leaves_no_secret_behind(project: Project) -> None:
    # Given a plan that fails in a way nobody foresaw, after a secret was looked up
    project.write("use(login, key)")
    broken = (
        "import sys; from pydag_gcp import cli, ledger\n"
        "def start(*_, **__): raise RuntimeError('broken: ' + __import__('os').environ['DB_LOGIN'])\n"
        "ledger.Ledger.start = start\nsys.exit(cli.main(['run', 'pipeline.py']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", broken], cwd=project.folder, env=project.environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "internal error: RuntimeError: broken: [redacted]" in ended.stderr
    details = Path(ended.stderr.partition("(details: ")[2].rstrip(")\n"))
    assert "broken: [redacted]" in details.read_text()
    assert_clean(project, ended.stderr, details.read_text())
    details.unlink()


def test_a_value_is_never_an_argument(project: Project) -> None:
    refused = project.pydag("local", "secret", "set", "key", LOGIN)
    assert refused.returncode == 2
    assert "the value is no argument" in refused.stderr
    assert "s3cr3t" not in refused.stderr


def test_the_example_of_the_documentation_runs(project: Project) -> None:
    # Given the pipeline that docs/secrets.md shows, and its secret
    text = (Path(__file__).parents[1] / "docs" / "secrets.md").read_text(encoding="utf-8")
    (project.folder / "pipeline.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    missing = project.pydag("run", "pipeline.py")
    assert missing.returncode == 1
    assert "store it with `pydag local secret set mail-password`" in missing.stdout
    project.pydag("local", "secret", "set", "mail-password", value=LOGIN)
    listed = project.pydag("local", "secret", "list").stdout

    # When it runs
    ended = project.pydag("run", "pipeline.py", "--json")

    # Then it logs what the document says
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["tasks"]["announce"]["result"] == "told localhost"
    assert any(b"logging in with [redacted]\n" in content for _, content in project.left())
    assert listed == "key  1 version\nmail-password  1 version\n"
    assert_clean(project, ended.stdout, ended.stderr)


def test_what_is_deleted_is_gone(project: Project) -> None:
    project.pydag("local", "secret", "set", "for-a-moment", value="once\n")
    assert project.pydag("local", "secret", "delete", "for-a-moment").stdout == "secret for-a-moment: deleted\n"
    again = project.pydag("local", "secret", "delete", "for-a-moment")
    assert again.returncode == 2
    assert again.stderr.startswith("error: no secret 'for-a-moment' in the local cloud; known: key")


@pytest.mark.parametrize(("value", "said"), [("abc", "at least 4 characters"), ("x" * 70_000, "is larger than 65536")])
def test_what_cannot_be_a_secret_is_refused(project: Project, value: str, said: str) -> None:
    refused = project.pydag("local", "secret", "set", "no", value=value)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr
    assert value not in refused.stderr


def test_secrets_that_are_common_words_leave_the_record_of_the_run_whole(project: Project) -> None:
    # Given secrets that are also the names of something else
    words = {"W1": "upstream", "W2": "tasks", "W3": "operator", "W4": "takes"}
    (project.folder / "word.py").write_text(
        "from pydag_gcp import DAG, Secret, task\n"
        "with DAG('word') as dag:\n"
        "    @task\n"
        "    def gives(words): return 1\n"
        "    @task\n"
        "    def takes(n): return n\n"
        f"    takes(gives([Secret('env:' + name) for name in {[*words]}]))\n"
    )
    ran = subprocess.run(
        [PYDAG, "run", "word.py", "--json"], cwd=project.folder, env={**project.environment, **words},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    # When the run is shown later
    shown = project.pydag("show", json.loads(ran.stdout)["run_id"], "--json")
    # Then its graph is known as ever
    assert shown.returncode == 0, shown.stderr
    assert {name: task["upstream"] for name, task in json.loads(shown.stdout)["tasks"].items()} == {
        "gives": [],
        "takes": ["gives"],
    }
