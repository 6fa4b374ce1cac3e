"""The plots of ``docs/study.md``. Needs matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import AXES, BOTH, PARTS
from benchmarks.study_results import Found, baseline, change

BLUE, PALE, GREY = "#2660d6", "#9bb5ee", "#888"
COLOURS = {"compose": "#b07a2a", "dense": "#8a5a9e", "knowledge": "#4f8f6b", "text": "#c0504d"}


def plot_arms(found: Found, path: Path) -> None:
    """The mean over the four parts of every arm that was run, with its interval."""
    arms = [arm for some in AXES.values() for arm in some if (arm.axis, arm.name) in found]
    changes = [change(baseline(a, found), list(found[a.axis, a.name].values()), list(PARTS)) for a in arms]
    figure, axes = _figure(7, 0.9 + 0.32 * len(arms))
    y = range(len(arms))
    middle = np.array([100 * c.mean for c in changes])
    spread = np.abs(np.array([[100 * c.low, 100 * c.high] for c in changes]).T - middle)
    axes.errorbar(middle, y, xerr=spread, fmt="o", color=BLUE, ecolor=PALE, capsize=3)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(y, [f"{a.axis}: {a.name}" for a in arms])
    axes.invert_yaxis()
    axes.set_xlabel("points over the untrained model, mean of four parts")
    _save(figure, path)


def plot_scaling(found: Found, path: Path) -> None:
    """Gain by the number of candidates: the mean with its interval, and each part."""
    sizes = {a.data.scale: a for a in (BOTH, *AXES["scaling"]) if (a.axis, a.name) in found}
    order = sorted(sizes)
    rows = [list(found[sizes[s].axis, sizes[s].name].values()) for s in order]
    x = [np.mean([row["candidates"] for row in some]) for some in rows]
    start = baseline(BOTH, found)
    figure, axes = _figure(7, 4)
    for part in PARTS:
        y = [100 * change(start, some, [part]).mean for some in rows]
        axes.plot(x, y, color=COLOURS[part], linewidth=1, marker=".", label=part)
    means = [change(start, some, list(PARTS)) for some in rows]
    middle = np.array([100 * c.mean for c in means])
    spread = np.abs(np.array([[100 * c.low, 100 * c.high] for c in means]).T - middle)
    axes.errorbar(
        x, middle, yerr=spread, color=BLUE, ecolor=PALE, marker="o", capsize=3, label="mean of four"
    )
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{n:,.0f}" for n in x])
    axes.minorticks_off()
    axes.set_xlabel("candidates")
    axes.set_ylabel("points over the untrained model")
    axes.legend(frameon=False)
    _save(figure, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
