"""Datasets on disk: files of a bounded size, checksums, the card, and merging."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from datagen import dataset as module
from datagen.account import Account
from datagen.candidates import png
from datagen.card import dataset_card
from datagen.dataset import (
    CHECKSUMS,
    DatasetWriter,
    from_columns,
    load_weighted,
    save_dataset,
    to_columns,
    verify,
)
from datagen.dedupe import dedupe_images, near_duplicates
from datagen.errors import InputError, ShardError, WorkError
from datagen.merge import merge
from datagen.recipe import load_recipe
from datagen.sample import Clause, Sample, Score, Target
from datagen.shards import to_row
from datagen.weakness import Weakness

CIRCLES = Target("counting", (Clause("circle", 3),))
STARS = Target("counting", (Clause("star", 2),))


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    return png(Image.fromarray(pixels))


def sample(i: int, group: str = "g", **changes) -> Sample:
    base = Sample(
        "three circles", CIRCLES, f"{group}{i}", group, "counting", "counting", "a trace", "self", i, i, picture(i),
        "model", (Score("scenes", 1.0, "ok"),), 1.0, text_weight=1.0, image_weight=1.0, model="pocket", llm="template",
    )  # fmt: skip
    return replace(base, **changes)


def test_a_row_holds_all_of_a_sample():
    for one in (sample(1), sample(2, image=None, dropped="unscored", reward=None)):
        assert from_columns(to_columns(to_row(one))) == one


def test_large_datasets_are_cut_into_files_and_opened_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GROUP_BYTES", 20_000)
    writer = DatasetWriter(tmp_path / "d", shard_bytes=50_000)
    writer.add(sample(i) for i in range(40))
    writer.finish("card")
    files = sorted(p.name for p in (tmp_path / "d" / "data").iterdir())
    assert len(files) > 2
    assert files[0] == f"train-00000-of-{len(files):05d}.parquet"
    assert all((tmp_path / "d" / "data" / f).stat().st_size < 60_000 for f in files)
    assert load_weighted(tmp_path / "d")["id"] == [f"g{i}" for i in range(40)]
    assert sum(verify(tmp_path / "d").values()) == 40


def test_the_same_samples_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_dataset([sample(i) for i in range(9)], tmp_path / name, "card")
    assert (tmp_path / "a" / CHECKSUMS).read_bytes() == (tmp_path / "b" / CHECKSUMS).read_bytes()


def test_a_full_disk_leaves_the_dataset_that_stood(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    save_dataset([sample(0)], tmp_path / "d", "card")

    class Full(pq.ParquetWriter):
        def write_table(self, *args, **kwargs):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "ParquetWriter", Full)
    with pytest.raises(ShardError, match="No space left on device; free space"):
        save_dataset([sample(1)], tmp_path / "d", "card")
    assert load_weighted(tmp_path / "d")["id"] == ["g0"]


def test_the_card_says_what_a_reader_needs():
    recipe = load_recipe("counting").for_vocabulary("scenes")
    weak = Weakness("counting", "counting", 60, 60, 0.5, 0.4, 0.6, 0.9, 0.4, 1.0, 0.4, 1.0, "counting")
    samples = [
        sample(0),
        sample(1, reward=0.0, text_weight=0.0, image_weight=0.0),
        sample(2, dropped="near_duplicate of g0"),
    ]
    prompts = {"counting": {"attempts": 9, "kept": 1, "rejected": {"cut off": 8}}}
    card = dataset_card(Account.of(samples, [recipe]), {"model": "pocket", "seed": 7}, [weak], prompts)
    for said in (
        "| counting | 60 | 50.0 | 40.0 to 60.0 | 90.0 | counting |",  # the weakness
        "| counting | 9 | 1 | cut off 8 | 3 | 2 |",  # counts by stage
        "near_duplicate 1",
        "`pocket` (Apache-2.0",
        "seed: 7",
        "0.9 to 1.0        2 ████",
        "## Limitations",
        "size_categories: [n<1K]",
    ):
        assert said in card


def test_a_candidate_passes_at_its_recipes_floor():
    samples = [sample(i, reward=r) for i, r in enumerate((0.0, 0.6, 0.9, None))]
    recipe = load_recipe("counting").for_vocabulary("coco")
    assert Account.of(samples).table()["counting"]["pass_rate"] == 0.0
    assert Account.of(samples, [recipe]).table()["counting"]["pass_rate"] == pytest.approx(2 / 3)


def test_an_inverted_file_finds_the_pairs_that_brute_force_finds():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3000, 64)).astype(np.float32)
    vectors = np.concatenate([base, base[:600] + 0.01 * rng.normal(size=(600, 64)).astype(np.float32)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = range(len(vectors))
    exact = near_duplicates(vectors, order, 0.99)
    assert near_duplicates(vectors, order, 0.99, exact=100) == exact
    assert exact == {3000 + i: i for i in range(600)}


def test_the_same_picture_under_two_targets_is_kept_once():
    pair = [sample(0, reward=0.5), sample(1, group="h", target=STARS, image=picture(0))]
    assert [s.dropped for s in dedupe_images(pair, 0.995)] == ["near_duplicate of h1", ""]


def dataset(folder, *samples):
    save_dataset(samples, folder, "card")
    return folder


def test_a_merge_drops_across_and_keeps_the_weights(tmp_path):
    a = dataset(tmp_path / "a", sample(0, text_weight=2.0), sample(1))
    b = dataset(
        tmp_path / "b", sample(7, "h", image=picture(0), reward=0.5), sample(8, "h", text_weight=0.25)
    )
    found = merge([a, b], tmp_path / "c")
    assert (found["counting"]["candidates"], found["counting"]["kept"]) == (4, 3)
    rows = load_weighted(tmp_path / "c")
    assert dict(zip(rows["id"], rows["text_weight"], strict=True)) == {"g0": 2.0, "g1": 1.0, "h8": 0.25}
    gone = load_weighted(tmp_path / "c", "dropped")
    assert gone["drop_reason"] == ["near_duplicate of g0"]
    assert gone["text_weight"] == gone["image_weight"] == [0.0]
    assert gone[0]["image"].size == (48, 48)
    assert sum(verify(tmp_path / "c").values()) == 4


def test_groups_of_one_id_from_two_builds_stay_two_groups(tmp_path):
    a = dataset(tmp_path / "a", sample(0), sample(1))
    b = dataset(tmp_path / "b", *(sample(i, model="bagel", image=picture(50 + i)) for i in range(2)))
    merge([a, b], tmp_path / "c")
    rows = load_weighted(tmp_path / "c")
    assert len(set(rows["id"])) == 4
    assert len(set(rows["group_id"])) == 2


def test_a_merge_refuses_what_it_cannot_trust(tmp_path):
    a, b = dataset(tmp_path / "a", sample(0)), dataset(tmp_path / "b", sample(1))
    with pytest.raises(InputError, match="two datasets or more"):
        merge([a], tmp_path / "c")
    with pytest.raises(InputError, match="exists"):
        merge([a, b], a)
    sums = json.loads((b / CHECKSUMS).read_text())
    (b / CHECKSUMS).write_text(json.dumps({k: v | {"sha256": "0"} for k, v in sums.items()}))
    with pytest.raises(WorkError, match="missing, torn or changed"):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists()
