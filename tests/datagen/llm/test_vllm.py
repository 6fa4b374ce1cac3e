"""A real vLLM on the CPU, serving the embedded SmolLM2: over HTTP and in process. ``make test-vllm``."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from datagen.llm.base import BROKEN, CUT_OFF, REFUSED
from datagen.llm.cache import AnswerCache
from datagen.llm.chat import ChatLLM
from datagen.llm.server import Server
from datagen.llm.smollm import export
from datagen.prompts import write_prompts
from datagen.recipe import load_recipe
from datagen.targets import VOCABULARIES

PYTHON = os.environ.get("DATAGEN_VLLM_PYTHON")
ROOT = Path(__file__).parents[3]
STARTUP = 240  # seconds
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON, reason="DATAGEN_VLLM_PYTHON names no environment with vllm"),
]
PHRASES = ["three red circles", "a heart", "a star above a square", "two blue crosses"]
IN_PROCESS = """
import json, sys
from datagen.llm import load_llm, release_llms
from datagen.llm.base import WriteRequest
requests = [WriteRequest(phrase, "Write one short prompt for a picture.", ("A star.",), seed)
            for seed, phrase in enumerate(json.loads(sys.argv[2]))]
llm = load_llm(f"vllm:{sys.argv[1]}?context=1024&memory=0.3")
first, again, answers = llm.write(requests), llm.write(requests), llm.ask(["What colour is grass?"])
release_llms()
print("RESULT " + json.dumps([first, again, answers]))
"""


def environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "DATAGEN_CACHE": "off",
        "CUDA_VISIBLE_DEVICES": "",
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2")
    export(folder)
    return folder


@pytest.fixture(scope="module")
def url(model, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [
        PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "smollm2",
        "--port", str(port), "--host", "127.0.0.1", "--max-model-len", "1024",
    ]  # fmt: skip
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment())
    try:
        deadline = time.monotonic() + STARTUP
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def test_a_served_model_writes_by_schema_and_a_second_run_asks_nothing(url, tmp_path):
    llm = ChatLLM(Server("smollm2", url), AnswerCache(tmp_path))
    recipe = load_recipe("counting").for_vocabulary("scenes")
    first = write_prompts(recipe, VOCABULARIES["scenes"], llm, 8, 0)
    print(f"served: {len(first.samples)} prompts of {first.attempts} attempts, rejected {first.rejected}")
    assert first.samples  # it is weak, but the schema holds, so some keep their target
    assert BROKEN not in first.rejected
    down = ChatLLM(Server("smollm2", "http://127.0.0.1:9/v1"), AnswerCache(tmp_path))
    assert write_prompts(recipe, VOCABULARIES["scenes"], down, 8, 0) == first


def test_a_served_model_answers_questions(url):
    assert all(ChatLLM(Server("smollm2", url)).ask(["What colour is grass?", "How many legs has a cat?"]))


def test_the_engine_in_process_writes_by_schema_and_repeats_itself(model):
    done = subprocess.run(
        [PYTHON, "-c", IN_PROCESS, str(model), json.dumps(PHRASES)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr[-2000:]
    first, again, answers = json.loads(lines[0].removeprefix("RESULT "))
    print(f"in process: {first}, {answers}")
    assert again == first
    assert all(text or cause in (CUT_OFF, REFUSED) for text, cause in first)
    assert sum(bool(text) for text, _ in first) >= 2
    assert answers[0]
