"""What fits where, by arithmetic."""

import json
import re

import pytest

from datagen.doctor import Here, needs, shards
from datagen.errors import InputError, ModelError
from datagen.models.bagel.config import BAGEL_7B, POCKET
from datagen.models.bagel.upstream import top_config
from datagen.models.sizes import SIZES, bagel, size_of

ONE, EIGHT = Here(1, 80), Here(8, 80)


def of(here, model=""):
    return {(n.model, n.task): n for n in needs(here, model)}


@pytest.fixture(scope="module")
def on_80():
    return of(ONE)


def test_every_model_of_the_table_with_a_size_is_listed(on_80):
    assert {model for model, _ in on_80} == set(SIZES)


def test_counted_sizes_are_the_published_ones(on_80):
    assert on_80["bagel", "draw"].parameters == "14.7 B"  # 14.17 and SigLIP, and the autoencoder
    assert on_80["janus", "draw"].parameters == "7.4 B"
    assert on_80["emu3", "draw"].parameters == "8.8 B"


def test_the_parts_are_what_the_dtypes_cost_and_add_up_to_the_whole(on_80):
    size = bagel()
    whole, adapters, drawing = (size.training(1), size.training(1, rank=16), size.drawing(1))
    frozen = size.parameters - size.decoder
    assert whole.weights == 4 * size.decoder + 2 * frozen
    assert whole.optimizer == (4 + 8 + 4) * size.decoder
    assert size.training(1, optimizer="adamw8bit").optimizer == (4 + 2 + 4) * size.decoder
    assert adapters.weights == 2 * size.parameters + 4 * 16 * size.adapted
    assert adapters.optimizer == 16 * 16 * size.adapted
    assert (drawing.weights, drawing.optimizer) == (2 * size.parameters, 0)
    for n in on_80.values():
        assert n.gigabytes == pytest.approx(1.08 * (n.weights + n.activations + n.optimizer), abs=0.3)


def test_bagel_with_adapters_needs_one_80_gb_gpu_and_whole_many(on_80):
    adapters, whole = on_80["bagel", "adapters"], on_80["bagel", "all"]
    assert 34 <= adapters.gigabytes <= 40 and adapters.here
    assert not whole.here
    assert re.fullmatch(r"\d x 80 GB, sharded", whole.device)
    assert 4 <= int(whole.device.split()[0]) <= 6


def test_what_fits_only_sharded_is_started_by_torchrun(on_80):
    whole = on_80["bagel", "all"]
    gpus = int(whole.device.split()[0])
    assert whole.command == (
        f"torchrun --nproc-per-node {gpus} -m datagen train --model bagel --lora 0 "
        f"--batch-size 1 --accumulate {32 // gpus} --shard"
    )
    on_eight = of(EIGHT, "bagel")["bagel", "all"]
    assert on_eight.here and on_eight.batch == 1 and on_eight.command == whole.command
    assert not of(Here(2, 80), "bagel")["bagel", "all"].here


def test_shards_divide_what_trains_and_not_what_a_process_has_of_its_own():
    cost = bagel().training(1)
    own = cost.resting + cost.gathered + cost.activations
    assert cost.sharded(4) - own == pytest.approx((cost.total - cost.resting - cost.activations) / 4, abs=1)
    least = shards(cost, 80)
    assert cost.sharded(least) * 1.08 <= 80e9 < cost.sharded(least - 1) * 1.08
    assert shards(cost, 80, most=least - 1) is None


def test_more_at_once_needs_more_and_the_command_says_what_fits(on_80):
    size = bagel()
    assert size.weights < size.drawing(1).total < size.drawing(8).total < 80e9
    assert size.training(1, rank=16).total < size.training(2, rank=16).total < size.training(2).total
    n = on_80["bagel", "adapters"]
    assert n.command == f"datagen train --model bagel --batch-size {n.batch} --accumulate {32 // n.batch}"
    assert size.training(n.batch, rank=16).total < 80e9
    assert on_80["bagel", "draw"].command.endswith(f"'bagel?batch={on_80['bagel', 'draw'].batch}'")


def test_nothing_large_fits_a_small_machine_and_the_pocket_model_always_does():
    small = of(Here(0, 4))
    assert [n.model for n in small.values() if n.here] == ["pocket", "pocket"]
    assert small["bagel", "draw"].batch == 0
    assert small["bagel", "draw"].device == "1 x 48 GB"


def test_a_folder_of_upstreams_is_reckoned_by_its_configs_alone(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(top_config(BAGEL_7B) | {"max_latent_size": 32}))
    assert size_of(str(tmp_path)) == size_of("bagel")
    assert {n.model for n in needs(ONE, str(tmp_path))} == {str(tmp_path)}


def test_a_folder_of_ours_and_one_of_transformers_are_reckoned_too(tmp_path):
    POCKET.save(tmp_path)
    assert size_of(str(tmp_path)) == size_of("pocket")
    text = {
        "vocab_size": 500, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    row = {"model_type": "emu3", "text_config": text, "vocabulary_map": {"<image>": 0, "<|extra_200|>": 1}}
    (tmp_path / "config.json").write_text(json.dumps(row))
    size = size_of(str(tmp_path))
    assert (size.layers, size.hidden, size.kv, size.vocabulary) == (2, 64, 32, 500)


def test_a_folder_without_a_config_and_an_unknown_family_are_refused(tmp_path):
    with pytest.raises(ModelError, match="not a readable model config"):
        size_of(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(InputError, match="'gpt2'; sizes are known of bagel, janus, emu3"):
        size_of(str(tmp_path))
