"""Is it the model or the detector? Weaknesses that a second judge of the same images does not see.

GenEval's detector drifts from people by up to 17.7% (arXiv 2512.16853), so a weakness found by one
judge alone is *detector-suspect*. Paired by image, Holm-corrected over the categories.
"""

from collections.abc import Sequence
from dataclasses import replace

from datagen.compare import compare
from datagen.evals.rows import EvalRow
from datagen.weakness import Weakness


def suspect(found: Sequence[Weakness], first: Sequence[EvalRow], second: Sequence[EvalRow]) -> list[Weakness]:
    """The weaknesses, with a note where the second judge clearly scores the same images higher.

    Raises ``InputError`` when the two share no image.
    """
    higher = {(c.benchmark, c.category): c for c in compare(first, second) if c.verdict == "better"}
    out = []
    for w in found:
        other = higher.get((w.benchmark, w.category)) or higher.get(("", w.category))
        if other and not w.parent and w.verdict in ("weak", "likely"):
            note = (
                f"detector-suspect: a second judge scores the same images {100 * other.after:.1f}, "
                f"{100 * other.difference:+.1f} points (p {other.p:.3f})"
            )
            w = replace(w, note="; ".join(filter(None, (w.note, note))))
        out.append(w)
    return out
