"""The chart of the simulated staging-to-fact table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from samples import Samples

#: Cache -> how its bars look; told apart in grey, too.
COLOURS: Final[Mapping[str, str]] = {"off": "#2b5c8a", "on": "#f2a65a"}


def draw(samples: Mapping[str, Sequence[float]], file: Path, *, title: str) -> None:
    """Draw means with their confidence intervals as bars.

    Args:
        samples: ``"4 off"`` -> the seconds of all runs on four processors with the cache off.
        file: The PNG to write.
        title: What is said above it; that it is simulated, and how.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    labels = list(dict.fromkeys(name.rpartition(" ")[0] for name in samples))
    figure, axes = plt.subplots(figsize=(7.5, 4.2), dpi=150)
    for offset, (cache, colour) in zip((-0.19, 0.19), COLOURS.items(), strict=True):
        found = [Samples(tuple(samples[f"{label} {cache}"])) for label in labels]
        bars = axes.bar(
            [i + offset for i in range(len(labels))],
            [one.mean for one in found],
            width=0.36,
            yerr=[one.half_width if len(one.values) > 1 else 0 for one in found],
            capsize=4,
            color=colour,
            label=f"cache {cache}",
        )
        axes.bar_label(bars, [f"{one.mean:.1f}" for one in found], padding=3, fontsize=8)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("processors")
    axes.set_ylabel("seconds of a run")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right", ncols=2)
    figure.tight_layout()
    # Without the version of matplotlib in it the same samples make the same file.
    figure.savefig(file, metadata={"Software": None})
    plt.close(figure)
