"""Prompt writers: the table, and the embedded model for real."""

import pytest

from datagen.errors import InputError, UnknownName
from datagen.llm import load_llm, release_llms
from datagen.llm.base import WriteRequest
from datagen.llm.smollm import SmolLM, _lead, _tail
from datagen.prompts import check_prompt
from datagen.sample import Clause, Target
from datagen.targets import VOCABULARIES

REQUEST = WriteRequest("three red circles", "Write a prompt.", ("A star.",), 7)


def test_an_unknown_writer_lists_the_valid_ones():
    with pytest.raises(UnknownName, match="openai, smollm2, template, vllm"):
        load_llm("gpt")


def test_a_backend_that_needs_a_model_says_how_to_name_it():
    with pytest.raises(InputError, match="openai:MODEL@"):
        load_llm("openai:")
    with pytest.raises(InputError, match="vllm:"):
        load_llm("vllm")


def test_a_writer_is_loaded_once_until_it_is_released():
    first = load_llm("template")
    assert load_llm("template") is first
    release_llms()
    assert load_llm("template") is not first


def test_the_embedded_model_takes_no_model_name():
    with pytest.raises(InputError, match="smollm2"):
        load_llm("smollm2:360M")


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
    replies = llm.write(requests)
    assert all(r.phrase in reply.text.lower() for r, reply in zip(requests, replies, strict=True))
    assert llm.write(requests) == replies
    target = Target("counting", (Clause("circle", 3, "red"),))
    assert check_prompt("Three red circles", target, VOCABULARIES["scenes"]) == ""
