"""The line that something was defined at."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operator import Context, Operator
from pydag_gcp.source import Source, calling_line, defined_at


class Plain(Operator):
    size: int = 0

    def execute(self, ctx: Context) -> Any:
        return None


def test_it_is_the_line_of_the_caller_outside_the_package() -> None:
    line = sys._getframe().f_lineno
    task = Plain(task_id="t")
    assert task.source == Source(file=__file__, line=line + 1)
    assert DAG("d").source.line == line + 3


def test_what_is_read_from_a_document_stands_where_the_document_says() -> None:
    place = Source(file="daily.yaml", line=7)
    with defined_at(place):
        task = Plain(task_id="t")
        with pytest.raises(DefinitionError, match=r"^daily\.yaml:7: task 't': field 'size': "):
            Plain(task_id="t", size="many")
    assert task.source == place
    assert calling_line().file == __file__


def test_a_rendered_copy_stands_at_the_same_line(ctx: Context) -> None:
    task = Plain(task_id="t")
    assert task.rendered(ctx).source == task.source
