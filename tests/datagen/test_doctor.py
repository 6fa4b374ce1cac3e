"""What fits where, by arithmetic."""

import pytest

from datagen.doctor import needs
from datagen.models.sizes import SIZES, bagel


@pytest.fixture(scope="module")
def on_80():
    return {(n.model, n.task): n for n in needs(80)}


def test_every_model_of_the_table_with_a_size_is_listed(on_80):
    assert {model for model, _ in on_80} == set(SIZES)


def test_counted_sizes_are_the_published_ones(on_80):
    assert on_80["bagel", "draw"].parameters == "14.7 B"  # 14.17 and SigLIP, and the autoencoder
    assert on_80["janus", "draw"].parameters == "7.4 B"
    assert on_80["emu3", "draw"].parameters == "8.8 B"


def test_bagel_with_adapters_needs_one_80_gb_gpu_and_whole_many(on_80):
    adapters, whole = on_80["bagel", "adapters"], on_80["bagel", "all"]
    assert 34 <= adapters.gigabytes <= 40 and adapters.here
    assert not whole.here and "x 80 GB, sharded" in whole.device
    assert int(whole.device.split()[0]) == 4


def test_more_at_once_needs_more_and_the_command_says_what_fits(on_80):
    size = bagel()
    assert size.weights < size.drawing(1) < size.drawing(8) < 80e9
    assert size.training(1, rank=16) < size.training(2, rank=16) < size.training(2)
    assert size.training(1, optimizer="adamw8bit") < size.training(1)
    n = on_80["bagel", "adapters"]
    assert n.command == f"datagen train --model bagel --batch-size {n.batch} --accumulate {32 // n.batch}"
    assert size.training(n.batch, rank=16) < 80e9
    assert on_80["bagel", "draw"].command.endswith(f"'bagel?batch={on_80['bagel', 'draw'].batch}'")


def test_nothing_large_fits_a_small_machine_and_the_pocket_model_always_does():
    small = {(n.model, n.task): n for n in needs(4)}
    assert [n.model for n in small.values() if n.here] == ["pocket", "pocket"]
    assert small["bagel", "draw"].batch == 0
    assert small["bagel", "draw"].device == "1 x 48 GB"
