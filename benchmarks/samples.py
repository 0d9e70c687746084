"""Repeated measurements, and what they come to: medians with their spread, means with their confidence interval."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: Two-sided 95 % quantiles of Student's t, by degrees of freedom.
#: https://www.itl.nist.gov/div898/handbook/eda/section3/eda3672.htm
_T95: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_T95_OF_MANY: Final = 1.960


@dataclass(frozen=True)
class Samples:
    """Measurements of the same thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.values)

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def half_width(self) -> float:
        """Half of the 95 % confidence interval of the mean, by Student's t; infinite for a single value."""
        degrees = len(self.values) - 1
        if degrees < 1:
            return math.inf
        quantile = _T95[degrees - 1] if degrees <= len(_T95) else _T95_OF_MANY
        return quantile * statistics.stdev(self.values) / math.sqrt(len(self.values))

    def scaled(self, factor: float) -> Samples:
        """The same in another unit."""
        return Samples(tuple(value * factor for value in self.values))

    def over(self, other: Samples) -> Samples:
        """How many times the other one's of the same turn each is."""
        return Samples(tuple(value / of for value, of in zip(self.values, other.values, strict=True)))

    def text(self, digits: int) -> str:
        """The median, with the least and the greatest: ``9.8 (9.6-10.4)``."""
        return f"{self.median:,.{digits}f} ({min(self.values):,.{digits}f}-{max(self.values):,.{digits}f})"


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(measures: Mapping[str, Callable[[], float]], repeat: int) -> dict[str, Samples]:
    """Measure in turns, so that whatever disturbs the machine disturbs all; the first turn is not counted.

    Args:
        measures: Name -> measures once, in seconds.
        repeat: How often each is counted.
    """
    turns: Sequence[Mapping[str, float]] = [
        {name: measure() for name, measure in measures.items()} for _ in range(repeat + 1)
    ]
    return {name: Samples(tuple(turn[name] for turn in turns[1:])) for name in measures}
