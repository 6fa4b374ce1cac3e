"""A vision-language model of transformers as judge: ``transformers:Qwen/Qwen3-VL-8B-Instruct``.

The picture comes first in the chat, so all questions about it share a prefix: it is encoded once, its
KV cache is repeated for the questions, and only their few tokens run again. Expected answers are
teacher-forced, so an answer of several tokens is exact and nothing is cut at the top 20.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datagen.errors import InputError, ModelError
from rewards.pretrained import chunks, device_for, model_of, pretrained
from rewards.vlm import groups, spellings

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS = 64  # questions in one forward
_MARK = "\u241fQUESTION\u241f"  # where the question will stand in the chat template


@dataclass
class _Row:
    """Tokens of one question, perhaps with the beginning of an answer; what to read off its end."""

    ids: list[int]
    reads: list[tuple[int, int, int]] = field(default_factory=list)  # (answer's number, position, token)


class TransformersVLM:
    def __init__(self, model: str, device: str | None = None, rows: int = ROWS) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.name, self.rows, self.device = f"transformers:{model}", rows, device_for(device)
        self.processor = pretrained("vqa", AutoProcessor.from_pretrained, model)
        if not getattr(self.processor, "chat_template", None):
            raise ModelError(f"reward 'vqa': {model!r} has no chat template, so it cannot be asked")
        self.model = model_of("vqa", AutoModelForImageTextToText, model, self.device)

    def answer(
        self, images: "Sequence[Image | None]", questions: Sequence[str], expected: Sequence[str]
    ) -> list[float]:
        """The probability of each expected answer; rows that share a picture share its encoding."""
        out = [0.0] * len(questions)
        sizes: dict[Any, list[tuple[Image | None, dict[str, list[int]]]]] = {}
        for image, asked in groups(images, questions).values():
            for few in chunks(list(asked.items()), self.rows):
                sizes.setdefault(image.size if image is not None else None, []).append((image, dict(few)))
        for same in sizes.values():  # pictures of one size have prefixes of one length: no padding
            most = max(sum(len(rows) for rows in asked.values()) for _, asked in same)
            for part in chunks(same, max(1, self.rows // most)):
                self._ask(part, expected, out)
        return out

    def _ask(
        self,
        part: "Sequence[tuple[Image | None, dict[str, list[int]]]]",
        expected: Sequence[str],
        out: list[float],
    ) -> None:
        """Fill ``out`` for the questions about these pictures, which are of one size."""
        before, after = self._template(part[0][0] is not None)
        pictures = [image for image, _ in part]
        inputs = self.processor(
            text=[before] * len(part),
            **({"images": pictures} if pictures[0] is not None else {}),
            return_tensors="pt",
        ).to(self.device)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        rows = [self._rows(asked, after, expected) for _, asked in part]
        each = max(map(len, rows))
        padded = [row for some in rows for row in [*some, *[_Row(some[0].ids)] * (each - len(some))]]
        for answer, log in self._run(inputs, padded, each):
            out[answer] += float(torch.tensor(log).exp())
        for _, asked in part:
            for indices in asked.values():
                for i in indices:
                    out[i] = min(out[i], 1.0)

    def _rows(self, asked: dict[str, list[int]], after: str, expected: Sequence[str]) -> list[_Row]:
        """Questions of one picture as token rows; answers of one token share their question's row."""
        rows = []
        for question, indices in asked.items():
            ids = self._ids(question + after)
            plain = _Row(ids)
            rows.append(plain)
            for i in indices:
                for words in spellings(expected[i]):
                    tokens = self._ids(words)
                    if len(tokens) == 1:
                        plain.reads.append((i, len(ids) - 1, tokens[0]))
                    elif tokens:
                        reads = [(i, len(ids) - 1 + n, token) for n, token in enumerate(tokens)]
                        rows.append(_Row(ids + tokens[:-1], reads))
        return rows

    @torch.inference_mode()
    def _run(self, inputs: Any, rows: list[_Row], each: int) -> list[tuple[int, float]]:
        """(answer's number, log probability) of every spelling."""
        inner: Any = getattr(self.model, "model", None)
        if getattr(inner, "rope_deltas", None) is not None:
            inner.rope_deltas = None  # Qwen's models keep the last picture's, also for a text without one
        prefix = self.model(**inputs, use_cache=True, logits_to_keep=1)
        cache = prefix.past_key_values
        if each > 1:
            cache.batch_repeat_interleave(each)
        longest = max(len(r.ids) for r in rows)
        ids = torch.tensor([r.ids + [0] * (longest - len(r.ids)) for r in rows], device=self.device)
        wanted = sorted({at for r in rows for _, at, _ in r.reads})
        # Padding stands to the right, where no real token sees it, so no mask is needed.
        logits: Tensor = self.model(
            input_ids=ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(wanted, device=self.device),
        ).logits
        place = {at: n for n, at in enumerate(wanted)}
        found = []
        for row, log in zip(rows, logits.float().log_softmax(-1), strict=True):
            by_spelling: dict[tuple[int, int], float] = {}
            several = len({at for _, at, _ in row.reads}) > 1
            for n, (answer, at, token) in enumerate(row.reads):
                key = (answer, 0 if several else n)
                by_spelling[key] = by_spelling.get(key, 0.0) + float(log[place[at], token])
            found += [(answer, value) for (answer, _), value in by_spelling.items()]
        return found

    def _ids(self, text: str) -> list[int]:
        return self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _template(self, image: bool) -> tuple[str, str]:
        """What stands before the question and what after it."""
        content = [*([{"type": "image"}] if image else []), {"type": "text", "text": _MARK}]
        chat = [{"role": "user", "content": content}]
        text = self.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        before, mark, after = text.partition(_MARK)
        if not mark:
            raise ModelError(f"{self.name}: its chat template drops the question")
        return before, after


def load(model: str) -> TransformersVLM:
    if not model:
        raise InputError("VLM transformers: name a model, as in transformers:Qwen/Qwen3-VL-8B-Instruct")
    return TransformersVLM(model)
