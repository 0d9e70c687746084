"""The shapes of graphs that are measured, as plain data: everybody's pipelines are made from the same tasks and edges.

It needs nothing but Python, so that the peers can import it in environments of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

Upstream = Mapping[str, tuple[str, ...]]

#: Most processors, threads or workers that anybody gets.
WORKERS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A graph of tasks that do nothing but sleep.

    Attributes:
        name: Such as ``W1``.
        title: What it is like, in a few words.
        upstream: Task -> what it waits for, in the order of definition: each task after its upstreams.
        sleeps: Task -> seconds that it takes; those that do nothing are left out.
    """

    name: str
    title: str
    upstream: Upstream
    sleeps: Mapping[str, float]

    def seconds(self, task: str) -> float:
        """How long a task takes."""
        return self.sleeps.get(task, 0.0)

    @property
    def work(self) -> float:
        """Seconds that one processor takes."""
        return sum(self.sleeps.values())

    @cached_property
    def longest(self) -> tuple[str, ...]:
        """The tasks along the longest path."""
        ended: dict[str, float] = {}
        for task, above in self.upstream.items():
            ended[task] = self.seconds(task) + max((ended[other] for other in above), default=0.0)
        path = [max(ended, key=ended.__getitem__)]
        while above := self.upstream[path[-1]]:
            path.append(max(above, key=ended.__getitem__))
        return tuple(reversed(path))

    @property
    def critical(self) -> float:
        """Seconds along the longest path: no number of processors is faster."""
        return sum(map(self.seconds, self.longest))


def bound(shapes: Collection[Shape], processors: int) -> float:
    """Seconds that nobody can beat who runs all of them on so many processors."""
    return max(sum(shape.work for shape in shapes) / processors, *(shape.critical for shape in shapes))


def chain(name: str, title: str, tasks: int, seconds: float = 0.0) -> Shape:
    """One task after another."""
    upstream = {f"t{i}": (f"t{i - 1}",) if i else () for i in range(tasks)}
    return Shape(name=name, title=title, upstream=upstream, sleeps=dict.fromkeys(upstream if seconds else (), seconds))


def fan(name: str, title: str, tasks: int, seconds: float = 0.0) -> Shape:
    """One task, then many that are independent, then one."""
    middle = [f"t{i}" for i in range(tasks)]
    upstream = {"first": (), **dict.fromkeys(middle, ("first",)), "last": tuple(middle)}
    return Shape(name=name, title=title, upstream=upstream, sleeps=dict.fromkeys(middle if seconds else (), seconds))


def layered(name: str, title: str, tasks: int, seconds: float = 0.0, *, width: int | None = None) -> Shape:
    """Layers as wide as they are many, each task after three random ones of the layer before."""
    width = width or round(tasks**0.5)
    chosen = random.Random(1)
    upstream: dict[str, tuple[str, ...]] = {}
    above: list[str] = []
    for first in range(0, tasks, width):
        layer = [f"t{i}" for i in range(first, min(first + width, tasks))]
        upstream.update({task: tuple(chosen.sample(above, min(3, len(above)))) for task in layer})
        above = layer
    return Shape(name=name, title=title, upstream=upstream, sleeps=dict.fromkeys(upstream if seconds else (), seconds))


def w4(name: str, title: str, *, chained: bool, scale: float = 1.0) -> Shape:
    """200 tasks of 10 ms, declared first, beside a chain of 20 of 50 ms; then a task that waits for all."""
    short, long = [f"short{i}" for i in range(200)], [f"long{i}" for i in range(20)]
    before = {task: (other,) for task, other in zip(short[1:], short, strict=False)} if chained else {}
    upstream: dict[str, tuple[str, ...]] = {task: before.get(task, ()) for task in short}
    upstream |= {task: (long[i - 1],) if i else () for i, task in enumerate(long)}
    upstream["join"] = (short[-1], long[-1]) if chained else (*short, long[-1])
    sleeps = dict.fromkeys(short, 0.01 * scale) | dict.fromkeys(long, 0.05 * scale)
    return Shape(name=name, title=title, upstream=upstream, sleeps=sleeps)


#: Seconds that the tasks of pipelines/staging_to_fact.py take in the cloud, as assumed for what is simulated.
STAGING_TO_FACT: Final[Mapping[str, float]] = {
    "startup_dataproc_1": 90.0,
    "create_table_final": 2.0,
    "create_table_stg_1": 2.0,
    "create_table_stg_2": 2.0,
    "initial_ingestion_1": 60.0,
    "extract_from_stg_1": 6.0,
    "extract_from_stg_2": 6.0,
    "insert_to_fact": 8.0,
}


def staging_to_fact(name: str, title: str, scale: float) -> Shape:
    """The eight tasks of the staging-to-fact pipeline, whose times are multiplied by ``scale``."""
    first = ("startup_dataproc_1", "create_table_final", "create_table_stg_1", "create_table_stg_2")
    extracts = ("extract_from_stg_1", "extract_from_stg_2")
    upstream: dict[str, tuple[str, ...]] = dict.fromkeys(first, ())
    upstream["initial_ingestion_1"] = first
    upstream |= dict.fromkeys(extracts, ("initial_ingestion_1",))
    upstream["insert_to_fact"] = extracts
    sleeps = {task: seconds * scale for task, seconds in STAGING_TO_FACT.items()}
    return Shape(name=name, title=title, upstream=upstream, sleeps=sleeps)


#: What is measured, made when it is asked for.
SHAPES: Final[Mapping[str, Callable[[], Shape]]] = {
    "W1": lambda: chain("W1", "chain of 200", 200),
    "W2": lambda: fan("W2", "1, then 1,000, then 1", 1000),
    "W3": lambda: layered("W3", "2,000 in layers, 3 parents each", 2000),
    "W4": lambda: w4("W4", "chain of 20 x 50 ms beside 200 x 10 ms, then a join", chained=False),
    "W4b": lambda: w4("W4b", "chain of 20 x 50 ms beside a chain of 200 x 10 ms, then a join", chained=True),
    "W5": lambda: staging_to_fact("W5", "staging to fact, 100 times as fast", 0.01),
    "W6": lambda: layered("W6", "100,000 in layers, 3 parents each", 100_000),
}

#: The same with few tasks or short sleeps: to see that everything works, not to measure.
QUICK: Final[Mapping[str, Callable[[], Shape]]] = {
    "W1": lambda: chain("W1", "chain of 20", 20),
    "W2": lambda: fan("W2", "1, then 50, then 1", 50),
    "W3": lambda: layered("W3", "100 in layers, 3 parents each", 100),
    "W4": lambda: w4("W4", "the same, 10 times as fast", chained=False, scale=0.1),
    "W4b": lambda: w4("W4b", "the same, 10 times as fast", chained=True, scale=0.1),
    "W5": lambda: staging_to_fact("W5", "staging to fact, 1000 times as fast", 0.001),
    "W6": lambda: layered("W6", "1,000 in layers, 3 parents each", 1000),
}


def shape(name: str, *, quick: bool) -> Shape:
    """Make a shape by its name."""
    return (QUICK if quick else SHAPES)[name]()
