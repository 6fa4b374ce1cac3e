"""``--llm template``: wording from lists, no model. The baseline every LLM has to beat."""

import random
from collections.abc import Sequence

from datagen.llm.base import Reply, WriteRequest

OPENINGS = (
    "a photo of", "a picture of", "a drawing of", "an illustration of", "a simple scene showing", "please draw",
    "show me", "paint", "there is", "a minimal graphic of", "a poster with", "create an image of", "we see",
    "a card with", "",
)  # fmt: skip
ENDINGS = (
    "on a plain background", "on white paper", "on a light wall", "in flat style", "for a children's book",
    "as an icon", "on a clean canvas", "with soft light", "on a table", "in bright daylight", "", "", "",
)  # fmt: skip


class TemplateLLM:
    name = "template"

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        return [Reply(self._one(request)) for request in requests]

    def _one(self, request: WriteRequest) -> str:
        rng = random.Random(f"template/{request.seed}/{request.phrase}")
        text = " ".join(x for x in (rng.choice(OPENINGS), request.phrase, rng.choice(ENDINGS)) if x)
        return text[0].upper() + text[1:] + ("." if rng.random() < 0.5 else "")


def load(model: str) -> TemplateLLM:
    return TemplateLLM()
