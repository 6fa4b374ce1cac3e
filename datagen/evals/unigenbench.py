"""UniGenBench's CSV (CodeGoat24/UniGenBench): ``index, prompt, testpoint, output, result_json, img_path``.

``testpoint`` is a Python list, ``result_json`` JSON with a ``score`` of 0, 1 or null for each point. A
point is a row: the dimension before `` - `` is the category, the test point a facet. ``null`` is
unscored. The image's number is in ``img_path`` (``12_3.png``).
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import Source, parse, records
from datagen.evals.rows import EvalRow

NEEDED = ("index", "prompt", "testpoint", "result_json", "img_path")
IMAGE = re.compile(r"(\d+)_(\d+)\.\w+$")
POINTS = 100  # test points of one image are numbered within this


def matches(source: Source) -> bool:
    return all(name in source.header() for name in NEEDED)


def read(source: Source) -> Iterator[EvalRow]:
    for at, row in records(source.path, NEEDED, "UniGenBench"):
        where = f"{source.path}:{at}"
        image = IMAGE.search(row["img_path"])
        if not image or not re.fullmatch(r"\d+(\.0)?", row["index"]):
            raise ResultsError(f"{where}: index and img_path like 12 and 12_3.png are needed")
        if int(float(row["index"])) != int(image[1]):
            raise ResultsError(f"{where}: index {row['index']} is not the prompt of {image[0]}")
        points = _list(where, "testpoint", row["testpoint"])
        judged = parse(f"{where}: result_json", row["result_json"]) if row["result_json"].strip() else {}
        scores = judged.get("score") if isinstance(judged, dict) else None
        scores = [None] * len(points) if scores is None else scores
        if not isinstance(scores, list) or len(scores) != len(points):
            raise ResultsError(
                f"{where}: result_json has not one score for each of {len(points)} test points"
            )
        analysis = judged.get("analysis") if isinstance(judged, dict) else None
        for i, (point, score) in enumerate(zip(points, scores, strict=True)):
            if score is not None and (isinstance(score, bool) or score not in (0, 1)):
                raise ResultsError(f"{where}: a score must be 0, 1 or null, not {score!r:.40}")
            said = analysis[i] if isinstance(analysis, list) and len(analysis) == len(points) else ""
            yield EvalRow(
                image[1],
                row["prompt"],
                point.partition(" - ")[0].strip(),
                None if score is None else float(score),
                POINTS * int(image[2]) + i,
                f"{point}: {said}" if isinstance(said, str) and said else point,
                facets=(("test point", point.partition(" - ")[2].strip()),) if " - " in point else (),
                benchmark="unigenbench",
                line=at,
            )


def _list(where: str, name: str, value: str) -> list[str]:
    try:
        found: Any = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ResultsError(f"{where}: {name} must be a list of strings, not {value!r:.40}") from error
    if not isinstance(found, list) or not found or not all(isinstance(x, str) and x for x in found):
        raise ResultsError(f"{where}: {name} must be a list of strings, not {value!r:.40}")
    return found
