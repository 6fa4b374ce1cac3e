"""The prompt stage beside a peer's: ``python -m benchmarks.peers --peer-python DISTILABEL_VENV/bin/python``.

The same stand-in for an OpenAI-compatible server answers both, each request after ``--delay`` seconds, as a
server that batches does. Ours draws targets, asks, reads every prompt back and keeps what is right and new;
distilabel (1.5, in an environment of its own: ``pip install distilabel openai``) is given as many phrases and
asks. Prompts a second between a small and a large job, so that starting up is apart; it is printed too.

Last printed, two cores, of which the stand-in takes a share; the OpenAI client is most of the work in both:

    datagen: 235 prompts/s after 1.9 s; 2000 of 2000 made
    distilabel: 200 prompts/s after 4.7 s; 2000 of 2000 made
    datagen --llm-workers 2: 196 prompts/s after 7.2 s; 2000 of 2000 made
    against distilabel: datagen 1.18, distilabel 1.00, datagen --llm-workers 2 0.98

More workers than cores gain nothing here; they are for writers that compute (SmolLM2, vLLM in process).
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

PEER = """
import json, sys, time
began = time.perf_counter()
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
url, n = sys.argv[1], int(sys.argv[2])
rows = [{"instruction": f"Phrase: {i % 7 + 2} red circles"} for i in range(n)]
with Pipeline(name="peer") as pipeline:
    load = LoadDataFromDicts(data=rows, batch_size=64)
    llm = OpenAILLM(model="stand-in", base_url=url, api_key="none")
    load >> TextGeneration(llm=llm, input_batch_size=64)
done = pipeline.run(use_cache=False)
made = sum(bool(row["generation"]) for row in done["default"]["train"])
print(json.dumps({"made": made, "seconds": time.perf_counter() - began}))
"""
OURS = """
import json, sys, time
began = time.perf_counter()
from datagen.checks import evaluation_for, resolved
from datagen.guard import EvaluationIndex
from datagen.prompting import write_recipe
from datagen.recipe import load_recipe
from datagen.targets import VOCABULARIES
from datagen.writers import Writers, opened
url, n = sys.argv[1], int(sys.argv[2])
(recipe,) = resolved([load_recipe("color_attribution")], "pocket")
scenes = VOCABULARIES["scenes"]
index = EvaluationIndex(evaluation_for(scenes))
with opened(f"openai:stand-in@{url}", Writers(int(sys.argv[3]))) as writer:
    kept, report = write_recipe(recipe, scenes, writer, n, 0, index)
print(json.dumps({"made": len(kept), "asked": report["attempts"], "seconds": time.perf_counter() - began}))
"""
PLACES = (
    "on a table",
    "on white paper",
    "in flat style",
    "with soft light",
    "as an icon",
    "in bright daylight",
)
OPENINGS = ("a poster with", "a card with", "we see", "please draw", "there is", "an illustration of")


def reply(body: dict[str, Any]) -> bytes:
    """A prompt around the phrase, worded by the request's seed, or by what was asked."""
    asked = str(body["messages"][-1]["content"])
    phrase, seed = asked.partition("Phrase: ")[2], int(body.get("seed") or len(asked))
    text = f"{OPENINGS[seed % 6]} {phrase} {PLACES[seed // 6 % 6]}"
    message = {"role": "assistant", "content": json.dumps({"prompt": text})}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    row = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "stand-in",
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(row).encode()


def serve(port: Any, delay: float) -> None:
    """HTTP as far as both clients need it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:  # the client has gone
                return
            lines = head.decode().lower().split("\r\n")
            length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length"))
            data = reply(json.loads(await reader.readexactly(length)))
            await asyncio.sleep(delay)
            about = (
                f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
            )
            writer.write(about.encode() + data)
            await writer.drain()

    async def main() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.get_event_loop_policy().new_event_loop().run_until_complete(main())


def measured(python: str, code: str, url: str, n: int, workers: int) -> dict[str, float]:
    """One job in a fresh process, with a fresh cache."""
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": folder, "HOME": folder, "OPENAI_API_KEY": "none"}
        out = subprocess.run(
            [python, "-c", code, url, str(n), str(workers)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, **quiet},
        ).stdout  # fmt: skip
    return json.loads(out.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--sizes", type=int, nargs=2, default=[200, 2000])
    args = parser.parse_args()
    port = multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(port, args.delay), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{port.value}/v1"
    rates = {}
    for name, python, code, workers in (
        ("datagen", sys.executable, OURS, 0),
        ("distilabel", args.peer_python, PEER, 0),
        ("datagen --llm-workers 2", sys.executable, OURS, 2),
    ):
        small, large = (measured(python, code, url, n, workers) for n in args.sizes)
        rates[name] = (large["made"] - small["made"]) / (large["seconds"] - small["seconds"])
        start = small["seconds"] - small["made"] / rates[name]
        print(
            f"{name}: {rates[name]:.0f} prompts/s after {start:.1f} s; {large['made']} of {args.sizes[1]} made"
        )
    ratios = (f"{name} {rate / rates['distilabel']:.2f}" for name, rate in rates.items())
    print(f"against distilabel: {', '.join(ratios)}")
    server.terminate()


if __name__ == "__main__":
    main()
