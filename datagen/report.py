"""The page people look at: one self-contained HTML file of a run directory.

Weaknesses with intervals, before and after on the same prompts and seeds, candidates with traces,
scores and weights, distributions, time by stage. A part whose file is missing says so. Every string
from data is escaped (autoescaping jinja2); pictures are inlined.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.compare import compare, transition_rate
from datagen.errors import DatagenError, InputError
from datagen.evals import EvalRow, read_results
from datagen.shards import write_atomic
from datagen.weakness import by_note, read_weaknesses

PAIRS = 6  # prompts a category shown before and after
SAMPLES = 18  # candidates shown
BINS = 10


def write_report(run: Path) -> Path:
    """Write ``run/report.html``. Raises ``InputError`` when the run directory has nothing to show."""
    if not run.is_dir():
        raise InputError(f"{run}: no such run directory")
    import jinja2

    from datagen import __version__

    before, after = _rows(run, "before"), _rows(run, "after")
    comparisons = compare(before, after) if before and after else []
    weaknesses = read_weaknesses(run / "weaknesses.json") if (run / "weaknesses.json").exists() else []
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=loader
    ).get_template("report.html.j2")
    html = page.render(
        run=run.name,
        version=__version__,
        weaknesses=weaknesses,
        notes=by_note(weaknesses),
        comparisons=comparisons,
        overall=next((c for c in comparisons if c.category == "overall"), None),
        opened=(transition_rate(before).get("model", 0.0), transition_rate(after).get("model", 0.0)),
        pairs=_pairs(run, before, after),
        samples=_samples(run),
        histograms=_histograms(run),
        build=_json(run / "build.json"),
        alarms=_json(run / "alarms.json"),
        heaviest=_heaviest(run),
        seconds=_json(run / "timings.json"),
    )
    path = run / "report.html"
    write_atomic(path, html.encode())
    return path


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}


def _rows(run: Path, name: str) -> list[EvalRow]:
    path = run / "eval" / f"{name}.jsonl"
    return read_results(path) if path.exists() else []


def _data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _picture(run: Path, row: EvalRow) -> str:
    """The picture beside a results file, inlined; empty if it is not there or lies outside the run."""
    name = row.extra.get("image")
    if not isinstance(name, str):
        return ""
    path = (run / "eval" / name).resolve()
    if not path.is_relative_to((run / "eval").resolve()) or not path.is_file():
        return ""
    return _data_uri(path.read_bytes())


def _pairs(run: Path, before: Sequence[EvalRow], after: Sequence[EvalRow]) -> list[dict[str, Any]]:
    """Same prompt, same seed, before and after: the first image of the first prompts, all categories."""
    new = {(r.prompt_id, r.image): r for r in after}
    taken: dict[str, list[dict[str, Any]]] = {}
    for row in before:
        match = new.get((row.prompt_id, row.image))
        shown = taken.setdefault(row.category, [])
        if row.image == 0 and match is not None and len(shown) < PAIRS:
            one = {
                "category": row.category,
                "prompt": row.prompt,
                "before": _picture(run, row),
                "after": _picture(run, match),
                "was": row.score,
                "now": match.score,
                "trace": match.extra.get("trace", ""),
            }
            shown.append(one)
    return [pair for pairs in taken.values() for pair in pairs]


def _samples(run: Path) -> list[dict[str, Any]]:
    """Candidates of the first groups, all of a group together, with what each weighs."""
    from datagen.dataset import load_weighted

    try:
        rows = load_weighted(run / "dataset")
    except DatagenError:
        return []
    if not len(rows):
        return []
    spread = range(0, len(rows), max(1, len(rows) // SAMPLES))
    out = []
    for row in rows.with_format(None).select(list(spread)[:SAMPLES]):
        picture = row["image"]
        data = b""
        if picture is not None:
            from datagen.candidates import png

            data = png(picture)
        scores = json.loads(row["scores"])
        out.append(
            {
                **{
                    k: row[k]
                    for k in ("prompt", "trace", "recipe", "text_weight", "image_weight", "transition")
                },
                "picture": _data_uri(data) if data else "",
                "scores": [(s["name"], s["value"], s["reason"]) for s in scores],
            }
        )
    return out


def _heaviest(run: Path) -> list[dict[str, Any]]:
    """The samples that weigh most in training, with what the held-out judge says of each."""
    from datagen.candidates import png
    from datagen.dataset import load_weighted

    top = {row["id"]: row for row in _json(run / "alarms.json").get("top", [])}
    if not top:
        return []
    try:
        rows = load_weighted(run / "dataset").with_format(None)
    except DatagenError:
        return []
    places = {name: i for i, name in enumerate(rows["id"]) if name in top}
    found = []
    for name, judged in top.items():
        if name in places:
            row = rows[places[name]]
            picture = _data_uri(png(row["image"])) if row["image"] is not None else ""
            shown = {k: row[k] for k in ("prompt", "recipe", "reward", "image_weight")}
            found.append({**shown, "picture": picture, "heldout": judged["heldout"], "why": judged["why"]})
    return found


def _histograms(run: Path) -> list[tuple[str, list[int], float]]:
    """``(name, counts in BINS, upper edge)`` of reward and both weights over kept candidates."""
    from datagen.dataset import load_weighted

    try:
        rows = load_weighted(run / "dataset")
    except DatagenError:
        return []
    out = []
    for name in ("reward", "text_weight", "image_weight"):
        values = [v for v in rows[name] if v is not None]
        top = max([1.0, *values])
        counts = [0] * BINS
        for value in values:
            counts[min(int(value / top * BINS), BINS - 1)] += 1
        out.append((name.replace("_", " "), counts, top))
    return out
