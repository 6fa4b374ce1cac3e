"""Replies on disk: a writer that is slow writes nothing twice."""

from datagen.llm import load_llm, release_llms, smollm
from datagen.llm.base import Reply, WriteRequest
from datagen.llm.cache import AnswerCache, CachedLLM
from datagen.llm.template import TemplateLLM

REQUESTS = [WriteRequest("two dogs", examples=("A cat.",), seed=n) for n in range(3)]


class Counting(TemplateLLM):
    def __init__(self):
        self.asked = []

    def write(self, requests):
        self.asked += requests
        return super().write(requests)


def test_a_second_writer_of_the_same_identity_asks_only_what_is_new(tmp_path):
    first, second, other = Counting(), Counting(), Counting()
    plain = TemplateLLM().write(REQUESTS)
    assert CachedLLM(first, AnswerCache(tmp_path), ["v1"]).write(REQUESTS[:2]) == plain[:2]
    again = CachedLLM(second, AnswerCache(tmp_path), ["v1"])
    assert again.write([REQUESTS[2], REQUESTS[0], REQUESTS[2]]) == [plain[2], plain[0], plain[2]]
    assert second.asked == REQUESTS[2:]
    assert again.name == "template"
    CachedLLM(other, AnswerCache(tmp_path), ["v2"]).write(REQUESTS)
    assert other.asked == REQUESTS


def test_the_embedded_models_replies_are_kept(tmp_path, monkeypatch):
    class Stub:
        name = "smollm2"

        def write(self, requests):
            return [Reply(r.phrase) for r in requests]

    monkeypatch.setattr(smollm, "SmolLM", Stub)
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path))
    release_llms()
    assert load_llm("smollm2").write(REQUESTS[:1]) == [Reply("two dogs")]
    monkeypatch.setattr(Stub, "write", lambda self, requests: [])
    release_llms()
    assert load_llm("smollm2").write(REQUESTS[:1]) == [Reply("two dogs")]
    release_llms()
