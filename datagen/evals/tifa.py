"""TIFA's evaluation JSON (Yushi-Hu/tifa): ``question_details`` of each image, a score a question.

The category is the question's ``element_type`` (counting, color, spatial...). The averages that the
file also prints are not used: they are recomputed with intervals.
"""

from collections.abc import Iterator

from datagen.errors import ResultsError
from datagen.evals.files import Source, number, text
from datagen.evals.json_stream import elements
from datagen.evals.rows import EvalRow


def matches(source: Source) -> bool:
    head = source.head.lstrip()
    return head.startswith("{") and '"tifa_average"' in head


def read(source: Source) -> Iterator[EvalRow]:
    for line, item, questions in elements(source.path, "question_details"):
        where = f"{source.path}:{line}: {item}"
        if item is None or not isinstance(questions, dict) or not questions:
            raise ResultsError(f"{where}: must be an object of questions, not {questions!r:.40}")
        for i, (question, row) in enumerate(questions.items()):
            if not isinstance(row, dict) or "scores" not in row or "element_type" not in row:
                raise ResultsError(f"{where}: {question!r:.40} needs element_type and scores")
            score = None if row["scores"] is None else number(where, "scores", row["scores"])
            said = row.get("multiple_choice_vqa", row.get("free_form_vqa", ""))
            yield EvalRow(
                str(item),
                str(row.get("caption") or ""),
                text(where, "element_type", row["element_type"]),
                score,
                i,
                f"{question} answered {said}, not {row.get('answer', '')}",
                facets=(("element", row["element"]),) if isinstance(row.get("element"), str) else (),
                benchmark="tifa",
                line=line,
            )
