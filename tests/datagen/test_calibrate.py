"""Thresholds on labelled pictures: known answers, honest intervals, agreement, and bad files."""

import json
import random

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datagen.calibrate import agreement, calibrate, fit, read_labels, run_calibration
from datagen.cli import app
from datagen.errors import InputError
from datagen.sample import Score


def test_the_threshold_lies_between_right_and_wrong():
    assert fit([0.1, 0.2, 0.6, 0.9], [False, False, True, True]) == pytest.approx(0.4)
    assert fit([0.5, 0.5, 0.9], [True, False, True]) == pytest.approx(0.5)  # equal values go together
    assert fit([0.2, 0.9], [True, True]) == pytest.approx(0.2)


def test_a_wanted_precision_is_reached_with_the_most_recall():
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    labels = [True, True, False, True, True, False]
    assert fit(values, labels, precision=0.8) == pytest.approx(0.45)  # 4 of 5
    assert fit(values, labels, precision=1.0) == pytest.approx(0.75)  # 2 of 2
    with pytest.raises(InputError, match="no threshold reaches a precision of 1"):
        fit([0.9, 0.1], [False, True], precision=1.0)


def labelled(n: int, noise: float, seed: int = 0):
    rng = random.Random(seed)
    labels = [rng.random() < 0.5 for _ in range(n)]
    values = [(0.7 if y else 0.3) + rng.gauss(0, noise) for y in labels]
    return values, labels, [f"prompt {i // 4}" for i in range(n)]


def test_a_good_judge_is_precise_and_a_random_one_is_not():
    good = calibrate("good", *labelled(400, 0.1))
    assert 0.4 < good.threshold < 0.6
    assert good.precision.low > 0.9
    assert good.recall.low > 0.9
    assert good.auc > 0.98
    values, labels, prompts = labelled(400, 0.1)
    chance = calibrate("chance", random.Random(1).sample(values, 400), labels, prompts)
    assert chance.precision.low < sum(labels) / 400 < chance.precision.high
    assert 0.4 < chance.auc < 0.6


def test_the_printed_precision_does_not_flatter():
    """On few rows of a useless judge the best threshold looks good; the cross-validated figure does not."""
    fitted, validated = [], []
    for seed in range(40):
        rng = random.Random(seed)
        values, labels = [rng.random() for _ in range(24)], [i % 2 == 0 for i in range(24)]
        try:
            found = calibrate("r", values, labels, [f"p{i}" for i in range(24)], precision=0.6)
        except InputError:  # chance gave this judge no good threshold at all
            continue
        picked = [y for v, y in zip(values, labels, strict=True) if v >= found.threshold]
        fitted.append(sum(picked) / len(picked))
        if found.precision:
            validated.append(found.precision.mean)
    assert len(fitted) > 20
    assert np.mean(fitted) > 0.6
    assert np.mean(validated) < 0.55


def test_unscored_rows_are_counted_and_left_out():
    values, labels, prompts = labelled(40, 0.05)
    found = calibrate("r", [None, *values[1:]], labels, prompts)
    assert (found.n, found.unscored) == (39, 1)
    with pytest.raises(InputError, match="scored 3 of 40 rows: too few"):
        calibrate("r", [*values[:3], *[None] * 37], labels, prompts)


def test_agreement_beyond_chance():
    same = agreement("a", [True, False] * 30, "b", [True, False] * 30, [str(i) for i in range(60)])
    assert (same.share.mean, same.kappa) == (1.0, 1.0)
    chance = agreement(
        "a", [True, True, False, False] * 15, "b", [True, False] * 30, [str(i) for i in range(60)]
    )
    assert chance.share.mean == 0.5
    assert chance.kappa == pytest.approx(0.0)
    assert agreement("a", [None], "b", [True], ["p"]) is None


@pytest.fixture
def labels(tmp_path):
    """Twenty grey pictures, the light ones right."""
    rows = []
    for i in range(20):
        Image.new("RGB", (8, 8), (12 * i, 12 * i, 12 * i)).save(tmp_path / f"{i}.png")
        rows.append({"image": f"{i}.png", "prompt": f"p{i // 2}", "label": int(i >= 10)})
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


class Lightness:
    name, heldout = "lightness", False

    def score(self, samples):
        from rewards.base import pixels

        return [Score("lightness", float(pixels(s.image).mean() / 255)) for s in samples]


class Darkness(Lightness):
    def score(self, samples):
        return [Score("darkness", 1 - s.value) for s in super().score(samples)]


def test_judges_are_calibrated_and_compared_on_a_file(labels):
    found, shared = run_calibration(labels, {"light": Lightness(), "dark": Darkness()})
    light, dark = found
    assert light.threshold == pytest.approx((108 + 120) / 2 / 255)
    assert (light.f1, light.auc, dark.auc) == (1.0, 1.0, 0.0)
    pairs = {(a.one, a.other): a for a in shared}
    assert pairs["labels", "light"].kappa == 1.0
    assert pairs["labels", "dark"].kappa < 0.1
    assert set(pairs) == {("labels", "light"), ("labels", "dark"), ("light", "dark")}


def test_the_command_prints_the_gate_for_a_recipe(labels, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])
    done = CliRunner().invoke(app, ["calibrate", str(labels), "--reward", "mine:Lightness"])
    assert done.exit_code == 0, done.output
    assert "in a recipe: rewards: {gates: {image: {mine:Lightness: 0.447}}}" in done.output
    assert "mine:Lightness" in done.output and "kappa" in done.output
    as_json = CliRunner().invoke(app, ["calibrate", str(labels), "--reward", "mine:Lightness", "--json"])
    assert json.loads(as_json.output)["rewards"][0]["n"] == 20


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.replace('"label": 0', '"label": 2', 1), "labels.jsonl:1: field 'label' must be true"),
        (lambda t: t.replace('"prompt": "p0", ', "", 1), "labels.jsonl:1: field 'prompt' must be a string"),
        (lambda t: t.replace('"1.png"', '"none.png"'), "labels.jsonl:2: image"),
        (lambda t: t[:70], "not JSON"),
        (lambda t: "\n".join(t.splitlines()[:9]), "at least 10, both right and wrong"),
        (lambda t: t.replace('"label": 1', '"label": 0'), "0 of them right"),
        (lambda t: "[1]\n" + t, "labels.jsonl:1: a row is an object"),
        (lambda t: t.replace('"label": 0', '"label": 0, "target": 5', 1), "labels.jsonl:1: field 'target'"),
    ],
)
def test_a_bad_label_file_names_line_and_field(labels, change, says):
    labels.write_text(change(labels.read_text()))
    with pytest.raises(InputError) as caught:
        read_labels(labels)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_label_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "none.jsonl")
