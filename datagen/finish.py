"""From finished shards to the dataset: near-duplicates, weights, files. Two passes, no sample kept.

The first pass reads of each shard what near-duplicates need (``dedupe.Pictures``: 32 bytes a candidate in
memory, thumbnails in a scratch file). A shard holds whole prompt groups, so weights need no more than the
shard: the second pass reads it again, weighs, counts and writes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datagen.account import Account
from datagen.dataset import DatasetWriter
from datagen.dedupe import Pictures
from datagen.recipe import Recipe
from datagen.sample import Sample
from datagen.shards import from_row, read_columns, target_key
from datagen.weights import weigh

FIELDS = tuple(Sample.__dataclass_fields__)
COMPARED = ("id", "target", "reward", "dropped", "thumbnail")
WEIGHED = ("dropped", "advantage", "text_weight", "image_weight")
Shards = Mapping[str, Sequence[tuple[Path, str]]]  # recipe -> (file, sha256) in order


def finish(
    shards: Shards, recipes: Sequence[Recipe], folder: Path, card: Callable[[Account], str]
) -> Account:
    """Write the dataset of all shards; returns what it holds.

    Nothing is written when no candidate is left. Raises ``ShardError`` for a shard that changed.
    """
    account = Account(recipes)
    writer = DatasetWriter(folder)
    for recipe in recipes:
        copies = near_duplicates(shards[recipe.name], recipe, folder.parent)
        row = 0
        for path, sha256 in shards[recipe.name]:
            rows = read_columns(path, sha256, FIELDS)
            samples = [from_row(r) for r in rows]
            for i in range(len(samples)):
                if reason := copies.get(row + i):
                    samples[i] = replace(samples[i], dropped=reason)
            row += len(rows)
            weighed = weigh(samples, recipe)
            account.add(weighed)
            # Weighing adds numbers and a drop's reason: the rest is written as it was read.
            writer.add_rows(
                [r | {n: getattr(s, n) for n in WEIGHED} for r, s in zip(rows, weighed, strict=True)]
            )
    if account.kept:
        writer.finish(card(account))
    else:
        writer.discard()
    return account


def near_duplicates(shards: Sequence[tuple[Path, str]], recipe: Recipe, scratch: Path) -> dict[int, str]:
    """Why a candidate of one recipe is dropped, by its number over all shards."""
    with Pictures(scratch) as pictures:
        for path, sha256 in shards:
            for row in read_columns(path, sha256, COMPARED):
                small = None if row["dropped"] else row["thumbnail"]
                pictures.add(row["id"], target_key(row["target"]), row["reward"], small)
        return pictures.dropped(recipe.dedupe.images)
