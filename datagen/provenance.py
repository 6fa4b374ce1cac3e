"""Where a dataset comes from: what its samples do not tell, as a record that its card ends with.

A card is for people, and the record at its end for programs: a merge reads its sources' records, and so
carries over their recipes, seeds, profiles and counts. What says only where or how fast a command ran is left
out, so that the same command leaves the same bytes, whoever did the work.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from datagen.account import Account
from datagen.weakness import Weakness

Record = dict[str, Any]
VERSIONS = ("datagen", "torch", "transformers", "datasets", "diffusers", "ray", "faiss-cpu", "vllm")
PLACES = (
    "--run", "--out", "--workers", "--ray-address", "--model-gpus", "--reward-workers", "--reward-gpus",
    "--llm-workers", "--llm-gpus", "--llm-batch", "--timeout",
)  # fmt: skip
SWITCHES = ("--force", "--json", "--debug")
# Of the weights, as their makers state them; what is not here says so on the card.
LICENCES = {
    "pocket": "Apache-2.0 (ships with datagen)",
    "bagel": "Apache-2.0",
    "janus": "DeepSeek Model License",
    "emu3": "Apache-2.0",
    "smollm2": "Apache-2.0",
    "template": "no model",
}
UNKNOWN = "licence not known to datagen"
_BLOCK = re.compile(r"^## Record\n.*?^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def new_record(
    account: Account,
    settings: Mapping[str, Any],
    weaknesses: Sequence[Weakness] = (),
    prompts: Mapping[str, Mapping[str, Any]] | None = None,
    judges: Mapping[str, str] | None = None,
) -> Record:
    """The record of a build, with those ``weaknesses`` that its recipes target; ``prompts`` are the prompt stage's reports, ``judges`` rewards' licences."""
    recipes = settings.get("recipes", {})
    targeted = {r.get("weakness") for r in recipes.values()}
    return {
        **_made(account, settings),
        "judges": dict(judges or {}),
        "weaknesses": [
            {
                "weakness": w.label or w.category, "images": w.n, "score": w.score, "low": w.low, "high": w.high,
                "target": w.target, "recipe": w.recipe,
            }
            for w in weaknesses
            if w.budget > 0 and (w.recipe in recipes or w.category in targeted)
        ],
        "prompts": {
            name: {"attempts": r["attempts"], "kept": r["kept"], "rejected": r["rejected"]}
            for name, r in (prompts or {}).items()
        },
    }  # fmt: skip


def merged_record(account: Account, settings: Mapping[str, Any], sources: Sequence[Record]) -> Record:
    """The record of a merge, with those of its sources."""
    return {**_made(account, settings), "sources": list(sources)}


def _made(account: Account, settings: Mapping[str, Any]) -> Record:
    return {
        "command": command(),
        "settings": dict(settings),
        "versions": versions(),
        "counts": {
            name: {k: r[k] for k in ("prompts", "candidates", "kept", "dropped", "text_rewards")}
            for name, r in account.table().items()
        },
    }


def read_record(folder: Path) -> Record:
    """The record of the dataset in ``folder``; empty for one whose card has none, or none that can be read."""
    try:
        found = _BLOCK.search((folder / "README.md").read_text(encoding="utf-8"))
        record = json.loads(found[1]) if found else {}
    except (OSError, ValueError):  # people edit cards, and no data depend on it
        return {}
    return record if isinstance(record, dict) else {}


def record_text(record: Record) -> str:
    """The end of a card, which ``read_record`` reads."""
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)
    return f"## Record\n\nThe recipes as resolved and all else that made this, for programs.\n\n```json\n{text}\n```\n"


def builds(record: Record) -> Iterator[Record]:
    """The builds that a dataset is of: itself, or its sources and theirs."""
    if "sources" not in record:
        yield record
    for source in record.get("sources", ()):
        yield from builds(source)


def licence_of(name: str) -> str:
    """Of a model or LLM as it was named, options and all."""
    return LICENCES.get(name.partition(":")[0].partition("?")[0], UNKNOWN)


def is_free(licence: str) -> bool:
    """Whether what was made under ``licence`` may be given on under Apache-2.0."""
    return licence.startswith(("Apache-2.0", "no model"))


def command(argv: Sequence[str] | None = None) -> str:
    """As it was typed, less what changes nothing in the data; ``python -m datagen`` is ``datagen``."""
    program, *words = sys.argv if argv is None else argv
    if not re.search(r"(^|/)datagen(/(__main__|cli)\.py)?$", program):
        return "datagen.pipeline.build, from Python"
    kept, left = [], iter(words)
    for word in left:
        if word in PLACES:
            next(left, None)
        elif word not in SWITCHES and word.partition("=")[0] not in PLACES:
            kept.append(word)
    return shlex.join(["datagen", *kept])


def versions() -> dict[str, str]:
    """Of Python and of the packages that are installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
