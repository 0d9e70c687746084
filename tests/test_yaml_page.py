"""What docs/yaml.md shows holds: its documents are right, and the wrong one is told as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from pydag_gcp import cli, schema

TEXT = (Path(__file__).parents[1] / "docs" / "yaml.md").read_text(encoding="utf-8")
BLOCKS = [(match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]
DOCUMENTS = [(language, text) for language, text in BLOCKS if language in {"yaml", "json"}]


def told(language: str, text: str) -> str | None:
    """The error that a page shows right below a document."""
    following = BLOCKS[BLOCKS.index((language, text)) + 1 :]
    return next((after for kind, after in following[:1] if kind == "text" and after.startswith("error: ")), None)


@pytest.mark.parametrize(("language", "text"), DOCUMENTS)
def test_a_document_is_what_the_page_says(
    language: str, text: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = f"pipeline.{language}"
    Path(file).write_text(text)
    error = told(language, text)

    code = cli.main(["validate", file])

    assert (code, capsys.readouterr().err) == ((2, error) if error else (0, ""))
    document = json.loads(text) if language == "json" else yaml.safe_load(text)
    assert Draft202012Validator(schema.pipeline_schema()).is_valid(document) == (error is None)


def test_one_of_them_is_wrong() -> None:
    assert sum(told(language, text) is not None for language, text in DOCUMENTS) == 1


def test_every_argument_of_a_pipeline_is_shown() -> None:
    for name in schema.pipeline_schema()["properties"]:
        assert f"`{name}:" in TEXT, name
