"""Prompt writers in processes of their own write what one in this process writes, also when they die."""

import os

import pytest

from datagen import pipeline
from datagen.errors import UnknownName, WorkError
from datagen.llm.base import Reply, WriteRequest
from datagen.llm.template import TemplateLLM
from datagen.making import Resources
from datagen.pool import Pool
from datagen.prompts import write_prompts
from datagen.prompts.asking import Answers
from datagen.targets import VOCABULARIES
from datagen.writers import PooledLLM

REQUESTS = [WriteRequest("two circles", seed=i) for i in range(70)]


@pytest.fixture(scope="module", autouse=True)
def ray_of_our_own():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture
def pooled():
    llm = PooledLLM("template", 2)
    yield llm
    llm.close()


def test_replies_come_in_the_order_of_the_requests_whoever_wrote_them(pooled):
    alone = TemplateLLM().write(REQUESTS)
    assert pooled.write(REQUESTS) == alone
    pooled.prefetch(REQUESTS[:40])
    assert pooled.write(REQUESTS[30:]) == alone[30:]
    assert len(pooled.due) == 30
    assert pooled.name == "template" and not isinstance(pooled, Answers)


def test_a_recipe_written_ahead_of_time_is_the_recipe_written_in_order(pooled, small):
    recipe, scenes = small(prompts=100), VOCABULARIES["scenes"]
    assert write_prompts(recipe, scenes, pooled, 100, 0) == write_prompts(
        recipe, scenes, TemplateLLM(), 100, 0
    )


def test_a_build_is_the_same_with_writers_apart(tmp_path, small):
    for name, who in (("here", Resources()), ("apart", Resources(llm_workers=2))):
        pipeline.build(tmp_path / name, [small(prompts=20, k=2)], "fake", resources=who)
    one, other = ((tmp_path / name / "prompts.jsonl").read_bytes() for name in ("here", "apart"))
    assert one == other


class Dying:
    """Dies on each request once, which a file remembers; on ``always`` every time."""

    def __init__(self, folder, always):
        self.folder, self.always = folder, always

    def write(self, requests):
        mark = self.folder / str(requests[0].seed)
        if self.always or not mark.exists():
            mark.touch()
            os._exit(1)
        return [Reply("alive") for _ in requests]


def test_a_writer_that_dies_is_replaced_and_its_requests_are_written(tmp_path):
    pool = Pool(lambda: Dying(tmp_path, False), 1)
    assert pool.result(pool.submit("write", REQUESTS[:3])) == [Reply("alive")] * 3
    pool.close()


def test_a_request_that_kills_every_writer_is_an_error_of_one_line(tmp_path):
    pool = Pool(lambda: Dying(tmp_path, True), 1)
    with pytest.raises(WorkError, match="killed its worker 3 times"):
        pool.result(pool.submit("write", REQUESTS[:3]))
    pool.close()


def test_an_error_of_loading_arrives_as_it_was():
    with pytest.raises(UnknownName, match="unknown LLM 'tmplate'"):
        PooledLLM("tmplate", 1)
