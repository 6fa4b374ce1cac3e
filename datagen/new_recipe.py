"""A starting recipe for a weakness that has none: YAML that loads, says what was found, and waits for a person.

The few-shot examples are drawn from the sampler on the building side of the held-out split. The failing
prompts themselves are never written down: they belong to the benchmark, and a recipe that quotes them
would teach the test.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.errors import InputError, UnknownName
from datagen.prompts import phrase
from datagen.recipe import Recipe, list_recipes, load_recipe, parse_recipe
from datagen.targets import VOCABULARIES, sample_targets
from datagen.weakness import Weakness

EXAMPLES = 3


def find(weaknesses: Sequence[Weakness], wanted: str) -> Weakness:
    """By id, or by the end of one id. Raises ``UnknownName``, or ``InputError`` where several end so."""
    exact = [w for w in weaknesses if w.id == wanted]
    found = exact or [
        w for w in weaknesses if w.id.endswith(f"/{wanted}") or (w.category == wanted and not w.parent)
    ]
    if not found:
        raise UnknownName("weakness", wanted, [w.id for w in weaknesses])
    if len(found) > 1:
        raise InputError(f"weakness {wanted!r} is several: {', '.join(w.id for w in found)}")
    return found[0]


def draft(w: Weakness, name: str) -> str:
    """YAML of a recipe called ``name`` for ``w``. Raises ``InputError`` for a name that is taken."""
    if name in list_recipes():
        raise InputError(f"recipe {name!r} exists; choose another name")
    near, params = _nearest(w)
    sampler = near.targets.sampler
    examples = {v: _examples(near.for_vocabulary(v), v, params) for v in near.vocabularies}
    variants = {
        v: {**_kept(variant.model_dump(mode="json", exclude_unset=True), params), "examples": examples[v]}
        for v, variant in near.vocabularies.items()
    }
    ways = ", ".join(f"{way} ({n})" for way, n in list(w.failures.items())[:4])
    row = {
        "name": name,
        "description": f"{w.label or w.category}: {100 * w.score:.1f} on {w.benchmark or 'the evaluation'}",
        "weakness": w.category,
        "targets": {"sampler": sampler, "params": params},
        "prompts": {
            "count": 120,
            "guidance": f"Write one short prompt for a picture that tests: {w.label or w.category}."
            + (f" The model's usual failures: {ways}." if ways else ""),
            "examples": next(iter(examples.values())),
        },
        "vocabularies": variants,
    }
    recipe = parse_recipe(row, f"draft of {name}")
    comment = [
        f"A start for the weakness {w.id}: score {100 * w.score:.1f}, 95% interval {100 * w.low:.1f} to "
        f"{100 * w.high:.1f}, target {100 * w.target:.1f}, {w.prompts or '?'} prompts.",
        f"It fails by: {ways}." if ways else "How it fails was not in the results.",
        f"Targets come from the sampler {sampler!r}" + (": the nearest there is; change it or write one in "
        "datagen/targets." if sampler == "broad" else "; narrow it with params."),
        "Then: the guidance, the examples, rewards that see this failure. datagen build --recipe FILE --preview 4",
    ]  # fmt: skip
    return "".join(f"# {' '.join(line.split())}\n" for line in comment) + recipe.to_yaml()


def _nearest(w: Weakness) -> tuple[Recipe, dict[str, int]]:
    """The shipped recipe that comes nearest, and its parameters narrowed to the weakness."""
    known = list_recipes()
    answer = next((n for n in (w.recipe, w.suggestion) if n in known), None) or "broad"
    near, count = load_recipe(answer), w.facets.get("count", "")
    most = min(VOCABULARIES[v].max_count for v in near.vocabularies)
    if near.targets.sampler == "counting" and count.isdigit() and 1 <= int(count) <= most:
        return near, {"min": int(count), "max": int(count)}
    return near, {}


def _examples(near: Recipe, vocabulary: str, params: dict[str, int]) -> list[str]:
    known = VOCABULARIES[vocabulary]
    targets = sample_targets(near.targets.sampler, known, EXAMPLES, 0, near.targets.params | params)
    return [f"A picture of {phrase(t, known)}." for t in targets]


def _kept(variant: dict[str, Any], params: dict[str, int]) -> dict[str, Any]:
    """What a draft takes over from the nearest recipe's variant: all but its words and what is narrowed."""
    own = {k: v for k, v in variant.get("params", {}).items() if k not in params}
    rest = {k: v for k, v in variant.items() if k not in ("params", "guidance", "examples")}
    return {**({"params": own} if own else {}), **rest}


def write_draft(path: Path, text: str, force: bool = False) -> None:
    """Raises ``InputError`` rather than overwrite."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; --out names a file")
    if path.exists() and not force:
        raise InputError(f"{path} exists; --force writes it again")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
