"""A planted, gameable reward raises the alarm; an honest one does not."""

import json
import random
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from datagen.alarms import Shift, raise_alarms, stage_shift, weight_shift
from datagen.cli import app
from datagen.errors import InputError
from datagen.monitor import write_alarms
from datagen.pipeline import build
from datagen.recipe import Rewards
from datagen.report import write_report
from datagen.sample import Score
from rewards.base import pixels


def groups(n: int, k: int, follows: float, seed: int = 0):
    """A training reward, a held-out one that follows it by ``follows``, and weights exp(reward)."""
    rng = random.Random(seed)
    names, training, heldout, weights = [], [], [], []
    for g in range(n):
        for _ in range(k):
            x = rng.gauss(0, 1)
            names.append(str(g))
            training.append(x)
            heldout.append(follows * x + (1 - follows) * rng.gauss(0, 1))
            weights.append(float(np.exp(x)))
    return training, heldout, weights, names


@pytest.mark.parametrize(("follows", "alarms"), [(1.0, 0), (0.6, 0), (0.0, 1), (-1.0, 1)])
def test_the_alarm_is_raised_when_the_held_out_judge_does_not_follow(follows, alarms):
    training, heldout, weights, names = groups(60, 8, follows)
    shifts = [
        weight_shift("reward", "training", training, weights, names),
        weight_shift("judge", "heldout", heldout, weights, names),
    ]
    found = raise_alarms("weights", shifts)
    assert len(found) == alarms
    assert all("while the held-out judge moved by" in a.message for a in found)


def test_few_prompts_raise_no_alarm_by_chance():
    """With a judge that follows weakly and little data the interval is wide: no alarm is due."""
    raised = 0
    for seed in range(60):
        training, heldout, weights, names = groups(6, 4, 0.5, seed)
        shifts = [
            weight_shift("reward", "training", training, weights, names),
            weight_shift("judge", "heldout", heldout, weights, names),
        ]
        raised += bool(raise_alarms("weights", [s for s in shifts if s]))
    assert raised <= 6


def test_differences_between_prompts_are_no_shift():
    """A figure that differs from prompt to prompt only cannot be moved by weights within prompts."""
    values = [float(g) for g in range(20) for _ in range(4)]
    names = [str(g) for g in range(20) for _ in range(4)]
    assert weight_shift("edges", "hygiene", values, [1.0, 2.0, 0.0, 1.0] * 20, names) is None


def test_groups_without_weight_and_missing_values_are_left_out():
    values = [0.0, 1.0, None, 5.0, 9.0]
    found = weight_shift("x", "training", values, [0.0, 2.0, 1.0, 0.0, 0.0], ["a", "a", "a", "b", "b"])
    assert (found.n, found.before, found.after) == (2, 0.5, 1.0)


def test_a_drifting_figure_is_an_alarm_and_a_steady_one_is_not():
    moved = Shift("saturation", "hygiene", 0.3, 0.6, 0.9, 0.7, 1.1, 100)
    unsure = Shift("edges", "hygiene", 0.1, 0.2, 0.6, 0.1, 1.1, 5)
    steady = Shift("entropy", "hygiene", 6.0, 6.1, 0.1, 0.0, 0.2, 100)
    assert [a.name for a in raise_alarms("stages", [moved, unsure, steady])] == ["saturation"]


def test_stages_are_paired_by_prompt():
    rng = random.Random(0)
    before = {str(p): [rng.gauss(p, 1) for _ in range(4)] for p in range(30)}
    after = {p: [v + 1.0 for v in values] for p, values in before.items()}
    found = stage_shift("reward", "training", before, after)
    assert found.after - found.before == pytest.approx(1.0)
    assert found.low == pytest.approx(found.high) == pytest.approx(found.sd)
    assert stage_shift("reward", "training", {"a": [1.0]}, {"a": [2.0]}) is None


def warmth(samples):
    """A gameable reward: red over blue in what is drawn, whatever the prompt asked for."""
    scores = []
    for sample in samples:
        flat = pixels(sample.image).reshape(-1, 3).astype(float)
        red, _, blue = flat[flat.min(1) < 200].mean(0)
        scores.append(Score("warmth", min(max(0.5 + (red - blue) / 500, 0.0), 1.0)))
    return scores


@pytest.fixture
def run(tmp_path, small, monkeypatch):
    """A build on the fake model, weighted by the recipe's own reward or by another."""
    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])

    def make(**rewards):
        recipe = small("two_objects", prompts=30, k=6).for_vocabulary("scenes")
        changed = recipe.model_copy(
            update={
                "rewards": Rewards(**({"image": {"scenes": 1.0}, "text": {"trace": 1.0}} | rewards)),
                "weights": recipe.weights.model_copy(update={"floor": 0.0}),
                "dedupe": recipe.dedupe.model_copy(update={"images": 1.0}),
            }
        )
        build(tmp_path / "run", [changed], "fake", "template")
        return tmp_path / "run"

    return make


def test_an_honest_reward_raises_no_alarm_about_its_judge(run):
    folder = run()
    found = write_alarms(folder)
    assert [a for a in found["alarms"] if a["name"] == "reward"] == []
    judged = next(s for s in found["weights"] if s["name"] == "judge")
    assert judged["sd"] > 0.3


def test_a_planted_gameable_reward_raises_the_alarm_and_its_samples_are_shown(run):
    """Weighting by warmth paints everything red; the held-out judge sees no better pictures."""
    folder = run(image={"mine:warmth": 1.0})
    found = write_alarms(folder)
    messages = [a["message"] for a in found["alarms"]]
    assert any("reward rose by" in m and "held-out judge" in m for m in messages), (
        messages,
        found["weights"],
    )
    top = found["top"]
    assert len(top) == 12
    page = write_report(folder).read_text()
    assert "it may be gamed" in page
    assert page.count("image weight") > 12
    done = CliRunner().invoke(app, ["alarms", "--run", str(folder)])
    assert done.exit_code == 0, done.output
    assert "ALARM (weights): reward rose" in done.output


def test_training_that_only_moves_its_own_reward_is_an_alarm(run):
    """Before and after: the training reward rises, the held-out judge stays."""
    folder = run(image={"mine:warmth": 1.0})
    (folder / "eval").mkdir()
    for stage, lift in (("before", 0.0), ("after", 0.4)):
        with (folder / "eval" / f"{stage}.jsonl").open("w") as file:
            for n in range(30):
                for k in range(2):
                    image = f"{stage}_{n}_{k}.png"
                    side = int(48 * (0.2 + lift + 0.1 * random.Random(f"{n}/{k}").random()))
                    array = np.full((48, 48, 3), 250, np.uint8)
                    array[:side, :side] = (60 + int(300 * lift), 60, 180 - int(300 * lift) - n)
                    (folder / "eval" / image).write_bytes(_png(array))
                    row = {
                        "filename": f"{n:05d}/samples/{k:04d}.png", "tag": "two_object", "prompt": f"p{n}",
                        "correct": random.Random(f"{n}/{k}/judge").random() < 0.5, "image": image,
                        "metadata": json.dumps({"tag": "two_object", "include": [{"class": "star", "count": 1}]}),
                    }  # fmt: skip
                    file.write(json.dumps(row) + "\n")
    found = write_alarms(folder)
    stages = {s["name"]: s for s in found["stages"]}
    assert stages["mine:warmth"]["sd"] > 0.5
    assert stages["judge"]["sd"] == 0.0
    raised = {a["name"] for a in found["alarms"] if a["where"] == "stages"}
    assert "mine:warmth" in raised
    assert raised & {"contrast", "saturation", "entropy", "edges", "light"}


def _png(array: np.ndarray) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_a_judge_that_weighs_cannot_raise_alarms(run, tmp_path):
    folder = run()
    with pytest.raises(InputError, match="'scenes' weighs in recipe 'two_objects'"):
        write_alarms(folder, judge="scenes")
    with pytest.raises(InputError, match="no dataset here"):
        write_alarms(tmp_path / "none")


def test_a_report_without_alarms_says_how_to_get_them(run):
    assert "Not looked at yet: datagen alarms" in write_report(run()).read_text()


def test_an_interval_around_no_change_is_no_drift():
    def drift(low, high):
        return raise_alarms("weights", [Shift("brightness", "hygiene", 0.5, 0.6, 0.6, low, high, 40)])

    assert drift(0.4, 1.8) and not drift(-0.6, 1.8)
