"""Examples of a dataset: only of one whose files are as they were written."""

import shutil

import pytest

from datagen.checksums import CHECKSUMS
from datagen.errors import WorkError
from trainer.data import load_examples


@pytest.mark.parametrize("name", [CHECKSUMS, "croissant.json", "data/train-00000-of-00001.parquet"])
def test_a_changed_bit_is_told_before_training_by_the_files_name(weighted_dataset, tmp_path, name):
    folder = tmp_path / "d"
    shutil.copytree(weighted_dataset, folder)
    held = bytearray((folder / name).read_bytes())
    held[len(held) // 2] ^= 1
    (folder / name).write_bytes(held)
    with pytest.raises(WorkError, match=f"{name}: missing, torn or changed"):
        load_examples(folder, ("text",))


def test_a_folder_that_never_had_checksums_is_taken_as_it_is(weighted_dataset, tmp_path):
    shutil.copytree(weighted_dataset, tmp_path / "d")
    (tmp_path / "d" / CHECKSUMS).unlink()
    assert load_examples(tmp_path / "d", ())[1] == load_examples(weighted_dataset, ())[1]
