"""The build's first stage: every recipe's prompts, written once and kept in ``prompts.jsonl``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datagen.decontaminate import OVERLAPS, Evaluation
from datagen.errors import ShardError
from datagen.guard import NEAR_DUPLICATE, EvaluationIndex, PromptGuard, self_similarity
from datagen.llm.base import LLM
from datagen.manifest import Manifest
from datagen.prompt_file import NAME, PromptFile, write_prompt_file
from datagen.prompts import distinct_n, write_prompts
from datagen.recipe import Recipe
from datagen.sample import Sample
from datagen.targets import Vocabulary

Progress = Callable[[str, int, int], None]


def write_recipe(
    recipe: Recipe,
    vocabulary: Vocabulary,
    writer: LLM,
    n: int,
    seed: int,
    evaluation: EvaluationIndex,
    said: dict[str, str],
) -> tuple[list[Sample], dict[str, Any]]:
    """``n`` prompts of one recipe, none near another or near evaluation, and the report on them.

    ``said`` holds the build's other prompts, and is added to.
    """
    guard = PromptGuard(evaluation, recipe.dedupe, n, said)
    result = write_prompts(recipe, vocabulary, writer, n, seed, guard=guard)
    kept = list(result.samples)
    texts = [s.prompt for s in kept]
    near = sum(count for cause, count in result.rejected.items() if cause.startswith(NEAR_DUPLICATE))
    return kept, {
        "asked": n,
        "kept": len(kept),
        "attempts": result.attempts,
        "acceptance": result.acceptance,
        "rejected": result.rejected,
        "contaminated": {cause: count for cause, count in result.rejected.items() if cause in OVERLAPS},
        "near_duplicates": near,
        "skipped": result.skipped,
        "asked_back": result.asked_back,
        "wordings": result.wordings,
        "targets": len({s.target.key for s in kept}),
        "distinct_1": distinct_n(texts, 1),
        "distinct_2": distinct_n(texts),
        "self_similarity": self_similarity(texts),
        "dropped": [asdict(d) for d in guard.survivors()],
    }


def build_prompts(
    run: Path,
    manifest: Manifest,
    recipes: Sequence[Recipe],
    vocabulary: Vocabulary,
    evaluation: Evaluation,
    seed: int,
    redone: list[str],
    progress: Progress,
    writer: AbstractContextManager[LLM],
) -> PromptFile:
    """Written once and kept: an LLM may not repeat itself, a resumed build must.

    The manifest holds their checksum. Prompts that are not those are written anew and named in
    ``redone``; if other ones come out, the shards rendered from the old ones are not used either.
    """
    path = run / NAME
    if manifest.prompts:
        try:
            manifest.check_prompts()
            return PromptFile(path)
        except ShardError as error:
            redone.append(str(error))
    index = EvaluationIndex(evaluation)

    def written(llm: LLM) -> Iterator[tuple[str, list[Sample], dict[str, Any]]]:
        said: dict[str, str] = {}
        for i, recipe in enumerate(recipes):
            progress("prompts", i, len(recipes))
            some = write_recipe(recipe, vocabulary, llm, recipe.prompts.count, seed, index, said)
            yield recipe.name, *some
        progress("prompts", len(recipes), len(recipes))

    with writer as llm:
        manifest.set_prompts(write_prompt_file(path, written(llm)))
    return PromptFile(path)
