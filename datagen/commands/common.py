"""What the commands share: options, and how results are shown."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.errors import InputError

DEFAULT = Path("runs/default")
Run = Annotated[Path, typer.Option("--run", help="the run directory that all commands share")]
Model = Annotated[str, typer.Option(help="a model's name, or a checkpoint folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for a program")]
Force = Annotated[bool, typer.Option("--force", help="overwrite what stands")]
Seed = Annotated[int, typer.Option(help="every random choice follows from it")]
Address = Annotated[str | None, typer.Option("--ray-address", help="join this Ray cluster")]
Suite = Annotated[
    str | None,
    typer.Option(help="the prompts to evaluate on; default scenes for a pocket, else geneval_style"),
]
Candidates = Annotated[int | None, typer.Option(min=1, max=1024, help="candidates a prompt")]
Cfg = Annotated[float | None, typer.Option(help="guidance scale; 1 draws without, default the model's own")]


def at(run: Path) -> str:
    """What a command that comes next needs to be told of ``run``."""
    return "" if run == DEFAULT else f" --run {shlex.quote(str(run))}"


def pool_size(option: str, text: str) -> tuple[int, int | None]:
    """``N``, or ``MIN:MAX`` of an elastic pool, as (most, least). Raises ``InputError`` naming the option."""
    found = re.fullmatch(r"(?:(\d+):)?(\d+)", text)
    least, most = (int(n) if n else None for n in found.groups()) if found else (None, None)
    if most is None or (least is not None and not 1 <= least <= most):
        raise InputError(f"{option} is N, or MIN:MAX with MIN from 1 to MAX; found {text!r}")
    return most, least


def show_weaknesses(found: list[Any], as_json: bool, path: Path, run: Path = DEFAULT) -> None:
    if as_json:
        print(json.dumps([asdict(w) for w in found], indent=2))
        return
    from datagen.weakness_table import print_weaknesses

    print_weaknesses(found, str(path), at(run))


def show_comparison(found: list[Any]) -> None:
    from datagen.console import percent, points, table

    table(
        "Before and after, paired by prompt",
        ("category", "prompts", "before", "after", "difference", "95% interval", "p (Holm)", "verdict"),
        [
            (
                f"{c.benchmark}/{c.category}" if c.benchmark else c.category, c.prompts, percent(c.before), percent(c.after), points(c.difference),
                f"{points(c.low)} to {points(c.high)}", f"{c.p:.3f}", c.verdict,
            )
            for c in found
        ],
        ("p (Holm)", "prompts"),
    )  # fmt: skip


def show_preview(samples: Sequence[Any]) -> None:
    """Each prompt once, then its candidates: reward, weights, who opened the image, trace."""
    print("reward  weight of text, image  opened by  trace")
    prompt = None
    for s in samples:
        if s.prompt != prompt:
            prompt = s.prompt
            print(f"\n{prompt}")
        reward = "   none" if s.reward is None else f"{s.reward:7.2f}"
        print(f"{reward}  {s.text_weight:7.2f} {s.image_weight:7.2f}        {s.transition:<9}  {s.trace}")


class Progress:
    """Progress for the length of a ``with``."""

    def __enter__(self) -> Any:
        from datagen.console import progress

        update, self.stop = progress()
        return update

    def __exit__(self, *error: object) -> None:
        self.stop()
