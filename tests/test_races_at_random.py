"""The race check against a judge that knows nothing of our code, in DAGs drawn at random."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydag_gcp import races
from pydag_gcp.access import Access
from pydag_gcp.branch import Branches
from pydag_gcp.errors import DefinitionError
from pydag_gcp.resources import Cluster, GCSObject, Resource, Table
from pydag_gcp.scheduler import Scheduler
from pydag_gcp.states import TaskState, TriggerRule

P = "acme-1.d"
AUDIT = Table(f"{P}.audit", shared=True)

# Resources, and the cells that each of them stands for: two overlap if they have one in common.
_DAYS = ("20220130", "20220131", "20220201")
CELLS: dict[Resource, frozenset[str]] = {
    **{Table(f"{P}.{name}"): frozenset({f"{name}.whole", *(f"{name}.{day}" for day in _DAYS)}) for name in "tuvw"},
    **{Table(f"{P}.t${day}"): frozenset({f"t.{day}"}) for day in _DAYS},
    Table(f"{P}.t$202201"): frozenset({"t.20220130", "t.20220131"}),
    **{Table(f"{P}.events_{day}"): frozenset({f"events_{day}"}) for day in _DAYS},
    Table(f"{P}.events_*"): frozenset(f"events_{day}" for day in _DAYS),
    Table(f"{P}.events_202201*"): frozenset({"events_20220130", "events_20220131"}),
    Table("acme-1.other.*"): frozenset({"other.a", "other.b"}),
    Table("acme-1.other.a"): frozenset({"other.a"}),
    Table(f"{P}.audit"): frozenset({"audit"}),
    AUDIT: frozenset({"audit"}),
    GCSObject("gs://bucket/in/a.csv"): frozenset({"in/a.csv"}),
    GCSObject("gs://bucket/in/b.json"): frozenset({"in/b.json"}),
    GCSObject("gs://bucket/in/"): frozenset({"in/a.csv", "in/b.json"}),
    GCSObject("gs://bucket/in/*.csv"): frozenset({"in/a.csv"}),
    GCSObject("gs://bucket/*.json"): frozenset({"in/b.json", "out.json"}),
    GCSObject("gs://bucket/out.json"): frozenset({"out.json"}),
    GCSObject("gs://bucket"): frozenset({"in/a.csv", "in/b.json", "out.json"}),
    GCSObject("gs://bucket-2/out.json"): frozenset({"2/out.json"}),
    Cluster("c"): frozenset({"c"}),
    Cluster("c", region="europe-west1"): frozenset({"eu/c"}),
}
VIEWS = (Table(f"{P}.v"), Table(f"{P}.w"))
IMPATIENT = ("one_success", "one_failed", "always")
Pairs = set[frozenset[str]]
Cells = dict[str, set[str]]


@dataclass
class Drawn:
    """A DAG; tasks are named t0, t1, ... in an order that its edges respect."""

    tasks: dict[str, Access] = field(default_factory=dict)
    upstream: dict[str, list[str]] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    branches: set[str] = field(default_factory=set)
    teardowns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def checked(self) -> None:
        races.check(
            self.tasks,
            self.upstream,
            rules={task: TriggerRule(rule) for task, rule in self.rules.items()},
            branches={branch: Branches(self.upstream, self.teardowns).picks(branch) for branch in self.branches},
            teardowns=self.teardowns,
            place_of=lambda task: f"task {task!r}",
        )

    def connect(self, above: str, below: str) -> None:
        if above not in self.upstream[below]:
            self.upstream[below].append(above)


def draw(chance: random.Random, size: int, edges: float) -> Drawn:
    drawn = Drawn()
    for number in range(size):
        name = f"t{number}"
        drawn.tasks[name] = _access(chance)
        drawn.rules[name] = chance.choice(["all_success"] * 4 + [rule.value for rule in TriggerRule])
        drawn.upstream[name] = [f"t{other}" for other in range(number) if chance.random() < edges]
        if chance.random() < 0.2:
            drawn.branches.add(name)
        if drawn.upstream[name] and chance.random() < 0.15:
            drawn.teardowns[name] = (chance.choice(drawn.upstream[name]),)
    return drawn


def _access(chance: random.Random) -> Access:
    def some(most: int) -> frozenset[Resource]:
        return frozenset(chance.sample(list(CELLS), chance.randint(0, most)))

    written, read = some(2), some(2)
    replaced = frozenset(resource for resource in written if chance.random() < 0.3)
    if chance.random() < 0.2:
        view = chance.choice(VIEWS)
        return Access(reads=read, writes=frozenset({view}), replaces=replaced, views={view: read})
    uses = frozenset({Cluster("c")}) if chance.random() < 0.2 else frozenset[Resource]()
    return Access(reads=read, writes=written, uses=uses, replaces=replaced)


def judged(drawn: Drawn) -> Pairs:
    """Every race, by looking at every pair of tasks, every pair of cells and every path."""
    waits = {task: _waiting(drawn, task) for task in drawn.tasks}
    cells = {task: _cells(drawn, task) for task in drawn.tasks}
    return {
        frozenset({one, other})
        for one, other in itertools.combinations(drawn.tasks, 2)
        if one not in waits[other] and other not in waits[one]
        if _clash(cells[one], cells[other]) and not _apart(drawn, one, other)
    }


def _waiting(drawn: Drawn, task: str) -> set[str]:
    if drawn.rules[task] in IMPATIENT and task not in drawn.teardowns:
        return set()
    return set(drawn.upstream[task]).union(*(_waiting(drawn, above) for above in drawn.upstream[task]))


def _clash(mine: Cells, its: Cells) -> bool:
    return any(
        {how, why} not in ({"read"}, {"append"})
        for cell in mine.keys() & its.keys()
        for how in mine[cell]
        for why in its[cell]
    )


def _cells(drawn: Drawn, task: str) -> Cells:
    access = drawn.tasks[task]
    cells: Cells = {}
    pending, seen = {*(access.reads or ()), *(access.uses or ())}, set[Resource]()
    while pending:
        resource = pending.pop()
        seen.add(resource)
        for cell in CELLS[resource]:
            cells.setdefault(cell, set()).add("read")
        for maker in drawn.tasks.values():
            for view, behind in maker.views.items():
                if view == resource:
                    pending |= behind - seen
    replaced = {cell for resource in access.replaces for cell in CELLS[resource]}
    for resource in access.writes or ():
        how = "append" if resource == AUDIT and not CELLS[resource] & replaced else "write"
        for cell in CELLS[resource]:
            cells.setdefault(cell, set()).add(how)
    return cells


def _apart(drawn: Drawn, one: str, other: str) -> bool:
    for branch in drawn.branches:
        choices = [task for task in drawn.tasks if branch in drawn.upstream[task] and task not in drawn.teardowns]
        heads = [head for head in choices if _decided(drawn, head, branch)]
        for head, another in itertools.permutations(heads, 2):
            if any(_follows(drawn, head, pick) and _follows(drawn, another, pick) for pick in choices):
                continue
            if one in _skipped(drawn, head) and other in _skipped(drawn, another):
                return True
    return False


def _decided(drawn: Drawn, head: str, branch: str) -> bool:
    """Whether the head starts only if the branch succeeds."""
    alone = drawn.upstream[head] == [branch]
    return drawn.rules[head] in (["all_success"] + ["one_success", "none_failed_min_one_success"] * alone)


def _follows(drawn: Drawn, task: str, pick: str) -> bool:
    return task == pick or pick in _ancestors(drawn, task)


def _ancestors(drawn: Drawn, task: str) -> set[str]:
    above = [] if task in drawn.teardowns else drawn.upstream[task]
    return set(above).union(*(_ancestors(drawn, other) for other in above))


def _skipped(drawn: Drawn, head: str) -> set[str]:
    skipped = {head}
    for task in drawn.tasks:  # each comes after its upstreams
        above, rule = set(drawn.upstream[task]), drawn.rules[task]
        if task in drawn.teardowns:
            gone = set(drawn.teardowns[task]) <= skipped
        elif rule == "all_success":
            gone = bool(above & skipped)
        else:
            gone = rule in ("one_success", "none_failed_min_one_success") and bool(above) and above <= skipped
        if gone:
            skipped.add(task)
    return skipped


def mended(drawn: Drawn) -> Drawn:
    """Add the edges that are missing, until no race is left."""
    while found := judged(drawn):
        first, second = sorted(min(found, key=sorted), key=lambda task: int(task[1:]))
        drawn.connect(first, second)
        drawn.rules[second] = "all_success" if drawn.rules[second] in IMPATIENT else drawn.rules[second]
    return drawn


def reported(drawn: Drawn) -> frozenset[str] | None:
    try:
        drawn.checked()
    except DefinitionError as error:
        first, _, second = str(error).rpartition("add the edge ")[2].partition(" >> ")
        return frozenset({first, second})
    return None


def test_in_two_hundred_random_dags_the_check_says_what_the_judge_says() -> None:
    verdicts = set()
    for seed in range(200):
        chance = random.Random(seed)
        drawn = draw(chance, chance.randint(2, 10), chance.choice([0.1, 0.3, 0.6]))

        found, expected = reported(drawn), judged(drawn)

        assert (found in expected) if expected else (found is None), seed
        verdicts.add(bool(expected))
    assert verdicts == {True, False}


def test_no_race_is_reported_in_two_hundred_correct_dags() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        drawn = mended(draw(chance, chance.randint(4, 14), chance.choice([0.0, 0.1, 0.3])))

        assert reported(drawn) is None, seed


def test_every_race_planted_in_a_correct_dag_is_found() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        drawn = mended(draw(chance, chance.randint(4, 12), chance.choice([0.1, 0.3])))
        victim = chance.choice([task for task, access in drawn.tasks.items() if access.reads or access.writes])
        touched = drawn.tasks[victim]
        target = chance.choice(sorted(touched.reads or touched.writes or (), key=str))

        # When a task that nothing orders writes what another touches
        drawn.tasks["planted"], drawn.rules["planted"], drawn.upstream["planted"] = (
            Access(reads=frozenset(), writes=frozenset({target}), replaces=frozenset({target})),
            "all_success",
            [],
        )

        expected = judged(drawn)
        assert frozenset({"planted", victim}) in expected
        assert reported(drawn) in expected, seed


def test_what_clashes_never_runs_at_once_in_a_dag_that_passed() -> None:
    overlapped = 0
    for seed in range(300):
        chance = random.Random(seed)
        drawn = mended(draw(chance, chance.randint(4, 10), chance.choice([0.1, 0.3])))

        cells = {task: _cells(drawn, task) for task in drawn.tasks}
        for running in _run(drawn, chance):
            overlapped += len(running) > 1
            for one, other in itertools.combinations(running, 2):
                assert not _clash(cells[one], cells[other]), (seed, one, other)
    assert overlapped > 500


def _run(drawn: Drawn, chance: random.Random) -> Iterator[set[str]]:
    """Run the DAG with the real scheduler, its tasks as quick, slow or broken as chance has it; yield what runs."""
    rules = {task: TriggerRule(rule) for task, rule in drawn.rules.items()}
    scheduler = Scheduler(drawn.upstream, rules=rules, teardowns=drawn.teardowns)
    branches = Branches(drawn.upstream, drawn.teardowns)
    running: set[str] = set()
    while not scheduler.done():
        task = scheduler.ready()
        if task is not None and (not running or chance.random() < 0.7):
            scheduler.start(task)
            running.add(task)
        else:
            task = chance.choice(sorted(running))
            running.remove(task)
            state = chance.choice([TaskState.SUCCESS] * 4 + [TaskState.FAILED])
            skip: list[str] = []
            if task in drawn.branches and state is TaskState.SUCCESS:
                picked = chance.choice([None, *branches.choices(task)])
                skip = branches.not_picked(task, [picked] if picked else [])
            scheduler.finish(task, state, skip)
        yield running
