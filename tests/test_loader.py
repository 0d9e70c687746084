"""Pipelines from files, and all that can be wrong with them."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from pydag_gcp.errors import DefinitionError
from pydag_gcp.loader import find, load
from pydag_gcp.operator import Context

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


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).endswith(("p.py", "names.py", "late.py")):
            del sys.modules[name]


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
    dag = load(Path("p.py"))
    assert list(dag.tasks) == ["a"]
    assert dag.file == Path("p.py")


MODELS = """
from __future__ import annotations
import dataclasses, typing
from pydantic import BaseModel
@dataclasses.dataclass
class Pair:
    left: typing.ClassVar[int] = 1
    right: int = 2
class Later(Operator):
    model: Model | None = None
    def execute(self, ctx): return [field.name for field in dataclasses.fields(Pair)]
class Model(BaseModel):
    size: int
"""


def test_annotations_of_a_pipeline_are_resolved(project: Path, ctx: Context) -> None:
    header, models = HEADER, MODELS.replace("from __future__ import annotations\n", "")
    text = "from __future__ import annotations\n" + header + models + "with DAG('x') as dag:\n"
    Path("p.py").write_text(text + "    Later(task_id='a', model=Model(size=1))\n")

    task = load(Path("p.py")).tasks["a"]

    assert sys.modules[type(task).__module__].__file__ == str(project / "p.py")
    assert typing.get_type_hints(type(task).execute) == {}
    assert task.execute(ctx) == ["right"]


def test_every_pipeline_has_its_own_neighbours(project: Path, ctx: Context) -> None:
    pipeline = f"""{HEADER}
import names
class Lazy(Operator):
    def execute(self, ctx):
        import late, package.part
        return late.NAME + package.part.NAME
with DAG(names.NAME) as dag:
    Lazy(task_id='a')
"""
    for folder in ("one", "two"):
        Path(folder, "package").mkdir(parents=True)
        Path(folder, "p.py").write_text(pipeline)
        for neighbour in ("names", "late", "package/part"):
            Path(folder, f"{neighbour}.py").write_text(f"NAME = '{folder}'")

    results = []
    for folder in ("one", "two", "one"):
        dag = load(Path(folder, "p.py"))
        results.append((dag.dag_id, dag.tasks["a"].execute(ctx)))

    assert results == [("one", "oneone"), ("two", "twotwo"), ("one", "oneone")]
    assert str(project / "two") not in sys.path
    assert str(project / "one") in sys.path


def test_modules_of_others_stay(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that lie below a pipeline's folder, as a virtual environment in the project does."""
    for folder in ("site", "other"):
        Path(folder).mkdir()
    Path("site/installed_thing.py").write_text("")
    Path("p.py").write_text("import installed_thing\n" + GOOD)
    Path("other/p.py").write_text(GOOD)
    monkeypatch.syspath_prepend(str(project / "site"))
    load(Path("p.py"))
    before = sys.modules["installed_thing"]

    load(Path("other/p.py"))

    assert sys.modules["installed_thing"] is before


def test_a_pipeline_that_fails_leaves_no_module(project: Path) -> None:
    Path("failing.py").write_text("1 / 0")
    with pytest.raises(DefinitionError):
        load(Path("failing.py"))
    assert not [name for name in sys.modules if "failing" in name]


def test_pipelines_are_found_by_path_and_by_name(project: Path) -> None:
    Path("pipelines").mkdir()
    Path("pipelines/daily.py").write_text(GOOD)
    assert find("daily") == Path("pipelines/daily.py")
    assert find("pipelines/daily.py") == Path("pipelines/daily.py")
    with pytest.raises(DefinitionError, match=r"no pipeline 'dayly' in pipelines/; did you mean 'daily'\?"):
        find("dayly")
    with pytest.raises(DefinitionError, match=r"pipelines/dayly.py: no such file; did you mean 'daily.py'\?"):
        find("pipelines/dayly.py")


def test_pipelines_are_found_by_the_id_of_their_dag(project: Path) -> None:
    Path("pipelines").mkdir()
    Path("pipelines/a.py").write_text(
        "raise AssertionError('executed')\n" + GOOD.replace("DAG('good')", "DAG('in_python')")
    )
    Path("pipelines/b.yaml").write_text("dag: in_yaml")
    Path("pipelines/c.json").write_text('{"dag": {"dag_id": "in_2022"}}')
    Path("pipelines/d.yml").write_text("dag: [broken")
    Path("pipelines/e.py").write_text("broken (")

    found = {name: find(name).name for name in ("in_python", "in_yaml", "in_2022", "d", "e")}

    assert found == {"in_python": "a.py", "in_yaml": "b.yaml", "in_2022": "c.json", "d": "d.yml", "e": "e.py"}


def test_the_name_of_a_file_goes_before_an_id(project: Path) -> None:
    Path("pipelines").mkdir()
    Path("pipelines/daily.yaml").write_text("dag: hourly")
    Path("pipelines/hourly.yaml").write_text("dag: daily")
    assert find("daily") == Path("pipelines/daily.yaml")


def test_a_name_that_several_have_is_refused(project: Path) -> None:
    Path("pipelines").mkdir()
    for name in ("a", "b"):
        Path(f"pipelines/{name}.yaml").write_text("dag: same")
    with pytest.raises(DefinitionError, match=r"^'same' may be pipelines/a.yaml and pipelines/b.yaml; give the path"):
        find("same")


def test_a_pipeline_in_python_and_in_yaml_is_the_one_in_python(project: Path) -> None:
    Path("pipelines").mkdir()
    for ending in ("json", "py", "yaml"):
        Path(f"pipelines/daily.{ending}").write_text("")
    assert find("daily") == Path("pipelines/daily.py")


def test_a_file_of_another_kind_is_refused(project: Path) -> None:
    Path("x.txt").write_text("")
    with pytest.raises(DefinitionError, match=r"x.txt: is no pipeline: cannot load .txt"):
        load(find("x.txt"))
    with pytest.raises(DefinitionError, match=r"\.: is no file; name a pipeline inside this folder"):
        load(Path())
