"""Suites: the prompts a model is evaluated on. Held-out targets, in wording the template writer never uses.

Four suites on the pocket model's world mirror the paper's four benchmarks: ``scenes`` GenEval's six tags,
``dense`` DPG-Bench (many objects with attributes and places), ``knowledge`` WISE (a number or a colour is
only hinted at), ``text`` OneIG's lettering. ``geneval_style`` has GenEval's
own six templates over COCO's classes (Ghosh et al. 2023), in its sizes by tag: not its 553 prompts, but
of their making, so that a build can be held against the benchmark without quoting it.
"""

import random
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from datagen.decontaminate import Evaluation
from datagen.errors import InputError
from datagen.prompts import NUMBER_WORDS, RELATION_PHRASES, check_prompt, phrase
from datagen.registry import resolve
from datagen.sample import Sample, Target, content_id
from datagen.targets import VOCABULARIES, sample_targets
from datagen.targets.mixtures import GENEVAL

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
OPENINGS = ("an image of", "a scene with", "draw", "a sketch of", "a clean picture that shows", "here is",
            "imagine", "a sticker sheet with", "I want to see")  # fmt: skip
ENDINGS = ("in a simple scene", "on a blank page", "with nothing else", "in the picture", "in a quiet room", "",
           "", "")  # fmt: skip
PHOTO = "a photo of"
# A tag's parameters where GenEval asks for less than the sampler's defaults.
_GENEVAL_PARAMS = {
    "single_object": {"sized": 0}, "two_object": {"sized": 0}, "counting": {"min": 2, "max": 4, "colored": 0},
    "position": {"colored": 0},
}  # fmt: skip

SUITES: dict[str, str] = {
    "scenes": "datagen.suites:scenes_suite",
    "dense": "datagen.suites:dense_suite",
    "knowledge": "datagen.suites:knowledge_suite",
    "text": "datagen.suites:text_suite",
    "geneval_style": "datagen.suites:geneval_style_suite",
}
# Scored by the judge's fraction, as DPG-Bench, WISE and OneIG do; the others by right or wrong.
GRADED = ("dense", "knowledge", "text")
SUITE_OPENINGS = {"scenes": OPENINGS, "geneval_style": (PHOTO,)}
SUITE_OF = {"scenes": "scenes", "coco": "geneval_style"}  # vocabulary -> what builds are held against


def scenes_suite(per_category: int = 60, seed: int = 0) -> list[Sample]:
    """``per_category`` distinct prompts for each of GenEval's six tags, targets on the held-out side."""

    return [sample for tag in TAGS for sample in _scene_prompts("scenes", tag, per_category, seed)]


def dense_suite(per_category: int = 60, seed: int = 0) -> list[Sample]:
    """Three to six objects with colours, sizes and places; what their recipe never draws is held out."""
    return _scene_prompts(
        "dense", "dense", per_category, seed, {"min": 3, "max": 6, "colored": 0.8, "sized": 0.2}
    )


def knowledge_suite(per_category: int = 60, seed: int = 0) -> list[Sample]:
    """Riddles of two facts, on one thing or on two, in combinations that no build asks for.

    One fact on one thing is left out: the pocket model knows all of those from its pretraining.
    """
    return _scene_prompts("knowledge", "world_knowledge", per_category, seed, {"riddles": ["both", "pair"]})


def text_suite(per_category: int = 60, seed: int = 0) -> list[Sample]:
    """Words of three to five letters that no build writes; few, so in several wordings each."""
    return _scene_prompts("text", "text_rendering", per_category, seed, {"letters": [3, 4, 5]})


def _scene_prompts(
    suite: str, tag: str, most: int, seed: int, params: Mapping[str, Any] = MappingProxyType({})
) -> list[Sample]:
    """Exactly ``most`` prompts of one tag in the suites' own wording."""

    def words(target: Target, rng: random.Random) -> str:
        known = VOCABULARIES["scenes"]
        parts = (rng.choice(OPENINGS), phrase(target, known, rng.randrange(3)), rng.choice(ENDINGS))
        text = " ".join(x for x in parts if x)
        return text[0].upper() + text[1:] + rng.choice(("", "."))

    prompts = _prompts(suite, "scenes", tag, params, most, seed, words)
    if len(prompts) < most:
        raise InputError(f"suite {suite}: only {len(prompts)} distinct prompts for {tag}, not {most}")
    return prompts


def geneval_style_suite(per_category: int = 0, seed: int = 0) -> list[Sample]:
    """Up to ``per_category`` prompts of each tag, or as many as GenEval has (0); fewer where few are held out."""

    def words(target: Target, rng: random.Random) -> str:
        return f"{PHOTO} {phrase(target, VOCABULARIES['coco'], 2)}"  # 2: "left of", as GenEval words it

    return [
        sample
        for tag in TAGS
        for sample in _prompts(
            "geneval_style",
            "coco",
            tag,
            _GENEVAL_PARAMS.get(tag, {}),
            per_category or GENEVAL[tag],
            seed,
            words,
            8,
        )
    ]


def _prompts(
    suite: str,
    vocabulary: str,
    tag: str,
    params: Mapping[str, Any],
    most: int,
    seed: int,
    words: Callable[[Target, random.Random], str],
    draws: int = 40,
) -> list[Sample]:
    """Up to ``most`` distinct prompts of one tag, each checked to ask for its target."""
    known = VOCABULARIES[vocabulary]
    rng = random.Random(f"suite/{tag}/{seed}")
    prompts: dict[str, Sample] = {}
    for target in sample_targets(tag, known, draws * most, seed, params, held_out=True):
        text = words(target, rng)
        assert not check_prompt(text, target, known), text
        sample = Sample(text, target, group_id=content_id(suite, text), recipe=suite, weakness=tag)
        prompts.setdefault(text.lower().rstrip("."), sample)
        if len(prompts) == most:
            break
    return list(prompts.values())


@cache
def _geneval_form() -> re.Pattern[str]:
    v = VOCABULARIES["coco"]
    one = "|".join(sorted((*v.classes, *(f"pair of {p}" for p in v.pairs)), key=len, reverse=True))
    many = "|".join(
        sorted(
            (*v.classes.values(), *(f"{c}s" for c in v.classes), *(f"{c}es" for c in v.classes)),
            key=len,
            reverse=True,
        )
    )
    relations = "|".join(w for r in v.relations for w in RELATION_PHRASES[r])
    thing = f"an? (?:(?:{'|'.join(v.colors)}) )?(?:{one})"
    numbers = "|".join(NUMBER_WORDS)
    return re.compile(
        rf"{PHOTO} (?:{thing}(?: (?:and|{relations}) {thing})?|(?:{numbers}) (?:{many}))\.?", re.IGNORECASE
    )


def is_geneval_prompt(prompt: str) -> bool:
    """Whether a prompt is one of those that GenEval's six templates can make. A check, apart from the parser."""
    return _geneval_form().fullmatch(" ".join(prompt.split())) is not None


def load_suite(name: str, per_category: int = 60, seed: int = 0) -> list[Sample]:
    """The suite called ``name``. Raises ``UnknownName`` with the valid names."""
    make: Callable[[int, int], list[Sample]] = resolve("suite", name, SUITES)
    return make(per_category, seed)


def evaluation_of(vocabulary: str) -> Evaluation:
    """What a build for models of this vocabulary is held against."""
    suite = SUITE_OF[vocabulary]
    return Evaluation.of(load_suite(suite, 60 if suite == "scenes" else 0), SUITE_OPENINGS[suite])
