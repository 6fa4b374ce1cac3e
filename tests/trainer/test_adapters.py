"""Adapters and large models: what is kept, what is merged, and in which precision."""

import dataclasses

import pytest
import torch

from tests.trainer.helpers import Stop, stop_at, weights
from trainer import TrainConfig, train
from trainer.parameters import part


def test_adapters_resume_bit_equal_from_checkpoints_that_hold_only_them(data, tiny, tmp_path):
    from safetensors import safe_open

    whole = TrainConfig(data, tmp_path / "w", tiny, steps=4, save_steps=2, bf16=False, lora=2, batch_size=8)
    train(whole)
    cut = dataclasses.replace(whole, out=tmp_path / "c")
    with pytest.raises(Stop):
        train(cut, stop_at(3))
    with safe_open(tmp_path / "c/trainer/checkpoint-2/model.safetensors", "pt") as file:
        names = [n for n in file.keys() if "inv_freq" not in n]  # noqa: SIM118 - not a dict
    assert names and all("lora_" in n for n in names)
    train(dataclasses.replace(cut, resume=True))
    a, b = weights(tmp_path / "w"), weights(tmp_path / "c")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_lora_is_merged_into_an_ordinary_checkpoint(data, tiny, tmp_path):
    from pathlib import Path

    train(TrainConfig(data, tmp_path, tiny, steps=2, lora=2, bf16=False, text_lr=1e-2))
    before, after = weights(Path(tiny)), weights(tmp_path)
    assert before.keys() == after.keys()
    assert torch.equal(before["vae2llm.weight"], after["vae2llm.weight"])
    key = "language_model.model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(before[key], after[key])


def test_the_adapter_is_kept_in_pefts_own_files_and_gives_the_merged_model(data, tiny, tmp_path):
    from peft import PeftModel

    from datagen.models import load_model

    train(TrainConfig(data, tmp_path, tiny, steps=2, lora=2, bf16=False, text_lr=1e-2))
    kept = {p.name for p in (tmp_path / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json"} <= kept
    adapted = PeftModel.from_pretrained(load_model(tiny).module, str(tmp_path / "adapter"))
    merged = adapted.merge_and_unload().state_dict()
    for name, tensor in weights(tmp_path).items():
        torch.testing.assert_close(merged[name], tensor, msg=name)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_large_bfloat16_model_takes_small_steps_and_is_saved_as_it_was_stored(
    data, tiny, tmp_path, monkeypatch, rank
):
    from pathlib import Path

    from safetensors.torch import load_file

    from datagen.models import load_model
    from trainer import arguments
    from trainer import trainer as module

    def stored(name, device="cpu"):
        model = load_model(name, device)
        model.module.bfloat16()
        return model

    monkeypatch.setattr(arguments, "LORA_ABOVE", 10)
    monkeypatch.setattr(module, "load_model", stored)
    train(TrainConfig(data, tmp_path, tiny, steps=2, lora=rank, text_lr=1e-6, image_lr=1e-6))
    kept = load_file(tmp_path / "trainer" / "checkpoint-2" / "model.safetensors")
    assert {t.dtype for t in kept.values()} == {torch.float32}
    assert {t.dtype for t in weights(tmp_path).values()} == {torch.bfloat16}
    if rank:
        assert all("lora_" in name for name in kept)
        return
    before = weights(Path(tiny))
    steps = [
        (kept[f"module.{k}"] - b.bfloat16().float()).abs().max()
        for k, b in before.items()
        if f"module.{k}" in kept and part(k) != "generation"  # behind an untrained llm2vae of zeros
    ]
    assert min(steps) > 0 and max(steps) < 1e-4
