"""An OpenAI-compatible server: over real HTTP where the client's own behaviour counts."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from datagen.errors import InputError, WorkError
from datagen.llm import server as module
from datagen.llm.base import CUT_OFF, REFUSED, Reply
from datagen.llm.chat import Chat, Prompt
from datagen.llm.server import Server, load

CHAT = Chat((("user", "Write."),), Prompt, 7)
GOOD = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}]}


def answer(content, finish="stop", refusal=None):
    """A client that answers with one choice."""
    message = SimpleNamespace(content=content, refusal=refusal)
    choices = [SimpleNamespace(message=message, finish_reason=finish)]
    create = lambda **k: SimpleNamespace(choices=choices)  # noqa: E731
    return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))


@pytest.fixture
def http(monkeypatch):
    """A server that plays a list of (status, body); ``asked`` are the requests' bodies."""
    play, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            status, body = play.pop(0) if len(play) > 1 else play[0]
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            """Keep the tests' output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    yield SimpleNamespace(url=f"http://127.0.0.1:{http.server_port}/v1", play=play, asked=asked)
    http.shutdown()


def test_structured_output_is_asked_for(http):
    http.play.append((200, GOOD))
    assert Server("m", http.url).complete([CHAT, CHAT]) == [Reply("{}")] * 2
    sent = http.asked[0]
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["prompt"]
    assert (sent["seed"], sent["model"], sent["max_tokens"]) == (7, "m", 120)


def test_rate_limits_and_server_errors_are_tried_again(http):
    http.play += [(429, {"error": "slow down"}), (503, {"error": "busy"}), (200, GOOD)]
    assert Server("m", http.url).complete([CHAT]) == [Reply("{}")]
    assert len(http.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"error": {"message": "bad key"}}, "refuses the key in OPENAI_API_KEY"),
        (404, {"error": {"message": "unknown"}}, "no model 'm'"),
        (400, {"error": {"message": "no json_schema here"}}, "no json_schema here"),
        (200, {"choices": []}, "with no choice; does its address end in /v1"),
    ],
)
def test_what_a_server_cannot_do_is_one_line(http, status, body, said):
    http.play.append((status, body))
    with pytest.raises(WorkError, match=said) as caught:
        Server("m", http.url).complete([CHAT])
    assert "\n" not in str(caught.value)


def test_a_limit_that_stays_and_a_server_that_is_down_are_one_line(http, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", 1)
    http.play.append((429, {"error": "slow down"}))
    with pytest.raises(WorkError, match="what was answered is kept"):
        Server("m", http.url).complete([CHAT])
    with pytest.raises(WorkError, match=r"no answer from http://127\.0\.0\.1:9/v1/"):
        Server("m", "http://127.0.0.1:9/v1").complete([CHAT])


@pytest.mark.parametrize(
    ("client", "reply"),
    [
        (answer("{}", "length"), Reply("", CUT_OFF)),
        (answer("{}", "content_filter"), Reply("", REFUSED)),
        (answer(None, refusal="I cannot"), Reply("", REFUSED)),
        (answer(None), Reply("", REFUSED)),
    ],
)
def test_truncations_and_refusals_are_told_apart(client, reply):
    assert Server("m", None, client).complete([CHAT]) == [reply]


def test_a_hosted_server_without_a_key_is_refused_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="set OPENAI_API_KEY"):
        load("gpt")
