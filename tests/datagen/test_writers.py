"""Prompt writers in processes of their own write what one in this process writes, also when they die."""

import os
import time
from contextlib import closing

import pytest

from datagen import pipeline, writers
from datagen.errors import InputError, UnknownName, WorkError
from datagen.llm.base import DEADLY, Reply, WriteRequest
from datagen.llm.template import TemplateLLM
from datagen.making import Resources
from datagen.pool import Killed, Pool
from datagen.prompts import write_prompts
from datagen.prompts.asking import Answers
from datagen.targets import VOCABULARIES
from datagen.writers import PooledLLM

REQUESTS = [WriteRequest("two circles", seed=i) for i in range(70)]


pytestmark = pytest.mark.usefixtures("ray_pool")


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
    """Dies, or hangs, on each request once, which a file remembers; on ``always`` every time."""

    def __init__(self, folder, always=(), hangs=False):
        self.folder, self.always, self.hangs = folder, always, hangs

    def write(self, requests):
        for request in requests:
            mark = self.folder / str(request.seed)
            if request.seed in self.always or not (self.always or mark.exists()):
                mark.touch()
                time.sleep(60 * self.hangs)
                os._exit(1)
        return [Reply("alive") for _ in requests]


def pool_of(make, **settings):
    return closing(Pool(make, 1, **settings))


@pytest.mark.parametrize("hangs", [False, True])
def test_a_writer_that_dies_or_hangs_is_replaced_and_its_requests_are_written(tmp_path, hangs):
    with pool_of(lambda: Dying(tmp_path, hangs=hangs), timeout=0.5) as pool:
        assert pool.result(pool.submit("write", REQUESTS[:1])) == [Reply("alive")]


def test_a_writer_that_hangs_while_it_loads_is_replaced(tmp_path):
    def make():
        if not (tmp_path / "loading").exists():
            (tmp_path / "loading").touch()
            time.sleep(60)
        return Dying(tmp_path, always=[-1])

    with pool_of(make, loading=0.5) as pool:
        assert pool.result(pool.submit("write", REQUESTS[:1])) == [Reply("alive")]


def test_only_the_call_that_kills_is_given_up_and_those_behind_it_are_answered(tmp_path):
    with pool_of(lambda: Dying(tmp_path, always=[1])) as pool:
        calls = [pool.submit("write", [request]) for request in REQUESTS[:4]]
        for n in (3, 0, 2):
            assert pool.result(calls[n]) == [Reply("alive")]
        with pytest.raises(Killed, match="a call killed its worker 3 times") as caught:
            pool.result(calls[1])
        assert "\n" not in str(caught.value)
        assert pool.result(pool.submit("write", REQUESTS[4:5])) == [Reply("alive")]


class Choosy:
    """Dies on seeds that ``deadly`` is true of; answers questions too."""

    deadly = staticmethod(lambda seed: seed == 3)

    def __init__(self, name):
        self.name = name

    def facts(self):
        return self.name, True

    def write(self, requests):
        if any(self.deadly(r.seed) for r in requests):
            os._exit(1)
        return [Reply(f"seed {r.seed}") for r in requests]

    def ask(self, questions):
        if "die" in questions:
            os._exit(1)
        return [f"{q}!" for q in questions]


class AllDeadly(Choosy):
    deadly = staticmethod(lambda seed: True)


def test_a_request_that_kills_its_writers_is_refused_and_the_others_are_written(monkeypatch):
    monkeypatch.setattr(writers, "_Writer", Choosy)
    with closing(PooledLLM("choosy", 2, batch=4)) as llm:
        wanted = [Reply("", DEADLY) if n == 3 else Reply(f"seed {n}") for n in range(9)]
        assert llm.write(REQUESTS[:9]) == wanted
        assert llm.ask(["a", "die", "b"]) == ["a!", "", "b!"]
        assert llm.lost == 2


def test_requests_that_all_kill_their_writers_stop_the_build(monkeypatch):
    monkeypatch.setattr(writers, "_Writer", AllDeadly)
    monkeypatch.setattr(writers, "LOST_AT_LEAST", 1)
    with closing(PooledLLM("deadly", 1)) as llm, pytest.raises(WorkError, match="2 of 2 requests killed"):
        llm.write(REQUESTS[:2])


def test_writers_that_have_no_room_are_refused_instead_of_waited_for():
    with pytest.raises(InputError, match="2 prompt workers want 2 GPUs and this machine has 0"):
        PooledLLM("template", 2, gpus=1)


def test_a_writer_gets_as_many_requests_at_a_time_as_it_is_told(small, monkeypatch):
    with closing(PooledLLM("template", 2, batch=48)) as llm:
        sizes, submit = [], llm.pool.submit
        monkeypatch.setattr(
            llm.pool, "submit", lambda method, items: sizes.append(len(items)) or submit(method, items)
        )
        written = write_prompts(small(prompts=100), VOCABULARIES["scenes"], llm, 100, 0)
    assert max(sizes) == 48
    assert written == write_prompts(small(prompts=100), VOCABULARIES["scenes"], TemplateLLM(), 100, 0)


def test_an_error_of_loading_arrives_as_it_was():
    with pytest.raises(UnknownName, match="unknown LLM 'tmplate'"):
        PooledLLM("tmplate", 1)
