"""Prompt writers: the table, the server's answers, and the embedded model for real."""

from types import SimpleNamespace

import pytest

from datagen.errors import InputError, UnknownName, WorkError
from datagen.llm import load_llm
from datagen.llm.base import WriteRequest
from datagen.llm.server import ServerLLM, messages, parse
from datagen.llm.smollm import SmolLM, _lead, _tail
from datagen.prompts import check_prompt
from datagen.sample import Clause, Target
from datagen.targets import VOCABULARIES

REQUEST = WriteRequest("three red circles", "Write a prompt.", ("A star.",), 7)


class Client:
    """An OpenAI client that answers with fixed contents."""

    def __init__(self, content, finish="stop"):
        self.asked = []
        self.content, self.finish = content, finish
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))

    def create(self, **kwargs):
        self.asked.append(kwargs)
        message = SimpleNamespace(content=self.content)
        return SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason=self.finish)])


def test_an_unknown_writer_lists_the_valid_ones():
    with pytest.raises(UnknownName, match="openai, smollm2, template, vllm"):
        load_llm("gpt")


def test_a_backend_that_needs_a_model_says_how_to_name_it():
    with pytest.raises(InputError, match="openai:MODEL@"):
        load_llm("openai:")
    with pytest.raises(InputError, match="vllm:"):
        load_llm("vllm")


def test_the_server_is_asked_for_structured_output_and_answered_from_it():
    client = Client('{"prompt": "A photo of three red circles."}')
    assert ServerLLM("m", None, client).write([REQUEST]) == ["A photo of three red circles."]
    asked = client.asked[0]
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["prompt"]
    assert asked["seed"] == 7
    assert "three red circles" in messages(REQUEST)[1]["content"]


@pytest.mark.parametrize(
    ("content", "finish"),
    [("Sure! Here it is", "stop"), ('{"prompt": "three', "length"), (None, "stop"), ("{}", "stop")],
)
def test_a_refusal_truncation_or_schema_break_is_empty(content, finish):
    assert ServerLLM("m", None, Client(content, finish)).write([REQUEST]) == [""]


def test_a_server_that_is_down_is_one_line():
    import openai

    class Down:
        chat = SimpleNamespace(completions=SimpleNamespace())

    def fail(**kwargs):
        raise openai.OpenAIError("connection refused\nlong story")

    Down.chat.completions.create = fail
    with pytest.raises(WorkError, match=r"connection refused$"):
        ServerLLM("m", None, Down()).write([REQUEST])


def test_parse_reads_only_the_schema():
    assert parse('{"prompt": "x"}') == "x"
    assert parse('{"other": "x"}') == ""


def test_the_embedded_models_parts_are_cut_where_an_object_fits():
    assert _lead("A photo of two cats", REQUEST) == "A photo of"
    assert _lead("Sunny day", REQUEST) == ""
    assert _tail(" on a table. Then") == " on a table."
    assert _tail(" lying on the") == " lying."


def test_the_embedded_model_keeps_the_phrase_and_repeats_itself():
    llm = SmolLM()
    requests = [
        WriteRequest(p, "Write a short prompt.", ("A photo of a star.",), i)
        for i, p in enumerate(["three red circles", "a heart"])
    ]
    texts = llm.write(requests)
    assert all(r.phrase in t.lower() for r, t in zip(requests, texts, strict=True))
    assert llm.write(requests) == texts
    target = Target("counting", (Clause("circle", 3, "red"),))
    assert check_prompt("Three red circles", target, VOCABULARIES["scenes"]) == ""
