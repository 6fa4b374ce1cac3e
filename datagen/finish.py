"""From finished shards to the dataset: near-duplicates, weights, files. Two passes, no picture kept.

The first pass reads each shard and keeps of every candidate all but the picture, and of the picture its
vector (1.5 kB); near-duplicates and weights need a whole recipe at once. The second reads the shards
again and writes the dataset as it goes. So memory grows with the number of candidates by about 4 kB
each, whatever the pictures weigh.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datagen.dataset import DatasetWriter
from datagen.dedupe import Vector, dedupe_images, image_vector
from datagen.recipe import Recipe
from datagen.sample import Sample
from datagen.shards import read_shard
from datagen.weights import weigh

Shards = Mapping[str, Sequence[tuple[Path, str]]]  # recipe -> (file, sha256) in order


def finish(
    shards: Shards, recipes: Sequence[Recipe], folder: Path, card: Callable[[Sequence[Sample]], str]
) -> list[Sample]:
    """Write the dataset of all shards; returns its samples without their pictures' bytes, in order.

    Nothing is written when no candidate is left. Raises ``ShardError`` for a shard that changed.
    """
    done = {r.name: weighed(shards[r.name], r) for r in recipes}
    samples = [s for r in recipes for s in done[r.name]]
    if all(s.dropped for s in samples):
        return samples
    writer = DatasetWriter(folder)
    for recipe in recipes:
        light = iter(done[recipe.name])
        for path, sha256 in shards[recipe.name]:
            writer.add(replace(next(light), image=full.image) for full in read_shard(path, sha256))
    writer.finish(card(samples))
    return samples


def weighed(shards: Sequence[tuple[Path, str]], recipe: Recipe) -> list[Sample]:
    """The candidates of one recipe, weights and drop reasons set, an empty picture where there is one."""
    samples: list[Sample] = []
    vectors: list[Vector | None] = []
    for path, sha256 in shards:
        for sample in read_shard(path, sha256):
            vectors.append(None if sample.image is None else image_vector(sample.image).astype("float16"))
            samples.append(replace(sample, image=None if sample.image is None else b""))
    return weigh(dedupe_images(samples, recipe.dedupe.images, vectors), recipe)
