"""The ranked weaknesses on a terminal: what is weak, how sure that is, how it fails, what to do next."""

from collections.abc import Sequence

from datagen.console import percent, points, table
from datagen.weakness import Weakness, by_note

TOLD = 5  # weaknesses whose ways of failing are told
COLUMNS = (
    "weakness",
    "images",
    "prompts",
    "score",
    "95% interval",
    "gap",
    "P(weak)",
    "verdict",
    "budget",
    "recipe",
)

SPARE = ("images", "P(weak)", "prompts", "gap")  # on a narrow terminal


def print_weaknesses(found: Sequence[Weakness], path: str, run: str = "") -> None:
    """The table, how the weakest fail, the notes, and the commands that come next, with the option ``run``."""
    targets = sorted({w.target for w in found if w.verdict != "shown"})
    against = percent(targets[0]) if len(targets) == 1 else "each benchmark's own target"
    table(f"Weaknesses, against {against} ({path})", COLUMNS, [_row(w) for w in found], SPARE)
    _failures(found)
    _notes(found)
    _next(found, run, path.endswith("weaknesses.json"))


def indent(w: Weakness) -> str:
    """A sub-skill stands under its parent and repeats nothing of it."""
    depth = len(w.facets) + w.label.count(": the others")
    if not w.parent:
        return w.label or w.category
    return "  " * max(depth, 1) + w.label.rsplit(", ", 1)[-1]


def remedy_text(w: Weakness) -> str:
    """The recipe, or that there is none and which would help."""
    if w.recipe:
        return w.recipe
    return f"none yet ({w.suggestion})" if w.suggestion else "none"


def _row(w: Weakness) -> tuple[object, ...]:
    shown = w.verdict == "shown"
    return (
        indent(w),
        w.n,
        w.prompts or "?",
        percent(w.score),
        "unknown" if shown and w.n <= 1 else f"{percent(w.low)} to {percent(w.high)}",
        "" if shown else points(-w.gap),
        "" if shown else f"{w.probability:.2f}",
        w.verdict,
        f"by {w.split}" if w.split else percent(w.budget),
        "" if w.split else remedy_text(w),
    )


def _failures(found: Sequence[Weakness]) -> None:
    told = [w for w in found if w.verdict in ("weak", "likely") and (w.failures or w.examples)][:TOLD]
    if told:
        print("\nHow it fails")
    for w in told:
        ways = ", ".join(f"{way} {n}" for way, n in list(w.failures.items())[:4])
        print(f"  {w.label or w.category}: {ways or w.examples[0]}")
        if ways and w.examples:
            print(f"    {w.examples[0]}")


def _notes(found: Sequence[Weakness]) -> None:
    notes = by_note(found)
    if notes:
        print("\nNotes")
    for note, places in notes:
        where = ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
        print(f"  {note} ({where})")


def _next(found: Sequence[Weakness], run: str, written: bool) -> None:
    for text in dict.fromkeys(f"{w.recipe}: {w.advice}" for w in found if w.advice):
        print(f"\n{text}")
    bare = [w for w in found if not w.recipe and w.budget > 0]
    if bare:
        print(f"\nNo recipe yet: datagen recipes --new NAME --from-weakness ID{run}, with ID")
        for w in bare[:TOLD]:
            print(f"  {w.id}" + (f"  (a {w.suggestion} recipe would target it)" if w.suggestion else ""))
    if not any(w.budget > 0 for w in found) and any(w.verdict != "shown" for w in found):
        print("\nNothing lies below its target; --target 0.9 sets a higher one")
    if any(w.recipe and w.budget > 0 for w in found) and written:
        print(f"\nNext: datagen build --from-weaknesses [--model MODEL]{run}")
        print(
            "  with MODEL whose results these are; the default is pocket, which draws shapes and letters only"
        )
