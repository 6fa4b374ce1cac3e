"""Reward-weighted training: what each weight does, resume, and data that teach nothing."""

import dataclasses
import json

import pytest
import torch

from datagen.dataset import save_dataset
from datagen.errors import InputError, TrainingError, WorkError
from datagen.models.base import UnifiedLoss
from tests.trainer.helpers import batch, moved, sample, weights
from trainer import TrainConfig, parse_weight, train
from trainer.checkpoint import Average
from trainer.data import to_example
from trainer.loss import weighted_loss


@pytest.mark.parametrize("weight", ["text,image", "text", "image", "none"])
def test_all_four_combinations_train_and_save_a_model_that_loads(data, tiny, tmp_path, weight):
    from pathlib import Path

    from datagen.models import load_model

    done = train(TrainConfig(data, tmp_path, tiny, parse_weight(weight), steps=3, bf16=False))
    assert done.steps == 3
    load_model(str(tmp_path))
    before, after = weights(Path(tiny)), weights(tmp_path)
    assert moved(before, after, generation=True) is (weight != "text")
    assert moved(before, after, generation=False) is (weight != "image")


def test_a_modality_that_is_not_named_weighs_nothing():
    row = {"prompt": "p", "trace": "t", "image": None, "text_weight": 2.0, "image_weight": 3.0}
    pick = {
        w: (e.text_weight, e.image_weight)
        for w in ((), ("text",), ("image",), ("text", "image"))
        for e in [to_example(row, w)]
    }
    assert pick == {
        (): (1.0, 1.0),
        ("text",): (2.0, 0.0),
        ("image",): (0.0, 3.0),
        ("text", "image"): (2.0, 3.0),
    }


def test_the_loss_is_the_weighted_mean_of_both_modalities():
    out = UnifiedLoss(
        torch.zeros(()), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]), torch.tensor([4.0, 0.0])
    )
    loss = weighted_loss(out, batch([1.0, 0.5], [2.0, 0.0]), 1.0, 0.5, opening_scale=0.5)
    assert float(loss) == pytest.approx((1 + 1) / 2 + 0.5 * (6 / 2) + 0.5 * 4 / 2)


def test_a_zero_weight_sample_gives_zero_gradient():
    text = torch.tensor([1.0, 2.0], requires_grad=True)
    out = UnifiedLoss(torch.zeros(()), text, text.detach(), text.detach())
    weighted_loss(out, batch([1.0, 0.0], [0.0, 0.0])).backward()
    assert text.grad.tolist() == [0.5, 0.0]


def test_a_negative_weight_is_refused():
    out = UnifiedLoss(torch.zeros(()), torch.ones(1), torch.ones(1), torch.ones(1))
    with pytest.raises(ValueError, match=">= 0"):
        weighted_loss(out, batch([-1.0], [1.0]))


def test_weights_that_are_all_zero_stop_with_the_reason(tmp_path):
    save_dataset([sample(), sample()], tmp_path / "d", "card")
    with pytest.raises(TrainingError, match=r"0 in all 2 rows.*floor"):
        train(TrainConfig(tmp_path / "d", tmp_path / "m", "fake"))


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_weights_that_are_negative_or_not_finite_are_refused(tmp_path, weight):
    save_dataset([sample(text_weight=weight)], tmp_path / "d", "card")
    with pytest.raises(TrainingError, match="must be a number >= 0"):
        train(TrainConfig(tmp_path / "d", tmp_path / "m", "fake"))


def test_a_dataset_that_is_torn_is_named(data, tmp_path):
    import shutil

    shutil.copytree(data, tmp_path / "d")
    (file,) = (tmp_path / "d" / "data").glob("train-*")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(WorkError, match="train-00000"):
        train(TrainConfig(tmp_path / "d", tmp_path / "m", "fake"))


@pytest.mark.parametrize("image", [b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_a_picture_that_does_not_decode_blames_the_data_and_not_the_disk(tmp_path, image):
    save_dataset([sample(image=image, image_weight=1.0)], tmp_path / "d", "card")
    with pytest.raises(InputError, match="d: a picture cannot be decoded"):
        train(TrainConfig(tmp_path / "d", tmp_path / "m", "fake", steps=1, bf16=False))


@pytest.mark.parametrize(
    "field, value",
    [
        ("steps", 0), ("epochs", 0.0), ("batch_size", 0), ("text_lr", float("nan")), ("ema", 1.0),
        ("lora", -1), ("image_scale", -1.0), ("save_steps", 0),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(data, tmp_path, field, value):
    with pytest.raises(InputError, match=f"^{field} is .*valid: "):
        TrainConfig(data, tmp_path, **{field: value})


def test_the_summary_counts_rows_and_effective_samples_as_they_were_used(data, tmp_path):
    plain = train(TrainConfig(data, tmp_path / "a", "fake", (), steps=1, bf16=False))
    assert plain.text_ess == plain.image_ess == plain.samples == plain.total
    text = train(TrainConfig(data, tmp_path / "b", "fake", ("text",), steps=1, bf16=False))
    assert text.image_ess == 0
    assert 0 < text.text_ess <= text.samples <= text.total


def test_accumulated_batches_equal_one_large_batch(data, tmp_path):
    from datagen.models import load_model

    def trained(name, **changes):
        train(TrainConfig(data, tmp_path / name, "fake", steps=4, bf16=False, text_lr=0.1, **changes))
        first = json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0])
        return load_model(str(tmp_path / name)).module.state_dict(), first["grad_norm"]

    whole, norm = trained("whole", batch_size=8)
    parts, norm_of_parts = trained("parts", batch_size=4, accumulate=2)
    assert whole["text"] > 0.05
    assert all(torch.allclose(whole[k], parts[k]) for k in whole)
    assert norm == pytest.approx(norm_of_parts)  # Adam hides a wrong scale of the gradient


def test_a_short_last_batch_of_a_step_counts_by_its_samples(tmp_path):
    save_dataset(
        [sample(id=str(w), text_weight=w) for w in (1.0, 2.0, 3.0, 4.0, 20.0)], tmp_path / "d", "card"
    )

    def first_norm(name, **changes):
        train(TrainConfig(tmp_path / "d", tmp_path / name, "fake", ("text",), steps=1, bf16=False, **changes))
        return json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0])["grad_norm"]

    assert first_norm("parts", batch_size=3, accumulate=2) == pytest.approx(first_norm("whole", batch_size=5))


def picture(color):
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (48, 48), color).save(out, "PNG")
    return out.getvalue()


def test_accumulated_batches_of_bagel_equal_one_large_batch(tiny, tmp_path, monkeypatch):
    """Rows of unlike lengths, one without a picture. Noise is the same for all, so that only batching differs."""
    from pathlib import Path
    from unittest.mock import patch

    from datagen.models.bagel.model import Bagel
    from trainer import regression

    rows = [
        sample(id="a", trace="red circle", image=picture("red"), text_weight=1.0, image_weight=2.0),
        sample(id="b", trace="blue star top left ; blue star middle right", text_weight=3.0),
        sample(id="c", prompt="two blue stars on grey", trace="blue star", image=picture("blue"), text_weight=0.5, image_weight=1.0),
        sample(id="d", trace="", image=picture("green"), image_weight=4.0),
    ]  # fmt: skip
    save_dataset(rows, tmp_path / "d", "card")
    predict = Bagel.predict

    def still(self, batch, generator=None):
        def full(*shape, **_):
            return torch.full(shape if isinstance(shape[0], int) else shape[0], 0.3)

        with patch("torch.randn", full), patch("torch.rand", full):
            return predict(self, batch, generator)

    monkeypatch.setattr(Bagel, "predict", still)
    monkeypatch.setattr(regression, "optimizer_class", lambda c: lambda groups, **_: torch.optim.SGD(groups))

    def stepped(name, **changes):
        config = TrainConfig(
            tmp_path / "d", tmp_path / name, tiny, steps=1, text_lr=1.0, image_lr=1.0, head_ratio=1.0, warmup=0,
            ema=0, max_grad_norm=1e9, bf16=False, **changes,
        )  # fmt: skip
        train(config)
        return weights(tmp_path / name)

    before, whole = weights(Path(tiny)), stepped("whole", batch_size=4)
    for size in (1, 2, 3):
        parts = stepped(f"by {size}", batch_size=size, accumulate=-(-4 // size))
        for name in before:
            torch.testing.assert_close(parts[name], whole[name], atol=1e-5, rtol=1e-4, msg=name)
    assert moved(before, whole, generation=True) and moved(before, whole, generation=False)


def test_a_reference_kl_holds_the_trace_back(data, tiny, tmp_path):
    def apart(weight):
        out = tmp_path / str(weight)
        train(TrainConfig(data, out, tiny, steps=12, text_lr=1e-2, reference_kl=weight, bf16=False, lora=4))
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        return [row["kl"] for row in rows if "kl" in row][-1]

    assert apart(50.0) < apart(1e-6)


def test_a_reference_penalty_holds_the_velocity_back(data, tiny, tmp_path):
    def drift(penalty):
        out = tmp_path / str(penalty)
        train(TrainConfig(data, out, tiny, steps=12, image_lr=1e-2, reference_penalty=penalty, bf16=False))
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        return [row["drift"] for row in rows if "drift" in row][-1]

    assert drift(50.0) < drift(1e-6)


def test_a_model_without_velocities_cannot_be_held_to_a_reference(data, tmp_path):
    with pytest.raises(InputError, match="reference"):
        train(TrainConfig(data, tmp_path, "fake", steps=1, reference_penalty=0.1))


def test_the_log_has_a_loss_for_each_modality(data, tiny, tmp_path):
    train(TrainConfig(data, tmp_path, tiny, steps=3, bf16=False))
    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert {"loss_text", "loss_opening", "loss_image", "ess_text", "ess_image", "step"} <= set(first)
    for modality in ("text", "image"):
        bars = {k: v for k, v in first.items() if k.startswith(f"weights_{modality}/")}
        assert len(bars) == 6 and sum(bars.values()) == pytest.approx(1)
    whole = sum(first[f"grad_norm_{name}"] ** 2 for name in ("text", "head", "generation"))
    assert whole == pytest.approx(first["grad_norm"] ** 2, rel=1e-4)


def test_the_average_follows_the_weights():
    module = torch.nn.Linear(1, 1)
    average = Average(module, 0.5)
    with torch.no_grad():
        module.weight.fill_(10.0)
    for _ in range(30):
        average.update()
    average.apply()
    assert module.weight.item() == pytest.approx(10.0, abs=0.1)


def test_weights_flags_are_checked():
    assert parse_weight("image,text") == ("text", "image")
    assert parse_weight("none") == ()
    with pytest.raises(InputError, match="valid"):
        parse_weight("sound")


def test_the_hook_sees_a_loadable_checkpoint_and_its_scores_are_kept(data, tiny, tmp_path):
    from datagen.models import load_model

    def hook(folder, step):
        return {"parameters": len(list(load_model(str(folder)).module.parameters()))}

    config = TrainConfig(data, tmp_path, tiny, steps=4, eval_every=2, bf16=False)
    train(config, evaluate=hook)
    rows = [json.loads(line) for line in (tmp_path / "eval.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert all(row["parameters"] > 0 for row in rows)


@pytest.mark.parametrize("lora", [0, 2])
def test_evaluating_does_not_change_what_is_learned(data, tiny, tmp_path, lora):
    config = TrainConfig(data, tmp_path / "a", tiny, steps=4, bf16=False, lora=lora)
    train(config)
    seen = dataclasses.replace(config, out=tmp_path / "b", eval_every=1)
    shown = []
    train(seen, evaluate=lambda folder, step: shown.append(weights(folder)) or {})
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert all(torch.equal(a[k], shown[-1][k]) for k in a)  # the last step's is the result
    assert any(not torch.equal(shown[0][k], shown[-1][k]) for k in a)


def test_an_interval_without_a_hook_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="hook"):
        train(TrainConfig(data, tmp_path, "fake", steps=1, eval_every=1))
    with pytest.raises(InputError, match="whole model"):
        config = TrainConfig(data, tmp_path, "fake", steps=1, eval_every=1, shard=True)
        train(config, evaluate=lambda folder, step: {})


def test_the_log_counts_tokens(data, tiny, tmp_path):
    train(TrainConfig(data, tmp_path, tiny, steps=2, bf16=False))
    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert first["text_tokens_per_second"] > 0
    assert first["image_tokens_per_second"] > 0
    assert "mfu" not in first  # unknown on this device


def test_loggers_and_optimizers_that_do_not_exist_list_those_that_do(data, tmp_path):
    with pytest.raises(InputError, match="valid: tensorboard, trackio, wandb"):
        TrainConfig(data, tmp_path, report_to=("tensorbored",))
    with pytest.raises(InputError, match="valid: adamw, adamw8bit"):
        TrainConfig(data, tmp_path, optimizer="adam8")


def test_each_logging_step_is_a_line_for_the_person_at_the_terminal(data, tiny, tmp_path, capsys):
    train(TrainConfig(data, tmp_path, tiny, steps=2, bf16=False))
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert told.startswith("step 1/2, loss text ")
    assert "ESS text " in told and "gradient generation " in told and told.endswith(" image tokens/s")


def test_tensorboard_holds_what_the_log_holds(data, tiny, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(TrainConfig(data, tmp_path, tiny, steps=2, bf16=False, report_to=("tensorboard",)))
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    told = EventAccumulator(str(events))
    told.Reload()
    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    names = [
        "loss_text",
        "loss_image",
        "ess_text",
        "weights_text/0",
        "grad_norm_head",
        "text_tokens_per_second",
    ]
    for name in names:
        assert told.Scalars(f"train/{name}")[0].value == pytest.approx(first[name], rel=1e-5)
