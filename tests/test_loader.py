"""Pipelines from files, and all that can be wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pydag_gcp.errors import DefinitionError
from pydag_gcp.loader import find, load

HEADER = """
from pydag_gcp.dag import DAG
from pydag_gcp.operator import Operator
class Nothing(Operator):
    def execute(self, ctx): return None
"""
GOOD = HEADER + "with DAG('good') as dag:\n    Nothing(task_id='a')\n"

BROKEN = {
    "syntax": (HEADER + "with DAG('x') as dag\n", r"p.py:6: SyntaxError: expected ':'"),
    "indent": ("x = 1\n  y = 2\n", r"p.py:2: IndentationError: unexpected indent"),
    "name": (HEADER + "Nothign(task_id='a')\n", r"p.py:6: NameError: name 'Nothign' is not defined"),
    "import": ("import no_such_module\n", r"p.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
    "no dag": ("x = 1\n", r"p.py: defines no DAG; write `with DAG"),
    "two dags": (GOOD + "with DAG('other') as d2:\n    Nothing(task_id='b')\n",
                 r"p.py: defines 2 DAGs: 'good', 'other'"),
    "no tasks": (HEADER + "dag = DAG('empty')\n", r"p.py:6: DAG 'empty': has no tasks"),
    "field": (HEADER + "with DAG('x') as dag:\n    Nothing(task_id='a', tmeout=3)\n",
              r"p.py:7: task 'a': field 'tmeout': no such field; did you mean 'timeout'\?"),
    "type": (HEADER + "with DAG('x') as dag:\n    Nothing(task_id='a', slots='two')\n",
             r"p.py:7: task 'a': field 'slots': "),
    "cycle": (HEADER + "with DAG('x') as dag:\n    a = Nothing(task_id='a'); b = Nothing(task_id='b'); a >> b >> a\n",
              r"DAG 'x': has a cycle: (a -> b -> a|b -> a -> b)"),
    "exit": (HEADER + "raise SystemExit(3)\n", r"p.py:6: exits while it is loaded; put dag.cli\(\) below"),
    "null": ("x = 1\0\n", r"p.py.*: .*null byte"),
    "deep": ("def f(): return f()\nf()\n", r"p.py:1: RecursionError"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pipeline_is_one_line_that_names_the_place(name: str, project: Path) -> None:
    text, message = BROKEN[name]
    Path("p.py").write_text(text)
    with pytest.raises(DefinitionError, match=message) as caught:
        load(Path("p.py"))
    assert "\n" not in str(caught.value)


def test_a_binary_file_is_refused(project: Path) -> None:
    Path("p.py").write_bytes(bytes(range(256)))
    with pytest.raises(DefinitionError, match=r"p.py"):
        load(Path("p.py"))


def test_a_good_one_is_loaded_and_may_import_its_neighbours(project: Path) -> None:
    Path("neighbour.py").write_text("NAME = 'a'")
    Path("p.py").write_text(GOOD.replace("'a'", "__import__('neighbour').NAME"))
    before = list(sys.path)
    dag = load(Path("p.py"))
    assert list(dag.tasks) == ["a"]
    assert dag.file == Path("p.py")
    assert sys.path == before


def test_pipelines_are_found_by_path_and_by_name(project: Path) -> None:
    Path("pipelines").mkdir()
    Path("pipelines/daily.py").write_text(GOOD)
    assert find("daily") == Path("pipelines/daily.py")
    assert find("pipelines/daily.py") == Path("pipelines/daily.py")
    with pytest.raises(DefinitionError, match=r"no pipeline 'dayly' in pipelines/; did you mean 'daily'\?"):
        find("dayly")
    with pytest.raises(DefinitionError, match=r"pipelines/dayly.py: no such file; did you mean 'daily.py'\?"):
        find("pipelines/dayly.py")


def test_a_file_of_another_kind_is_refused(project: Path) -> None:
    Path("x.txt").write_text("")
    with pytest.raises(DefinitionError, match=r"x.txt: is no pipeline: cannot load .txt"):
        load(find("x.txt"))
    with pytest.raises(DefinitionError, match="is no pipeline"):
        load(Path())
