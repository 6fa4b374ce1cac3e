"""Croissant metadata, held against MLCommons' own reader."""

import json
from dataclasses import replace

import pytest

from datagen.account import Account
from datagen.card import dataset_card
from datagen.croissant import CROISSANT
from datagen.dataset import COLUMNS, save_dataset
from tests.datagen.test_card import SAMPLE
from tests.datagen.test_dataset import picture


@pytest.fixture
def folder(tmp_path):
    samples = [
        replace(SAMPLE, id="a", image=picture(0)),
        replace(SAMPLE, id="b", image=picture(1), dropped="near_duplicate of a", advantage=0.5),
    ]
    save_dataset(samples, tmp_path / "d", dataset_card(Account.of(samples), {}))
    return tmp_path / "d"


def test_it_names_files_splits_fields_and_licence(folder):
    row = json.loads((folder / CROISSANT).read_text())
    assert row["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert row["name"] == "Weakness-targeted data for pocket"
    assert row["license"] == "https://spdx.org/licenses/Apache-2.0.html"
    *files, all_of_them = row["distribution"]
    assert [file["contentUrl"] for file in files] == [
        f"data/{split}-00000-of-00001.parquet" for split in ("dropped", "train")
    ]
    assert all(int(f["contentSize"].split()[0]) == (folder / f["contentUrl"]).stat().st_size for f in files)
    assert all_of_them["includes"] == "data/*.parquet"
    splits, candidates = row["recordSet"]
    assert [one["splits/name"] for one in splits["data"]] == ["dropped", "train"]
    assert [field["name"] for field in candidates["field"]] == ["split", *COLUMNS]


def test_the_reader_of_mlcommons_accepts_it_and_reads_every_record(folder):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(folder / CROISSANT)
    assert not dataset.metadata.ctx.issues.errors
    found = {row["candidates/id"]: row for row in dataset.records("candidates")}
    assert {name: row["candidates/split"] for name, row in found.items()} == {
        b"a": b"train",
        b"b": b"dropped",
    }
    assert found[b"a"]["candidates/image"].size == (48, 48)
    assert found[b"a"]["candidates/prompt"] == b"three circles"
    assert found[b"b"]["candidates/advantage"] == 0.5
