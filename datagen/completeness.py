"""How many prompts a whole benchmark has, so that a run that was stopped says what it lacks.

Only benchmarks whose sizes are fixed and known from their own code or data are here. An incomplete
file is accepted: its intervals are wider, and the note says why. Our own suites write GenEval's format
with sizes of their own, so GenEval is only told incomplete when it is nearly whole.
"""

from collections.abc import Collection

SIZES: dict[str, dict[str, int]] = {
    "geneval": {"single_object": 80, "two_object": 99, "counting": 80, "colors": 94, "position": 100,
                "color_attr": 100},
    "wise": {"culture": 400, "time": 167, "space": 133, "biology": 100, "physics": 100, "chemistry": 100},
    "wise-verified": {"culture": 400, "time": 120, "space": 120, "biology": 120, "physics": 120, "chemistry": 120},
    "dpg-bench": {"prompts": 1065, "headline": 1065},
    "tifa": {},
}  # fmt: skip
NEARLY = 0.9  # GenEval's share from which a smaller number is a gap and not another suite


def missing(benchmark: str, category: str, prompts: int) -> list[str]:
    """A note where prompts are missing; nothing where the size is not known, or all are there."""
    whole = SIZES.get(benchmark, {}).get(category)
    if not whole or not prompts or prompts >= whole:
        return []
    if benchmark == "geneval" and prompts < NEARLY * whole:
        return []
    return [f"incomplete: {prompts} of {whole} prompts"]


def lacking(benchmark: str, present: Collection[str]) -> list[str]:
    """A note where categories of a GenEval summary or results file are missing altogether."""
    whole = SIZES.get(benchmark, {})
    gone = [c for c in whole if c not in present]
    if benchmark != "geneval" or not gone or len(gone) == len(whole):
        return []
    return [f"incomplete: no {', '.join(gone)} in these results"]
