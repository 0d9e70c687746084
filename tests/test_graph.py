"""The graph of a DAG: drawn, every edge can be followed."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import DAG, Operator, graph
from pydag_gcp.errors import SettingsError
from pydag_gcp.graph import Graph, Node
from pydag_gcp.lanes import draw

DOWN, RIGHT, LEFT = "│├┤┼╮╭┬○", "─├┼╭┬╰┴", "─┤┼╮┬╯┴"


class Step(Operator):
    def execute(self, ctx: object) -> None:
        return None


def pipeline() -> DAG:
    with DAG("daily") as dag:
        first, second = Step(task_id="first"), Step(task_id="second")
        third = Step(task_id="third-one", trigger_rule="all_done")
        first >> [second, third]
        second >> third
        Step(task_id="end", teardown_of="first")
        Step(task_id="alone")
    return dag


@st.composite
def graphs(draw_value: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Acyclic graphs; the order of definition is not topological."""
    count = draw_value(st.integers(1, 12))
    order = draw_value(st.permutations(range(count)))
    upstream: dict[str, tuple[str, ...]] = {}
    for number in order:
        above = draw_value(st.sets(st.integers(0, number - 1), max_size=4)) if number else set[int]()
        upstream[f"t{number}"] = tuple(f"t{other}" for other in sorted(above))
    return upstream


def edges(upstream: Mapping[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    return {(above, below) for below, every in upstream.items() for above in every}


def followed(lines: list[str]) -> set[tuple[str, str]]:
    """Follow every stroke of a drawing from each task down to others."""
    names = {(row, line.index("○")): line.split()[-1] for row, line in enumerate(lines) if "○" in line}
    # What stands behind the mark of a task is its lanes, then its name.
    cells = [line[: line.rindex(" ") + 1] if "○" in line else line for line in lines]

    def at(row: int, column: int) -> str:
        return cells[row][column] if row < len(cells) and 0 <= column < len(cells[row]) else " "

    def sideways(row: int, column: int, step: int) -> set[int]:
        """The columns that a horizontal stroke joins; a lane that it only crosses keeps its stroke."""
        joined, out, back = set[int](), (RIGHT, LEFT)[step < 0], (LEFT, RIGHT)[step < 0]
        while at(row, column) in out or at(row, column) == "│":
            column += step
            if at(row, column) not in back and at(row, column) != "│":
                break
            if at(row, column) not in "─│":
                joined.add(column)
        return joined

    found = set[tuple[str, str]]()
    for (top, start), name in names.items():
        waiting, seen = [(top + 1, start)], set[tuple[int, int]]()
        while waiting:
            row, column = waiting.pop()
            if (row, column) in seen or at(row, column) == " ":
                continue
            seen.add((row, column))
            if at(row, column) == "○":
                found.add((name, names[row, column]))
                continue
            if row == top + 1 and at(row, column) != "│":
                ends = {column} | sideways(row, column, 1) | sideways(row, column, -1)
                waiting += [(row + 1, end) for end in ends if at(row, end) in DOWN]
            elif at(row, column) in DOWN:
                waiting.append((row + 1, column))
    return found


@given(upstream=graphs())
def test_every_edge_can_be_followed_and_there_are_no_others(upstream: dict[str, tuple[str, ...]]) -> None:
    lines = draw(upstream, {task_id: task_id for task_id in upstream})
    assert followed(lines) == edges(upstream)


@given(upstream=graphs())
def test_a_drawing_without_unicode_has_the_same_shape(upstream: dict[str, tuple[str, ...]]) -> None:
    labels = {task_id: task_id for task_id in upstream}
    plain = draw(upstream, labels, ascii_only=True)
    assert all(line.isascii() for line in plain)
    assert [re.sub(r"[^\w\s]|\bo\b", "x", line) for line in plain] == [
        re.sub(r"[^\w\s]", "x", line) for line in draw(upstream, labels)
    ]


def test_a_drawing_is_readable() -> None:
    assert graph.text(graph.graph_of(pipeline())).splitlines() == [
        "daily: 5 tasks, 4 edges",
        "",
        "○ first  Step",
        "├─┬─╮",
        "○ │ │ second  Step",
        "╰─┤ │",
        "  ○ │ third-one  Step (all_done)",
        "    ○ end  Step (tears down first)",
        "○ alone  Step",
    ]


def test_tasks_without_an_edge_between_them_do_not_touch() -> None:
    assert draw({"a": (), "b": ()}, {"a": "a", "b": "b"}) == ["○ a", "", "○ b"]
    assert draw({"a": (), "b": ("a",)}, {"a": "a", "b": "b"}) == ["○ a", "○ b"]


def test_a_long_chain_is_drawn() -> None:
    upstream: dict[str, tuple[str, ...]] = {f"t{n}": (f"t{n + 1}",) for n in range(5000)}
    assert len(draw({**upstream, "t5000": ()}, {f"t{n}": "" for n in range(5001)})) == 5001


def test_mermaid_escapes_ids_and_labels() -> None:
    nodes = [Node(task_id="a-b_c", operator='Odd"<x>'), Node(task_id="end", operator="Step", note="one_failed")]
    drawn = graph.mermaid(Graph(dag_id="d", nodes=nodes, upstream={"a-b_c": (), "end": ("a-b_c",)}))
    assert drawn.splitlines() == [
        "flowchart LR",
        '    t_a_hb__c["a-b_c<br/>Odd#34;#60;x#62;"]',
        '    t_end["end<br/>Step<br/>one_failed"]',
        "    t_a_hb__c --> t_end",
    ]


@given(names=st.sets(st.text("ab_-h", min_size=1, max_size=6), min_size=2, max_size=2))
def test_mermaid_ids_differ_where_task_ids_do(names: set[str]) -> None:
    assert len({graph._mermaid_id(name) for name in names}) == 2


@given(upstream=graphs())
def test_every_edge_is_in_mermaid_and_dot(upstream: dict[str, tuple[str, ...]]) -> None:
    drawn = Graph(dag_id="d", nodes=[Node(task_id=name, operator="Step") for name in upstream], upstream=upstream)
    assert set(re.findall(r"t_(\w+) --> t_(\w+)", graph.mermaid(drawn))) == edges(upstream)
    assert set(re.findall(r'"(\w+)" -> "(\w+)"', graph.dot(drawn))) == edges(upstream)


def test_dot_escapes_quotes_and_backslashes() -> None:
    drawn = graph.dot(Graph(dag_id="d", nodes=[Node(task_id="a", operator='x"\\')], upstream={"a": ()}))
    assert '"a" [label="a\\nx\\"\\\\"]' in drawn


def test_svg_without_graphviz_tells_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"`dot` is not on the PATH; install it .*, or take --format mermaid"):
        graph.svg(graph.graph_of(pipeline()))


def program(folder: Path, script: str) -> None:
    file = folder / "dot"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_svg_is_what_graphviz_makes_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given a program of this name that says what it was asked
    program(tmp_path, 'echo "asked for $1"; cat')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    drawn = graph.svg(graph.graph_of(pipeline()))
    assert drawn == "asked for -Tsvg\n" + graph.dot(graph.graph_of(pipeline()))


def test_svg_says_why_graphviz_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "cat > /dev/null; echo 'no fonts' >&2; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SettingsError, match="dot: cannot draw the graph: no fonts"):
        graph.svg(graph.graph_of(pipeline()))


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_graphviz_understands_what_we_write() -> None:
    assert "<svg" in graph.svg(graph.graph_of(pipeline()))
