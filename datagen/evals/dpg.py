"""DPG-Bench's ``dpg-bench_<time>_results.txt`` (ELLA ``compute_dpg_bench.py``).

Lines ``image, score of each crop..., mean``, then tab-indented L1 and L2 blocks, then the headline.
The blocks are raw answers of the last crop, the headline averages all crops after questions under a
"no" are zeroed: the two are never mixed. With the blocks there, L1 and L2 are what is ranked and the
headline is only shown; without them (a run that was stopped) the images are one category.

The blocks print no counts. A percentage in full precision is a fraction, whose smallest denominator
is a lower bound on the number of questions; a rounded one falls back to ``QUESTIONS``.
"""

import re
from collections.abc import Iterator
from math import isclose
from typing import NamedTuple

from datagen.errors import ResultsError
from datagen.evals.files import Source, lines, number
from datagen.evals.rows import EvalRow

PROMPTS = 1065
IMAGE = re.compile(r"^(?P<path>.+?\.\w{3,4}), (?P<scores>-?[\d.e+-]+(?:, -?[\d.e+-]+)*)$")
ENTRY = re.compile(r"^\t(?P<name>[^:\t]+?)\s*: (?P<percent>[\d.]+)(?: \(n=(?P<n>\d+)\))?$")
HEADLINE = re.compile(r"^DPG-Bench score: (?P<percent>[\d.]+)$")
OTHER = (
    "Model: ",
    "Model dir: ",
    "n_images: ",
    "Image path: ",
    "Folder path: ",
    "Question CSV: ",
    "Save results to: ",
)
# Questions a full run judges, as lower bounds recovered from one published run's full precision.
QUESTIONS = {
    "entity": 6178, "attribute": 5006, "relation": 2573, "global": 326, "other": 250, "entity - whole": 1180,
    "entity - part": 512, "entity - state": 473, "attribute - color": 181, "attribute - other": 899,
    "attribute - shape": 229, "attribute - size": 22, "attribute - texture": 1645, "other - count": 200,
    "other - text": 25, "relation - spatial": 483, "relation - non-spatial": 79,
}  # fmt: skip
EXACT = 10  # decimals from which a file prints in full precision
LIMIT = 20_000  # the largest denominator that is looked for


class _Entry(NamedTuple):
    line: int
    name: str
    share: float
    n: int  # 0: not printed


def matches(source: Source) -> bool:
    head = source.head.splitlines()
    first = next((line for line in head if line.strip()), "")
    return bool(IMAGE.match(first)) or any(
        line.startswith(("L1 category scores:", "DPG-Bench score:")) for line in head
    )


def read(source: Source) -> Iterator[EvalRow]:
    path, block, blocks, images, headline = source.path, "", {"L1": 0, "L2": 0}, 0, False
    entries: list[tuple[str, _Entry]] = []
    exact = False
    blocked = _has_blocks(source)
    for at, line in lines(path, complete=True):
        where = f"{path}:{at}"
        if headline:
            raise ResultsError(f"{where}: text after the headline; two results in one file?")
        if match := IMAGE.match(line):
            if block:
                raise ResultsError(f"{where}: an image after the category scores; two results in one file?")
            images += 1
            yield from _image(where, at, match, blocked)
        elif line.startswith(("L1 category scores:", "L2 category scores:")):
            block = line[:2]
            if blocks[block]:
                raise ResultsError(f"{where}: a second {block} block")
        elif block and (match := ENTRY.match(line)):
            blocks[block] += 1
            share = number(where, match["name"], match["percent"], 0, 100) / 100
            exact = exact or len(match["percent"].partition(".")[2]) >= EXACT
            entries.append((block, _Entry(at, match["name"].strip(" -"), share, int(match["n"] or 0))))
        elif match := HEADLINE.match(line):
            headline = True
            number(where, "the headline", match["percent"], 0, 100)
        elif not line.startswith(OTHER):
            raise ResultsError(f"{where}: neither an image's scores nor a category's: {line.strip()!r:.60}")
    counted = [(block, e._replace(n=e.n or _questions(e, images, exact))) for block, e in entries]
    yield from _categories(path, counted, headline)


def _has_blocks(source: Source) -> bool:
    """Whether the category blocks follow: they stand at the end of a file that may be long."""
    try:
        with source.path.open("rb") as file:
            file.seek(max(0, source.path.stat().st_size - 65_536))
            return b"L1 category scores:" in file.read()
    except OSError as error:
        raise ResultsError(f"{source.path}: cannot be read: {error.strerror}") from error


def _image(where: str, at: int, match: re.Match[str], blocked: bool) -> Iterator[EvalRow]:
    values = [number(where, "score", x.strip(), 0, 1.0001) for x in match["scores"].split(",")]
    crops = values[:-1] or values  # some rewrites print one score and no mean
    if not isclose(sum(crops) / len(crops), values[-1], abs_tol=1e-6):
        raise ResultsError(f"{where}: {values[-1]:g} is not the mean of the {len(crops)} scores before it")
    name = re.split(r"[/\\]", match["path"])[-1].rsplit(".", 1)[0]
    for crop, score in enumerate(crops):
        yield EvalRow(
            name, "", "headline" if blocked else "prompts", min(score, 1.0), crop, "", benchmark="dpg-bench", line=at,
            ranked=not blocked,
            note="the headline: all crops, questions under a 'no' zeroed; its categories are raw answers"
            if blocked else "no category scores in this file: only prompts as a whole",
        )  # fmt: skip


def _questions(entry: _Entry, images: int, exact: bool) -> int:
    """A lower bound on the questions behind a share; 0 where nothing is known of it."""
    known = QUESTIONS.get(entry.name, 0)
    if exact:
        for n in range(1, LIMIT):
            if abs(round(entry.share * n) / n - entry.share) < 1e-11:
                return known if known and known % n == 0 and images >= PROMPTS else n
    return int(known * min(images, PROMPTS) / PROMPTS) if images else known


def _categories(path: object, entries: list[tuple[str, _Entry]], whole: bool) -> Iterator[EvalRow]:
    seen: set[tuple[str, str]] = set()
    for block, entry in entries:
        if (block, entry.name) in seen:
            raise ResultsError(f"{path}:{entry.line}: {entry.name} appears twice")
        seen.add((block, entry.name))
        broad = entry.name.partition(" - ")[0]
        if block == "L2" and ("L1", broad) not in seen:
            raise ResultsError(f"{path}:{entry.line}: {entry.name} has no L1 category {broad!r}")
        yield EvalRow(
            entry.name, "", broad, entry.share, summary=max(entry.n, 1), benchmark="dpg-bench", line=entry.line,
            facets=(("L2", entry.name),) if block == "L2" else (), ranked=entry.n > 0,
            note="raw answers, counts recovered from the printed percentages: interval widened by 2.5"
            + ("" if whole else "; no DPG-Bench score line: the file was cut, or the run stopped"),
        )  # fmt: skip
