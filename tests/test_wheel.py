"""What ships: four import packages, their data files, and no tests."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_the_four_packages_and_their_data(tmp_path):
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == {
        "datagen",
        "rewards",
        "trainer",
        "recipes",
    }
    for needed in (
        "recipes/counting.yaml",
        "datagen/report.html.j2",
        "rewards/weights/judge.safetensors",
        "datagen/models/bagel/weights/model.safetensors",
        "datagen/models/bagel/weights/tokenizer.json",
    ):
        assert needed in names
    assert wheel.stat().st_size < 40e6
