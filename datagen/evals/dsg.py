"""DSG answers (j-min/DSG): CSV ``...,t2i_model,item_id,question,question_id,dependency_id,answer``.

A question counts as wrong where one that it depends on is answered "no". With ``dsg-1k-anns.csv``
beside it (or given with ``--benchmark``) questions have categories and prompts; without it the category
is the prompt's source (``whoops``, ``countbench``). Several models in one file: choose with ``--of``.
"""

from collections.abc import Iterator

from datagen.errors import ResultsError
from datagen.evals import annotations
from datagen.evals.files import Source, records
from datagen.evals.rows import EvalRow

NEEDED = ("item_id", "question", "question_id", "dependency_id", "answer")


def matches(source: Source) -> bool:
    return all(name in source.header() for name in NEEDED)


def read(source: Source) -> Iterator[EvalRow]:
    path, wanted = source.path, source.options.get("of")
    sheet = annotations.find(source)
    known = annotations.questions(sheet) if sheet else {}
    model, item = "", ""
    models: set[str] = set()
    group: list[tuple[int, dict[str, str]]] = []
    for at, row in records(path, NEEDED, "DSG"):
        models.add(row.get("t2i_model", ""))
        if wanted is not None and row.get("t2i_model", "") != wanted:
            continue
        if group and (row["item_id"], row.get("t2i_model", "")) != (item, model):
            yield from _item(source, group, known)
            group = []
        if wanted is None and len(models) > 1:
            raise ResultsError(
                f"{path}:{at}: several models; choose one with --of: {', '.join(sorted(models))}"
            )
        item, model = row["item_id"], row.get("t2i_model", "")
        group.append((at, row))
    if group:
        yield from _item(source, group, known)
    elif wanted is not None:
        raise ResultsError(f"{path}: no rows of {wanted!r}; valid: {', '.join(sorted(models))}")


def _item(
    source: Source,
    group: list[tuple[int, dict[str, str]]],
    known: dict[tuple[str, str], annotations.Question],
) -> Iterator[EvalRow]:
    """The questions of one image. Every answer that another depends on must be there."""
    answers: dict[str, str] = {}
    for at, row in group:
        where = f"{source.path}:{at}"
        answer = row["answer"].strip().lower()
        if answer not in ("yes", "no", ""):
            raise ResultsError(f"{where}: answer must be yes, no or empty, not {answer!r:.40}")
        if not row["item_id"] or not row["question_id"].isdecimal():
            raise ResultsError(f"{where}: item_id and a whole question_id are needed")
        if row["question_id"] in answers:
            raise ResultsError(f"{where}: question {row['question_id']} of {row['item_id']} is there twice")
        answers[row["question_id"]] = answer
    for at, row in group:
        item, answer = row["item_id"], answers[row["question_id"]]
        parents = [p.strip() for p in row["dependency_id"].split(",") if p.strip() not in ("", "0")]
        if missing := [p for p in parents if p not in answers]:
            raise ResultsError(
                f"{source.path}:{at}: depends on question {missing[0]}, which {item} does not have"
            )
        blocked = [p for p in parents if answers[p] == "no"]
        score = 0.0 if blocked and answer else {"yes": 1.0, "no": 0.0}.get(answer)
        question = known.get((item, row["question_id"]))
        yield EvalRow(
            item,
            question.prompt if question else "",
            question.broad if question else item.rsplit("_", 1)[0],
            score,
            int(row["question_id"]),
            f"{row['question']} answered no" if answer == "no" else f"{row['question']} depends on a no",
            facets=(("L2", question.detailed),) if question else (),
            benchmark="dsg",
            line=at,
            note=""
            if question
            else "no dsg-1k-anns.csv: give it with --benchmark to see the question categories",
        )
