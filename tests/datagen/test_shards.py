"""Latents in shards: a column where there are some, and no trace of one where there are none."""

import pyarrow.parquet as pq
import pytest

from datagen.sample import Sample, Target
from datagen.shards import from_row, have_latents, read_columns, read_shard, to_row, write_shard

PLAIN = [Sample(f"p{i}", Target("counting"), id=str(i)) for i in range(3)]
DRAWN = [PLAIN[0], Sample("p3", Target("counting"), latent=b"drawn")]


@pytest.fixture
def shards(tmp_path):
    return {name: tmp_path / f"{name}.parquet" for name in ("plain", "drawn")}


def test_latents_survive_a_shard_beside_samples_without(shards):
    digest = write_shard(shards["drawn"], DRAWN)
    assert read_shard(shards["drawn"], digest) == DRAWN
    assert have_latents(shards["drawn"] for _ in range(1))


def test_a_shard_without_latents_has_no_such_column_and_still_reads_whole(shards):
    digest = write_shard(shards["plain"], PLAIN)
    names = pq.read_schema(shards["plain"]).names
    assert "latent" not in names and names[-1] == "thumbnail"
    assert read_shard(shards["plain"], digest) == PLAIN
    assert [
        from_row(r) for r in read_columns(shards["plain"], digest, tuple(Sample.__dataclass_fields__))
    ] == PLAIN
    write_shard(shards["drawn"], DRAWN)
    assert not have_latents([shards["plain"]]) and have_latents(shards.values())


def test_a_row_carries_a_latent_as_it_is():
    assert to_row(DRAWN[1])["latent"] == b"drawn"
    assert from_row(to_row(DRAWN[1])) == DRAWN[1]
