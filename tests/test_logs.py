"""Log files and redaction."""

from __future__ import annotations

import logging
import re
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import TaskError
from pydag_gcp.logs import RunLogs, TryLog
from pydag_gcp.redaction import Redactor

SECRETS = [
    ("ya29.a0AfH6SMBx-y_z", "token ya29.a0AfH6SMBx-y_z used"),
    ("abcdefghijk", "Authorization: Bearer abcdefghijk"),
    ("user:pa55", "postgresql://user:pa55@host/db"),
    ("s3cret", "connect password=s3cret;"),
    ("MIIEvQ", "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"),
    ("MIIEvQ", "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQ cut off"),
    ("s3cretpw", "redis://:s3cretpw@host:6379/0"),
    ("pa/55", "postgresql://user:pa/55@host/db"),
    ("p@55", "postgresql://user:p@55@host/db"),
    ("hunter2", '{"password": "hunter2", "port": 1}'),
    ("hunter2", "{'token': 'hunter2'}"),
    ("hunter2", '{"client_secret":"hunter2"}'),
    ("hun\\'ter2", r"{'api_key': 'hun\'ter2'}"),
    ("hunter2", r'"{\"password\": \"hunter2\"}"'),
    ("hunter2", '{"password": "hunter2 cut off'),
    ("hunter two", "password='hunter two' user=x"),
    ("dXNlcjpwYXNz", "Authorization: Basic dXNlcjpwYXNz"),
    ("dXNlcjpwYXNz", "{'Authorization': 'Basic dXNlcjpwYXNz'}"),
]

ORDINARY = [
    "gs://bucket/a:b",
    "http://127.0.0.1:8080/x",
    "http://127.0.0.1:8080/people/ann@example.com",
    "http://[::1]:8080/ann@example.com",
    "https://example.com/@ann",
    "ann@example.com read gs://bucket/a and gs://bucket/b",
    "rows: 7, token count 8",
    '{"token_count": 8, "tokenizer": "words"}',
    "wrong password: try again",
    "Authorization: Basic",
    "basic authentication",
    "12:30:01",
]


@pytest.mark.parametrize(("secret", "text"), SECRETS)
def test_well_known_shapes_are_redacted(secret: str, text: str) -> None:
    assert secret in text
    assert secret not in Redactor({})(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor({})(text) == text


@given(st.text(min_size=6), st.text(), st.text())
def test_values_of_telling_variables_never_pass(secret: str, before: str, after: str) -> None:
    redact = Redactor({"API_KEY": secret, "HOME": "/root", "SHORT_TOKEN": "abc"})
    assert secret not in redact(before + secret + after).replace("[redacted]", "")


def test_a_file_appears_with_the_first_line(tmp_path: Path) -> None:
    log = TryLog(tmp_path / "dag" / "run" / "task" / "1.log", Redactor({}))
    assert not log.file.parent.exists()
    log.logger.info("rows %d", 7)
    log.close()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO rows 7\n", log.file.read_text())


def test_what_stands_around_a_secret_stays() -> None:
    redact = Redactor({})
    assert redact('{"password": "x", "port": 1}') == '{"password": "[redacted]", "port": 1}'
    assert redact("redis://:x@host/0") == "redis://[redacted]@host/0"
    assert redact("Authorization: Basic eA==; next") == "Authorization: Basic [redacted]; next"


def logged(folder: Path, *lines: str) -> list[str]:
    log = TryLog(folder / "1.log", Redactor({}))
    for line in lines:
        log.logger.info("%s", line)
    return [line.split(" ", 2)[2] for line in log.file.read_text().splitlines()]


def test_a_key_that_comes_line_by_line_is_redacted(tmp_path: Path) -> None:
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"

    lines = logged(tmp_path, "before", f"key: {begin}", "MIIEvQ", "abc=", f"{end} after", "MIIEvQ is free again")

    assert lines == [
        "before",
        "key: [redacted]",
        "[redacted]",
        "[redacted]",
        "[redacted] after",
        "MIIEvQ is free again",
    ]


def test_a_key_that_never_ends_does_not_hide_the_log_for_ever(tmp_path: Path) -> None:
    lines = logged(tmp_path, "expected -----BEGIN PRIVATE KEY-----", *["line"] * 300)

    assert lines[-1] == "line"


def test_many_logs_hold_no_file_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 16, hard))
    try:
        logs = [TryLog(tmp_path / f"{number}.log", Redactor({})) for number in range(100)]
        for log in logs * 2:
            log.logger.info("line")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(len(log.file.read_text().splitlines()) == 2 for log in logs)


def test_a_log_that_cannot_be_written_is_told_once_and_never_raises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")

    for task in ("a", "b"):
        log = TryLog(tmp_path / "run" / task / "1.log", Redactor({}))
        log.logger.info("line")
        log.logger.info("line")

    assert capsys.readouterr().err == f"warning: logs in {tmp_path / 'run'} are incomplete: Not a directory\n"


def test_a_full_disk_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.log").symlink_to("/dev/full")

    TryLog(tmp_path / "1.log", Redactor({})).logger.info("line")

    assert "No space left on device" in capsys.readouterr().err


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_what_cannot_be_formatted_never_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = TryLog(tmp_path / "t" / "1.log", Redactor({}))
    log.logger.info("rows %d", "seven")
    log.logger.info("%s", Unprintable())
    log.logger.info("cut \udcff")

    lines = log.file.read_text().splitlines()

    assert [line.split(" ", 2)[2] for line in lines] == ["rows %d ('seven',)", "cut \\udcff"]
    assert "Traceback" not in capsys.readouterr().err


def test_what_comes_after_the_end_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = TryLog(tmp_path / "1.log", Redactor({}))
    log.close()
    log.logger.log(logging.ERROR, "late")
    assert not log.file.exists()


def test_a_try_that_logs_nothing_makes_nothing_and_one_that_has_ended_is_not_heard_any_more(tmp_path: Path) -> None:
    # Given a run whose second try of a task goes on
    made: list[tuple[str, int]] = []

    def also(task_id: str, number: int) -> logging.Handler:
        made.append((task_id, number))
        return logging.NullHandler()

    logs = RunLogs(tmp_path, Redactor({}), also, lambda _, number: number < 2)
    logs.close("a", 1)
    assert made == []
    # When the late thread of the first one logs, and the second one before and after its end
    logs.of("a", 1).info("too late")
    second = logs.of("a", 2)
    second.info("in time")
    logs.close("a", 2)
    second.info("too late")
    # Then only what came in time is there
    assert made == [("a", 1), ("a", 2)]
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.log")] == ["a/2.log"]
    assert "too late" not in (tmp_path / "a" / "2.log").read_text()


def test_secrets_within_a_value_are_redacted_by_what_they_are_and_by_their_name() -> None:
    redact = Redactor({"DB_PASSWORD": "hunter2-hunter2"})
    value = {"url": "x hunter2-hunter2", "deep": [{"api_key": "abc", "tokens": 7}], "n": 1}
    assert redact.within(value) == {"url": "x [redacted]", "deep": [{"api_key": "[redacted]", "tokens": 7}], "n": 1}


def test_an_error_is_said_in_one_line() -> None:
    redact = Redactor({"DB_PASSWORD": "two  spaces"})
    assert redact.said(ValueError("a\n b two  spaces \udcff")) == "ValueError: a b [redacted] \\udcff"
    assert redact.said(KeyError()) == "KeyError"
    assert redact.said(TaskError("what", hint="mend")) == "what; mend"
