"""Calibrate a reward on a small labelled file: its threshold, how far to trust it, who agrees with whom.

The threshold maximises F1, or is the least one that reaches a wanted precision. Figures at a threshold
fitted on the same rows flatter it, so precision and recall are cross-validated over prompts: each fold
is judged at the threshold of the others. Intervals are clustered by prompt. Pure: rewards come in.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import InputError
from datagen.evals.files import lines
from datagen.sample import Sample, Target
from datagen.scores import judged
from datagen.statistics import Estimate, clustered

if TYPE_CHECKING:
    from rewards.base import RewardFunction

FOLDS = 5
LEAST = 10  # labelled rows under which nothing is fitted


@dataclass(frozen=True)
class Calibration:
    """One reward on the labelled rows. ``precision`` and ``recall`` are None where none was picked."""

    reward: str
    threshold: float
    precision: Estimate | None
    recall: Estimate | None
    f1: float  # on the rows it was fitted on
    auc: float  # P(a right picture scores above a wrong one), ties count half
    n: int
    right: int
    unscored: int


@dataclass(frozen=True)
class Agreement:
    """Share of rows on which two judges (or a judge and the labels) say the same, and Cohen's kappa."""

    one: str
    other: str
    share: Estimate
    kappa: float


def read_labels(path: Path) -> tuple[list[Sample], list[bool]]:
    """A JSONL file of ``image`` (path beside the file), ``prompt``, ``label``, perhaps ``target``, ``trace``.

    Raises ``InputError`` naming file, line and field.
    """
    samples, labels = [], []
    for number, line in lines(path):
        sample, label = _row(path, number, line)
        samples.append(sample)
        labels.append(label)
    if len(labels) < LEAST or len(set(labels)) < 2:
        raise InputError(
            f"{path}: {len(labels)} rows, {sum(labels)} of them right: at least {LEAST}, both right and wrong, "
            "are needed"
        )
    return samples, labels


def _row(path: Path, number: int, line: str) -> tuple[Sample, bool]:
    where = f"{path}:{number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: a row is an object with image, prompt and label")
    for field in ("image", "prompt"):
        if not isinstance(row.get(field), str) or not row[field]:
            raise InputError(f"{where}: field {field!r} must be a string")
    if row.get("label") not in (True, False):  # 0 and 1 are equal to them
        raise InputError(f"{where}: field 'label' must be true, false, 1 or 0, not {row.get('label')!r:.40}")
    image = path.parent / row["image"]
    try:
        target = Target.from_dict({"tag": "", **row["target"]}) if row.get("target") else Target("")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: field 'target' is not a target: {error!r:.80}") from error
    try:
        data = image.read_bytes()
    except OSError as error:
        raise InputError(f"{where}: image {image} cannot be read: {error.strerror}") from error
    return Sample(row["prompt"], target, id=where, trace=str(row.get("trace") or ""), image=data), bool(
        row["label"]
    )


def fit(values: Sequence[float], labels: Sequence[bool], precision: float | None = None) -> float:
    """The threshold (``value >= threshold`` is right) of the best F1, or of the wanted precision.

    Thresholds lie midway between neighbouring values. Raises ``InputError`` if none is precise enough.
    """
    ordered = sorted(zip(values, labels, strict=True), key=lambda p: -p[0])
    total = sum(labels)
    best: tuple[float, float] | None = None
    hits = 0
    for k, (value, label) in enumerate(ordered):
        hits += label
        last = k + 1 == len(ordered)
        if not last and ordered[k + 1][0] == value:
            continue
        threshold = value if last else (value + ordered[k + 1][0]) / 2
        figure = hits / (k + 1) if precision is not None else 2 * hits / (k + 1 + total)
        if precision is not None:
            if figure >= precision:
                best = (figure, threshold)  # further down the list: more recall
        elif best is None or figure > best[0]:
            best = (figure, threshold)
    if best is None:
        raise InputError(f"no threshold reaches a precision of {precision:g} on these {len(values)} rows")
    return best[1]


def calibrate(
    name: str,
    values: Sequence[float | None],
    labels: Sequence[bool],
    prompts: Sequence[str],
    precision: float | None = None,
) -> Calibration:
    """Threshold and cross-validated figures of one reward. Raises ``InputError`` if it scored too few."""
    known = [(v, y, p) for v, y, p in zip(values, labels, prompts, strict=True) if v is not None]
    scored, truth = [v for v, _, _ in known], [y for _, y, _ in known]
    if len(known) < LEAST or len(set(truth)) < 2:
        raise InputError(f"reward {name!r} scored {len(known)} of {len(values)} rows: too few to calibrate")
    threshold = fit(scored, truth, precision)
    picked: list[tuple[bool, bool, str]] = []
    order = {p: i % FOLDS for i, p in enumerate(dict.fromkeys(p for _, _, p in known))}
    for fold in range(FOLDS):
        rest = [(v, y) for v, y, p in known if order[p] != fold]
        try:
            at = (
                fit([v for v, _ in rest], [y for _, y in rest], precision)
                if any(y for _, y in rest)
                else threshold
            )
        except InputError:  # the fold's rest is not precise enough anywhere: the whole file's threshold
            at = threshold
        picked += [(v >= at, y, p) for v, y, p in known if order[p] == fold]
    hits = sum(v >= threshold and y for v, y in zip(scored, truth, strict=True))
    said = sum(v >= threshold for v in scored)
    return Calibration(
        name,
        threshold,
        _by_prompt([(float(y), p) for said_so, y, p in picked if said_so]),
        _by_prompt([(float(said_so), p) for said_so, y, p in picked if y]),
        2 * hits / (said + sum(truth)),
        _auc(scored, truth),
        len(known),
        sum(truth),
        len(values) - len(known),
    )


def _by_prompt(rows: Sequence[tuple[float, str]]) -> Estimate | None:
    groups: dict[str, list[float]] = {}
    for value, prompt in rows:
        groups.setdefault(prompt, []).append(value)
    return clustered(list(groups.values())) if groups else None


def _auc(values: Sequence[float], labels: Sequence[bool]) -> float:
    from scipy.stats import rankdata

    right = sum(labels)
    ranks = rankdata(values)
    above = sum(r for r, y in zip(ranks, labels, strict=True) if y) - right * (right + 1) / 2
    return float(above / (right * (len(labels) - right)))


def agreement(
    one: str, a: Sequence[bool | None], other: str, b: Sequence[bool | None], prompts: Sequence[str]
) -> Agreement | None:
    """How far two columns of verdicts agree, over the rows both judged; None if there is none."""
    rows = [(x, y, p) for x, y, p in zip(a, b, prompts, strict=True) if x is not None and y is not None]
    share = _by_prompt([(float(x == y), p) for x, y, p in rows])
    if share is None:
        return None
    p, q = sum(x for x, _, _ in rows) / len(rows), sum(y for _, y, _ in rows) / len(rows)
    chance = p * q + (1 - p) * (1 - q)
    kappa = (share.mean - chance) / (1 - chance) if chance < 1 else 1.0
    return Agreement(one, other, share, kappa)


def run_calibration(
    path: Path, rewards: "Mapping[str, RewardFunction]", precision: float | None = None
) -> tuple[list[Calibration], list[Agreement]]:
    """Every reward on the labelled file, and the agreement of each with the labels and with each other."""
    samples, labels = read_labels(path)
    prompts = [s.prompt for s in samples]
    found, verdicts = [], dict[str, list[bool | None]](labels=list(labels))
    for name, reward in rewards.items():
        values = [score.value for score in judged(name, reward, samples)]
        one = calibrate(name, values, labels, prompts, precision)
        found.append(one)
        verdicts[name] = [None if v is None else v >= one.threshold for v in values]
    names = list(verdicts)
    pairs: list[Any] = [(x, y) for i, x in enumerate(names) for y in names[i + 1 :]]
    shared = [agreement(x, verdicts[x], y, verdicts[y], prompts) for x, y in pairs]
    return found, [s for s in shared if s is not None]
