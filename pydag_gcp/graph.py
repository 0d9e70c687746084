"""The graph of a DAG, drawn: lines for a terminal, Mermaid, DOT and SVG. The same DAG gives the same drawing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydag_gcp import lanes
from pydag_gcp.errors import SettingsError
from pydag_gcp.states import TriggerRule

if TYPE_CHECKING:
    from pydag_gcp.dag import DAG

#: Longest time that Graphviz may take, in seconds.
_PATIENCE = 120


@dataclass(frozen=True, kw_only=True)
class Node:
    """A task, as a drawing tells of it."""

    task_id: str
    operator: str
    #: What is special about it: its trigger rule, what it tears down.
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What is drawn.

    Attributes:
        nodes: The tasks, in the order of definition.
        upstream: Task id -> ids of its upstreams.
    """

    dag_id: str
    nodes: Sequence[Node]
    upstream: Mapping[str, Sequence[str]]

    @property
    def edges(self) -> Iterator[tuple[str, str]]:
        """Upstream and downstream of every edge, in the order of definition."""
        return ((above, node.task_id) for node in self.nodes for above in self.upstream[node.task_id])

    def to_json(self) -> dict[str, Any]:
        """The document that ``--json`` prints."""
        return {
            "dag_id": self.dag_id,
            "tasks": {
                node.task_id: {
                    "operator": node.operator,
                    "upstream": list(self.upstream[node.task_id]),
                    **({"note": node.note} if node.note else {}),
                }
                for node in self.nodes
            },
        }


def graph_of(dag: DAG, upstream: Mapping[str, Sequence[str]] | None = None) -> Graph:
    """Take the graph of a DAG.

    Args:
        dag: The DAG.
        upstream: Its edges, where they are more than its own.
    """
    nodes = []
    for task_id, task in dag.tasks.items():
        note = "" if task.trigger_rule is TriggerRule.ALL_SUCCESS else task.trigger_rule.value
        if task.teardown_of:
            note = f"tears down {', '.join(task.teardown_of)}"
        nodes.append(Node(task_id=task_id, operator=type(task).__name__, note=note))
    return Graph(dag_id=dag.dag_id, nodes=nodes, upstream=dag.upstream if upstream is None else upstream)


def text(graph: Graph, *, ascii_only: bool = False) -> str:
    """Draw the graph in lines of text, upstreams above downstreams; see :mod:`pydag_gcp.lanes`.

    Args:
        graph: What is drawn.
        ascii_only: For where nothing else can be shown.
    """
    labels = {
        node.task_id: f"{node.task_id}  {node.operator}{f' ({node.note})' if node.note else ''}" for node in graph.nodes
    }
    tasks, edges = len(graph.nodes), sum(1 for _ in graph.edges)
    head = f"{graph.dag_id}: {tasks} task{'s' * (tasks != 1)}, {edges} edge{'s' * (edges != 1)}"
    return "\n".join([head, "", *lanes.draw(graph.upstream, labels, ascii_only=ascii_only)]) + "\n"


def mermaid(graph: Graph) -> str:
    """Write the graph as Mermaid's flowchart, which GitHub shows where Markdown has a block of it.

    https://mermaid.js.org/syntax/flowchart.html
    """
    lines = ["flowchart LR"]
    for node in graph.nodes:
        label = "<br/>".join(_mermaid_text(part) for part in (node.task_id, node.operator, node.note) if part)
        lines.append(f'    {_mermaid_id(node.task_id)}["{label}"]')
    lines += [f"    {_mermaid_id(above)} --> {_mermaid_id(below)}" for above, below in graph.edges]
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """Write the graph in Graphviz's language.

    https://graphviz.org/doc/info/lang.html
    """
    lines = [
        f"digraph {_quoted(graph.dag_id)} {{",
        "    rankdir=LR",
        '    node [shape=box, style=rounded, fontname="sans-serif"]',
    ]
    for node in graph.nodes:
        label = "\n".join(part for part in (node.task_id, node.operator, node.note) if part)
        lines.append(f"    {_quoted(node.task_id)} [label={_quoted(label)}]")
    lines += [f"    {_quoted(above)} -> {_quoted(below)}" for above, below in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def svg(graph: Graph) -> str:
    """Have Graphviz draw the graph.

    Raises:
        SettingsError: Graphviz is not installed, or failed.
    """
    program = shutil.which("dot")
    if program is None:
        raise SettingsError(
            "an SVG needs Graphviz, and its program `dot` is not on the PATH",
            hint="install it (apt install graphviz, brew install graphviz), or take --format mermaid",
        )
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=dot(graph), capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"cannot draw the graph: {error}", where=program) from error
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SettingsError(f"cannot draw the graph: {why}", where=program)
    return done.stdout


def _mermaid_id(task_id: str) -> str:
    # Some words, such as "end", are none of Mermaid's ids, and it takes a hyphen for the beginning of an edge.
    return "t_" + task_id.replace("_", "__").replace("-", "_h")


def _mermaid_text(text: str) -> str:
    return "".join(c if c.isalnum() or c in " _-,." else f"#{ord(c)};" for c in text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
