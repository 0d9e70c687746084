"""What a disturbed run left, beside what an undisturbed one leaves: the differences, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydag_gcp.rehearsal.world import TableState, World


class Comparison:
    """Compares what runs left with what undisturbed ones leave.

    What differs between undisturbed runs already is compared only as far as these are the same: a table with the time
    of the run in it by its columns and its number of rows, say.

    Args:
        undisturbed: What undisturbed runs have left, each by itself.
    """

    def __init__(self, undisturbed: Sequence[World]) -> None:
        self._expected = undisturbed[0]
        self._rows_vary = _varying(undisturbed, lambda table: table.rows)
        self._contents_vary = _varying(undisturbed, lambda table: table.digest) | self._rows_vary
        self._objects_vary = {
            name
            for name, hashes in self._expected.objects.items()
            if any(world.objects.get(name) != hashes for world in undisturbed)
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What differs between undisturbed runs, and how it is compared."""
        rows = "undisturbed runs differ in it: only its columns are compared"
        content = "undisturbed runs differ in it: only its columns and its number of rows are compared"
        return (
            *(f"table {name}: {rows if name in self._rows_vary else content}" for name in sorted(self._contents_vary)),
            *(
                f"{name}: undisturbed runs differ in it: its content is not compared"
                for name in sorted(self._objects_vary)
            ),
        )

    def differences(self, found: World) -> tuple[str, ...]:
        """Say what is not as it should be."""
        return (
            *self._tables(found.tables),
            *self._objects(found.objects),
            *self._effects(found.effects),
            *(f"job {job} still runs" for job in found.running),
            *(f"cluster {name} is left" for name in found.clusters if name not in self._expected.clusters),
            *(f"cluster {name} is gone" for name in self._expected.clusters if name not in found.clusters),
        )

    def _tables(self, found: Mapping[str, TableState]) -> Iterator[str]:
        expected = self._expected.tables
        yield from (f"table {name} is missing" for name in sorted(expected.keys() - found.keys()))
        yield from (f"table {name} should not be there" for name in sorted(found.keys() - expected.keys()))
        for name in sorted(expected.keys() & found.keys()):
            have, want = found[name], expected[name]
            if have.schema != want.schema:
                yield f"table {name} has other columns"
            elif have.rows != want.rows and name not in self._rows_vary:
                yield f"table {name} has {have.rows} rows instead of {want.rows}"
            elif have.digest != want.digest and name not in self._contents_vary:
                yield f"table {name} has other rows"

    def _objects(self, found: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
        expected = self._expected.objects
        yield from (f"{name} is missing" for name in sorted(expected.keys() - found.keys()))
        yield from (f"{name} should not be there" for name in sorted(found.keys() - expected.keys()))
        for name in sorted(expected.keys() & found.keys()):
            have, want = found[name], expected[name]
            if len(have) != len(want):
                yield f"{name} is there {len(have)} times instead of {len(want)}"
            elif have != want and name not in self._objects_vary:
                yield f"{name} has another content"

    def _effects(self, found: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
        expected = self._expected.effects
        for task in sorted(expected.keys() | found.keys()):
            have, want = found.get(task, ()), expected.get(task, ())
            if len(have) != len(want):
                named = f": jobs {', '.join(have)}" if len(have) > len(want) else ""
                yield f"task {task} took effect {len(have)} times instead of {len(want)}{named}"


def _varying(undisturbed: Sequence[World], part: Callable[[TableState], int]) -> set[str]:
    """The tables of which a part is not the same in all runs."""
    seen = {(name, part(table)) for world in undisturbed for name, table in world.tables.items()}
    return {name for name, count in Counter(name for name, _ in seen).items() if count > 1}
