"""Functions: another one wherever their project's code, or what they are given, may make them do another thing."""

from __future__ import annotations

import contextlib
import enum
import functools
import os
import re
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import Cluster, Context, Retry, Table, fingerprint, task
from pydag_gcp.canonical import text
from pydag_gcp.code_identity import identify
from pydag_gcp.dag import DAG
from pydag_gcp.loader import load
from pydag_gcp.operator import Operator
from pydag_gcp.operators import BigQueryQuery
from tests.fingerprints import changes, known, taken

# functions ------------------------------------------------------------------------------------------------------------


def in_file(folder: Path, source: str, ctx: Context, name: str = "daily.py") -> fingerprint.Fingerprint:
    """The fingerprint of the one task of a pipeline file."""
    file = folder / name
    file.write_text(textwrap.dedent(source))
    dag = load(file)
    (defined,) = dag.tasks.values()
    return taken(defined, replace(ctx, folder=folder, project_folder=folder))


BASE = textwrap.dedent("""
    from pydag_gcp import DAG, task
    import helpers
    from helpers import scale

    LIMIT = 10
    TABLE = {"a": 1, "b": [2.0]}

    def factor(n):
        def times(x):
            return x * n
        return times

    twice = factor(2)

    @task
    def load(day: str = "today", *, retries=3):
        '''Load a day.'''
        return [clean(day)[:LIMIT], twice(1), scale(2), helpers.VERSION, (lambda x: x in {"p", "q", "r"})(day)]

    def clean(text):
        if not text:
            return load_again(text)
        return text.strip() or TABLE

    def load_again(text):
        return clean(text or "x")

    with DAG("functions") as dag:
        load()
""")
HELPERS = "from more import BASE\nVERSION = 1\n\ndef scale(x):\n    return x * BASE\n\ndef unused():\n    return 1\n"


@pytest.fixture
def folder(project: Path) -> Path:
    (project / "helpers.py").write_text(HELPERS)
    (project / "more.py").write_text("BASE = 3\n")
    return project


@pytest.fixture(autouse=True)
def _forget_modules() -> Any:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in {"helpers", "more", "package"}]:
        del sys.modules[name]


def changed_file(folder: Path, ctx: Context, before: str, after: str, file: str = "daily.py") -> list[str]:
    """What is said after a change in one file, which is then taken back."""
    older = in_file(folder, BASE, ctx)
    assert not older.unknown
    path = folder / file
    content = path.read_text()
    assert before in content
    for name in ("helpers", "more"):
        sys.modules.pop(name, None)
    if file == "daily.py":
        newer = in_file(folder, content.replace(before, after), ctx)
    else:
        path.write_text(content.replace(before, after))
        newer = in_file(folder, BASE, ctx)
    assert not newer.unknown
    return newer.changed(older.parts)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[:LIMIT]", "[1:LIMIT]", ["code changed: daily.py:load"]),
        ('day: str = "today"', 'day: str = "tomorrow"', ["code changed: daily.py:load"]),
        ("retries=3", "retries=4", ["code changed: daily.py:load"]),
        ('"p", "q", "r"', '"p", "q", "s"', ["code changed: daily.py:load"]),
        ("LIMIT = 10", "LIMIT = 11", ["value changed: daily.py:LIMIT"]),
        ("[2.0]", "[2]", ["value changed: daily.py:TABLE"]),
        ('"a": 1, "b"', '"b": 1, "a"', ["value changed: daily.py:TABLE"]),
        ("text.strip()", "text.rstrip()", ["code changed: daily.py:clean"]),
        ('text or "x"', 'text or "y"', ["code changed: daily.py:load_again"]),
        ("factor(2)", "factor(3)", ["code changed: daily.py:factor.<locals>.times"]),
        ("load()", 'load("2026")', ["argument added: day"]),
    ],
)
def test_what_a_function_refers_to_counts(folder: Path, ctx: Context, before: str, after: str, said: list[str]) -> None:
    assert changed_file(folder, ctx, before, after) == said


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("helpers.py", "x * BASE", "x + BASE", {"code changed: helpers.py", "code changed: helpers.py:scale"}),
        ("helpers.py", "VERSION = 1", "VERSION = 2", {"code changed: helpers.py"}),
        ("more.py", "BASE = 3", "BASE = 4", {"code changed: more.py", "value changed: helpers.py:BASE"}),
    ],
)
def test_other_modules_of_the_project_count(
    folder: Path, ctx: Context, file: str, before: str, after: str, said: set[str]
) -> None:
    assert set(changed_file(folder, ctx, before, after, file)) == said


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 10", "# how many\n\n\nLIMIT = 5 + 5  # at most"),
        ("with DAG", "def unrelated():\n    return LIMIT\n\nwith DAG"),
        ("return text.strip() or TABLE", "# without blanks\n    return (text.strip()\n            or TABLE)"),
    ],
)
def test_comments_places_and_what_is_not_used_do_not_count(folder: Path, ctx: Context, before: str, after: str) -> None:
    assert changed_file(folder, ctx, before, after) == []


def test_a_function_is_the_same_wherever_the_project_lies(folder: Path, ctx: Context) -> None:
    before = in_file(folder, BASE, ctx)
    copy = folder / "checked" / "out" / "elsewhere"
    copy.mkdir(parents=True)
    for name in ("helpers.py", "more.py"):
        (copy / name).write_text((folder / name).read_text())
        sys.modules.pop(name.removesuffix(".py"), None)
    assert in_file(copy, BASE, ctx) == before


def test_a_fingerprint_is_the_same_in_every_process(folder: Path, ctx: Context) -> None:
    source = BASE.replace("LIMIT = 10", "LIMIT = len({'one', 'two'}) + 8\nNAMES = {'a', 'b', 'c', 'd', 'e', 'f'}")
    source = source.replace("clean(day)[:LIMIT]", "clean(day)[:LIMIT], NAMES, frozenset({1, 2}), {'k': NAMES}")
    mine = in_file(folder, source, ctx)
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from pydag_gcp import fingerprint, settings
        from pydag_gcp.loader import load
        from pydag_gcp.planner import plan
        dag = load(Path("daily.py").resolve())
        planned = plan(dag, settings.load(Path.cwd()))
        (name,) = planned.tasks
        print(fingerprint.of(planned.tasks[name], planned.context_of(name)).digest)
    """)
    environ = {**os.environ, "PYTHONHASHSEED": "1"}
    found = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environ, capture_output=True, text=True)
    assert found.stdout.strip() == mine.digest, found.stderr


def test_running_the_file_itself_is_the_same_as_loading_it(folder: Path, ctx: Context) -> None:
    source = BASE.replace("import helpers", "import logging\nimport helpers\nlog = logging.getLogger(__name__)", 1)
    source = source.replace("return [clean", "log.info(__name__)\n    return [clean")
    mine = in_file(folder, source, ctx)
    tail = """
if __name__ == "__main__":
    from pathlib import Path
    from pydag_gcp import fingerprint, settings
    from pydag_gcp.planner import plan
    planned = plan(dag, settings.load(Path.cwd()))
    print(fingerprint.of(planned.tasks["load"], planned.context_of("load")).digest)
"""
    (folder / "daily.py").write_text(source + tail)
    found = subprocess.run([sys.executable, "daily.py"], cwd=folder, capture_output=True, text=True)
    assert found.stdout.strip() == mine.digest, found.stderr


def test_what_is_imported_inside_a_function_counts(folder: Path, ctx: Context) -> None:
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from . import deep\n\ndef run():\n    return deep.X\n")
    (package / "deep.py").write_text("X = 1\n")
    source = """
        from pydag_gcp import DAG, task

        @task
        def load():
            from package.inner import run
            return run()

        with DAG("functions") as dag:
            load()
    """
    older = in_file(folder, source, ctx)
    assert {"code package/__init__.py", "code package/inner.py", "code package/deep.py"} <= older.parts.keys()
    assert "package.inner" not in sys.modules
    (package / "deep.py").write_text("X = 2\n")
    assert in_file(folder, source, ctx).changed(older.parts) == ["code changed: package/deep.py"]


def test_a_package_counts_with_all_that_is_in_it(folder: Path, ctx: Context) -> None:
    inner = folder / "package" / "inner"
    inner.mkdir(parents=True)
    (folder / "package" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("")
    (inner / "deep.py").write_text("from .. import more\nfrom . import __init__\n")
    (folder / "package" / "more.py").write_text("import helpers\n")
    source = """
        from pydag_gcp import DAG, task
        import package.inner.deep

        @task
        def load():
            return package.inner.deep.more

        with DAG("functions") as dag:
            load()
    """
    older = in_file(folder, source, ctx)
    files = {name.removeprefix("code ") for name in older.parts if name.endswith(".py")}
    assert files == {
        "package/__init__.py",
        "package/inner/__init__.py",
        "package/inner/deep.py",
        "package/more.py",
        "helpers.py",
        "more.py",
    }
    (inner / "deep.py").write_text("from .. import more\n")
    assert in_file(folder, source, ctx).changed(older.parts) == ["code changed: package/inner/deep.py"]


def test_modules_count_also_when_another_pipeline_was_loaded_meanwhile(folder: Path, ctx: Context) -> None:
    (folder / "helpers.py").write_text(
        "import more\n\nclass Rate:\n    def of(self, x):\n        return x * more.BASE\n"
    )
    source = """
        from pydag_gcp import DAG, task
        from helpers import Rate

        @task
        def load():
            return Rate().of(1)

        with DAG("functions") as dag:
            load()
    """
    file = folder / "daily.py"
    file.write_text(textwrap.dedent(source))
    dag = load(file)
    other = folder / "elsewhere" / "other.py"
    other.parent.mkdir()
    other.write_text("from pydag_gcp import DAG, task\nwith DAG('other') as dag:\n    task(task_id='a')(lambda: 1)()\n")
    load(other)
    assert "helpers" not in sys.modules
    found = taken(dag.tasks["load"], replace(ctx, folder=folder, project_folder=folder))
    assert {"code helpers.py", "code more.py"} <= found.parts.keys(), found.unknown


def test_a_class_of_the_project_counts_with_its_file(folder: Path, ctx: Context) -> None:
    (folder / "more.py").write_text(
        "class Rate:\n    def of(self, x):\n        return x * 2\n\nRATE = Rate()\nRATE.n = 1\n"
    )
    source = """
        from pydag_gcp import DAG, task
        from more import RATE

        @task
        def load():
            return RATE.of(1)

        with DAG("functions") as dag:
            load()
    """
    older = in_file(folder, source, ctx)
    assert not older.unknown
    for before, after in (("x * 2", "x * 3"), ("RATE.n = 1", "RATE.n = 2")):
        sys.modules.pop("more")
        path = folder / "more.py"
        path.write_text(path.read_text().replace(before, after))
        newer = in_file(folder, source, ctx)
        assert "code changed: more.py" in newer.changed(older.parts)
        older = newer


class Colour(enum.Enum):
    RED = 1


def made(function: Callable[..., Any], **arguments: Any) -> Operator:
    with DAG("made"):
        defined: Operator = task(task_id="made")(function)(**arguments)
    return defined


def test_arguments_of_many_kinds_have_a_form(ctx: Context) -> None:
    def use(value: Any) -> None: ...

    kinds: list[Any] = [
        *(1, 1.0, True, "1", b"1", None, Decimal(1), date(2026, 1, 1), timedelta(1), Path("a/b"), Colour.RED),
        *([1], (1,), {1}, {1: 1}, range(3), len, "x".join, datetime, Cluster("c"), Table("d.t"), Retry(), slice(1, 2)),
        *(list[int], dict[str, Colour]),
    ]
    found = [known(made(use, value=value), ctx).digest for value in kinds]
    assert len(set(found)) == len(kinds)
    assert found == [known(made(use, value=value), ctx).digest for value in kinds]


LOCK = threading.Lock()


def with_a_lock() -> None:
    with LOCK:
        pass


def with_eval(text: str) -> Any:
    return eval(text)


def with_import(name: str) -> Any:
    import importlib

    return importlib.import_module(name)


def with_outputs(context: Context) -> Any:
    return context.output_of("other")


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        (with_a_lock, {}, r"global 'LOCK' of with_a_lock\(\): a lock cannot be told"),
        (with_eval, {"text": "1"}, r"with_eval\(\) uses eval, so"),
        (with_import, {"name": "json"}, r"with_import\(\) uses import_module, so"),
        (with_outputs, {}, r"with_outputs\(\) looks up outputs with context.output_of\(\); pass them"),
        (lambda value: value, {"value": threading.Lock()}, r"argument 'value': a lock cannot"),
    ],
)
def test_what_cannot_be_told_or_seen_leaves_no_fingerprint(
    ctx: Context, function: Callable[..., Any], arguments: Mapping[str, Any], said: str
) -> None:
    found = taken(made(function, **arguments), ctx)
    assert found.digest == ""
    assert re.search(said, found.unknown), found.unknown


def test_what_a_function_is_told_of_its_run_counts(ctx: Context) -> None:
    def dated(context: Context) -> str:
        return f"{context.logical_date}"

    def undated() -> None: ...

    later = replace(ctx, logical_date=datetime(2026, 1, 3, tzinfo=UTC), params={"year": 1}, run_id="run2", try_number=2)
    assert changes(made(undated), made(undated), ctx, later) == []
    assert changes(made(dated), made(dated), ctx, later) == ["logical date changed", "run parameter added: year"]


def test_a_function_that_an_installed_decorator_wraps_counts(ctx: Context) -> None:
    def wrapped(number: int) -> Callable[[], int]:
        @contextlib.contextmanager
        def opened() -> Iterator[int]:
            yield number

        @functools.cache
        def cached() -> int:
            return number

        def use() -> int:
            with opened() as found:
                return found + cached() + int(functools.partial(max, number)(0))

        return use

    before = known(made(wrapped(1)), ctx)
    assert known(made(wrapped(1)), ctx) == before
    said = known(made(wrapped(2)), ctx).changed(before.parts)
    assert {line.rpartition(".")[2] for line in said} == {"opened", "cached", "use"}


def test_functions_that_refer_to_each_other_have_an_end(ctx: Context) -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert known(made(even, n=2), ctx) == known(made(even, n=2), ctx)
    assert changes(made(even, n=2), made(odd, n=2), ctx) == ["function changed"]


expressions = st.recursive(
    st.sampled_from(["x", "1", "1.0", "True", "'1'", "-0.0", "0.0", "(1, 2)", "{1, 2}", "FACTOR", "abs"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "*", "==", "is", "and"]), part).map(lambda parts: f"({' '.join(parts)})"),
        part.map(lambda inner: f"(lambda x: {inner})(x)"),
        part.map(lambda inner: f"[{inner} for x in (x, 2)]"),
    ),
    max_leaves=4,
)


def compiled(expression: str, factor: int, blank_lines: int = 0) -> Callable[..., Any]:
    found: dict[str, Any] = {"FACTOR": factor}
    blank = "\n" * blank_lines
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(f"{blank}def f(x):\n    # {blank_lines}\n{blank}    return {expression}", found)
    function: Callable[..., Any] = found["f"]
    return function


def outcome(function: Callable[..., Any]) -> list[str]:
    found = []
    for value in (0, -0.0, 1, True, "a", (1, 2)):
        try:
            found.append(repr(function(value)))
        except TypeError as error:
            found.append(str(error))
    return found


@given(expressions, expressions, st.integers(0, 1), st.integers(0, 1))
def test_functions_of_one_identity_do_the_same(one: str, other: str, mine: int, its: int) -> None:
    first, second = compiled(one, mine), compiled(other, its)
    found = [identify(function, {}, folder=Path("/")) for function in (first, second)]
    if text(found[0].parts) == text(found[1].parts):
        assert outcome(first) == outcome(second)
    assert identify(compiled(one, mine, blank_lines=3), {}, folder=Path("/")) == found[0]


def test_a_function_is_not_cached_by_default() -> None:
    assert not made(lambda: None).cached_by_default
    assert BigQueryQuery(task_id="q", sql="SELECT 1").cached_by_default
