"""Chat models as prompt writers: what they are asked, what is made of their answers, the cache."""

import pytest

from datagen.errors import WorkError
from datagen.llm.base import BROKEN, CUT_OFF, Reply, WriteRequest
from datagen.llm.cache import AnswerCache, default_cache
from datagen.llm.chat import RETRIES, Answer, ChatLLM, Plan, Prompt
from datagen.llm.server import Server

REQUEST = WriteRequest("three red circles", "Write a prompt.", ("A star.",), 2**40 + 7)


class Scripted:
    """A backend that gives the next of its replies, and then its last."""

    name = "scripted"

    def __init__(self, *replies):
        self.replies, self.asked = [Reply(*r) if isinstance(r, tuple) else Reply(r) for r in replies], []

    def complete(self, chats):
        self.asked += chats
        return [self.replies.pop(0) if len(self.replies) > 1 else self.replies[0] for _ in chats]

    def close(self):
        self.closed = True


def test_a_prompt_is_asked_for_by_schema_with_the_phrase_and_its_own_seed():
    backend = Scripted('{"prompt": "A photo of three red circles."}')
    assert ChatLLM(backend).write([REQUEST]) == [Reply("A photo of three red circles.")]
    (chat,) = backend.asked
    assert chat.schema is Prompt
    assert chat.seed == 7
    assert chat.turns[1] == {"role": "user", "content": "Phrase: three red circles"}
    assert "A star." in chat.turns[0]["content"]


def test_a_plan_has_a_schema_of_its_own_and_no_limit_to_its_objects():
    backend = Scripted('{"plan": "Three red circles in a row."}')
    reply = ChatLLM(backend).write([WriteRequest("three red circles", "Plan it.", kind="plan")])
    assert reply == [Reply("Three red circles in a row.")]
    assert backend.asked[0].schema is Plan
    assert "no other object" not in backend.asked[0].turns[0]["content"]


@pytest.mark.parametrize("schema", [Prompt, Plan, Answer])
def test_the_schemas_forbid_other_fields_as_strict_mode_demands(schema):
    found = schema.model_json_schema()
    assert found["additionalProperties"] is False
    assert found["required"] == list(found["properties"])


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        ("Sure! Here it is", BROKEN),
        ("{}", BROKEN),
        ('{"prompt": "x", "note": "y"}', BROKEN),
        ('{"prompt": 3}', BROKEN),
        ('{"prompt": " "}', "empty"),
        (("", CUT_OFF), CUT_OFF),
    ],
)
def test_what_is_no_prompt_has_no_text_and_its_cause(reply, cause):
    assert ChatLLM(Scripted(reply)).write([REQUEST]) == [Reply("", cause)]


def test_a_question_is_asked_again_a_bounded_number_of_times():
    backend = Scripted("no", '{"answer": "three circles"}')
    assert ChatLLM(backend).ask(["What is it?"]) == ["three circles"]
    assert [chat.temperature for chat in backend.asked] == [0.0, 0.7]
    silent = Scripted("no")
    assert ChatLLM(silent).ask(["What is it?", "And that?"]) == ["", ""]
    assert len(silent.asked) == 2 * (1 + RETRIES)


def test_a_second_run_asks_nothing(tmp_path):
    first, second = (Scripted('{"prompt": "A heart."}') for _ in range(2))
    requests = [REQUEST, WriteRequest("a heart"), REQUEST]
    written = ChatLLM(first, AnswerCache(tmp_path)).write(requests)
    assert len(first.asked) == 2  # the same request once
    assert ChatLLM(second, AnswerCache(tmp_path)).write(requests) == written
    assert second.asked == []


def test_failures_are_answers_too_and_the_cache_tells_models_and_seeds_apart(tmp_path):
    cache = AnswerCache(tmp_path)
    ChatLLM(Scripted(("", CUT_OFF)), cache).write([REQUEST])
    again = Scripted('{"prompt": "A heart."}')
    assert ChatLLM(again, cache).write([REQUEST]) == [Reply("", CUT_OFF)]
    again.name = "another"
    assert ChatLLM(again, cache).write([REQUEST]) == [Reply("A heart.")]
    other = Scripted('{"prompt": "A star."}')
    assert ChatLLM(other, cache).write([WriteRequest(REQUEST.phrase, seed=1)]) == [Reply("A star.")]


def test_a_cache_that_is_no_database_is_named(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(WorkError, match=r"answers\.sqlite: .*DATAGEN_CACHE"):
        AnswerCache(tmp_path).get(["x"])


def test_the_caches_place_is_the_variables_or_the_users(monkeypatch, tmp_path):
    assert default_cache() is None  # the tests turn it off
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path))
    assert default_cache().path == tmp_path / "answers.sqlite"
    monkeypatch.delenv("DATAGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().path == tmp_path / "datagen" / "answers.sqlite"


def test_two_processes_may_write_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    cache = AnswerCache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: cache.put({f"{i}/{j}": Reply(str(j)) for j in range(20)}), range(16)))
    assert len(cache.get([f"{i}/{j}" for i in range(16) for j in range(20)])) == 320


def test_what_breaks_the_schema_is_asked_again_once_the_server_is_mended(tmp_path):
    cache = AnswerCache(tmp_path)
    assert ChatLLM(Scripted("Here is your prompt!"), cache).write([REQUEST])[0].cause == BROKEN
    assert ChatLLM(Scripted('{"prompt": "A heart."}'), cache).write([REQUEST]) == [Reply("A heart.")]


def test_two_servers_that_call_their_models_alike_do_not_share_answers(tmp_path):
    one, other = (Server("default", f"http://{host}:8000/v1", client=object()) for host in "ab")
    assert one.name == other.name and ChatLLM(one).identity != ChatLLM(other).identity
