"""``docs/study.md`` and its plots from the study's result files: ``python -m benchmarks.study_report``.

Every figure is a paired difference: the same prompts, the same images' seeds. Its interval is a bootstrap
over prompts and over training seeds at once, and the p-value of an arm's mean over the four parts is
corrected within its axis (Holm). What was not run is listed, never filled in. Needs matplotlib for the plots.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.arms import AXES, BOTH, PARTS
from benchmarks.study_plots import plot_arms, plot_scaling
from benchmarks.study_results import Found, Row, baseline, change, level, load, paired
from datagen.statistics import holm

RESULTS = Path("benchmarks/results/study")
UNTOUCHED = ("single_object", "two_object", "colors", "color_attr")  # no targeted build was for these
LETTERING = (*AXES["strategy"], *AXES["modality"])
HEAD = """# The paper's findings at pocket scale

Written by `python -m benchmarks.study_report` from the files in `benchmarks/results/study`, which
`python -m benchmarks.study --setting full` made; a test checks that this page and those files agree.
Points are percent. An interval is a 95% bootstrap over prompts and over training seeds; p is of the mean over
the four parts, corrected within its table (Holm). With one seed an interval covers prompts only.

The suite: *compose* is GenEval's six skills, *dense* three to six objects scored by atoms with dependencies,
*knowledge* riddles of two facts, *text* words of three to five letters by spelling. All targets are held out,
and the judges are networks that no build weighs by.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def axis_table(axis: str, found: Found) -> str:
    """Each arm against the untrained model and, where it is another, against *targeted, both weighted*."""
    arms = [*([] if BOTH in AXES[axis] else [BOTH]), *AXES[axis]]
    done = [arm for arm in arms if (arm.axis, arm.name) in found]
    if not done or (done == [BOTH] and BOTH not in AXES[axis]):
        return "Not run yet.\n"
    reference = found.get((BOTH.axis, BOTH.name), {})
    gains, against = {}, {}
    for arm in done:
        mine = list(found[arm.axis, arm.name].values())
        gains[arm.file] = [
            change(baseline(arm, found), mine, some) for some in (*([p] for p in PARTS), list(PARTS))
        ]
        pair = paired(reference, found[arm.axis, arm.name])
        if arm != BOTH and pair[0]:
            against[arm.file] = change(pair[0], pair[1], list(PARTS))
    adjusted = dict(zip([a.file for a in done], holm([gains[a.file][-1].p for a in done]), strict=True))
    others = dict(zip(against, holm([c.p for c in against.values()]), strict=True))
    rows = []
    for arm in done:
        mine = list(found[arm.axis, arm.name].values())
        name = "**targeted, both weighted**" if arm == BOTH else arm.name
        rows.append([
            name, str(len(mine)), *map(str, gains[arm.file]), f"{adjusted[arm.file]:.3f}", words(mine),
            f"{against[arm.file]}, p {others[arm.file]:.3f}" if arm.file in against else "",
            f"{100 * np.mean([r['opens alone'] for r in mine]):.1f}",
            f"{np.mean([r['ess_text'] for r in mine]):.0f} / {np.mean([r['ess_image'] for r in mine]):.0f}",
        ])  # fmt: skip
    missing = [a.name for a in arms if a not in done]
    head = (
        "arm",
        "seeds",
        *PARTS,
        "mean of four",
        "p",
        "words right, %",
        "against targeted",
        "opens alone, %",
        "ESS text / image",
    )
    return table(head, rows) + (f"\nNot run yet: {', '.join(missing)}.\n" if missing else "")


def budgets(found: Found) -> str:
    """Prompts a recipe of each strategy, the mean over seeds."""
    made = {
        a.name: list(found[a.axis, a.name].values()) for a in AXES["strategy"] if (a.axis, a.name) in found
    }
    names = sorted({recipe for rows in made.values() for row in rows for recipe in row["prompts"]})
    lines = [
        [name, *(f"{np.mean([row['prompts'].get(r, 0) for row in rows]):.0f}" for r in names)]
        for name, rows in made.items()
    ]
    return "Prompts of each recipe, the mean over seeds:\n\n" + table(("arm", *names), lines)


def duels(found: Found) -> str:
    """Each strategy against each other on the mean over the four parts, over the seeds that both have."""
    made = {a.name: found[a.axis, a.name] for a in AXES["strategy"] if (a.axis, a.name) in found}
    pairs = {(a, b): paired(made[b], made[a]) for a, b in combinations(sorted(made, reverse=True), 2)}
    changes = {names: change(*rows, list(PARTS)) for names, rows in pairs.items() if rows[0]}
    adjusted = holm([c.p for c in changes.values()])
    lines = [
        [f"{a} - {b}", str(len(pairs[a, b][0])), str(c), f"{p:.3f}"]
        for ((a, b), c), p in zip(changes.items(), adjusted, strict=True)
    ]
    return "Strategies against each other, mean of four:\n\n" + table(("", "seeds", "difference", "p"), lines)


def both_baselines(found: Found) -> str:
    """The trace's arms against the untrained model with its trace and without: a gain may be mere recovery."""
    starts = [[found["baseline", name][0]] for name in ("untrained", "untrained, no trace")]
    lines = []
    for arm in (BOTH, *AXES["trace"]):
        if rows := list(found.get((arm.axis, arm.name), {}).values()):
            mean = np.mean([level(rows, part) for part in PARTS])
            gains = [str(change(start, rows, list(PARTS))) for start in starts]
            lines.append([arm.name, f"{100 * mean:.1f}", words(rows), *gains])
    head = ("arm", "mean of four", "words right, %", "over untrained with a trace", "over untrained without")
    return "Against both of the untrained model's ways, mean of four:\n\n" + table(head, lines)


def report(folder: Path = RESULTS) -> str:
    """The whole page."""
    found = load(folder)
    bases = {name: list(rows.values()) for (axis, name), rows in found.items() if axis == "baseline"}
    out = [HEAD, "## Where it starts\n"]
    out.append(
        table(
            ("untrained model", *PARTS, "mean of four", "words right, %"),
            [
                [
                    name,
                    *(f"{100 * level(rows, p):.1f}" for p in PARTS),
                    f"{100 * np.mean([level(rows, p) for p in PARTS]):.1f}",
                    words(rows),
                ]
                for name, rows in sorted(bases.items())
            ],
        )
    )
    for axis in AXES:
        out += [
            f"## {axis.capitalize()}\n",
            f"Differences from the untrained model.\n\n{axis_table(axis, found)}",
        ]
        if axis == "strategy":
            out += [duels(found), budgets(found)]
        if axis == "trace":
            out.append(both_baselines(found))
    trained = list(found.get((BOTH.axis, BOTH.name), {}).values())
    if costs := found.get(("autonomy", "cost")):
        out += ["## Autonomy\n", autonomy(next(iter(costs.values())), bases["untrained"], trained)]
    if trained:
        start = [found["baseline", "untrained"][0]]
        kept = [[c, str(change(start, trained, ["compose"], [c]))] for c in UNTOUCHED]
        out += ["## Forgetting\n", "What *targeted, both weighted* does to skills it was not built for.\n"]
        out += [table(("skill", "difference"), kept)]
        out += ["## Lettering\n", lettering(bases, found)]
    return "\n".join(out)


def words(rows: Sequence[Row]) -> str:
    """Percent of the text part's words that were drawn without a fault."""
    return f"{100 * np.mean([r['word_accuracy'] for r in rows]):.1f}"


def lettering(bases: Mapping[str, Sequence[Row]], found: Found) -> str:
    """The text part from both of its starts: the untrained model with its trace and without."""
    arms = {a.name: list(found[a.axis, a.name].values()) for a in LETTERING if (a.axis, a.name) in found}
    starts = {name: bases[name] for name in ("untrained", "untrained, no trace")}
    begin = float(words(starts["untrained"])), level(starts["untrained"], "text")
    rows = []
    for name, some in {**starts, **arms}.items():
        right, spelling = float(words(some)), level(some, "text")
        times = f"{right / begin[0]:.1f}" if begin[0] else ""
        rows.append([name, f"{100 * spelling:.1f}", f"{spelling / begin[1]:.1f}", f"{right:.1f}", times])
    head = ("model", "spelling", "times the start", "words right, %", "times the start")
    return "Spelling is 1 less the edit distance over the word's length.\n\n" + table(head, rows)


def autonomy(cost: Row, before: Sequence[Row], after: Sequence[Row]) -> str:
    """Who opens the image, and what a second pass costs."""
    seconds, opened = cost["seconds"], cost["opened"]
    rates = [100 * float(np.mean([r["opens alone"] for r in rows])) for rows in (before, after)]
    rows = [
        [name, f"{100 * opened[name]:.0f}", f"{1000 * seconds[name] / cost['images']:.0f}"]
        for name in seconds
    ]
    ratio = seconds["two stages"] / seconds["one pass"]
    return (
        f"Over the whole suite the untrained model opens {rates[0]:.1f}% of its images itself, the trained one "
        f"{rates[1]:.1f}%. Two stages (write; read again and be made to draw) against one pass, one batch of "
        f"{cost['images']} images on one core:\n\n"
        + table(("", "opened by the model, %", "ms an image"), rows)
        + f"\nTwo stages take {ratio:.2f} times the time of one pass.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=Path("docs/study.md"))
    args = parser.parse_args()
    text = report(args.results)
    pictures = "\n![every arm](study.png)\n\n![gain by candidates](study_scaling.png)\n\n"
    args.out.write_text(text + pictures + conclusions(args.out), encoding="utf-8")
    found = load(args.results)
    plot_arms(found, args.out.with_suffix(".png"))
    plot_scaling(found, args.out.with_name("study_scaling.png"))


MARK = "## What follows"


def conclusions(path: Path) -> str:
    """The part that a person writes, kept as it is."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return text[text.index(MARK) :] if MARK in text else f"{MARK}\n"


if __name__ == "__main__":
    main()
