"""The build's first stage: every recipe's prompts, written once and kept in ``prompts.jsonl``."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datagen.decontaminate import OVERLAPS, Evaluation
from datagen.errors import ShardError
from datagen.guard import NEAR_DUPLICATE, EvaluationIndex, PromptGuard, Said, self_similarity
from datagen.llm.base import LLM
from datagen.manifest import Manifest
from datagen.prompt_file import NAME, PromptFile, prompt_writer
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
    said: Said | None = None,
    keep: Callable[[Sample], None] | None = None,
    folder: Path | None = None,
) -> tuple[list[Sample], dict[str, Any]]:
    """``n`` prompts of one recipe, none near another or near evaluation, and the report on them.

    ``said`` holds the build's other prompts, and is added to. With ``keep`` each prompt goes there instead of
    into the list; what is remembered of it is in scratch files in ``folder``.
    """
    guard = PromptGuard(evaluation, recipe.dedupe, n, said, folder)
    result = write_prompts(recipe, vocabulary, writer, n, seed, guard=guard, keep=keep, folder=folder)
    texts = guard.prompts
    near = sum(count for cause, count in result.rejected.items() if cause.startswith(NEAR_DUPLICATE))
    return list(result.samples), {
        "asked": n,
        "kept": result.written,
        "attempts": result.attempts,
        "acceptance": result.acceptance,
        "rejected": result.rejected,
        "contaminated": {cause: count for cause, count in result.rejected.items() if cause in OVERLAPS},
        "near_duplicates": near,
        "skipped": result.skipped,
        "asked_back": result.asked_back,
        "wordings": result.wordings,
        "targets": guard.targets,
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
    index, said = EvaluationIndex(evaluation), Said(run)
    wanted, written = sum(recipe.prompts.count for recipe in recipes), 0

    with writer as llm, prompt_writer(path) as file:

        def keep(sample: Sample) -> None:
            nonlocal written
            file.add(sample)
            written += 1
            progress("prompts", written, wanted)

        progress("prompts", 0, wanted)
        for recipe in recipes:
            n = recipe.prompts.count
            _, file.reports[recipe.name] = write_recipe(
                recipe, vocabulary, llm, n, seed, index, said, keep, run
            )
    if written:  # a writer that had none today may have some tomorrow
        manifest.set_prompts(file.sha256)
    return PromptFile(path)
