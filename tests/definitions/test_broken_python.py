"""Broken Python pipelines: loaded by the command, or run as scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.definitions.conftest import Refused

HEADER = """\
from pydag_gcp import DAG, Cluster, Retry, Table
from pydag_gcp.operators import BigQueryQuery, DataprocCreateCluster
"""


def pipeline(*lines: str) -> str:
    """A pipeline whose fourth line is the first one given."""
    return HEADER + "with DAG('good') as dag:\n" + "".join(f"    {line}\n" for line in lines)


GOOD = pipeline("BigQueryQuery(task_id='a', sql='SELECT 1 AS x')")

BROKEN = {
    "nothing": ("", r"p.py: defines no DAG"),
    "a syntax error": ("with DAG('x') as dag\n", r"p.py:1: SyntaxError: expected ':'"),
    "an indentation": ("x = 1\n  y = 2\n", r"p.py:2: IndentationError: unexpected indent"),
    "tabs and spaces": ("if 1:\n\tx = 1\n        y = 2\n", r"p.py:3: TabError"),
    "an exit": ("import sys\nsys.exit(0)\n", r"p.py:2: exits while it is loaded"),
    "an exit with a text": ("raise SystemExit('bye')\n", r"p.py:1: exits while it is loaded"),
    "an error": ("1 / 0\n", r"p.py:1: ZeroDivisionError: division by zero"),
    "an error of many lines": ("raise ValueError('a\\nb\\nc')\n", r"p.py:1: ValueError: a$"),
    "an error that cannot be told": (
        "class Mute(Exception):\n    def __str__(self): raise KeyError\nraise Mute\n", r"p.py:3: .*Mute: <exception"),
    "an error without a message": ("raise RuntimeError\n", r"p.py:1: RuntimeError"),
    "an error that is none of Python's": ("class Odd(BaseException): pass\nraise Odd('x')\n", r"p.py:2: .*Odd: x"),
    "escapes in an error": ("raise ValueError('\\x1b[2Jgone')\n", r"p.py:1: ValueError: \\x1b\[2Jgone"),
    "an import": ("import no_such_module\n", r"p.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
    "an import of a name": ("from pydag_gcp import DAGG\n", r"p.py:1: ImportError: .*'DAGG'.*[Dd]id you mean:? 'DAG'"),
    "an import of an operator": (
        "from pydag_gcp.operators import BigQueryQery\n", r"p.py:1: ImportError: .*[Dd]id you mean:? 'BigQueryQuery'"),
    "recursion": ("def f(): f()\nf()\n", r"p.py:1: RecursionError"),
    "brackets": ("(" * 100_000, r"p.py:1: SyntaxError: too many nested parentheses"),
    "operators": ("x = " + "-" * 100_000 + "1\n", r"p.py"),
    "a NUL": ("x = 1\0\n", r"p.py.*null bytes"),
    "an encoding": ("# coding: nonsense\n", r"p.py.*nonsense"),
    "two DAGs": (GOOD + "with DAG('other') as other:\n    pass\n", r"p.py: defines 2 DAGs: 'good', 'other'"),
    "no tasks": ("from pydag_gcp import DAG\ndag = DAG('x')\n", r"p.py:2: DAG 'x': has no tasks"),
    "a DAG in a DAG's place": ("dag = 'x'\n", r"p.py: defines no DAG"),
    "a dag id": ("from pydag_gcp import DAG\ndag = DAG('a/b')\n", r"p.py:2: DAG 'a/b': dag_id must be a letter"),
    "a DAG's argument": (
        "from pydag_gcp import DAG\ndag = DAG('a', shedule=None)\n", r"p.py:2: .*[Dd]id you mean 'schedule'"),
    "an edge to a name": (
        pipeline("a = BigQueryQuery(task_id='a', sql='SELECT 1')", "a >> 'b'"), r"p.py:5: 'b' is no task; join tasks"),
    "an edge to a function": (
        "from pydag_gcp import task\n@task\ndef f(): pass\n" + pipeline(
            "a = BigQueryQuery(task_id='a', sql='SELECT 1')", "a >> f"), r"p.py:8: f is no task; call it: f\(\)"),
    "a changed task": (
        pipeline("a = BigQueryQuery(task_id='a', sql='SELECT 1')", "a.sql = 'SELECT 2'"),
        r"p.py:5: BigQueryQuery: field 'sql': instance is frozen"),
    "an unknown unit of time": (
        pipeline("BigQueryQuery(task_id='a', sql='SELECT 1', timeout={'minuts': 5})"),
        r"p.py:4: .*'timeout': expected a mapping of .*, got {'minuts': 5}; did you mean 'minutes'\?$"),
    "a negative time": (
        pipeline("BigQueryQuery(task_id='a', sql='SELECT 1', timeout=-5)"), r"'timeout': .* got -5 seconds$"),
    "an error that is misspelt": (
        "from pydag_gcp import Retry\nRetry(on=['TimeOutError'])\n",
        r"'on.0': no error 'TimeOutError' that can be tried again; did you mean 'TimeoutError'\?$"),
    "an error that nobody can try again": (
        "from pydag_gcp import Retry\nRetry(on=['KeyboardInterrupt'])\n",
        r"no error 'KeyboardInterrupt' that can be tried again; name one of"),
    "a bad cron": ("from pydag_gcp import DAG\ndag = DAG('a', schedule='daily')\n", r"p.py:2: .*'daily' is no cron"),
    "a retry": ("from pydag_gcp import Retry\nRetry(attempts=-1)\n", r"p.py:2: Retry: field 'attempts': .*got -1"),
    "a retry's name": ("from pydag_gcp import Retry\nRetry(tries=3)\n", r"p.py:2: Retry: field 'tries': no such field"),
    "a table": ("from pydag_gcp import Table\nTable('a b.c.d.e')\n", r"p.py:2: Table: field 'table': expected a table"),
    "a cluster": ("from pydag_gcp import Cluster\nCluster('X')\n", r"p.py:2: Cluster: field 'name': expected lower-ca"),
    "a cluster's argument": (
        "from pydag_gcp import Cluster\nCluster('x', reigon='us-central1')\n",
        r"p.py:2: Cluster: field 'reigon': no such field; did you mean 'region'"),
    "a field": (pipeline("BigQueryQuery(task_id='a', sqll='x')"), r"p.py:4: task 'a': field 'sqll': no such field; di"),
    "a type": (pipeline("BigQueryQuery(task_id='a', sql=['x'])"), r"p.py:4: task 'a': field 'sql': .*got \['x'\]"),
    "a trigger rule": (
        pipeline("BigQueryQuery(task_id='a', sql='SELECT 1', trigger_rule='all_dun')"), r"p.py:4: .*mean 'all_done'"),
    "a task id": (pipeline("BigQueryQuery(task_id='a.b', sql='SELECT 1')"), r"p.py:4: task 'a.b': field 'task_id': 'a"),
    "a duplicate task": (
        pipeline(*["BigQueryQuery(task_id='a', sql='SELECT 1')"] * 2), r"p.py:5: task 'a': another task has this id"),
    "a cycle": (pipeline("a = BigQueryQuery(task_id='a', sql='SELECT 1')", "a >> a"), r"p.py:3: DAG 'good': has a cyc"),
    "a missing SQL file": (pipeline("BigQueryQuery(task_id='a', sql='none.sql')"), r"p.py:4: task 'a': .*none\.sql"),
    "an edge to a text": (pipeline("BigQueryQuery(task_id='a', sql='SELECT 1') >> ['b']"), r"p.py:4: "),
    "a script's end outside of its guard": (GOOD + "dag.cli()\n", r"p.py:5: DAG 'good' is run while it is loaded"),
    "a run while it is loaded": (GOOD + "dag.run()\n", r"p.py:5: DAG 'good' is run while it is loaded"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_is_one_line_with_its_place(case: str, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    text, message = BROKEN[case]
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    Path("p.py").write_text(text)

    refused("p.py", message)


def test_a_syntax_error_is_underlined(refused: Refused) -> None:
    Path("p.py").write_text("x = 1\nwith open('x') as 1:\n    pass\n")

    assert refused("p.py", "p.py:2: SyntaxError").splitlines()[2].endswith("^")


SCRIPTS = {
    "a field": (
        pipeline("BigQueryQuery(task_id='a', sqll='x')"),
        "p.py:4: task 'a': field 'sqll': no such field; did ",
    ),
    "a table before there is a DAG": (
        HEADER + "FACT = Table('x y.z.a.b')\n",
        "p.py:3: Table: field 'table': expected ",
    ),
    "a DAG": (HEADER + "dag = DAG('a b')\n", "p.py:3: DAG 'a b': dag_id must be "),
    "a cycle that is found later": (
        pipeline("a = BigQueryQuery(task_id='a', sql='SELECT 1')", "a >> a") + "dag.run()\n",
        "p.py:3: DAG 'good': has a cycle: a -> a; ",
    ),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_script_tells_it_in_one_line_too(case: str, project: Path) -> None:
    text, message = SCRIPTS[case]
    Path("p.py").write_text(text)

    done = subprocess.run([sys.executable, "p.py"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {project}/{message}" if done.stderr[7] == "/" else f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_other_errors_of_a_script_are_pythons(project: Path) -> None:
    Path("p.py").write_text(GOOD + "1 / 0\n")

    done = subprocess.run([sys.executable, "p.py"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_other_hooks_of_a_script_see_other_errors(project: Path) -> None:
    hook = "import sys\nsys.excepthook = lambda kind, *_: print('mine', kind.__name__)\n"
    for last, code, out in (("1 / 0", 1, "mine ZeroDivisionError\n"), ("DAG('a b')", 2, "")):
        Path("p.py").write_text(hook + GOOD + last)

        done = subprocess.run([sys.executable, "p.py"], capture_output=True, text=True, check=False)

        assert (done.returncode, done.stdout) == (code, out)
