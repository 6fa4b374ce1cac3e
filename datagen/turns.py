"""What a turn of the loop takes from the turns before it: yields, what prompts moved, the model, the data.

A turn trained on its own data alone unlearns what the one before it won (``docs/study.md``), so a turn's
data are merged with those of the turn it follows, which hold those of every turn before.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.budget import Yield, responses
from datagen.compare import compare
from datagen.errors import InputError
from datagen.evals import EvalRow, read_results
from datagen.recipe import recipes_by_weakness
from datagen.weaknesses import find_weaknesses

LOOP = "loop.json"  # a run's settings
MERGED = "merged"
TURN = 1000  # seeds from one turn to the next


def yields_of(run: Path) -> dict[str, Yield]:
    """Recipe -> what of its candidates passed in the run's last build; empty before the first."""
    if not (run / "build.json").exists():
        return {}
    rates = _built(run, "pass_rate", "candidates")
    return {name: Yield(rate, made) for name, (rate, made) in rates.items() if rate is not None}


def moved_in(run: Path, before: Sequence[EvalRow], after: Sequence[EvalRow]) -> dict[str, float]:
    """Recipe -> what one prompt of the run's last build moved, from results before and after training on it.

    Raises ``InputError`` when the run has no build, or when what it built for is not in the results.
    """
    spent = {name: prompts for name, (prompts,) in _built(run, "prompts").items()}
    found = find_weaknesses(before, recipes=recipes_by_weakness())
    moved = responses(compare(before, after), {w.category: w.recipe for w in found if w.recipe}, spent)
    if not moved:
        raise InputError(
            f"{run / 'build.json'}: was built for {', '.join(spent)}, and the results have no category of theirs"
        )
    return moved


def _built(run: Path, *fields: str) -> dict[str, tuple[Any, ...]]:
    """Recipe -> ``fields`` of the run's last build. Raises ``InputError`` where it left no whole record."""
    path = run / "build.json"
    try:
        recipes = json.loads(path.read_text(encoding="utf-8"))["recipes"]
        return {name: tuple(row[field] for field in fields) for name, row in recipes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a build's record: {error}") from error


def model_of(run: Path) -> str:
    """The model that the run trained. Raises ``InputError`` when it trained none to the end."""
    if not (run / "model" / "training.json").exists():
        raise InputError(
            f"{run}: no turn has ended there (no model/training.json); end it with datagen run --run {run}"
        )
    return str(run / "model")


def moved_by(run: Path) -> dict[str, float]:
    """Recipe -> what one prompt of it moved in the run's turn, by its own evaluations before and after."""
    return moved_in(run, *(read_results(run / "eval" / f"{name}.jsonl") for name in ("before", "after")))


def seed_after(run: Path, seed: int) -> int:
    """A turn's seed for its build, so that prompts are not those of the turns before."""
    try:
        before = json.loads((run / LOOP).read_text(encoding="utf-8")).get("after")
    except FileNotFoundError:  # made command by command
        before = None
    return TURN + (seed_after(Path(before), seed) if before else seed)


def data_of(run: Path) -> Path:
    """What the run's model was trained on."""
    return run / MERGED if (run / MERGED).exists() else run / "dataset"


def with_earlier(run: Path, earlier: Path) -> Path:
    """The run's data merged with those of the turn before, in ``RUN/merged``; made once."""
    from datagen.merge import merge

    out = run / MERGED
    if not out.exists():
        merge([data_of(earlier), run / "dataset"], out)
    return out
