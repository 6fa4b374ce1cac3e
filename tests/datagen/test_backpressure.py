"""A slow stage holds back the quick one before it: what lies between them never outgrows Ray's memory."""

import os
import time

import pytest

from datagen.workers import Stage, run_stages

ITEM, STORE = 8 * 2**20, 160 * 2**20  # bytes: twice as much passes through as the store can hold
ITEMS = 40


@pytest.fixture
def small_store():
    import ray

    ray.init(
        "local", num_cpus=2, object_store_memory=STORE, include_dashboard=False, log_to_driver=False, configure_logging=False
    )  # fmt: skip
    yield
    ray.shutdown()


def test_items_between_a_quick_stage_and_a_slow_one_are_bounded(small_store, tmp_path):
    def render():
        def work(item):
            (tmp_path / f"rendered-{item}").touch()
            return item, os.urandom(ITEM)

        return work

    def score():
        def work(pair):
            time.sleep(0.1)
            item, _ = pair
            waiting = len(list(tmp_path.glob("rendered-*"))) - len(list(tmp_path.glob("scored-*")))
            (tmp_path / f"scored-{item}").touch()
            return waiting

        return work

    stages = [Stage("render", render, 1), Stage("score", score, 1)]
    waiting = [found for _, found in run_stages(stages, range(ITEMS))]
    assert len(waiting) == ITEMS
    assert max(waiting) * ITEM <= STORE
