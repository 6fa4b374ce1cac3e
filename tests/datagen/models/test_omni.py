"""The vLLM-Omni renderer against a small server that speaks its documented image API."""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from datagen.errors import InputError, ModelError
from datagen.models import load_model
from datagen.models.base import GenerationConfig

GIVEN = GenerationConfig(trace="given")
FIELDS = {
    "prompt": str, "model": str, "n": int, "size": str, "response_format": str, "user": str,
    "negative_prompt": str, "num_inference_steps": int, "guidance_scale": (int, float),
    "true_cfg_scale": (int, float), "seed": int,
}  # fmt: skip


class Server(ThreadingHTTPServer):
    """Draws a flat picture whose colour follows from prompt and seed; ``broken`` answers come first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict] = []
        self.broken: list[tuple[int, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if self.server.broken:
            return self.answer(*self.server.broken.pop(0))
        if self.path != "/v1/images/generations":
            return self.answer(404, b'{"detail": "Not Found"}')
        for key, value in body.items():
            if key not in FIELDS or not isinstance(value, FIELDS[key]):
                return self.answer(
                    422, json.dumps({"detail": [{"loc": ["body", key], "msg": "bad field"}]}).encode()
                )
        try:
            width, height = (int(x) for x in body["size"].split("x"))
        except ValueError:
            return self.answer(400, b'{"detail": "Invalid size format"}')
        if not body["prompt"]:
            return self.answer(422, b'{"detail": [{"loc": ["body", "prompt"], "msg": "field required"}]}')
        colour = (len(body["prompt"]) % 256, body["seed"] % 256, body.get("num_inference_steps", 0))
        file = io.BytesIO()
        Image.new("RGB", (width, height), colour).save(file, "PNG")
        row = {"b64_json": base64.b64encode(file.getvalue()).decode(), "url": None, "revised_prompt": None}
        return self.answer(200, json.dumps({"created": 1701234567, "data": [row] * body["n"]}).encode())

    def answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args) -> None:
        return None


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def model(server):
    return load_model(f"vllm-omni:http://127.0.0.1:{server.server_port}?image_size=16&wait=0.001&tries=3")


def test_each_prompt_is_drawn_with_its_trace_and_its_seed(server, model):
    made = model.generate(["two circles", "a star"], [5, 6], GIVEN, ["red ones", ""])
    assert [s.image.getpixel((0, 0)) for s in made] == [
        (len("two circles\nred ones"), 5, 0),
        (len("a star"), 6, 0),
    ]
    assert [(s.transition, s.trace) for s in made] == [("forced", "red ones"), ("forced", "")]
    assert {s.image.size for s in made} == {(16, 16)}
    assert sorted(b["prompt"] for b in server.bodies) == ["a star", "two circles\nred ones"]


def test_only_what_is_set_is_sent_and_the_rest_is_left_to_the_served_model(server, model):
    model.generate(["a"], [2**40 + 3], GenerationConfig(trace="none"))
    assert server.bodies.pop().keys() == {"prompt", "n", "size", "seed", "response_format"}
    model.generate(["a"], [3], GenerationConfig(trace="none", cfg=4.0, steps=30))
    body = server.bodies.pop()
    assert (body["guidance_scale"], body["num_inference_steps"]) == (4.0, 30)


def test_an_address_that_ends_in_v1_is_the_same(server):
    model = load_model(f"vllm-omni:http://127.0.0.1:{server.server_port}/v1/")
    assert model.endpoint == f"http://127.0.0.1:{server.server_port}/v1/images/generations"


def test_a_busy_server_is_asked_again(server, model):
    server.broken = [(503, b'{"detail": "Diffusion engine not initialized."}'), (429, b"")]
    assert model.generate(["a"], [1], GenerationConfig(trace="none"))[0].image is not None
    assert len(server.bodies) == 3


def test_a_server_that_stays_busy_is_an_error_in_its_own_words(server, model):
    server.broken = [(503, b'{"detail": "Diffusion engine not initialized."}')] * 3
    with pytest.raises(ModelError, match="503: Diffusion engine not initialized"):
        model.generate(["a"], [1], GenerationConfig(trace="none"))


def test_a_refused_request_is_not_repeated(server, model):
    with pytest.raises(ModelError, match=r"422: .*field required"):
        model.generate([""], [1], GenerationConfig(trace="none"))
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "content", [b"{}", b'{"data": [{"b64_json": "no*image"}]}', b'{"data": [{"b64_json": "AAAA"}]}']
)
def test_an_answer_without_an_image_is_an_error_not_a_missing_picture(server, model, content):
    server.broken = [(200, content)]
    with pytest.raises(ModelError, match="holds no image"):
        model.generate(["a"], [1], GenerationConfig(trace="none"))


def test_an_answer_that_is_not_json_is_an_error(server, model):
    server.broken = [(200, b"<html>")]
    with pytest.raises(ModelError, match="not JSON"):
        model.generate(["a"], [1], GenerationConfig(trace="none"))


def test_a_server_that_is_not_there_is_one_line(server, model):
    server.shutdown()
    server.server_close()
    with pytest.raises(ModelError, match="the server cannot be reached"):
        model.generate(["a"], [1], GenerationConfig(trace="none"))


def test_it_writes_no_trace_and_does_not_train(model):
    with pytest.raises(ModelError, match=r"only draws.*trace: llm"):
        model.generate(["a"], [1], GenerationConfig())
    for call in (lambda: model.module, lambda: model.collate([]), lambda: model.save("x")):
        with pytest.raises(ModelError, match="is a server"):
            call()


def test_a_server_must_be_named():
    with pytest.raises(InputError, match="vllm-omni:http://HOST:8000"):
        load_model("vllm-omni")
