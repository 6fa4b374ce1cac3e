"""Builds that are disturbed end with the bytes of those that are not."""

import pytest

from benchmarks.faults import digests, drill
from datagen.errors import ShardError, WorkError
from datagen.making import Resources, check_quarantined
from datagen.manifest import Manifest
from datagen.pipeline import build
from datagen.stages import Score


def test_any_number_of_workers_makes_the_same_bytes_of_data_and_card(ray_pool, tmp_path, small, monkeypatch):
    recipes = [small(prompts=20, k=2)]
    told = []
    for name, workers, flags in (
        ("none", Resources(), "--force"),
        ("two", Resources(2), "--workers 2"),
        ("apart", Resources(1, reward_workers=1), "--workers=1 --reward-workers=1 --timeout 99"),
    ):
        monkeypatch.setattr("sys.argv", ["datagen", "build", "--recipe", "counting", *flags.split()])
        build(tmp_path / name, recipes, "pocket", resources=workers, progress=lambda *x: told.append(x))
    assert digests(tmp_path / "two") == digests(tmp_path / "none")
    assert digests(tmp_path / "apart") == digests(tmp_path / "none")
    assert {("candidates", 3, 3), ("render", 3, 3), ("score", 3, 3)} <= set(told)
    assert not (tmp_path / "apart" / "journals").exists()
    assert {"dataset/README.md", "dataset/croissant.json", "dataset/checksums.json"} <= set(
        digests(tmp_path / "none")
    )
    card = (tmp_path / "two" / "dataset" / "README.md").read_text()
    assert "- command: `datagen build --recipe counting`" in card


def test_a_full_disk_stops_with_one_line_and_loses_nothing(tmp_path, small, monkeypatch):
    recipes, finish, shards = [small(prompts=20, k=2)], Score.finish, []

    def fills(self, item, samples):
        if len(shards) == 1:  # the disk is full from the second shard on
            monkeypatch.setattr("datagen.shards._partial", lambda path: full)
        shards.append(item.name)
        return finish(self, item, samples)

    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with monkeypatch.context() as patch, pytest.raises(ShardError) as caught:
        patch.setattr(Score, "finish", fills)
        build(tmp_path / "run", recipes, "fake")
    assert "00001.parquet: cannot be written: No space left on device; free space and run again" in str(
        caught.value
    )
    monkeypatch.undo()
    assert build(tmp_path / "run", recipes, "fake").redone == ()
    build(tmp_path / "calm", recipes, "fake")
    assert digests(tmp_path / "run") == digests(tmp_path / "calm")


def test_a_model_on_which_every_prompt_dies_stops_the_build(tmp_path):
    manifest = Manifest(tmp_path, {})
    manifest.quarantined = {"a": [{"reason": "hung: here"}] * 16}
    check_quarantined(manifest, 100)
    manifest.quarantined["b"] = [{"reason": "hung: there"}]
    with pytest.raises(WorkError, match=r"17 of 100 prompts killed their workers.*hung: there"):
        check_quarantined(manifest, 100)


@pytest.mark.slow
def test_kills_of_driver_workers_and_a_node_change_no_byte(tmp_path):
    done = drill(tmp_path, 160, kills=3, losses=1)
    assert sum(done.died.values()) == 4 and done.died["node"] == 1
    assert done.identical and done.quarantined == 0
