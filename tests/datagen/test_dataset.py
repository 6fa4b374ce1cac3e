"""Datasets on disk: files of a bounded size, checksums, and merging."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datagen import dataset as module
from datagen.account import Account
from datagen.candidates import png
from datagen.card import dataset_card
from datagen.checksums import CHECKSUMS, verify
from datagen.dataset import DatasetWriter, from_columns, load_weighted, save_dataset, to_columns
from datagen.dedupe import dedupe_images
from datagen.errors import InputError, ShardError, WorkError
from datagen.merge import merge
from datagen.provenance import builds, read_record
from datagen.recipe import load_recipe
from datagen.sample import Clause, Sample, Score, Target
from datagen.shards import to_row
from tests.datagen.test_card import PROMPTS, WEAK

CIRCLES = Target("counting", (Clause("circle", 3),))
STARS = Target("counting", (Clause("star", 2),))


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    return png(Image.fromarray(pixels))


def sample(i: int, group: str = "g", **changes) -> Sample:
    base = Sample(
        "three circles", CIRCLES, f"{group}{i}", group, "counting", "counting", "a trace", "self", i, i, picture(i),
        transition="model", scores=(Score("scenes", 1.0, "ok"),), reward=1.0, text_weight=1.0, image_weight=1.0,
        model="pocket", llm="template",
    )  # fmt: skip
    return replace(base, **changes)


def test_a_row_holds_all_of_a_sample():
    for one in (
        sample(1),
        sample(2, image=None, dropped="unscored", reward=None),
        sample(3, latent=b"drawn"),
    ):
        assert from_columns(to_columns(to_row(one))) == one


def test_latents_are_a_column_of_every_file_where_a_model_has_an_autoencoder(tmp_path):
    mixed = [sample(1, latent=b"drawn"), sample(2, image=None, dropped="unscored"), sample(3)]
    save_dataset(mixed, tmp_path / "d", "card", latents=True)
    assert list(load_weighted(tmp_path / "d")["latent"]) == [b"drawn", None]
    assert list(load_weighted(tmp_path / "d", "dropped")["latent"]) == [None]
    save_dataset([sample(4)], tmp_path / "plain", "card")
    assert "latent" not in load_weighted(tmp_path / "plain").column_names
    merge([tmp_path / "plain", tmp_path / "d"], tmp_path / "both")
    assert sorted(str(v) for v in load_weighted(tmp_path / "both")["latent"]) == ["None", "None", "b'drawn'"]


@pytest.mark.parametrize("changes", [{}, {"image": None, "trace": "lorem ipsum"}])
def test_no_file_is_larger_than_its_limit_and_all_open_as_one(tmp_path, monkeypatch, changes):
    """Pictures or texts, both count; texts that compress may leave a file smaller than it could be."""
    monkeypatch.setattr(module, "GROUP_BYTES", 20_000)
    limit = 150_000
    writer = DatasetWriter(tmp_path / "d", shard_bytes=limit)
    if "trace" in changes:
        changes = {**changes, "trace": np.random.default_rng(0).bytes(5_000).hex()}
    writer.add(sample(i, **changes) for i in range(90))
    writer.finish("card")
    files = sorted((tmp_path / "d" / "data").iterdir())
    assert len(files) > 2
    assert files[0].name == f"train-00000-of-{len(files):05d}.parquet"
    assert all(file.stat().st_size <= limit for file in files)
    assert load_weighted(tmp_path / "d")["id"] == [f"g{i}" for i in range(90)]
    assert sum(verify(tmp_path / "d").values()) == 90


def test_a_file_of_many_row_groups_has_room_for_its_footer(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 1)
    writer = DatasetWriter(tmp_path / "d", shard_bytes=400_000)
    writer.add(sample(i, image=None) for i in range(150))
    writer.finish("card")
    sizes = [file.stat().st_size for file in sorted((tmp_path / "d" / "data").iterdir())]
    assert len(sizes) > 1
    assert max(sizes) <= 400_000


def test_the_same_samples_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_dataset([sample(i) for i in range(9)], tmp_path / name, "card")
    assert (tmp_path / "a" / CHECKSUMS).read_bytes() == (tmp_path / "b" / CHECKSUMS).read_bytes()


@pytest.mark.parametrize("room", [5_000, 60_000, 68_000])
def test_a_full_disk_leaves_the_dataset_that_stood(tmp_path, room):
    """While rows are written, while the file is closed, while what describes it is: a real limit, not a fake."""
    save_dataset([sample(0)], tmp_path / "d", "card")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, allowed[1]))
    try:
        with pytest.raises(
            ShardError, match=r"d: cannot be written: .*; free space and run again$"
        ) as caught:
            save_dataset([sample(i) for i in range(1, 9)], tmp_path / "d", "a long card " * 6_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert "\n" not in str(caught.value)
    assert load_weighted(tmp_path / "d")["id"] == ["g0"]
    assert verify(tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_dataset_that_cannot_be_moved_in_place_leaves_the_one_that_stood(tmp_path, monkeypatch):
    save_dataset([sample(0)], tmp_path / "d", "card")
    rename = Path.rename

    def full(self, target):
        if self.name == ".d.partial":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ShardError, match="No space left on device; free space"):
        save_dataset([sample(1)], tmp_path / "d", "card")
    assert load_weighted(tmp_path / "d")["id"] == ["g0"]


def test_a_candidate_passes_at_its_recipes_floor():
    samples = [sample(i, reward=r) for i, r in enumerate((0.0, 0.6, 0.9, None))]
    recipe = load_recipe("counting").for_vocabulary("coco")
    assert Account.of(samples).table()["counting"]["pass_rate"] == 0.0
    assert Account.of(samples, [recipe]).table()["counting"]["pass_rate"] == pytest.approx(2 / 3)


def test_the_same_picture_under_two_targets_is_kept_once():
    pair = [sample(0, reward=0.5), sample(1, group="h", target=STARS, image=picture(0))]
    assert [s.dropped for s in dedupe_images(pair, 0.995)] == ["near_duplicate of h1", ""]


def dataset(folder, *samples, settings=None):
    card = dataset_card(Account.of(samples), settings) if settings else "card"
    save_dataset(samples, folder, card)
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
    d = dataset(tmp_path / "d", *(sample(i, model="bagel", image=picture(70 + i)) for i in range(2)))
    merge([tmp_path / "c", d], tmp_path / "e")  # and three, merged in a chain
    rows = load_weighted(tmp_path / "e")
    assert (len(set(rows["id"])), len(set(rows["group_id"]))) == (6, 3)


def test_a_merge_refuses_what_it_cannot_trust(tmp_path):
    a, b = dataset(tmp_path / "a", sample(0)), dataset(tmp_path / "b", sample(1))
    with pytest.raises(InputError, match="two datasets or more"):
        merge([a], tmp_path / "c")
    with pytest.raises(InputError, match="exists"):
        merge([a, b], a)
    (b / "croissant.json").write_text("{}")
    with pytest.raises(WorkError, match=r"croissant\.json: missing, torn or changed"):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_card_may_be_edited_by_hand(tmp_path):
    folder = dataset(tmp_path / "d", sample(0))
    with (folder / "README.md").open("a") as card:
        card.write("\nThanks to everyone.\n")
    assert sum(verify(folder).values()) == 1
    (folder / "README.md").unlink()
    merge([folder, dataset(tmp_path / "e", sample(1))], tmp_path / "both")
    assert sum(verify(tmp_path / "both").values()) == 2


def test_a_list_of_checksums_is_held_against_its_own(tmp_path):
    folder = dataset(tmp_path / "d", sample(0))
    row = json.loads((folder / CHECKSUMS).read_text())
    row["files"]["data/train-00000-of-00001.parquet"]["rows"] = 2
    (folder / CHECKSUMS).write_text(json.dumps(row, indent=1, sort_keys=True) + "\n")
    with pytest.raises(WorkError, match=r"checksums\.json: missing, torn or changed"):
        verify(folder)


def test_a_merge_carries_over_what_its_sources_record(tmp_path):
    recipe = load_recipe("counting").for_vocabulary("scenes")
    settings = {"recipes": {"counting": recipe.model_dump(mode="json")}, "model": "pocket"}
    scored = {"scores": (Score("scenes", 1.0), Score("trace", 0.35))}
    folders = []
    for i in range(3):
        samples = [sample(i, f"h{i}", reward=0.995, **scored)]
        card = dataset_card(
            Account.of(samples, [recipe]),
            settings | {"seed": 70 + i},
            [WEAK],
            PROMPTS,
            {"scenes": "a licence"},
        )
        save_dataset(samples, tmp_path / str(i), card)
        folders.append(tmp_path / str(i))
    merge(folders[:2], tmp_path / "two")
    found = merge([tmp_path / "two", folders[2]], tmp_path / "all")
    assert found["counting"]["pass_rate"] == 1.0  # by the recipe's own floor
    assert found["counting"]["text_rewards"][3] == 3
    record = read_record(tmp_path / "all")
    assert [build["settings"]["seed"] for build in builds(record)] == [70, 71, 72]
    card = (tmp_path / "all" / "README.md").read_text()
    assert all(f"  - seed: {seed}" in card for seed in (70, 71, 72))
    assert card.count("| counting | 60 | 50.0 |") == 1
    assert "| counting, source 3 | 9 | 1 | cut off 8 | 1 | none | 1 |" in card
    assert "- reward: `scenes` (a licence)" in card


def test_a_merge_is_the_same_wherever_its_sources_lie(tmp_path):
    for place in ("x", "y"):
        a = dataset(tmp_path / place / "a", sample(0), settings={"seed": 1})
        b = dataset(tmp_path / place / "b", sample(1), settings={"seed": 2})
        merge([a, b], tmp_path / place / f"merged-{place}")
    assert (tmp_path / "x/merged-x" / CHECKSUMS).read_bytes() == (
        tmp_path / "y/merged-y" / CHECKSUMS
    ).read_bytes()


def test_only_what_may_be_on_the_hub_is_looked_up_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="runs/dataset: no dataset here"):
        load_weighted("runs/dataset")


def test_a_dataset_on_a_disk_that_is_read_only_is_read_through_the_users_cache(tmp_path, monkeypatch):
    save_dataset([sample(0)], tmp_path / "d", "card")
    monkeypatch.setattr("datagen.dataset.os.access", lambda path, mode: False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert load_weighted(tmp_path / "d")["id"] == ["g0"]
    assert not (tmp_path / "d" / ".cache").exists() and (tmp_path / "cache").exists()
