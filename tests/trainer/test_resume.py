"""Training that stopped goes on as if it had not, or says why it cannot."""

import dataclasses
import sys
import types

import pytest
import torch

from datagen.dataset import save_dataset
from datagen.errors import InputError
from datagen.models.base import UnifiedLoss
from tests.trainer.helpers import Stop, batch, moved, sample, stop_at, weights
from trainer import TrainConfig, train
from trainer.checkpoint import begin, trim_log


def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_one(data, tiny, tmp_path):
    config = TrainConfig(data, tmp_path / "whole", tiny, steps=6, save_steps=3, bf16=False, batch_size=8)
    train(config)
    cut = dataclasses.replace(config, out=tmp_path / "cut")
    with pytest.raises(Stop):
        train(cut, stop_at(4))
    train(dataclasses.replace(cut, resume=True))
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_training_anew_over_an_older_run_resumes_from_its_own_checkpoint(data, tmp_path):
    old = TrainConfig(data, tmp_path, "fake", steps=20, save_steps=10, bf16=False)
    train(old)
    new = dataclasses.replace(old, steps=8, save_steps=3, text_lr=1e-3)
    with pytest.raises(Stop):
        train(new, stop_at(5))
    assert [p.name for p in (tmp_path / "trainer").glob("checkpoint-*")] == ["checkpoint-3"]
    assert train(dataclasses.replace(new, resume=True)).steps == 8


def test_starting_afresh_touches_nothing_but_checkpoints(tmp_path):
    (tmp_path / "mine.py").write_text("x")
    (tmp_path / "checkpoint-3").mkdir()
    begin(tmp_path, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.py", "settings.json"]


def test_a_resume_with_other_settings_says_what_changed(data, tmp_path):
    config = TrainConfig(data, tmp_path, "fake", steps=2, bf16=False)
    train(config)
    with pytest.raises(InputError, match=r"text_lr: 0.0004 -> 0.1"):
        train(dataclasses.replace(config, resume=True, text_lr=0.1))


def test_a_resume_on_other_data_is_refused(data, tmp_path):
    config = TrainConfig(data, tmp_path / "m", "fake", steps=2, bf16=False)
    train(config)
    save_dataset([sample(text_weight=1.0)], tmp_path / "d", "card")
    with pytest.raises(InputError, match="data: "):
        train(dataclasses.replace(config, resume=True, data=tmp_path / "d"))


def test_a_log_is_cut_back_to_where_training_goes_on(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 10}\n{"step": 20}\n{"st')
    trim_log(log, 10)
    assert log.read_text() == '{"step": 1}\n{"step": 10}\n'


class Tied(torch.nn.Module):
    """A unified model that is its own module, with one weight under two names."""

    name = "tied"

    def __init__(self):
        super().__init__()
        self.embed, self.head = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)
        self.head.weight = self.embed.weight
        torch.nn.init.eye_(self.embed.weight)

    module = property(lambda self: self)

    def collate(self, examples):
        return batch([e.text_weight for e in examples], [e.image_weight for e in examples])

    def losses(self, rows, generator=None):
        noise = torch.randn(len(rows.input_ids), 2)
        text = self.head(self.embed(noise)).pow(2).mean(1)
        return UnifiedLoss(text.mean(), text, text * 0, text * 0)

    def save(self, folder):
        torch.save(self.state_dict(), f"{folder}/tied.pt")


def test_any_object_with_the_methods_trains_and_resumes_with_tied_weights_too(data, tmp_path, monkeypatch):
    module = types.ModuleType("tied_model")
    module.load = lambda name, device: Tied()
    monkeypatch.setitem(sys.modules, "tied_model", module)
    whole = TrainConfig(data, tmp_path / "w", "tied_model:load", steps=4, save_steps=2, bf16=False)
    train(whole)
    cut = dataclasses.replace(whole, out=tmp_path / "c")
    with pytest.raises(Stop):
        train(cut, stop_at(3))
    train(dataclasses.replace(cut, resume=True))
    a, b = (torch.load(tmp_path / n / "tied.pt", weights_only=True) for n in "wc")
    assert not torch.equal(a["head.weight"], torch.eye(2))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_resume_without_a_checkpoint_says_so(data, tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        train(TrainConfig(data, tmp_path, "fake", resume=True))


def test_eight_bit_moments_train_and_resume(data, tmp_path, monkeypatch):
    pytest.importorskip("torchao")
    from datagen.models.bagel import BagelModel
    from datagen.models.bagel.config import BagelConfig
    from datagen.models.bagel.model import Bagel
    from datagen.models.bagel.tokenizer import train_tokenizer

    monkeypatch.setattr(torch._dynamo.config, "disable", True)  # each shape would be compiled on its own
    config = BagelConfig(
        vocab_size=320, hidden_size=64, intermediate_size=64, num_layers=1, num_heads=2, num_kv_heads=2
    )
    tokenizer = train_tokenizer(["red circle top left ; two blue stars"] * 20, 300)
    BagelModel(Bagel(config), tokenizer).save(str(tmp_path / "base"))
    whole = TrainConfig(
        data, tmp_path / "w", str(tmp_path / "base"), steps=4, save_steps=2, bf16=False, optimizer="adamw8bit"
    )
    train(whole)
    cut = dataclasses.replace(whole, out=tmp_path / "c")
    with pytest.raises(Stop):
        train(cut, stop_at(3))
    state = torch.load(tmp_path / "c/trainer/checkpoint-2/optimizer.pt", weights_only=True)["state"]
    assert "OptimState8bit" in {type(moments["exp_avg"]).__name__ for moments in state.values()}
    train(dataclasses.replace(cut, resume=True))
    before, a, b = weights(tmp_path / "base"), weights(tmp_path / "w"), weights(tmp_path / "c")
    assert moved(before, a, generation=True) and moved(before, a, generation=False)
    for name in a:
        torch.testing.assert_close(b[name], a[name], msg=name)
