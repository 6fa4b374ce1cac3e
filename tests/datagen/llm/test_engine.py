"""vLLM in process, against a fake module; and what the backends are asked and refuse."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from datagen.errors import InputError, ModelError
from datagen.llm import load_llm
from datagen.llm.base import WriteRequest
from datagen.llm.server import Written, parse

REQUESTS = [WriteRequest("three red circles", "Write.", ("A star.",), 2**40 + 7), WriteRequest("a heart")]


def fake_vllm(outputs, asked):
    """A module with the parts of vllm that the engine uses."""

    def engine(model):
        def chat(chats, sampling, use_tqdm):
            asked.append((model, chats, sampling))
            return [SimpleNamespace(outputs=[SimpleNamespace(text=t, finish_reason=f)]) for t, f in outputs]

        return SimpleNamespace(chat=chat)

    vllm, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.LLM, vllm.SamplingParams = engine, lambda **k: SimpleNamespace(**k)
    params.StructuredOutputsParams = lambda **k: SimpleNamespace(**k)
    return {"vllm": vllm, "vllm.sampling_params": params}


def test_each_request_has_its_own_seed_and_a_schema_and_a_cut_answer_is_empty(monkeypatch):
    asked = []
    modules = fake_vllm([('{"prompt": "Three red circles."}', "stop"), ('{"prompt": "a', "length")], asked)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    llm = load_llm("vllm:some/model")
    assert llm.name == "vllm:some/model"
    assert llm.write(REQUESTS) == ["Three red circles.", ""]
    model, chats, sampling = asked[0]
    assert model == "some/model"
    assert "three red circles" in chats[0][1]["content"]
    assert [s.seed for s in sampling] == [7, 0]
    assert sampling[0].structured_outputs.json == Written.model_json_schema()


def test_vllm_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModelError, match=r"datagen\[vllm\]"):
        load_llm("vllm:some/model")


def test_the_schema_forbids_other_fields_as_strict_mode_demands():
    assert Written.model_json_schema()["additionalProperties"] is False
    assert parse('{"prompt": "x", "note": "y"}') == ""


def test_the_embedded_model_takes_no_model_name():
    with pytest.raises(InputError, match="smollm2"):
        load_llm("smollm2:360M")
