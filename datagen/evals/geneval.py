"""GenEval's ``results.jsonl`` (djghosh13/geneval), and ours, which adds keys to it: a line an image.

``metadata`` and ``details`` are JSON strings; the prompt's index is the folder in ``filename``
(``00012/samples/0003.png``). What was asked for (counts, colours, relations, classes) becomes facets,
from ``metadata`` or, where a tool left that out, from the prompt's words. Our own extra keys (seed,
transition, trace, image) go to ``extra``; ``score``, of our graded suites, is the row's score.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from datagen.errors import ResultsError
from datagen.evals.files import Source, lines, parse, parse_object
from datagen.evals.rows import EMPTY, EvalRow, Facets

NEEDED = ("filename", "tag", "prompt", "correct")
KNOWN = frozenset((*NEEDED, "reason", "metadata", "details"))
# The innermost folder of five digits: one around it may be a training step.
FILENAME = re.compile(r"^(?:.*[/\\])?(\d{5})[/\\](?:.*[/\\])?(\d+)\.\w+$")
PROMPTS = {
    "single_object": 80,
    "two_object": 99,
    "counting": 80,
    "colors": 94,
    "position": 100,
    "color_attr": 100,
}
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
NUMBERS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6"}
RELATIONS = ("left of", "right of", "above", "below")
_CACHED = 4096  # metadata strings whose meaning is remembered: the images of a prompt share one


def matches(source: Source) -> bool:
    """The first line is an object with GenEval's keys, or is cut off but begins like one."""
    row = source.first_object()
    return all(key in row for key in (NEEDED if row.get("tag") is not None else ("filename", "tag")))


def read(source: Source) -> Iterator[EvalRow]:
    """Raises ``ResultsError`` with the line number of the first bad row."""
    path = source.path
    tags: dict[str, tuple[str, int]] = {}
    cache: dict[str, tuple[Mapping[str, Any], Facets]] = {}
    for number, line in lines(path):
        row = _parsed(path, number, line)
        filename, tag, prompt, correct = row["filename"], row["tag"], row["prompt"], row["correct"]
        reason, described = row.get("reason") or "", row.get("metadata")
        match = FILENAME.search(filename) if isinstance(filename, str) else None
        whole = match and tag and prompt and isinstance(tag, str) and isinstance(prompt, str)
        if (
            not whole
            or not isinstance(reason, str)
            or (correct is not None and not isinstance(correct, bool))
        ):
            raise ResultsError(f"{path}:{number}: {_wrong(row)}")
        prompt_id, image = match.groups()  # type: ignore[union-attr]
        known = tags.get(prompt_id)
        if known is None:
            tags[prompt_id] = tag, number
        elif known[0] != tag:
            raise ResultsError(f"{path}:{number}: prompt {prompt_id} has another tag than on line {known[1]}")
        found = cache.get(described) if isinstance(described, str) else None
        if found is None:
            found = _metadata(f"{path}:{number}", described, prompt)
            if isinstance(described, str) and described:
                if len(cache) >= _CACHED:
                    cache.clear()
                cache[described] = found
        extra = (
            {k: row[k] for k in row if k not in KNOWN}
            if len(row) != len(KNOWN) or not row.keys() <= KNOWN
            else EMPTY
        )
        score = None if correct is None else float(correct)
        if "score" in row:
            score = _graded(f"{path}:{number}", row["score"], correct)
        yield EvalRow(
            prompt_id, prompt, tag, score, int(image), reason, found[0], extra, 0, found[1], "geneval", number
        )


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        return parse_object(path, number, line, NEEDED, "GenEval")
    except ResultsError as error:
        cut = "" if line.rstrip().endswith("}") else " (half-written?)"
        raise ResultsError(f"{error}{cut}") from error


def _graded(where: str, score: Any, correct: bool | None) -> float | None:
    """The fraction that a graded suite adds to a row; 1 is correct, and unjudged is unscored."""
    if score is None and correct is None:
        return None
    good = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1
    if not good or correct is None or correct != (score == 1):
        raise ResultsError(f"{where}: score {score!r:.40} does not go with correct {correct!r:.40}")
    return float(score)


def _wrong(row: dict[str, Any]) -> str:
    """What is wrong with a row that has the right keys."""
    for key in ("filename", "tag", "prompt", "reason"):
        if not isinstance(row.get(key) or "", str) or (key != "reason" and not row[key]):
            return f"{key} must be a string, not {row.get(key)!r:.40}"
    if not FILENAME.search(row["filename"]):
        return f"filename {row['filename']!r:.60} has no 5-digit prompt folder"
    return f"correct must be true, false or null, not {row['correct']!r:.40}"


def _metadata(where: str, value: Any, prompt: str) -> tuple[Mapping[str, Any], Facets]:
    if value is None or value == "":
        return EMPTY, _from_words(prompt)
    try:  # thrice as fast as the strict parser; a key given twice in here changes no score
        parsed = from_json(value, allow_inf_nan=False) if isinstance(value, str) else value
    except ValueError:
        parsed = parse(f"{where}: metadata", value)
    if not isinstance(parsed, dict):
        raise ResultsError(f"{where}: metadata must be an object")
    return parsed, _asked(parsed) or _from_words(prompt)


def _asked(metadata: Mapping[str, Any]) -> Facets:
    """What the clauses of ``include`` ask for. Clauses that are not GenEval's are passed over."""
    out: dict[tuple[str, str], None] = {}
    include = metadata.get("include")
    for clause in include if isinstance(include, list) else ():
        if not isinstance(clause, dict):
            continue
        count, position = clause.get("count"), clause.get("position")
        if isinstance(count, int) and count > 1:
            out["count", str(count)] = None
        if isinstance(clause.get("color"), str):
            out["color", clause["color"]] = None
        if isinstance(position, list) and position and isinstance(position[0], str):
            out["relation", position[0]] = None
        if isinstance(clause.get("class"), str):
            out["class", clause["class"]] = None
    return tuple(out)


def _from_words(prompt: str) -> Facets:
    words = re.findall(r"[a-z]+", prompt.lower())
    joined = " ".join(words)
    return (
        *(("count", NUMBERS[w]) for w in NUMBERS if w in words),
        *(("color", c) for c in COLORS if c in words),
        *(("relation", r) for r in RELATIONS if re.search(rf"\b{r}\b", joined)),
    )
