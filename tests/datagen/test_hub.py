"""Publishing, over HTTP to a Hub on this machine, with the real clients in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datagen import hub as module
from datagen.checksums import CHECKSUMS, verify
from datagen.errors import InputError, WorkError
from tests.hub_server import TOKEN, Hub

ROOT = Path(__file__).parents[2]
LOAD = """
import json, sys
from datasets import load_dataset
from datagen.dataset import load_weighted
rows = load_dataset(sys.argv[1], split="train")
stream = next(iter(load_dataset(sys.argv[1], split="train", streaming=True)))
again = load_weighted(sys.argv[1], remote=True)
print("RESULT " + json.dumps([len(rows), rows[0]["prompt"], rows[0]["image"].size, stream["id"], len(again)]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory with a dataset of the model that costs nothing."""
    from datagen import pipeline
    from datagen.recipe import load_recipe

    folder = tmp_path_factory.mktemp("publish")
    recipe = load_recipe("counting")
    prompts = recipe.prompts.model_copy(update={"count": 3})
    pipeline.build(folder, [recipe.model_copy(update={"prompts": prompts})], "fake")
    return folder


@pytest.fixture
def hub():
    with Hub() as served:
        yield served


def client(hub, home, *command, token=TOKEN):
    """Run a command as a user of ``hub`` would; the tests themselves are offline."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    if token:
        environment["HF_TOKEN"] = token
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=ROOT
    )


def publish(hub, home, run, *options, token=TOKEN, repo="tester/counts"):
    return client(hub, home, "-m", "datagen.cli", "publish", repo, "--run", str(run), *options, token=token)


def test_publish_create_load_train_and_update(hub, tmp_path, run):
    first = publish(hub, tmp_path, run)
    assert first.returncode == 0, first.stderr
    assert "uploaded to tester/counts (new, private)" in first.stdout
    assert TOKEN not in first.stdout + first.stderr
    repo = hub.repositories["tester/counts"]
    assert repo.private
    assert set(repo.files) >= {"README.md", CHECKSUMS, "croissant.json", "data/train-00000-of-00001.parquet"}

    loaded = client(hub, tmp_path, "-c", LOAD, "tester/counts")
    assert loaded.returncode == 0, loaded.stderr
    rows, prompt, size, streamed, again = json.loads(loaded.stdout.partition("RESULT ")[2])
    assert rows == again == verify(run / "dataset")["data/train-00000-of-00001.parquet"]
    assert prompt and streamed and size == [48, 48]

    repo.files["data/train-00000-of-00009.parquet"] = b"left over from an older, larger upload"
    second = publish(hub, tmp_path, run, "--public")
    assert second.returncode == 0, second.stderr
    assert "uploaded to tester/counts (updated)" in second.stdout
    assert repo.private  # an update does not publish what was private
    assert "data/train-00000-of-00009.parquet" not in repo.files
    uploads = hub.uploads

    options = ("--data", "tester/counts", "--run", str(tmp_path / "run"), "--model", "fake", "--steps", "1")
    trained = client(hub, tmp_path, "-m", "datagen.cli", "train", *options)
    assert trained.returncode == 0, trained.stderr
    assert hub.uploads == uploads


def test_an_upload_that_breaks_off_goes_on(hub, tmp_path, run):
    hub.fail_uploads = 1
    broken = publish(hub, tmp_path, run)
    assert broken.returncode == 1
    assert "goes on where it stopped" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert "data/train-00000-of-00001.parquet" not in hub.repositories["tester/counts"].files
    assert publish(hub, tmp_path, run).returncode == 0
    assert "data/train-00000-of-00001.parquet" in hub.repositories["tester/counts"].files


@pytest.mark.parametrize(
    ("repo", "token", "said"),
    [
        ("tester/counts", "hf_wrong", "refuses the token"),
        ("somebody/counts", TOKEN, "under your own name"),
    ],
)
def test_a_refusal_is_one_line_without_the_token(hub, tmp_path, run, repo, token, said):
    done = publish(hub, tmp_path, run, token=token, repo=repo)
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert token not in done.stdout + done.stderr


def test_a_dry_run_lists_the_files_and_asks_nobody(run):
    lines = module.publish(run / "dataset", "tester/counts", dry_run=True, endpoint="http://127.0.0.1:9")
    assert lines[0] == "would upload to tester/counts (private if new):"
    assert any("train-00000-of-00001.parquet" in line and "rows" in line for line in lines)


@pytest.mark.parametrize("name", ["counts", "a/b/c", "tester/", "tester/..", "tes ter/x"])
def test_a_bad_name_is_refused(run, name):
    with pytest.raises(InputError, match="USER/NAME"):
        module.publish(run / "dataset", name, dry_run=True)


def test_a_dataset_that_changed_is_refused(tmp_path, run):
    import shutil

    folder = tmp_path / "dataset"
    with pytest.raises(InputError, match="run datagen build first"):
        module.publish(folder, "tester/counts", dry_run=True)
    shutil.copytree(run / "dataset", folder)
    path = next(folder.glob("data/train-*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(WorkError, match=r"train-00000-of-00001\.parquet: missing, torn or changed"):
        module.publish(folder, "tester/counts", dry_run=True)
    path.unlink()
    (folder / "data" / "dropped-9.parquet").write_bytes(b"x")
    with pytest.raises(WorkError, match="was not written by the build"):
        module.publish(folder, "tester/counts", dry_run=True)
    (folder / CHECKSUMS).unlink()
    with pytest.raises(WorkError, match="nothing vouches"):
        module.publish(folder, "tester/counts", dry_run=True)
