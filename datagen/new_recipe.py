"""A starting recipe for a weakness that has none: YAML that loads, says what was found, and waits for a person.

The few-shot examples are drawn from the sampler on the building side of the held-out split. The failing
prompts themselves are never written down: they belong to the benchmark, and a recipe that quotes them
would teach the test.
"""

from collections.abc import Sequence
from pathlib import Path

from datagen.errors import InputError, UnknownName
from datagen.prompts import phrase
from datagen.recipe import list_recipes, parse_recipe
from datagen.remedies import remedy
from datagen.targets import SAMPLERS, VOCABULARIES, sample_targets
from datagen.weakness import Weakness

# What a recipe samples, where its name is not its sampler's.
SAMPLER_OF = {"color_attribution": "color_attr", "two_objects": "two_object"}
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
    sampler, params = _targets(w)
    vocabulary = VOCABULARIES["scenes"]
    targets = sample_targets(sampler, vocabulary, EXAMPLES, 0, params)
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
            "examples": [f"A picture of {phrase(t, vocabulary)}." for t in targets],
        },
    }
    recipe = parse_recipe(row, f"draft of {name}")
    comment = [
        f"A start for the weakness {w.id}: score {100 * w.score:.1f}, 95% interval {100 * w.low:.1f} to "
        f"{100 * w.high:.1f}, target {100 * w.target:.1f}, {w.prompts or '?'} prompts.",
        f"It fails by: {ways}." if ways else "How it fails was not in the results.",
        f"Targets come from the sampler {sampler!r}" + (": the nearest there is; change it or write one in "
        "datagen/targets.py." if sampler == "broad" else "; narrow it with params."),
        "Then: the guidance, the examples, rewards that see this failure. datagen build --recipe FILE --preview 4",
    ]  # fmt: skip
    return "".join(f"# {line}\n" for line in comment) + recipe.to_yaml()


def _targets(w: Weakness) -> tuple[str, dict[str, int]]:
    recipe, suggestion = remedy(w.id, list_recipes())
    answer = w.recipe or recipe or suggestion or "broad"
    sampler = SAMPLER_OF.get(answer, answer)
    if sampler not in SAMPLERS:
        return "broad", {}
    count = w.facets.get("count", "")
    if sampler == "counting" and count.isdigit() and 1 <= int(count) <= VOCABULARIES["scenes"].max_count:
        return sampler, {"min": int(count), "max": int(count)}
    return sampler, {}


def write_draft(path: Path, text: str, force: bool = False) -> None:
    """Raises ``InputError`` rather than overwrite."""
    if path.exists() and not force:
        raise InputError(f"{path} exists; --force writes it again")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
