"""Log files and redaction."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.logs import Redactor, TryLog

SECRETS = [
    ("ya29.a0AfH6SMBx-y_z", "token ya29.a0AfH6SMBx-y_z used"),
    ("abcdefghijk", "Authorization: Bearer abcdefghijk"),
    ("user:pa55", "postgresql://user:pa55@host/db"),
    ("s3cret", "connect password=s3cret;"),
    ("MIIEvQ", "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"),
    ("MIIEvQ", "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQ cut off"),
]


@pytest.mark.parametrize(("secret", "text"), SECRETS)
def test_well_known_shapes_are_redacted(secret: str, text: str) -> None:
    assert secret in text
    assert secret not in Redactor({})(text)


@pytest.mark.parametrize("text", ["gs://bucket/a:b", "http://127.0.0.1:8080/x", "rows: 7, token count 8", "12:30:01"])
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
