"""A rehearsal: a pipeline is run again and again, each time with one disturbance at one of its calls of the cloud.

After each round, what is left must be what undisturbed runs leave.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from queue import SimpleQueue

from pydag_gcp.board import name_some
from pydag_gcp.errors import DefinitionError, RunFailed
from pydag_gcp.planner import Plan
from pydag_gcp.rehearsal.boundary import Boundary, boundaries
from pydag_gcp.rehearsal.cloud import copied, thrown_away
from pydag_gcp.rehearsal.comparison import Comparison
from pydag_gcp.rehearsal.disturbance import DISTURBANCES, Disturbance
from pydag_gcp.rehearsal.process import Processes
from pydag_gcp.rehearsal.round import Command, Seen, Stage
from pydag_gcp.rehearsal.world import Observer
from pydag_gcp.resources import Cluster

#: How long a run may take, in seconds: at least, and times what an undisturbed one took.
_LIMIT = 120.0
_TIMES = 10


@dataclass(frozen=True, kw_only=True)
class Round:
    """A disturbance at a boundary, and what came of it.

    Attributes:
        boundary: The call.
        disturbance: What happened to it.
        differences: What was not as it should be.
        reached: Whether the run came to that call at all.
    """

    boundary: Boundary
    disturbance: Disturbance
    differences: tuple[str, ...] = ()
    reached: bool = True


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What came of all rounds.

    Attributes:
        dag_id: The DAG.
        boundaries: The calls of an undisturbed run.
        rounds: What was played, in that order.
        warnings: What undisturbed runs differ in.
        seconds: How long it took.
    """

    dag_id: str
    boundaries: tuple[Boundary, ...]
    rounds: tuple[Round, ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def differing(self) -> tuple[Round, ...]:
        """The rounds after which something was not as it should be."""
        return tuple(played for played in self.rounds if played.differences)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which rounds to play.

    Attributes:
        boundaries: Patterns for boundaries, as they are printed; none: all.
        disturbances: Names of disturbances; none: all.
    """

    boundaries: Sequence[str] = ()
    disturbances: Sequence[str] = ()

    def rounds(self, found: Iterable[Boundary]) -> list[tuple[Boundary, Disturbance]]:
        """Pair boundaries with the disturbances that mean something there."""
        return [
            (boundary, disturbance)
            for boundary in found
            if not self.boundaries or any(fnmatchcase(str(boundary), f"*{wanted}*") for wanted in self.boundaries)
            for disturbance in DISTURBANCES
            if disturbance.differs_at(boundary) and (not self.disturbances or disturbance.name in self.disturbances)
        ]


@dataclass(kw_only=True)
class Rehearser:
    """Plays the rounds of a pipeline.

    Attributes:
        plan: A plan of the pipeline on target ``local``; it says where the clusters are.
        command: How the pipeline is run.
        seed: A folder whose sub-folders are buckets; default: the project's local cloud is copied.
        clouds: How many throw-away clouds to play on at the same time.
        choice: Which rounds to play.
        told: Called after each round with it, its number and how many there are.
    """

    plan: Plan
    command: Command
    seed: Path | None = None
    clouds: int = 1
    choice: Choice = field(default_factory=Choice)
    told: Callable[[Round, int, int], None] = lambda *_: None
    _stages: list[Stage] = field(default_factory=list, init=False)

    def rehearse(self) -> Rehearsal:
        """Play all rounds.

        Raises:
            RunFailed: The pipeline fails undisturbed.
            DefinitionError: No call is chosen.
            LocalCloudError: A local cloud cannot be started or copied.
        """
        began = time.monotonic()
        with self._set_up():
            undisturbed = self._undisturbed()
            found = boundaries(undisturbed[0].calls)
            comparison = Comparison([seen.world for seen in undisturbed])
            chosen = self.choice.rounds(found)
            if not chosen:
                raise _nothing_to_play(self.plan.dag.dag_id, found)
            rounds = self._play(chosen, comparison)
        return Rehearsal(
            dag_id=self.plan.dag.dag_id,
            boundaries=tuple(dict.fromkeys(played.boundary for played in rounds)),
            rounds=tuple(rounds),
            warnings=comparison.warnings,
            seconds=time.monotonic() - began,
        )

    @contextmanager
    def _set_up(self) -> Iterator[None]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pydag-rehearsal-")))
            target = self.plan.clients.target
            beginning = copied(self.plan.settings.home / "local", self.seed, folder)
            regions = _regions(self.plan)
            for number in range(self.clouds):
                cloud = stack.enter_context(thrown_away(folder / str(number), beginning, target))
                processes = stack.enter_context(closing(Processes()))
                observer = Observer(cloud, regions)
                stage = Stage(cloud=cloud, processes=processes, command=self.command, observer=observer)
                self._stages.append(stage)
            yield

    def _undisturbed(self) -> list[Seen]:
        """Play the pipeline as it is, on each cloud; first in the list is another one, on a cloud that is warm."""
        try:
            with _threads(len(self._stages)) as pool:
                cold = list(pool.map(Stage.play, self._stages))
            warm = self._stages[0].play()
        except RunFailed as error:
            hint = "does it find its input? --seed DIR fills buckets" if self.seed is None else None
            raise RunFailed(f"undisturbed, {self.plan.dag.dag_id!r} fails: {error.what}", hint=hint) from None
        for stage in self._stages:
            stage.limit = max(_LIMIT, _TIMES * warm.seconds)
        return [warm, *cold]

    def _play(self, chosen: Sequence[tuple[Boundary, Disturbance]], comparison: Comparison) -> list[Round]:
        idle: SimpleQueue[Stage] = SimpleQueue()
        for stage in self._stages:
            idle.put(stage)

        def play(boundary: Boundary, disturbance: Disturbance) -> Round:
            stage = idle.get()
            try:
                return _played(stage, boundary, disturbance, comparison)
            finally:
                idle.put(stage)

        with _threads(len(self._stages)) as pool:
            futures = [pool.submit(play, boundary, disturbance) for boundary, disturbance in chosen]
            for number, future in enumerate(as_completed(futures), start=1):
                self.told(future.result(), number, len(futures))
            return [future.result() for future in futures]


@contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that nobody waits for after an error or Ctrl-C: what they wait for is killed next."""
    pool = ThreadPoolExecutor(number)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _played(stage: Stage, boundary: Boundary, disturbance: Disturbance, comparison: Comparison) -> Round:
    try:
        seen = stage.play(boundary, disturbance)
    except RunFailed as error:
        return Round(boundary=boundary, disturbance=disturbance, differences=(error.what,))
    differences = comparison.differences(seen.world)
    return Round(boundary=boundary, disturbance=disturbance, differences=differences, reached=seen.reached)


def _nothing_to_play(dag_id: str, found: Sequence[Boundary]) -> DefinitionError:
    if not found:
        return DefinitionError(f"{dag_id!r} makes no call of the cloud: there is nothing to rehearse")
    return DefinitionError(
        f"no call of {dag_id!r} is chosen", hint=f"its calls are: {name_some([str(boundary) for boundary in found])}"
    )


def _regions(plan: Plan) -> set[str]:
    """Where the pipeline has clusters."""
    used = (task.uses(plan.context_of(task_id)) or () for task_id, task in plan.tasks.items())
    return {resource.region for resources in used for resource in resources if isinstance(resource, Cluster)}
