"""The manifest: what it vouches for, and that damage to anything it vouches for is told."""

import json

import pytest

from benchmarks.corruption import trials
from datagen.errors import ShardError
from datagen.manifest import Manifest, open_manifest, read_manifest

SETTINGS = {"seed": 0}


def test_damage_of_every_kind_to_shards_or_dataset_is_told_and_made_good(tmp_path):
    done, missed, same = trials(tmp_path, 48, 16)
    assert missed == []
    assert len(done) == 6 and sum(done.values()) > 44
    assert same == 1


def test_a_record_is_read_back_with_what_was_quarantined(tmp_path):
    manifest = open_manifest(tmp_path, SETTINGS, False)
    manifest.set_prompts("p" * 64)
    manifest.record("a.parquet", "1" * 64)
    manifest.record("b.parquet", "2" * 64, [{"prompt": "x", "reason": "hung"}])
    found = read_manifest(tmp_path)
    assert found.shards == {"a.parquet": "1" * 64, "b.parquet": "2" * 64}
    assert found.quarantined == {"b.parquet": [{"prompt": "x", "reason": "hung"}]}
    assert found.damage == []


def test_the_last_record_of_a_shard_counts(tmp_path):
    manifest = open_manifest(tmp_path, SETTINGS, False)
    manifest.record("a.parquet", "1" * 64, [{"prompt": "x"}])
    manifest.record("a.parquet", "2" * 64)
    found = read_manifest(tmp_path)
    assert (found.shards, found.quarantined) == ({"a.parquet": "2" * 64}, {})


def test_a_record_after_a_torn_one_is_on_a_line_of_its_own(tmp_path):
    manifest = open_manifest(tmp_path, SETTINGS, False)
    manifest.record("a.parquet", "1" * 64)
    with manifest.log.open("a") as file:
        file.write('0123 {"na')
    found = read_manifest(tmp_path)
    assert [line.endswith("shards.jsonl:2: torn or changed (checksum differs)") for line in found.damage] == [
        True
    ]
    found.record("b.parquet", "2" * 64)
    assert read_manifest(tmp_path).shards == {"a.parquet": "1" * 64, "b.parquet": "2" * 64}
    assert read_manifest(tmp_path).damage == []


def test_records_of_other_prompts_are_not_used(tmp_path):
    manifest = open_manifest(tmp_path, SETTINGS, False)
    manifest.set_prompts("p" * 64)
    manifest.record("a.parquet", "1" * 64)
    other = Manifest(tmp_path, SETTINGS, "q" * 64)
    other.save()  # killed before it could clear the log
    found = read_manifest(tmp_path)
    assert found.shards == {}
    assert "of other prompts" in found.damage[0]


def test_an_edited_manifest_is_refused_even_where_it_still_parses(tmp_path):
    open_manifest(tmp_path, SETTINGS, False)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    with pytest.raises(ShardError, match=r"manifest\.json: torn or changed"):
        read_manifest(tmp_path)


def test_a_log_on_a_full_disk_is_one_line(tmp_path):
    manifest = open_manifest(tmp_path, SETTINGS, False)
    manifest.log.symlink_to("/dev/full")
    with pytest.raises(ShardError, match="No space left on device; free space and run again"):
        manifest.record("a.parquet", "1" * 64)
