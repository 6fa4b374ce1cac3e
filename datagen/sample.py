"""The one record that flows through the journey, and the two values it carries.

``Target`` says what must be true of the image, ``Score`` is one judge's value, ``Sample`` is one
candidate (trace + image) of one prompt; everything the journey learns about it becomes a field.
All are frozen: a stage returns ``dataclasses.replace(sample, ...)``. Standard library only, so that
rewards, trainer and workers can share them without importing each other.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Transition = Literal["model", "forced", "none"]

RELATIONS = ("left of", "right of", "above", "below")
_MIRROR = {"right of": "left of", "below": "above"}


@dataclass(frozen=True)
class Clause:
    """``count`` objects of class ``cls``; ``position`` = (relation, index of an earlier clause)."""

    cls: str
    count: int = 1
    color: str | None = None
    size: str | None = None
    position: tuple[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"class": self.cls, "count": self.count}
        if self.color:
            row["color"] = self.color
        if self.size:
            row["size"] = self.size
        if self.position:
            row["position"] = [self.position[0], self.position[1]]
        return row

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Clause":
        position = row.get("position")
        return cls(
            cls=row["class"],
            count=int(row.get("count", 1)),
            color=row.get("color"),
            size=row.get("size"),
            position=(str(position[0]), int(position[1])) if position else None,
        )


@dataclass(frozen=True)
class Target:
    """What must be true of the image, in the shape of GenEval's metadata.

    ``exclude`` lists what must not be there: ``Clause("circle", count=3)`` means fewer than three.
    ``text`` are the strings that must be legible. ``tag`` is the skill that is tested.
    """

    tag: str
    include: tuple[Clause, ...] = ()
    exclude: tuple[Clause, ...] = ()
    text: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Canonical form: equal for two prompts that ask for the same image, whatever their words.

        Clauses are sorted, and "A left of B" is "B right of A".
        """
        things = [[c.cls, c.count, c.color or "", c.size or ""] for c in self.include]
        relations = []
        for clause, thing in zip(self.include, things, strict=True):
            if clause.position:
                relation, other = clause.position
                pair = [thing, relation, things[other]]
                if relation in _MIRROR:
                    pair = [things[other], _MIRROR[relation], thing]
                relations.append(pair)
        return json.dumps([sorted(things), sorted(relations), sorted(self.text)], separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"tag": self.tag, "include": [c.to_dict() for c in self.include]}
        if self.exclude:
            row["exclude"] = [c.to_dict() for c in self.exclude]
        if self.text:
            row["text"] = list(self.text)
        return row

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Target":
        return cls(
            tag=row["tag"],
            include=tuple(Clause.from_dict(c) for c in row.get("include", ())),
            exclude=tuple(Clause.from_dict(c) for c in row.get("exclude", ())),
            text=tuple(row.get("text", ())),
        )


@dataclass(frozen=True)
class Score:
    """One judge's value in [0, 1] and its reason; ``value=None`` means unscored, which is not 0."""

    name: str
    value: float | None
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One candidate of one prompt. A prompt that is not rendered yet is a Sample without an image."""

    prompt: str
    target: Target
    id: str = ""
    group_id: str = ""
    recipe: str = ""
    weakness: str = ""
    trace: str = ""
    trace_source: str = ""
    seed: int = 0
    candidate: int = 0
    image: bytes | None = None  # PNG
    transition: Transition = "none"
    scores: tuple[Score, ...] = ()
    reward: float | None = None
    advantage: float | None = None
    text_weight: float = 0.0
    image_weight: float = 0.0
    dropped: str = ""  # the reason; empty: kept
    model: str = ""
    llm: str = ""

    def score(self, name: str) -> float | None:
        """The value that judge ``name`` gave, or None."""
        return next((s.value for s in self.scores if s.name == name), None)


def content_id(*parts: object) -> str:
    """16 hex digits of a hash over the parts: the same content has the same id on every machine."""
    text = json.dumps([str(p) for p in parts], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_seed(*parts: object) -> int:
    """A 63-bit seed that belongs to the content (recipe, prompt, k), never to a worker."""
    text = json.dumps(["seed", *[str(p) for p in parts]], ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
