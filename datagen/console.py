"""What a person sees: progress with rate and time left on a terminal, plain lines elsewhere, tables."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

Progress = Callable[[str, int, int], None]
WIDEST = 10_000  # columns that a table is measured in
PLAIN_EVERY = 10.0  # seconds between lines when not on a terminal
_live: list[Any] = []  # rich consoles that draw a bar just now


def progress() -> tuple[Progress, Callable[[], None]]:
    """A callback ``(stage, done, total)`` and the function that ends the display."""
    if not sys.stderr.isatty():
        return _plain(), lambda: None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.start()
    _live.append(bar.console)
    tasks: dict[str, tuple[TaskID, float]] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = (bar.add_task(stage, total=total, rate=""), time.monotonic())
        task, began = tasks[stage]
        bar.update(
            task, completed=done, total=total, rate=f"{done / (time.monotonic() - began + 1e-9):.1f}/s"
        )

    def stop() -> None:
        bar.stop()
        _live.remove(bar.console)

    return update, stop


def say(text: str) -> None:
    """A plain line to stderr, above the bar where a terminal shows one."""
    if _live:
        _live[-1].print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _plain() -> Progress:
    last: dict[str, float] = {}
    began: dict[str, float] = {}

    def update(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        began.setdefault(stage, now)
        if done >= total or now - last.get(stage, -PLAIN_EVERY) >= PLAIN_EVERY:
            last[stage] = now
            spent = now - began[stage]
            left = f", {spent / done * (total - done):.0f} s left" if 0 < done < total and spent else ""
            print(f"{stage}: {done}/{total}{left}", file=sys.stderr, flush=True)

    return update


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], spare: Sequence[str] = ()
) -> None:
    """Print a table to stdout: ruled on a terminal, aligned plain text elsewhere.

    Nothing is cut: a terminal too narrow goes without the ``spare`` columns, in that order, then without rules.
    """
    cells = [[str(c) for c in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console

        console, left = Console(), list(spare)
        wide = console.options.update(width=WIDEST)
        while console.measure(ruled := _ruled(title, columns, cells), options=wide).maximum > console.width:
            if not left:
                break
            out = list(columns).index(left.pop(0))
            columns = [c for i, c in enumerate(columns) if i != out]
            cells = [[c for i, c in enumerate(row) if i != out] for row in cells]
        else:
            console.print(ruled)
            return
    widths = [max(len(r[i]) for r in [list(columns), *cells]) for i in range(len(columns))]
    print(f"\n{title}")
    for row in [list(columns), *cells]:
        head, *rest = [
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join([head, *rest]).rstrip())


def _ruled(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    ruled = Table(title=Text(title), title_justify="left")
    for i, name in enumerate(columns):
        ruled.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in cells:
        ruled.add_row(*map(Text, row))  # as it is: a bracket in a name is no markup
    return ruled


def points(value: float) -> str:
    """A share as percentage points with sign: ``+12.5``."""
    return f"{100 * value:+.1f}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}"
