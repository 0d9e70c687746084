"""The pages that come from the code are what the code says now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pydag_gcp import operators
from pydag_gcp.operator import Operator

DOCS = Path(__file__).parent.parent / "docs"
PAGES: dict[Path, str] = runpy.run_path(str(DOCS / "generate.py"))["pages"]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page], "say `make docs`"


@pytest.mark.parametrize("name", operators.__all__)
def test_every_field_is_described(name: str) -> None:
    kind = getattr(operators, name)
    text = PAGES[DOCS / "operators.md"].split(f"# {name}\n")[1].split("\n#")[0]

    for field, info in kind.model_fields.items():
        assert info.description, field
        if field not in Operator.model_fields:
            assert f"| `{info.alias or field}` |" in text
