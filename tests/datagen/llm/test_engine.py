"""vLLM in process, against a fake module; ``test_vllm`` has the real one."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from datagen.errors import InputError, ModelError
from datagen.llm import load_llm, release_llms
from datagen.llm.base import CUT_OFF, REFUSED, Reply, WriteRequest
from datagen.llm.chat import Prompt

REQUESTS = [
    WriteRequest("three red circles", "Write.", ("A star.",), 2**40 + 7),
    *[WriteRequest("a heart")] * 2,
]


@pytest.fixture
def engine(monkeypatch):
    """The parts of vllm that the backend uses; records what they are given."""
    seen = SimpleNamespace(outputs=[], asked=[], options={}, closed=False)

    def shutdown():
        seen.closed = True

    def make(**options):
        if options["model"] == "no/such":
            raise OSError("no/such is not a valid model identifier\nlong story")
        seen.options = options

        def chat(chats, sampling, use_tqdm):
            seen.asked.append((chats, sampling))
            return [
                SimpleNamespace(outputs=[SimpleNamespace(text=t, finish_reason=f)]) for t, f in seen.outputs
            ]

        core = SimpleNamespace(shutdown=shutdown)
        return SimpleNamespace(chat=chat, llm_engine=SimpleNamespace(engine_core=core))

    vllm, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.LLM, vllm.SamplingParams = make, lambda **k: SimpleNamespace(**k)
    params.StructuredOutputsParams = lambda **k: SimpleNamespace(**k)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    yield seen
    release_llms()


def test_each_request_has_its_own_seed_and_a_schema_and_failures_their_causes(engine):
    engine.outputs = [('{"prompt": "Three red circles."}', "stop"), ('{"prompt": "a', "length")]
    llm = load_llm("vllm:some/model")
    assert llm.name == "vllm:some/model"
    assert llm.write(REQUESTS[:2]) == [Reply("Three red circles."), Reply("", CUT_OFF)]
    chats, sampling = engine.asked[0]
    assert "three red circles" in chats[0][1]["content"]
    assert [s.seed for s in sampling] == [7, 0]
    assert sampling[0].structured_outputs.json == Prompt.model_json_schema()
    engine.outputs = [("", "stop")]
    assert llm.write(REQUESTS[2:]) == [Reply("", REFUSED)]


def test_options_of_the_name_reach_the_engine_and_unknown_ones_are_refused(engine):
    load_llm("vllm:some/model?tensor_parallel=2&memory=0.5")
    assert engine.options["tensor_parallel_size"] == 2
    assert engine.options["gpu_memory_utilization"] == 0.5
    with pytest.raises(
        InputError, match="unknown option 'tp'; valid: context, dtype, memory, tensor_parallel"
    ):
        load_llm("vllm:some/model?tp=2")


def test_a_released_engine_is_shut_down(engine):
    load_llm("vllm:some/model")
    release_llms()
    assert engine.closed


def test_a_model_that_does_not_load_is_one_line(engine):
    with pytest.raises(ModelError, match=r"vllm:no/such: .*identifier$"):
        load_llm("vllm:no/such")


def test_vllm_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModelError, match=r"datagen\[vllm\]"):
        load_llm("vllm:some/model")
