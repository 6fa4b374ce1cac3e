"""Questions: atoms and dependencies, aggregation, and each way of asking."""

import dataclasses
import io
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from benchmarks import tiny
from benchmarks.rewards import OneQuestion, pictures
from datagen.errors import InputError, ModelError, UnknownName
from datagen.models.fake import FakeModel
from datagen.sample import Clause, Sample, Target
from rewards import load_reward, load_rewards
from rewards.atoms import Atom, atoms, combine, plural
from rewards.base import open_image
from rewards.trace_vqa import FollowsVqa, TraceVqa
from rewards.vlm import from_top, load_vlm, spellings
from rewards.vlm_engine import EngineVLM
from rewards.vlm_server import ServerVLM
from rewards.vlm_transformers import TransformersVLM
from rewards.vqa import SelfVqa, Vqa

TARGET = Target(
    "color_attr",
    (Clause("cup", color="red"), Clause("dog", 3, position=("left of", 0))),
    (Clause("dog", 4), Clause("umbrella")),
    ("OPEN",),
)


def png(color="red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(out, "PNG")
    return out.getvalue()


def test_a_target_becomes_questions_with_their_parents():
    assert [(a.question, a.answers, a.needs) for a in atoms(TARGET)] == [
        ("Is there a cup in the image?", ("yes",), ()),
        ("Is the cup red?", ("yes",), (0,)),
        ("How many dogs are in the image?", ("3", "three"), ()),
        ("Are the dogs to the left of the red cup?", ("yes",), (2, 0)),
        ("Is there an umbrella in the image?", ("no",), ()),
        ('Does the image show the text "OPEN"?', ("yes",), ()),
    ]


def test_atoms_that_a_target_carries_join_the_others():
    carried = SimpleNamespace(
        include=(Clause("mug"),), exclude=(), text=(),
        atoms=(
            {"question": "Is the mug upside down?", "needs": [0], "kind": "orientation"},
            SimpleNamespace(question="Is it daylight?", expected="no", parents=None),
        ),
    )  # fmt: skip
    assert atoms(carried)[1:] == (
        Atom("Is the mug upside down?", ("yes",), "orientation", (0,)),
        Atom("Is it daylight?", ("no",), "atom"),
    )
    with pytest.raises(ValueError, match="needs an atom that does not come before it"):
        atoms(SimpleNamespace(include=(), exclude=(), text=(), atoms=({"question": "Q?", "needs": [0]},)))
    with pytest.raises(ValueError, match="has no question"):
        atoms(SimpleNamespace(include=(), exclude=(), text=(), atoms=({"answer": "yes"},)))


@pytest.mark.parametrize(
    ("one", "many"),
    [("cup", "cups"), ("bus", "buses"), ("sandwich", "sandwiches"), ("person", "people"), ("berry", "berries"),
     ("toy", "toys"), ("wine glass", "wine glasses"), ("scissors", "scissors"), ("fox", "foxes")],
)  # fmt: skip
def test_plurals(one, many):
    assert plural(one) == many


def test_what_is_not_there_has_no_colour():
    cup = (Atom("cup?", ("yes",), "object"), Atom("red?", ("yes",), "color", (0,)))
    bench = Atom("left?", ("yes",), "position", (1,))
    assert combine(cup, [0.9, 0.8]) == [0.9, 0.8]
    assert combine((*cup, bench), [0.4, 0.9, 0.9]) == [0.4, 0.0, 0.0]  # down the whole chain
    assert combine(cup, [1.2, -0.1]) == [1.0, 0.0]


class Scripted:
    """Answers by question; counts its calls."""

    def __init__(self, **chances: float | None) -> None:
        self.chances, self.calls = chances, 0

    def answer(self, images, questions, expected):
        self.calls += 1
        return [self._one(q, e) for q, e in zip(questions, expected, strict=True)]

    def _one(self, question, expected):
        word = next((w for w in self.chances if w in question), "")
        if expected in ("3",):
            return 0.0
        return self.chances.get(word, 1.0)


def test_the_value_is_the_geometric_mean_and_the_reason_names_what_failed():
    vlm = Scripted(umbrella=0.25, red=0.81)  # the cup's colour, and its name in the dogs' place
    samples = [Sample("p", TARGET, image=png())] * 3
    scores = Vqa(vlm=vlm).score(samples)
    assert scores[0].value == pytest.approx((0.25 * 0.81 * 0.81) ** (1 / 6))
    assert scores[0].reason == "Is there an umbrella in the image? Answer with yes or no. P(no) = 0.25"
    assert vlm.calls == 1  # one call for the batch
    mean = Vqa(aggregate="mean", vlm=vlm).score(samples)
    assert mean[0].value == pytest.approx((3 + 0.25 + 2 * 0.81) / 6)
    assert [len(s.details["atoms"]) for s in mean] == [6, 6, 6]


def test_a_parent_that_fails_takes_its_children_with_it():
    (score,) = Vqa(aggregate="mean", vlm=Scripted(cup=0.1)).score([Sample("p", TARGET, image=png())])
    # The cup .1, its colour 0, the dogs 1, their place 0 (it needs the cup), umbrella 1, text 1.
    assert score.value == pytest.approx((0.1 + 0 + 1 + 0 + 1 + 1) / 6)


def test_an_answer_that_could_not_be_told_leaves_the_sample_unscored():
    (score,) = Vqa(vlm=Scripted(umbrella=None)).score([Sample("p", TARGET, image=png())])
    assert score.value is None
    assert "no probability for the answer 'no'" in score.reason


def test_a_prompt_without_a_target_is_one_question():
    vlm = Scripted()
    (whole, nothing) = Vqa(vlm=vlm).score(
        [Sample("a cup", Target("free"), image=png()), Sample("", Target("free"), image=png())]
    )
    assert whole.details["atoms"][0][0] == 'Does this image show "a cup"? Answer yes or no.'
    assert nothing.value is None


def test_too_many_atoms_are_refused_one_sample_at_a_time():
    crowd = Target("dense", tuple(Clause("cup", color="red") for _ in range(40)))
    many, fine = Vqa(vlm=Scripted()).score(
        [Sample("p", crowd, image=png()), Sample("p", TARGET, image=png())]
    )
    assert many.value is None
    assert "80 atoms; at most 64" in many.reason
    assert fine.value == 1.0


def test_a_plan_is_asked_in_words_and_a_picture_about_its_plan():
    asked = []

    class Recorder(Scripted):
        def answer(self, images, questions, expected):
            asked.append((images, questions))
            return [0.5] * len(questions)

    sample = Sample("p", Target("t", (Clause("cup"),)), trace="one cup on a table", image=png())
    (plan, none) = TraceVqa(vlm=Recorder()).score([sample, dataclasses.replace(sample, trace="")])
    assert (plan.value, none.value) == (0.5, None)
    images, questions = asked[0]
    assert images == [None]
    assert questions[0].startswith(
        "A picture is drawn exactly by this plan: one cup on a table\nIs there a cup"
    )
    (follows,) = FollowsVqa(vlm=Recorder()).score([sample])
    assert follows.value == 0.5
    assert 'follow the plan "one cup on a table"' in asked[1][1][0]


def test_a_model_that_looks_judges_itself_and_others_say_they_cannot():
    reward = SelfVqa()
    sample = Sample("p", TARGET, image=png())
    with pytest.raises(InputError, match="has no model yet"):
        reward.score([sample])
    with pytest.raises(InputError, match=r"model 'fake' cannot look.*no method answer.*use 'vqa'"):
        load_rewards(["self_vqa"], {}, {}, FakeModel())
    loaded = load_rewards(["self_vqa"], {}, {}, Scripted())
    assert loaded["self_vqa"].score([sample])[0].value == 1.0


# What a tiny model says, asked in the shared way and the plain way.


@pytest.fixture(scope="module")
def vlm(tmp_path_factory) -> TransformersVLM:
    return load_vlm(tiny.vlm(tmp_path_factory.mktemp("vlm")))


IMAGES = [open_image(s.image) for s in pictures(1, 2)]
QUESTIONS = ["Is there a cup?", "How many dogs are in the image? Answer with a number."]


def plainly(vlm: TransformersVLM, image, question: str, answer: str) -> float:
    """One whole sequence at a time, nothing cached: the definition."""
    before, after = vlm._template(image is not None)
    pictures_ = {"images": [image]} if image is not None else {}
    inputs = vlm.processor(text=[before], **pictures_, return_tensors="pt")
    ids = vlm._ids(question + after)
    total = 0.0
    for words in spellings(answer):
        tokens = vlm._ids(words)
        tail = torch.tensor([[*ids, *tokens]])
        whole = torch.cat([inputs["input_ids"], tail], dim=1)
        more = {
            k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask", "mm_token_type_ids")
        }
        if "mm_token_type_ids" in inputs:
            kinds = inputs["mm_token_type_ids"]
            more["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(tail)], dim=1)
        with torch.inference_mode():
            log = vlm.model(input_ids=whole, **more).logits[0].log_softmax(-1)
        start = whole.shape[1] - len(tokens) - 1
        total += math.exp(sum(float(log[start + n, t]) for n, t in enumerate(tokens)))
    return total


def check_shared(vlm: TransformersVLM) -> None:
    rows = [(i, q, a) for i in (*IMAGES, None) for q in QUESTIONS for a in ("yes", "3", "three")]
    found = vlm.answer([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    for (image, question, answer), p in zip(rows, found, strict=True):
        expected = plainly(vlm, image, question, answer)
        assert p == pytest.approx(expected, rel=1e-3)
        assert 0 < p < 1
    said = [p for (_, _, answer), p in zip(rows, found, strict=True) if answer == "yes"]
    assert min(abs(a - b) for i, a in enumerate(said) for b in said[:i]) > 1e-7  # it looks, and it reads


def test_a_shared_prefix_gives_what_whole_sequences_give(vlm):
    check_shared(vlm)
    one = OneQuestion(vlm).answer(IMAGES, QUESTIONS, ["yes", "no"])
    assert vlm.answer(IMAGES, QUESTIONS, ["yes", "no"]) == pytest.approx(one, rel=1e-4)


def test_the_picture_is_encoded_once_for_all_its_questions(vlm, monkeypatch):
    seen = []
    tower = vlm.model.model.get_image_features

    def counted(*args, **options):
        seen.append(len(options["pixel_values"] if "pixel_values" in options else args[0]))
        return tower(*args, **options)

    monkeypatch.setattr(vlm.model.model, "get_image_features", counted)
    vlm.answer([IMAGES[0]] * 6, [f"question {i}?" for i in range(6)], ["yes"] * 6)
    assert seen == [1]


def test_multimodal_positions_survive_the_shared_prefix(tmp_path):
    """Qwen3-VL places image tokens in three dimensions; what follows must start where they end."""
    vlm = TransformersVLM.__new__(TransformersVLM)
    vlm.name, vlm.rows, vlm.device = "qwen", 64, torch.device("cpu")
    vlm.processor, vlm.model = tiny.qwen()
    check_shared(vlm)


# Over HTTP, and through vLLM's interface.


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        text = next(c["text"] for c in body["messages"][0]["content"] if c["type"] == "text")
        if "refused" in text:
            return self._send(400, {"error": {"message": "too long"}})
        top = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in self.server.top]
        choice = {
            "index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "Yes"},
            "logprobs": None if "silent" in text else {"content": [{**top[0], "top_logprobs": top}]},
        }  # fmt: skip
        self._send(
            200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        )

    def _send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        return


@pytest.fixture
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.bodies, http.top = [], [("Yes", 0.6), ("yes", 0.2), ("No", 0.1)]
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield http
    http.shutdown()
    thread.join()


def at(server) -> ServerVLM:
    return load_vlm(f"openai:m@http://127.0.0.1:{server.server_port}/v1")


def test_a_server_is_asked_for_the_first_token_of_the_answer(server):
    found = at(server).answer([IMAGES[0], IMAGES[0], None], ["a?", "a?", "b?"], ["yes", "no", "yes"])
    assert found == pytest.approx([0.8, 0.1, 0.8])
    assert len(server.bodies) == 2  # one request a question, whatever is expected of it
    body = next(b for b in server.bodies if len(b["messages"][0]["content"]) == 2)
    assert (body["max_tokens"], body["temperature"], body["top_logprobs"]) == (1, 0.0, 20)
    image, text = body["messages"][0]["content"]  # the picture first: a prefix that can be shared
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert text["text"] == "a?"


def test_a_refused_question_is_unscored_and_a_useless_server_stops(server):
    assert at(server).answer([None, None], ["refused", "fine?"], ["yes", "yes"]) == [None, pytest.approx(0.8)]
    with pytest.raises(ModelError, match="no log probabilities"):
        at(server).answer([None], ["silent"], ["yes"])
    gone = ServerVLM("m", "http://127.0.0.1:9/v1")
    gone.client = gone.client.with_options(max_retries=0)
    with pytest.raises(ModelError, match="Connection error"):
        gone.answer([None], ["a?"], ["yes"])


def test_what_the_top_tokens_cannot_tell_is_none():
    assert from_top([(" yes", 0.5), ("Yes", 0.25), ("no", 0.2)], "yes") == pytest.approx(0.75)
    assert from_top([("no", 0.9)], "yes") == 0.0  # the whole distribution, and no yes in it
    many = [(f"t{i}", 0.05) for i in range(20)]
    assert from_top(many, "yes") is None  # cut while still likely
    assert from_top([("a", 0.9), *[(f"t{i}", 0.005) for i in range(19)]], "yes") == 0.0
    assert from_top([("thir", 0.9)], "thirteen") is None  # the answer is several tokens


def test_vllm_is_asked_through_its_chat_interface():
    class Engine:
        def chat(self, chats, sampling, use_tqdm):
            self.chats, self.sampling = chats, sampling
            token = {1: SimpleNamespace(decoded_token="Yes", logprob=math.log(0.7))}
            return [SimpleNamespace(outputs=[SimpleNamespace(logprobs=[token])]) for _ in chats]

    vlm = EngineVLM.__new__(EngineVLM)
    vlm.engine, vlm.sampling = Engine(), "one token"
    assert vlm.answer([IMAGES[0]] * 2, ["a?", "b?"], ["yes", "no"]) == pytest.approx([0.7, 0.0])
    assert [c[0]["content"][0]["type"] for c in vlm.engine.chats] == ["image_url", "image_url"]


def test_a_mistyped_backend_lists_the_valid_ones():
    with pytest.raises(UnknownName, match="openai:MODEL, transformers:MODEL, vllm:MODEL"):
        load_vlm("ollama:llava")
    for name in ("transformers:", "openai:", "vllm:"):
        with pytest.raises(InputError, match="name a model"):
            load_vlm(name)
    with pytest.raises(InputError, match="valid: geometric, mean"):
        load_reward("vqa", {"aggregate": "median"})
