"""GenEval 2's ``score_lists.json`` (facebookresearch/GenEval2): a bare list of lists of atom scores.

No ids: list i belongs to line i of ``geneval2_data.jsonl``, which must lie beside it or be given with
``--benchmark``; without it the atoms have no skill and all form one category. Probabilities may exceed
1.0 by rounding and are clipped. An atom is a row; the interval clusters them by prompt.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import Source, lines, number, parse_object
from datagen.evals.json_stream import elements
from datagen.evals.rows import EvalRow

ROUNDING = 1e-3  # how far above 1 a probability may be
ATOMS = ("prompt", "vqa_list", "skills")


def matches(source: Source) -> bool:
    return "".join(source.head[:4096].split()).startswith("[[")


def read(source: Source) -> Iterator[EvalRow]:
    data = source.companion(*ATOMS, beside=("geneval2_data.jsonl",))
    prompts = _prompts(data) if data else None
    index = -1
    for index, (line, key, scores) in enumerate(elements(source.path)):
        where = f"{source.path}:{line}: list {index}"
        if key is not None or not isinstance(scores, list) or not scores:
            raise ResultsError(f"{where}: must be a list of atom scores, not {scores!r:.40}")
        prompt, questions, skills, atoms = (
            prompts[index] if prompts and index < len(prompts) else ("", [], [], 0)
        )
        if prompts is not None and len(skills) != len(scores):
            raise ResultsError(f"{where}: {len(scores)} scores, {data} has {len(skills)} atoms on that line")
        for i, value in enumerate(scores):
            score = (
                None
                if value is None
                else min(1.0, number(f"{where}, atom {i}", "score", value, 0, 1 + ROUNDING))
            )
            asked = questions[i] if questions else ("", "")
            yield EvalRow(
                f"{index:05d}",
                prompt,
                skills[i] if skills else "atoms",
                score,
                i,
                f"{asked[0]} expected {asked[1]}" if questions else "",
                facets=(("atoms in the prompt", str(atoms)),) if atoms else (),
                benchmark="geneval2",
                line=line,
                note="" if data else "no geneval2_data.jsonl: give it with --benchmark to see the skills",
            )
    if prompts is not None and index + 1 > len(prompts):
        raise ResultsError(f"{source.path}: {index + 1} lists, {data} has {len(prompts)} prompts")


def _prompts(path: Path) -> list[tuple[str, list[tuple[str, str]], list[str], int]]:
    out = []
    for at, line in lines(path):
        row = parse_object(path, at, line, ATOMS, "GenEval 2 data")
        questions, skills = row["vqa_list"], row["skills"]
        if not isinstance(questions, list) or not isinstance(skills, list) or len(questions) != len(skills):
            raise ResultsError(f"{path}:{at}: vqa_list and skills must be lists of one length")
        atoms: Any = row.get("atom_count") or len(skills)
        pairs = [
            (str(q[0]), str(q[1])) if isinstance(q, list) and len(q) == 2 else (str(q), "") for q in questions
        ]
        out.append((str(row["prompt"]), pairs, [str(s) for s in skills], int(atoms)))
    return out
